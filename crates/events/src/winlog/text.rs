//! Text that several normalisers take apart in the same way.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::document::{Document, Value};

/// Command lines longer than this keep their text but have no `args`. Windows itself allows 32,767 characters.
pub const MAX_COMMAND_LINE: usize = 256 * 1024;

/// Whether a value only says that there is none.
pub fn is_nothing(value: &str) -> bool {
    matches!(value, "" | "-" | "{00000000-0000-0000-0000-000000000000}")
}

/// The part of a Windows path behind its last backslash, if it has one.
pub fn file_name(path: &str) -> Option<&str> {
    path.rsplit_once('\\').map(|(_, name)| name)
}

/// Sets a path in `field` and what its parts say: `name`, `directory` and `extension` next to it.
pub fn set_file<'a>(document: &mut Document<'a>, path: &'a str) {
    document.set("file.path", path);
    let Some((directory, name)) = path.rsplit_once('\\') else { return };
    document.set("file.name", name);
    document.set("file.directory", directory);
    if let Some((_, extension)) = name.rsplit_once('.') {
        document.set("file.extension", extension);
    }
}

/// Splits a Windows command line into arguments, quotes taken off, as the C runtime does.
pub fn split_arguments(line: &str) -> Vec<Cow<'_, str>> {
    let mut arguments = Vec::new();
    let mut rest = line.trim_start_matches([' ', '\t']);
    while !rest.is_empty() {
        let (argument, after) = next_argument(rest);
        arguments.push(argument);
        rest = after.trim_start_matches([' ', '\t']);
    }
    arguments
}

fn next_argument(line: &str) -> (Cow<'_, str>, &str) {
    let end = line.find([' ', '\t']).unwrap_or(line.len());
    let plain = &line[..end];
    match plain.contains('"') {
        true => quoted_argument(line),
        false => (Cow::Borrowed(plain), line.get(end + 1..).unwrap_or_default()),
    }
}

fn quoted_argument(line: &str) -> (Cow<'_, str>, &str) {
    let mut argument = String::new();
    let (mut quoted, mut backslashes) = (false, 0_usize);
    let mut characters = line.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            ' ' | '\t' if !quoted => {
                push_backslashes(&mut argument, backslashes);
                return (Cow::Owned(argument), &line[at + 1..]);
            }
            '\\' => backslashes += 1,
            '"' => {
                push_backslashes(&mut argument, backslashes / 2);
                if backslashes % 2 == 1 {
                    argument.push('"');
                } else if quoted && characters.peek().is_some_and(|(_, next)| *next == '"') {
                    // Two quotes inside quotes are one, and end the quoting.
                    argument.push('"');
                    characters.next();
                    quoted = false;
                } else {
                    quoted = !quoted;
                }
                backslashes = 0;
            }
            _ => {
                push_backslashes(&mut argument, backslashes);
                backslashes = 0;
                argument.push(character);
            }
        }
    }
    push_backslashes(&mut argument, backslashes);
    (Cow::Owned(argument), "")
}

fn push_backslashes(argument: &mut String, count: usize) {
    argument.extend(std::iter::repeat_n('\\', count));
}

/// Sets the command line of a process and its arguments.
pub fn set_command_line<'a>(
    document: &mut Document<'a>,
    [line, args, count]: [&'static str; 3],
    text: &'a str,
    split: fn(&'a str) -> Vec<Cow<'a, str>>,
) {
    document.set(line, text);
    if text.len() > MAX_COMMAND_LINE {
        return;
    }
    let arguments = split(text);
    document.set(count, arguments.len() as i64);
    document.set(args, Value::strings(arguments));
}

/// Fields of [`set_command_line`] for the process itself.
pub const PROCESS: [&str; 3] = ["process.command_line", "process.args", "process.args_count"];

/// Fields of [`set_command_line`] for its parent.
pub const PARENT: [&str; 3] = ["process.parent.command_line", "process.parent.args", "process.parent.args_count"];

/// Splits `DOMAIN\name`.
pub fn split_account(account: &str) -> Option<(&str, &str)> {
    account.split_once('\\').filter(|(_, name)| !name.contains('\\'))
}

/// An address in its usual form; IPv4 mapped into IPv6 (with brackets and port too) as IPv4.
pub fn address(text: &str) -> Option<Cow<'_, str>> {
    let bare = text.strip_prefix('[').map_or(text, |inner| inner.split(']').next().unwrap_or_default());
    let ip: IpAddr = bare.parse().ok()?;
    Some(match ip {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => Cow::Owned(v4.to_string()),
            None => Cow::Borrowed(bare),
        },
        IpAddr::V4(_) => Cow::Borrowed(bare),
    })
}

/// A number in decimal or, behind `0x`, hexadecimal digits.
pub fn number(text: &str) -> Option<i64> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok().map(|number| number as i64),
        None => text.parse().ok(),
    }
}

/// Values of `table` whose bit is set in `mask`.
pub fn flags(mask: i64, table: &'static [(u32, &'static str)]) -> Vec<&'static str> {
    table.iter().filter(|(flag, _)| mask & i64::from(*flag) == i64::from(*flag)).map(|(_, name)| *name).collect()
}

/// The text of `key` in a table sorted by key.
pub fn lookup<K: Ord + Copy>(table: &'static [(K, &'static str)], key: K) -> Option<&'static str> {
    table.binary_search_by_key(&key, |(known, _)| *known).ok().map(|at| table[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        for (line, expected) in [
            ("", &[][..]),
            (" \t ", &[]),
            (r#""C:\Windows\notepad.exe" "#, &[r"C:\Windows\notepad.exe"]),
            (r#"cmd /c "a b" c"#, &["cmd", "/c", "a b", "c"]),
            (r#"a\\b d"e f"g h"#, &[r"a\\b", "de fg", "h"]),
            (r#"a\\\"b c d"#, &[r#"a\"b"#, "c", "d"]),
            (r#"a\\\\"b c" d e"#, &[r"a\\b c", "d", "e"]),
            (r#""a""b" c"#, &[r#"a"b c"#]),
            (r#""unclosed x"#, &["unclosed x"]),
            (r#"x "" y"#, &["x", "", "y"]),
            ("grün  ❤", &["grün", "❤"]),
        ] {
            assert_eq!(split_arguments(line), expected, "{line}");
        }
    }

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("10.0.0.1", Some("10.0.0.1")),
            ("::ffff:10.0.0.1", Some("10.0.0.1")),
            ("[::ffff:10.0.0.1]:80", Some("10.0.0.1")),
            ("::1", Some("::1")),
            ("LOCAL", None),
            ("[", None),
        ] {
            assert_eq!(address(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(number("0x374"), Some(884));
        assert_eq!(number(" 12 "), Some(12));
        assert_eq!(number("-5"), Some(-5));
        assert_eq!(number("0xffffffffffffffff"), Some(-1));
        assert_eq!(number("x"), None);
    }

    #[test]
    fn files() {
        let mut document = Document::new();
        set_file(&mut document, r"C:\a.b\c");
        assert_eq!(document.text("file.name"), Some("c"));
        assert_eq!(document.text("file.directory"), Some(r"C:\a.b"));
        assert_eq!(document.text("file.extension"), None, "a dot in the directory's name");
        let mut document = Document::new();
        set_file(&mut document, "plain");
        assert_eq!(document.len(), 1);
    }
}
