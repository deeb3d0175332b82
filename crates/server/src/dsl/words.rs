//! Text as words: near enough to Elasticsearch's standard analyser.

/// The words of a text in lower case, in their order. Letters, digits and `_` make words; a `.` or `'` between letters,
/// and a `.` or `,` between digits, belong to the word; ideographs are words by themselves.
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = text.chars().peekable();
    let mut last = None;
    while let Some(next) = chars.next() {
        let joins = |last: Option<char>, follows: Option<&char>| match (next, last, follows) {
            ('.' | '\'' | '’', Some(a), Some(b)) if a.is_alphabetic() && b.is_alphabetic() => true,
            ('.' | ',', Some(a), Some(b)) => a.is_numeric() && b.is_numeric(),
            _ => false,
        };
        let is_part = next.is_alphanumeric() || next == '_' || joins(last, chars.peek());
        if is_ideograph(next) {
            finish(&mut word, &mut words);
            words.push(next.to_string());
        } else if is_part {
            word.extend(next.to_lowercase());
        } else {
            finish(&mut word, &mut words);
        }
        last = (is_part && !is_ideograph(next)).then_some(next);
    }
    finish(&mut word, &mut words);
    words
}

fn finish(word: &mut String, words: &mut Vec<String>) {
    if !word.is_empty() {
        words.push(std::mem::take(word));
    }
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{309f}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{2ffff}')
}

/// Whether `wanted` stands in `found` as a phrase, in which up to `slop` other words may stand between neighbours in
/// all; with `prefix`, the last word need only begin so.
pub fn has_phrase(found: &[String], wanted: &[String], slop: usize, prefix: bool) -> bool {
    let fits = |place: usize, word: usize| {
        found.get(place).is_some_and(|found| match prefix && word + 1 == wanted.len() {
            true => found.starts_with(&wanted[word]),
            false => *found == wanted[word],
        })
    };
    let follows = |start: usize| {
        if !fits(start, 0) {
            return false;
        }
        // The nearest next word leaves most of the slop, so taking it is always right.
        let mut place = start;
        (1..wanted.len()).all(|word| {
            let left = slop - (place - start - (word - 1));
            let next = (place + 1..=place + 1 + left).find(|place| fits(*place, word));
            place = next.unwrap_or(place);
            next.is_some()
        })
    };
    !wanted.is_empty() && (0..found.len()).any(follows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_into_words() {
        let cut = |text| words(text).join("|");
        assert_eq!(cut("The Quick-brown foo_bar, fox's 3.5 jumps."), "the|quick|brown|foo_bar|fox's|3.5|jumps");
        assert_eq!(cut(r"C:\Windows\System32\cmd.exe /c"), "c|windows|system32|cmd.exe|c");
        assert_eq!(cut("日本 ok"), "日|本|ok");
        assert_eq!(cut(" .,"), "");
    }

    #[test]
    fn phrases_keep_their_order() {
        let found = words("the quick brown fox jumps");
        let has = |wanted: &str, slop, prefix| has_phrase(&found, &words(wanted), slop, prefix);
        assert!(has("quick brown", 0, false) && !has("brown quick", 0, false) && !has("quick fox", 0, false));
        assert!(has("quick fox", 1, false) && has("quick jumps", 2, false) && !has("quick jumps", 1, false));
        assert!(has("brown fo", 0, true) && !has("brown fo", 0, false) && !has("", 0, false));
    }
}
