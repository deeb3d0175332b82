//! What a log is, by its content.

use serde::de::IgnoredAny;

use crate::container::OWN_REPORT;
use crate::evtx;
use crate::json::{Action, Splitter};
use crate::parquet;

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A Windows event log, with the offset of its first chunk.
    Evtx { first_chunk: u64 },
    /// A Parquet file, which is read from its end.
    Parquet,
    /// One JSON document a line.
    Lines,
    /// A bulk body: lines with an action, each but deletions with a line behind it.
    Bulk,
    /// Arrays, search responses, indented documents.
    Documents { array: bool },
}

impl Format {
    /// The name shown to users.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Evtx { .. } => "evtx",
            Self::Parquet => "parquet",
            Self::Lines => "ndjson",
            Self::Bulk => "bulk",
            Self::Documents { .. } => "json",
        }
    }
}

/// How much of the beginning is looked at.
pub(crate) const FORMAT_PREFIX: usize = 64 << 10;

/// How many lines are tried before the content counts as no NDJSON.
const TRIED_LINES: usize = 64;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The length of a byte order mark in front of UTF-8.
pub(crate) fn mark_length(prefix: &[u8]) -> usize {
    if prefix.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 }
}

/// The format of content that begins like this (without byte order mark); `whole` says that there is no more of it, and
/// `explicit` that somebody calls it a log. `None` for content that is no log.
pub(crate) fn detect(prefix: &[u8], whole: bool, explicit: bool) -> Option<Format> {
    if let Some(first_chunk) = evtx::first_chunk_offset(prefix) {
        return Some(Format::Evtx { first_chunk });
    }
    if prefix.starts_with(parquet::MAGIC) {
        return Some(Format::Parquet);
    }
    let text = prefix.trim_ascii_start();
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).collect();
    // A line that goes on behind the prefix says nothing about how it ends.
    let cut = if whole { None } else { lines.pop() };
    lines.retain(|line| !line.is_empty());
    let sample = &lines[..lines.len().min(TRIED_LINES)];
    match text {
        _ if text.starts_with(OWN_REPORT) => None,
        [b'[', ..] => is_array(text).then_some(Format::Documents { array: true }),
        [b'{', ..] => object_format(text, sample, cut).filter(|format| match format {
            // Settings and the like are indented objects too.
            Format::Documents { array: false } => explicit || looks_like_event(text),
            _ => true,
        }),
        _ => mostly_objects(sample).then_some(Format::Lines),
    }
}

fn is_array(text: &[u8]) -> bool {
    let inside = text[1..].trim_ascii_start();
    matches!(inside, [] | [b'{' | b']' | b'[', ..])
}

fn object_format(text: &[u8], lines: &[&[u8]], cut: Option<&[u8]>) -> Option<Format> {
    let first = lines.first().copied().or(cut).unwrap_or_default();
    if is_search_response(text) {
        return Some(Format::Documents { array: true });
    }
    if Action::parse(first).is_some() {
        return Some(Format::Bulk);
    }
    if lines.is_empty() || is_object(first) {
        // The one line goes on behind the prefix, or is all there is.
        return looks_like_object(first).then_some(Format::Lines);
    }
    // Inside an indented document no line begins with a whole object at its left margin.
    let later_object = lines[1..].iter().any(|line| line.starts_with(b"{\"") && is_object(line));
    if later_object {
        return Some(Format::Lines);
    }
    match first {
        // One line that is no JSON, or the beginning of an indented document.
        _ if lines.len() == 1 && cut.is_none() => looks_like_object(first).then_some(Format::Lines),
        _ => looks_like_object(text).then_some(Format::Documents { array: false }),
    }
}

/// Whether the text begins as a JSON object does: with a key, or with its end.
fn looks_like_object(text: &[u8]) -> bool {
    matches!(text.get(1..).map(<[u8]>::trim_ascii_start), Some([] | [b'"' | b'}', ..]))
}

