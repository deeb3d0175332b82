//! Showing text that nobody vouches for.

use std::borrow::Cow;

/// How much of a quoted piece of source a message shows, in characters.
const QUOTE_CHARS: usize = 60;

/// Stands for a character that is not shown.
pub(super) const HIDDEN: char = '\u{FFFD}';

/// Whether a terminal or browser might act on the character, or show it as nothing, instead of printing it.
pub(crate) fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{00AD}'
                | '\u{061C}'
                | '\u{180E}'
                | '\u{200B}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{FEFF}'
                | '\u{FFF9}'..='\u{FFFB}'
                | '\u{E0000}'..='\u{E0FFF}'
        )
}

/// `text` with every control, bidirectional and invisible character (line breaks and tabs too) shown as `�`.
pub fn inert(text: &str) -> Cow<'_, str> {
    if text.contains(is_hostile) {
        Cow::Owned(text.chars().map(|c| if is_hostile(c) { HIDDEN } else { c }).collect())
    } else {
        Cow::Borrowed(text)
    }
}

/// A piece of source between backticks for use in a message: inert, on one line, cut where it is long.
pub fn quoted(text: &str) -> String {
    let mut shown: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = shown.char_indices().nth(QUOTE_CHARS) {
        shown.truncate(cut);
        shown.push('…');
    }
    format!("`{}`", inert(&shown))
}

/// Line and column, from 1, of the byte at `offset`; an offset that is no character's start counts as the one before.
pub(super) fn line_column(source: &str, offset: usize) -> (usize, usize) {
    let before = &source[..floor_char(source, offset)];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// The nearest character start at or before `offset`.
pub(super) fn floor_char(source: &str, offset: usize) -> usize {
    let mut at = offset.min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    at
}
