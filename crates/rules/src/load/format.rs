//! Which format a file is in, by what it holds.

use std::borrow::Cow;

use crate::load::found::Found;
use crate::load::{LoadError, json, markdown, toml};

/// The formats a text can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextFormat {
    Toml,
    Json,
    Markdown,
}

/// Whether the first bytes are those of a zip.
pub(crate) fn is_zip(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06")
}

/// Whether the first bytes cannot be text.
pub(crate) fn is_binary(head: &[u8]) -> bool {
    utf16(head).is_none() && head.contains(&0)
}

/// Reads every rule of a text file.
pub(crate) fn read_text(bytes: &[u8]) -> Result<Vec<Found>, LoadError> {
    if is_binary(&bytes[..bytes.len().min(crate::load::SNIFF_SIZE)]) {
        return Err(LoadError::NotARule(describe_binary(bytes)));
    }
    let text = decode(bytes)?;
    let exact = matches!(text, Cow::Borrowed(_));
    let shift = bytes.len() - text.len().min(bytes.len());
    let mut found = match text_format(&text)? {
        TextFormat::Toml => toml::read(&text),
        TextFormat::Json => json::read(&text),
        TextFormat::Markdown => markdown::read(&text),
    }?;
    for entry in &mut found {
        // Offsets are those of the file; a byte order mark counts, and other encodings have none.
        entry.query_offset = entry.query_offset.filter(|_| exact).map(|offset| offset + shift);
    }
    Ok(found)
}

fn describe_binary(bytes: &[u8]) -> String {
    let kind = match bytes {
        [0x1f, 0x8b, ..] => "a gzip file; unpack it first",
        [b'E', b'l', b'f', b'F', b'i', b'l', b'e', ..] => "a Windows event log",
        _ => "a binary file",
    };
    format!("{kind} (rules are TOML, JSON, NDJSON, Markdown or a zip of them)")
}

/// UTF-8, or UTF-16 with a byte order mark as PowerShell's `>` writes it.
fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, LoadError> {
    if let Some(unit) = utf16(bytes) {
        let pairs = bytes[2..].chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        let text: Result<String, _> = char::decode_utf16(pairs).collect();
        return text.map(Cow::Owned).map_err(|_| LoadError::Encoding { encoding: "UTF-16".into(), offset: 0 });
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes)
        .map(Cow::Borrowed)
        .map_err(|error| LoadError::Encoding { encoding: "UTF-8".into(), offset: error.valid_up_to() })
}

fn utf16(bytes: &[u8]) -> Option<fn([u8; 2]) -> u16> {
    match bytes {
        [0xff, 0xfe, ..] => Some(u16::from_le_bytes),
        [0xfe, 0xff, ..] => Some(u16::from_be_bytes),
        _ => None,
    }
}

fn text_format(text: &str) -> Result<TextFormat, LoadError> {
    let start = text.trim_start();
    if start.is_empty() {
        return Err(LoadError::NotARule("the file is empty".to_owned()));
    }
    if start.starts_with('{') || is_json_array(start) {
        return Ok(TextFormat::Json);
    }
    if first_toml_line(text).is_some_and(is_table_header) {
        return Ok(TextFormat::Toml);
    }
    if markdown::has_rule(text) {
        return Ok(TextFormat::Markdown);
    }
    if text
        .lines()
        .any(|line| is_table_header(line) && line.trim_start().trim_start_matches('[').trim_start().starts_with("rule"))
    {
        return Ok(TextFormat::Toml);
    }
    Err(LoadError::NotARule(describe_text(text)))
}

fn is_json_array(start: &str) -> bool {
    let Some(inner) = start.strip_prefix('[') else { return false };
    matches!(inner.trim_start().bytes().next(), Some(b'{' | b']' | b'"') | None)
}

/// The first line that is neither blank nor a TOML comment.
fn first_toml_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'))
}

/// `[name]`, `[[name]]`, with a comment behind it or not.
fn is_table_header(line: &str) -> bool {
    let Some(inner) = line.trim_start().strip_prefix('[') else { return false };
    let inner = inner.strip_prefix('[').unwrap_or(inner);
    let Some((name, rest)) = inner.split_once(']') else { return false };
    let name_fits = !name.trim().is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | '"' | '\''));
    let rest = rest.strip_prefix(']').unwrap_or(rest).trim_start();
    name_fits && (rest.is_empty() || rest.starts_with('#'))
}

fn describe_text(text: &str) -> String {
    let has_key = |key: &str| text.lines().any(|line| line.starts_with(key));
    if has_key("detection:") && has_key("logsource:") {
        return "a Sigma rule, which is another format".to_owned();
    }
    "neither TOML with a [rule] table, nor JSON, nor a published rule page in Markdown".to_owned()
}
