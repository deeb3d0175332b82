use std::borrow::Cow;

/// How text compares without case.
///
/// Tests on a field itself fold ASCII letters only, as Elasticsearch's index queries do; functions and tests on
/// computed text fold all of Unicode, as its scripts do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fold {
    /// Case counts.
    None,
    /// ASCII letters become lower case.
    Ascii,
    /// Every character becomes its lower case, where that is a single character.
    Unicode,
}

impl Fold {
    /// `text` in the form in which texts that differ in case only are equal.
    pub fn apply(self, text: &str) -> Cow<'_, str> {
        match self {
            Fold::None => Cow::Borrowed(text),
            Fold::Ascii if !text.bytes().any(|b| b.is_ascii_uppercase()) => Cow::Borrowed(text),
            Fold::Ascii => Cow::Owned(text.to_ascii_lowercase()),
            Fold::Unicode => Cow::Owned(unicode_lower(text)),
        }
    }
}

/// `text` with each character in lower case that has a single-character lower case.
pub fn unicode_lower(text: &str) -> String {
    text.chars().map(lower_char).collect()
}

/// Whether two texts are equal without case in the Unicode sense.
pub fn equal_unicode_fold(a: &str, b: &str) -> bool {
    a.chars().map(lower_char).eq(b.chars().map(lower_char))
}

/// The lower case of `c`, where that is a single character, else `c`.
pub fn lower_char(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(single), None) => single,
        _ => c,
    }
}
