//! Wildcard patterns: `*` is any text, `?` one character, everything else itself.

/// A wildcard pattern, split at its stars.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wildcard {
    /// The text between stars; `?` is still in it. One part: no star.
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Part {
    text: Box<str>,
    /// Whether the part has a `?`.
    holes: bool,
}

impl Wildcard {
    /// Reads a pattern. Every text is a pattern: there is no escape.
    pub fn new(pattern: &str) -> Self {
        let split: Vec<&str> = pattern.split('*').collect();
        let last = split.len() - 1;
        let parts = split
            .into_iter()
            .enumerate()
            // Stars in a row are one star.
            .filter(|(index, text)| *index == 0 || *index == last || !text.is_empty())
            .map(|(_, text)| Part { text: text.into(), holes: text.contains('?') })
            .collect();
        Self { parts }
    }

    /// The pattern's only text, where it has neither `*` nor `?`.
    pub fn as_exact(&self) -> Option<&str> {
        match &self.parts[..] {
            [part] if !part.holes => Some(&part.text),
            _ => None,
        }
    }

    /// Whether the pattern is `*`, which any text matches.
    pub fn is_any(&self) -> bool {
        self.parts.len() == 2 && self.parts.iter().all(|part| part.text.is_empty())
    }

    /// The runs of literal text, all of which any matching text contains.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(|part| part.text.split('?')).filter(|text| !text.is_empty())
    }

    /// The text that a matching text only has to contain, where the pattern is `*text*`.
    pub fn as_contained(&self) -> Option<&str> {
        match &self.parts[..] {
            [first, part, last] if first.text.is_empty() && last.text.is_empty() && !part.holes => Some(&part.text),
            _ => None,
        }
    }

    /// What a matching text begins and ends with, each with its `?`.
    pub fn ends(&self) -> (&str, &str) {
        match &self.parts[..] {
            [first, .., last] => (&first.text, &last.text),
            [only] => (&only.text, &only.text),
            [] => ("", ""),
        }
    }

    /// Whether the whole of `text` matches, letter for letter. For a match without case, lower both first.
    pub fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.parts.split_first() else { return false };
        let Some((last, middle)) = rest.split_last() else {
            return first.match_start(text) == Some(text.len());
        };
        let Some(mut at) = first.match_start(text) else { return false };
        // Most texts that do not match end otherwise, which costs less to see than a search through the middle.
        if !last.match_end(text) {
            return false;
        }
        for part in middle {
            match part.find(&text[at..]) {
                Some(end) => at += end,
                None => return false,
            }
        }
        last.match_end(&text[at..])
    }
}

/// The pattern, stars in a row as one.
impl std::fmt::Display for Wildcard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            f.write_str(if index > 0 { "*" } else { "" })?;
            f.write_str(&part.text)?;
        }
        Ok(())
    }
}

impl Part {
    /// Where the part ends if `text` begins with it.
    fn match_start(&self, text: &str) -> Option<usize> {
        if !self.holes {
            return text.starts_with(&*self.text).then_some(self.text.len());
        }
        let mut chars = text.chars();
        for expected in self.text.chars() {
            let found = chars.next()?;
            if expected != '?' && expected != found {
                return None;
            }
        }
        Some(text.len() - chars.as_str().len())
    }

    /// Whether `text` ends with the part.
    fn match_end(&self, text: &str) -> bool {
        if !self.holes {
            return text.ends_with(&*self.text);
        }
        let mut chars = text.chars();
        self.text
            .chars()
            .rev()
            .all(|expected| chars.next_back().is_some_and(|found| expected == '?' || expected == found))
    }

    /// Where the part's first occurrence in `text` ends.
    fn find(&self, text: &str) -> Option<usize> {
        if !self.holes {
            return memchr::memmem::find(text.as_bytes(), self.text.as_bytes()).map(|start| start + self.text.len());
        }
        text.char_indices().find_map(|(start, _)| self.match_start(&text[start..]).map(|end| start + end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_whole_texts() {
        let cases = [
            ("cmd.exe", "cmd.exe", true),
            ("cmd.exe", "cmd.exe ", false),
            ("*", "", true),
            ("*", "anything", true),
            ("a*", "a", true),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("a*b*c", "a__b__c", true),
            ("a*b*c", "a__c__b", false),
            ("a*a", "a", false),
            ("a**a", "aa", true),
            ("doc?", "docs", true),
            ("doc?", "doc", false),
            ("?", "é", true),
            ("??", "é", false),
            ("*?x*", "x", false),
            ("*?x*", "éx", true),
            ("*ab?", "ababc", true),
            ("", "", true),
            ("", "x", false),
            ("C:\\Users\\*\\*.exe", "C:\\Users\\a\\b.exe", true),
            ("*-enc*", "powershell -enc", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(Wildcard::new(pattern).matches(text), expected, "{pattern:?} on {text:?}");
        }
    }

    #[test]
    fn knows_its_shape() {
        assert_eq!(Wildcard::new("cmd.exe").as_exact(), Some("cmd.exe"));
        assert_eq!(Wildcard::new("").as_exact(), Some(""));
        assert_eq!(Wildcard::new("cmd.?xe").as_exact(), None);
        assert!(Wildcard::new("*").is_any() && Wildcard::new("***").is_any());
        assert!(!Wildcard::new("*?").is_any());
        assert_eq!(Wildcard::new("*ab**").as_contained(), Some("ab"));
        assert!(["*a?b*", "a*b*", "*a*b*", "*ab", "*", "ab"].iter().all(|p| Wildcard::new(p).as_contained().is_none()));
        assert_eq!(Wildcard::new("a?*b*c").ends(), ("a?", "c"));
        assert_eq!(Wildcard::new("a?").ends(), ("a?", "a?"));
        assert_eq!(Wildcard::new("*ab?cde*f").literals().collect::<Vec<_>>(), ["ab", "cde", "f"]);
        assert_eq!(Wildcard::new("*?*").literals().count(), 0);
    }
}
