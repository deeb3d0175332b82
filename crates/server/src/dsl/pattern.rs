//! Wildcard patterns of queries: `*`, `?`, and `\` before what is meant literally.

use std::borrow::Cow;

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
    ignore_case: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Any text.
    Any,
    /// Any character.
    One,
    Char(char),
}

fn folded(text: &str) -> Cow<'_, str> {
    // Most texts are lower-case ASCII already.
    match text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        true => text.into(),
        false => text.to_lowercase().into(),
    }
}

impl Pattern {
    /// A pattern with `*`, `?` and escapes.
    pub fn wildcard(text: &str, ignore_case: bool) -> Self {
        let text = if ignore_case { folded(text) } else { text.into() };
        let mut parts = Vec::new();
        let mut chars = text.chars();
        while let Some(next) = chars.next() {
            parts.push(match next {
                '*' if parts.last() == Some(&Part::Any) => continue,
                '*' => Part::Any,
                '?' => Part::One,
                '\\' => Part::Char(chars.next().unwrap_or('\\')),
                other => Part::Char(other),
            });
        }
        Self { parts, ignore_case }
    }

    /// What begins with a text.
    pub fn prefix(text: &str, ignore_case: bool) -> Self {
        let text = if ignore_case { folded(text) } else { text.into() };
        let parts = text.chars().map(Part::Char).chain([Part::Any]).collect();
        Self { parts, ignore_case }
    }

    /// Whether the whole text fits.
    pub fn matches(&self, text: &str) -> bool {
        if self.ignore_case { self.fits(&folded(text)) } else { self.fits(text) }
    }

    /// Walks both; after a mismatch, the last star takes one character more. At most the product of both lengths.
    fn fits(&self, text: &str) -> bool {
        let (mut part, mut rest) = (0, text.chars());
        let mut star: Option<(usize, std::str::Chars<'_>)> = None;
        loop {
            let before = rest.clone();
            let fits = match (self.parts.get(part), rest.next()) {
                (Some(Part::Any), _) => {
                    star = Some((part + 1, before.clone()));
                    (part, rest) = (part + 1, before);
                    continue;
                }
                (None, None) => return true,
                (Some(Part::One), Some(_)) => true,
                (Some(Part::Char(wanted)), Some(found)) => *wanted == found,
                (Some(_), None) => return false,
                (None, Some(_)) => false,
            };
            if fits {
                part += 1;
                continue;
            }
            let Some((behind, start)) = &mut star else { return false };
            if start.next().is_none() {
                return false;
            }
            (part, rest) = (*behind, start.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_holes_and_escapes() {
        let fits = |pattern: &str, text: &str| Pattern::wildcard(pattern, false).matches(text);
        assert!(fits("*", "") && fits("a*c", "abbc") && fits("a?c", "aéc") && fits("", ""));
        assert!(!fits("a*c", "abcd") && !fits("?", "") && !fits("a", "A"));
        assert!(fits(r"a\*", "a*") && !fits(r"a\*", "ab") && fits(r"C:\\x", r"C:\x") && fits(r"a\", r"a\"));
        assert!(Pattern::wildcard("A*É", true).matches("abé"));
        assert!(Pattern::prefix("a*", false).matches("a*b") && !Pattern::prefix("a*", false).matches("ab"));
    }

    /// The definition, by trying all ways.
    fn plain(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|skip| plain(rest, &text[skip..])),
            ['?', rest @ ..] => !text.is_empty() && plain(rest, &text[1..]),
            [first, rest @ ..] => text.first() == Some(first) && plain(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn equals_its_definition(pattern in "[ab*?é]{0,8}", text in "[abé]{0,10}") {
            let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
            prop_assert_eq!(Pattern::wildcard(&pattern, false).matches(&text), plain(&p, &t));
        }
    }
}
