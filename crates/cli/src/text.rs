//! Making text that came from logs and rules harmless and fitting it into a number of columns.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Most characters of one value that a line for people shows; the rest is counted, and whole in `--format json`.
pub const MAX_SHOWN_CHARS: usize = 4096;

/// What stands for the part that was cut off.
const ELLIPSIS: char = '…';

/// `text` with every character that could act on a terminal or change the reading order written out as an escape.
///
/// That is: control characters (so no escape sequence and no line break survives), bidirectional controls, invisible
/// and zero-width characters, and the tag characters. The result is one line.
pub fn inert(text: &str) -> Cow<'_, str> {
    if first_active(text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if !is_active(c) => out.push(c),
            c if (c as u32) < 0x100 => drop(write!(out, "\\x{:02x}", c as u32)),
            c => drop(write!(out, "\\u{{{:x}}}", c as u32)),
        }
    }
    Cow::Owned(out)
}

/// Whether `c` does something else than show itself.
pub fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Where the first active character stands.
pub fn first_active(text: &str) -> Option<usize> {
    // Most text is plain, which shows without taking it apart.
    let is_plain = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if is_plain { None } else { text.find(is_active) }
}

/// [`inert`], and no longer than [`MAX_SHOWN_CHARS`].
pub fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        None => inert(text),
        Some((end, _)) => {
            let left = text[end..].chars().count();
            Cow::Owned(format!("{}{ELLIPSIS} (+{left} characters)", inert(&text[..end])))
        }
    }
}

/// Columns that `text` takes on a terminal.
pub fn columns(text: &str) -> usize {
    text.width()
}

/// `text` cut to `width` columns, with `…` at the end where something is missing.
pub fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if text.len() <= width || text.width() <= width {
        return Cow::Borrowed(text);
    }
    let end = fitting(text, width.saturating_sub(1));
    Cow::Owned(format!("{}{ELLIPSIS}", &text[..end]))
}

/// `text` cut to `width` columns and filled up with spaces.
pub fn padded(text: &str, width: usize) -> String {
    let mut out = cut(text, width).into_owned();
    let missing = width.saturating_sub(out.width());
    out.extend(std::iter::repeat_n(' ', missing));
    out
}

/// `text` in lines of at most `width` columns, broken at spaces where that leaves lines at least half full; what does
/// not fit into `max_lines` is cut with `…`.
pub fn wrapped(text: &str, width: usize, max_lines: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = Vec::new();
    let mut rest = text;
    while rest.width() > width {
        if lines.len() + 1 >= max_lines {
            break;
        }
        let end = line_end(rest, width);
        lines.push(rest[..end].trim_end().to_owned());
        rest = rest[end..].trim_start();
    }
    if !rest.is_empty() || lines.is_empty() {
        lines.push(cut(rest, width).into_owned());
    }
    lines
}

/// Where the first line of `text` ends.
fn line_end(text: &str, width: usize) -> usize {
    let hard = fitting(text, width).max(text.chars().next().map_or(0, char::len_utf8));
    match text[..hard].rfind(' ') {
        Some(space) if text[..space].width() * 2 >= width => space + 1,
        _ => hard,
    }
}

/// Bytes of the longest prefix that takes at most `width` columns. Characters of no width count towards a limit of
/// their own, so that a pile of combining marks cannot grow without end.
fn fitting(text: &str, width: usize) -> usize {
    let mut used = 0;
    let mut marks = 0;
    for (at, c) in text.char_indices() {
        let own = c.width().unwrap_or(0);
        used += own;
        marks += usize::from(own == 0);
        if used > width || marks > width.saturating_mul(2) {
            return at;
        }
    }
    text.len()
}

/// `1081` as `1,081`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of bytes in the largest binary unit that leaves at least one: `512 B`, `1.5 MiB`.
pub fn byte_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `1 alert`, `2 alerts`: for nouns whose plural is the singular and an s.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_active_survives() {
        assert_eq!(inert("a\x1b[2Jb"), "a\\x1b[2Jb");
        assert_eq!(inert("one\r\ntwo\t"), "one\\r\\ntwo\\t");
        assert_eq!(inert("exe.\u{202e}fdp"), "exe.\\u{202e}fdp");
        assert_eq!(inert("\u{9b}31m\u{7f}\0"), "\\x9b31m\\x7f\\x00");
        assert_eq!(inert("a\u{200b}b\u{2066}c\u{feff}\u{e0041}"), "a\\u{200b}b\\u{2066}c\\u{feff}\\u{e0041}");
        assert!(matches!(inert(r"C:\Windows\ü 日本"), Cow::Borrowed(_)));
    }

    #[test]
    fn cuts_by_columns() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdef", 5), "abcd…");
        assert_eq!(cut("日本語", 5), "日本…");
        assert_eq!(cut("日本語", 4), "日…");
        assert_eq!(cut("abc", 1), "…");
        assert_eq!(padded("日本語", 5), "日本…");
        assert_eq!(padded("日本語", 4), "日… ");
        assert_eq!(padded("ab", 4), "ab  ");
    }

    #[test]
    fn piles_of_combining_marks_are_cut() {
        let pile = format!("e{}", "\u{301}".repeat(100_000));
        assert!(columns(&padded(&pile, 10)) <= 10);
        let wide = format!("{pile}{}", "x".repeat(20));
        assert!(cut(&wide, 10).len() < 100);
    }

    #[test]
    fn wraps_at_spaces_and_then_cuts() {
        assert_eq!(wrapped("aaa bbb ccc", 7, 9), ["aaa bbb", "ccc"]);
        assert_eq!(wrapped("aaaaaaaaaa", 4, 9), ["aaaa", "aaaa", "aa"]);
        assert_eq!(wrapped("aaaaaaaaaa", 4, 2), ["aaaa", "aaa…"]);
        assert_eq!(wrapped("a bbbbbbbbb", 6, 9), ["a bbbb", "bbbbb"]);
        assert_eq!(wrapped("", 4, 2), [""]);
        assert_eq!(wrapped("日本語", 1, 9), ["日", "本", "語"]);
    }

    #[test]
    fn long_values_are_counted() {
        let long = "x".repeat(MAX_SHOWN_CHARS + 5);
        assert!(shown(&long).ends_with("x… (+5 characters)"));
        assert_eq!(shown("x"), "x");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1081), "1,081");
        assert_eq!(grouped(1234567), "1,234,567");
        assert_eq!(byte_size(1023), "1023 B");
        assert_eq!(byte_size(1536), "1.5 KiB");
        assert_eq!(byte_size(u64::MAX), "16.0 EiB");
        assert_eq!(counted(1, "alert"), "1 alert");
        assert_eq!(counted(2000, "alert"), "2,000 alerts");
    }
}