fn looks_like_event(text: &[u8]) -> bool {
    let keys = [b"\"@timestamp\"".as_slice(), b"\"_source\"", b"\"event\"", b"\"event."];
    keys.iter().any(|key| memchr::memmem::find(text, key).is_some())
}

fn is_object(line: &[u8]) -> bool {
    line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

/// Whether most lines are objects: NDJSON that begins in the middle of a line, or with a remark.
fn mostly_objects(lines: &[&[u8]]) -> bool {
    let objects = lines.iter().filter(|line| is_object(line)).count();
    objects > 0 && objects * 2 >= lines.len()
}

/// Whether the first value's hits begin within the text.
fn is_search_response(text: &[u8]) -> bool {
    let mut splitter = Splitter::default();
    _ = splitter.next(text);
    splitter.found_hits()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<Format> {
        detect(text.as_bytes(), true, true)
    }

    #[test]
    fn formats() {
        let array = Some(Format::Documents { array: true });
        let indented = Some(Format::Documents { array: false });
        for (text, expected) in [
            ("{\"a\":1}\n{\"a\":2}\n", Some(Format::Lines)),
            ("{\"a\":1}", Some(Format::Lines)),
            ("{}", Some(Format::Lines)),
            ("\r\n\n{\"a\":1}\r\n{\"a\":2}\r\n", Some(Format::Lines)),
            ("{\"a\":\n{\"a\":2}\n", Some(Format::Lines)),
            ("{\"a\":", Some(Format::Lines)),
            ("cut\":1}\n{\"a\":2}\n{\"a\":3}", Some(Format::Lines)),
            ("{\n  \"a\": {}\n}\n", indented),
            ("{\"a\": {\n  \"b\": 1\n}}\n", indented),
            ("{\n  \"a\": [\n    {\"b\":1}\n  ]\n}\n", indented),
            ("[{\"a\":1}]", array),
            ("[\n]", array),
            ("[", array),
            ("{\"took\":1,\"hits\":{\"total\":0,\"hits\":[]}}", array),
            ("{\"took\":1,\"hits\":{\"total\":1,\"hits\":[{\"_source\":{}}]}}", array),
            ("{\"took\":1,\"hits\":{\"total\":1,\"hits\":[{\"_source\":{", array),
            ("{\n \"hits\": {\n  \"hits\": [\n", array),
            ("{\"hits\":5}", Some(Format::Lines)),
            ("{\"index\":{}}\n{\"a\":1}\n", Some(Format::Bulk)),
            ("{\"delete\":{\"_id\":\"1\"}}\n", Some(Format::Bulk)),
            ("[section]\nkey=value\n", None),
            ("{{ template }}\n", None),
            ("{\\rtf1\n", None),
            ("# Title\n\n```\n{\"a\":1}\n```\n", None),
            ("", None),
            ("\n\n", None),
            ("hello", None),
        ] {
            assert_eq!(found(text), expected, "{text:?}");
        }
    }

    #[test]
    fn settings_in_a_folder_are_no_events() {
        let settings = b"{\n \"name\": \"x\"\n}\n";
        assert_eq!(detect(settings, true, false), None);
        assert_eq!(detect(settings, true, true), Some(Format::Documents { array: false }));
        let event = b"{\n \"@timestamp\": 1\n}\n";
        assert_eq!(detect(event, true, false), Some(Format::Documents { array: false }));
        assert_eq!(detect(b"{\"manifest\":{},\n\"alerts\":[\n{}\n]}\n", true, true), None);
    }

    #[test]
    fn long_lines() {
        let text = format!("{{\"a\":\"{}", "x".repeat(1000));
        assert_eq!(detect(text.as_bytes(), false, true), Some(Format::Lines));
        let text = format!("{{\"a\":1}}\n{{\"a\":\"{}", "x".repeat(1000));
        assert_eq!(detect(text.as_bytes(), false, true), Some(Format::Lines));
        assert_eq!(detect(b"PAR1", false, false), Some(Format::Parquet));
        assert_eq!(detect(b"ElfFile\0", true, true), Some(Format::Evtx { first_chunk: 4096 }));
    }
}
