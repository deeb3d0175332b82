//! How long literals are, and what they hold.

use std::ops::Range;

/// A number's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    Unsigned(u64),
    Double(f64),
}

/// What a number token holds; `None` where it exceeds even a double.
pub(crate) fn decode_number(text: &str) -> Option<Number> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        if let Ok(value) = text.parse() {
            return Some(Number::Int(value));
        }
        if let Ok(value) = text.parse() {
            return Some(Number::Unsigned(value));
        }
    }
    text.parse().ok().filter(|value: &f64| value.is_finite()).map(Number::Double)
}

/// The length of the number that `rest` begins with: `5`, `5.`, `.5`, each with an exponent or not.
pub(super) fn number_length(rest: &str) -> usize {
    let digits = |from: usize| rest[from..].bytes().take_while(u8::is_ascii_digit).count();
    let mut length = digits(0);
    if rest[length..].starts_with('.') {
        length += 1;
        length += digits(length);
    }
    if rest[length..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[length + 1..].starts_with(['+', '-']));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    length
}

/// The length of the one-line string that `rest` begins with, both quotes included.
pub(super) fn string_length(rest: &str, quote: char) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '\r' | '\n' => return None,
            '\\' => {
                characters.next().filter(|(_, escaped)| !matches!(escaped, '\r' | '\n'))?;
            }
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The length of the backtick name that `rest` begins with; two backticks stand for one inside it.
pub(super) fn quoted_identifier_length(rest: &str) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        match c {
            '\r' | '\n' => return None,
            '`' if characters.next_if(|(_, next)| *next == '`').is_none() => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// The name inside a backtick token.
pub(crate) fn decode_identifier(token: &str) -> String {
    let inner = token.strip_prefix('`').unwrap_or(token);
    inner.strip_suffix('`').unwrap_or(inner).replace("``", "`")
}

/// The text between the quotes of a string with its escapes resolved. Each bad escape is told to `fault`, with its
/// place in `inner`, and kept as written.
pub(crate) fn decode_string(inner: &str, mut fault: impl FnMut(Range<usize>, String)) -> String {
    let mut value = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        value.push_str(&rest[..at]);
        let offset = inner.len() - rest.len() + at;
        let escape = &rest[at..];
        let length = escape_length(escape);
        match decode_escape(&escape[..length]) {
            Ok(c) => value.push(c),
            Err(message) => {
                fault(offset..offset + length, message);
                value.push_str(&escape[..length]);
            }
        }
        rest = &escape[length..];
    }
    value.push_str(rest);
    value
}

/// The length of the escape that `text` begins with, up to the closing brace of `\u{…}`.
fn escape_length(text: &str) -> usize {
    match text.strip_prefix("\\u{") {
        Some(digits) => match digits.find(|c: char| !c.is_ascii_hexdigit()) {
            Some(end) if digits[end..].starts_with('}') => end + 4,
            end => end.unwrap_or(digits.len()) + 3,
        },
        None => 1 + text[1..].chars().next().map_or(0, char::len_utf8),
    }
}

fn decode_escape(escape: &str) -> Result<char, String> {
    if let Some(digits) = escape.strip_prefix("\\u{") {
        return decode_code_point(digits);
    }
    Ok(match &escape[1..] {
        "b" => '\u{8}',
        "t" => '\t',
        "n" => '\n',
        "f" => '\u{c}',
        "r" => '\r',
        "\"" => '"',
        // Not in the documentation, but published rules use it.
        "'" => '\'',
        "\\" => '\\',
        "u" => return Err("`\\u` needs braces: `\\u{…}`".into()),
        _ => return Err(format!("unknown escape {}", crate::diagnostic::quoted(escape))),
    })
}

fn decode_code_point(digits: &str) -> Result<char, String> {
    let Some(digits) = digits.strip_suffix('}') else {
        return Err("`\\u{` needs hexadecimal digits and a closing brace".into());
    };
    if !(2..=8).contains(&digits.len()) {
        return Err("`\\u{…}` takes 2 to 8 hexadecimal digits".into());
    }
    let code = u32::from_str_radix(digits, 16).unwrap_or(u32::MAX);
    char::from_u32(code).ok_or_else(|| format!("`\\u{{{digits}}}` is not a Unicode character"))
}
