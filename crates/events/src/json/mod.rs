//! JSON events: documents straight into columns, and the shapes that documents come wrapped in.
//!
//! A document is never built as a tree: the decoder walks it along the schema's paths and pushes the values that are
//! asked for. Plain documents take a quick way (`plain`), serde_json takes the others. Text that serde_json refuses and Elasticsearch's shippers would let pass (bytes that are no UTF-8, lone
//! surrogates, numbers beyond the range of a double) is repaired as they repair it, so that one bad byte in a command
//! line does not hide an event from every rule.

mod action;
mod decode;
mod hit;
mod index_name;
mod keys;
mod plain;
mod repair;
mod rows;
mod split;

pub(crate) use action::{Action, Operation};
pub(crate) use decode::{Decoded, Decoder, Facts, Refusal, identity};
pub(crate) use hit::{Hit, write_hit, write_source};
use index_name::data_stream_name;
pub use index_name::logical_index;
pub(crate) use plain::end_of_bare;
pub(crate) use repair::{compact, repair};
pub(crate) use rows::{JsonRow, JsonRows, Span};
pub(crate) use split::{Split, Splitter};

/// The deepest nesting of objects and arrays in a document. Elasticsearch's own limit is 20 levels of objects.
pub const MAX_JSON_DEPTH: usize = 100;

/// Whether objects and arrays nest deeper than [`MAX_JSON_DEPTH`].
fn too_deep(text: &[u8]) -> bool {
    // A text cannot be deeper than it has opening brackets, and counting them is far cheaper than following them.
    if text.len() <= MAX_JSON_DEPTH || opening_brackets(text) <= MAX_JSON_DEPTH {
        return false;
    }
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => at = end_of_string(text, at + 1),
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_JSON_DEPTH {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    false
}

/// How many `{` and `[` there are. Counted in bytes over runs that cannot overflow one, which compilers turn into
/// vector code.
fn opening_brackets(text: &[u8]) -> usize {
    let in_run = |run: &[u8]| run.iter().map(|byte| u8::from(byte | 0x20 == b'{')).sum::<u8>();
    text.chunks(usize::from(u8::MAX)).map(|run| usize::from(in_run(run))).sum()
}

/// The place of the quote that ends the string whose content starts at `at`; the text's end if none does.
fn end_of_string(text: &[u8], mut at: usize) -> usize {
    while let Some(found) = text.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found;
        if text[at] == b'"' {
            return at;
        }
        at += 2;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_brackets_outside_strings() {
        let deep = format!("{}1{}", "[".repeat(MAX_JSON_DEPTH + 1), "]".repeat(MAX_JSON_DEPTH + 1));
        assert!(too_deep(deep.as_bytes()));
        let limit = format!("{}1{}", "{\"a\":".repeat(MAX_JSON_DEPTH), "}".repeat(MAX_JSON_DEPTH));
        assert!(!too_deep(limit.as_bytes()));
        let flat = format!("[{}1]", "[],".repeat(500));
        assert!(!too_deep(flat.as_bytes()));
        let quoted = format!("{{\"a\\\"\":\"{}\"}}", "[".repeat(500));
        assert!(!too_deep(quoted.as_bytes()));
        assert!(too_deep("[".repeat(1_000_000).as_bytes()));
    }
}
