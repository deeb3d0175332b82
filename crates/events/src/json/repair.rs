//! Makes strict JSON of text that shippers would let pass.

use super::end_of_string;

/// What Go's and Java's JSON readers put in place of half a surrogate pair.
const REPLACEMENT: &str = "\\ufffd";

/// Appends `text` to `out` with half surrogate pairs in escapes replaced by U+FFFD and numbers beyond the range of a
/// double replaced by null. Anything else that is wrong stays wrong.
pub(crate) fn repair(text: &str, out: &mut Vec<u8>) {
    rewrite(text, false, out);
}

/// Appends sound JSON without the blanks between its tokens, [repaired](repair).
pub(crate) fn compact(text: &str, out: &mut Vec<u8>) {
    rewrite(text, true, out);
}

fn rewrite(text: &str, compact: bool, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let end = match byte {
            b'"' => {
                let end = end_of_string(bytes, at + 1).saturating_add(1).min(bytes.len());
                repair_string(&bytes[at..end], out);
                end
            }
            b'-' | b'0'..=b'9' => {
                let end = end_of_number(bytes, at);
                repair_number(&text[at..end], out);
                end
            }
            b' ' | b'\t' | b'\n' | b'\r' if compact => at + 1,
            b' ' | b'\t' | b'\n' | b'\r' => {
                out.push(byte);
                at + 1
            }
            _ => {
                let end = end_of_plain(bytes, at);
                out.extend_from_slice(&bytes[at..end]);
                end
            }
        };
        at = end;
    }
}

fn end_of_plain(bytes: &[u8], start: usize) -> usize {
    let is_special = |byte: &u8| matches!(byte, b'"' | b'-' | b'0'..=b'9' | b' ' | b'\t' | b'\n' | b'\r');
    bytes[start..].iter().position(is_special).map_or(bytes.len(), |found| start + found)
}

fn end_of_number(bytes: &[u8], start: usize) -> usize {
    let is_number = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
    bytes[start..].iter().position(|byte| !is_number(byte)).map_or(bytes.len(), |found| start + found)
}

fn repair_number(number: &str, out: &mut Vec<u8>) {
    let could_overflow = number.len() > 300 || number.contains(['e', 'E']);
    let overflows = could_overflow && number.parse::<f64>().is_ok_and(f64::is_infinite);
    out.extend_from_slice(if overflows { b"null" } else { number.as_bytes() });
}

fn repair_string(mut bytes: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr::memchr(b'\\', bytes) {
        let (plain, escape) = bytes.split_at(at);
        out.extend_from_slice(plain);
        let length = match code_unit(escape) {
            Some(0xd800..=0xdbff) if matches!(escape.get(6..).and_then(code_unit), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                out.extend_from_slice(REPLACEMENT.as_bytes());
                bytes = &escape[6..];
                continue;
            }
            Some(_) => 6,
            None => escape.len().min(2),
        };
        out.extend_from_slice(&escape[..length]);
        bytes = &escape[length..];
    }
    out.extend_from_slice(bytes);
}

/// The UTF-16 code unit of the `\uXXXX` that `bytes` start with.
fn code_unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repaired(text: &str) -> String {
        let mut out = Vec::new();
        repair(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn half_pairs_and_huge_numbers() {
        for (text, expected) in [
            (r#"{"a":"x\ud800y"}"#, r#"{"a":"x\ufffdy"}"#),
            (r#"{"a":"\udc00\ud83d\ude00"}"#, r#"{"a":"\ufffd\ud83d\ude00"}"#),
            (r#"{"a":"\ud83d\ud83d\ude00"}"#, r#"{"a":"\ufffd\ud83d\ude00"}"#),
            (r#"{"a":"\\ud800"}"#, r#"{"a":"\\ud800"}"#),
            (r#"{"a":1e400,"b":-1E999,"c":1e10}"#, r#"{"a":null,"b":null,"c":1e10}"#),
            (r#"{"a":"1e400"}"#, r#"{"a":"1e400"}"#),
            ("{\r\n\"a\": 1 2}", "{\r\n\"a\": 1 2}"),
            (r#"{"a":"\u00"#, r#"{"a":"\u00"#),
            (r#"{"a":"\"#, r#"{"a":"\"#),
            (r#"{"a":"\ud800"#, r#"{"a":"\ufffd"#),
            (r#"{"ä":"ö","n":12}"#, r#"{"ä":"ö","n":12}"#),
        ] {
            assert_eq!(repaired(text), expected, "{text}");
        }
        assert_eq!(repaired(&format!("[{}]", "9".repeat(400))), "[null]");
        let mut out = Vec::new();
        compact("{\r\n \"a b\" :\t[ 1, 2.5 , true ] }\n", &mut out);
        assert_eq!(out, br#"{"a b":[1,2.5,true]}"#);
    }
}
