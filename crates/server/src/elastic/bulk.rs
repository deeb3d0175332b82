//! The body of a bulk request: a line that says what to do, then a line with the document, and so on.

use std::collections::{HashMap, HashSet};

use axum::body::Bytes;
use axum::http::StatusCode;
use bytestring::ByteString;
use memchr::memchr;
use serde_json::{Map, Value};

use crate::http::Failure;

/// Actions of one request; more are answered 400.
pub const MAX_ACTIONS: usize = 100_000;

/// What an action takes in memory beside its text, its index and its id: itself, its outcome, its part of the answer.
const ACTION_BYTES: u64 = 1 << 10;

/// Lines with actions, and names of indices, that are remembered while a request is read.
const MAX_KNOWN_LINES: usize = 64;

/// What a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Index,
    Create,
    Update,
    Delete,
}

impl Operation {
    /// Its name in requests and answers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [Self::Index, Self::Create, Self::Update, Self::Delete].into_iter().find(|operation| operation.name() == name)
    }

    fn has_document(self) -> bool {
        self != Self::Delete
    }
}

/// An action with its document, which still lies in the body.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Action {
    pub(crate) operation: Operation,
    /// Shared by those of a request that say the same.
    pub(crate) index: ByteString,
    pub(crate) id: Option<String>,
    /// Nothing for `delete`.
    pub(crate) document: Bytes,
    /// What cannot be done in an event store.
    pub(crate) unsupported: Option<&'static str>,
}

/// What actions take in memory beside the body.
pub(crate) fn memory_of(actions: &[Action]) -> u64 {
    let names = |action: &Action| action.index.len() + action.id.as_ref().map_or(0, String::len);
    actions.iter().map(|action| ACTION_BYTES + 2 * names(action) as u64).sum()
}

/// Reads a bulk request; `index` is that of the path.
///
/// # Errors
/// If a line with an action cannot be read: nothing of the request is done then, and the error names the line.
pub(crate) fn parse(body: &Bytes, index: Option<&str>) -> Result<Vec<Action>, Failure> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Failure::Parsing("request body is required".to_owned()));
    }
    let index = index.map(ByteString::from);
    let mut lines = Lines { rest: body, number: 0 };
    let mut actions = Vec::new();
    // Shippers say the same few things again and again: what was read of a line holds for another like it.
    let mut known: HashMap<&[u8], Action> = HashMap::new();
    let mut names: HashSet<ByteString> = HashSet::new();
    while let Some(line) = lines.next()? {
        // Elasticsearch passes over empty lines between actions.
        if line.is_empty() {
            continue;
        }
        if actions.len() == MAX_ACTIONS {
            return Err(Failure::IllegalArgument(format!("more than {MAX_ACTIONS} actions in one bulk request")));
        }
        let mut action = match known.get(line) {
            Some(action) => action.clone(),
            None => {
                let mut action = read_action(line, lines.number, index.as_ref())?;
                action.index = shared(action.index, &mut names);
                if action.id.is_none() && known.len() < MAX_KNOWN_LINES {
                    known.insert(line, action.clone());
                }
                action
            }
        };
        if action.operation.has_document() {
            let number = lines.number;
            let document = lines.next()?.filter(|document| !document.is_empty());
            let missing = || malformed(number, "the document that belongs to it is missing");
            action.document = body.slice_ref(document.ok_or_else(missing)?);
        }
        actions.push(action);
    }
    if actions.is_empty() {
        return Err(invalid("no requests added"));
    }
    Ok(actions)
}

/// A name that came before, in place of one like it.
fn shared(name: ByteString, known: &mut HashSet<ByteString>) -> ByteString {
    if let Some(same) = known.get(&name) {
        return same.clone();
    }
    if known.len() < MAX_KNOWN_LINES {
        known.insert(name.clone());
    }
    name
}

/// Lines of a body. Each must end, the last one too.
struct Lines<'b> {
    rest: &'b [u8],
    /// Of the line that was read last, from 1.
    number: usize,
}

impl<'b> Lines<'b> {
    fn next(&mut self) -> Result<Option<&'b [u8]>, Failure> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let Some(end) = memchr(b'\n', self.rest) else {
            let reason = "The bulk request must be terminated by a newline [\\n]";
            return Err(Failure::IllegalArgument(reason.to_owned()));
        };
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        self.number += 1;
        Ok(Some(line.strip_suffix(b"\r").unwrap_or(line)))
    }
}

fn malformed(line: usize, what: &str) -> Failure {
    Failure::IllegalArgument(format!("Malformed action/metadata line [{line}], {what}"))
}

fn invalid(what: &str) -> Failure {
    let reason = format!("Validation Failed: 1: {what};");
    Failure::elastic(StatusCode::BAD_REQUEST, "action_request_validation_exception", reason)
}

fn read_action(line: &[u8], number: usize, index: Option<&ByteString>) -> Result<Action, Failure> {
    let value: Value = serde_json::from_slice(line).map_err(|error| malformed(number, &error.to_string()))?;
    let Value::Object(action) = value else {
        return Err(malformed(number, &format!("expected START_OBJECT but found [{}]", token(&value))));
    };
    let mut members = action.into_iter();
    let Some((name, metadata)) = members.next() else {
        return Err(malformed(number, "expected FIELD_NAME but found [END_OBJECT]"));
    };
    let Some(operation) = Operation::parse(&name) else {
        let known = "expected field [create], [delete], [index] or [update]";
        return Err(malformed(number, &format!("{known} but found [{name}]")));
    };
    if members.next().is_some() {
        return Err(malformed(number, "expected END_OBJECT but found [FIELD_NAME]"));
    }
    let Value::Object(metadata) = metadata else {
        return Err(malformed(number, &format!("expected START_OBJECT but found [{}]", token(&metadata))));
    };
    let mut action =
        Action { operation, index: ByteString::new(), id: None, document: Bytes::new(), unsupported: None };
    let own_index = read_metadata(metadata, number, &mut action)?;
    action.index = match (own_index, index) {
        (Some(own), _) => own.into(),
        (None, Some(index)) => index.clone(),
        (None, None) => return Err(invalid(&format!("index is missing (line {number})"))),
    };
    Ok(action)
}

/// Reads what stands beside the operation; returns the index.
fn read_metadata(metadata: Map<String, Value>, number: usize, action: &mut Action) -> Result<Option<String>, Failure> {
    let mut index = None;
    for (name, value) in metadata {
        match name.as_str() {
            "_index" => index = text(value, number, &name)?,
            "_id" => action.id = text(value, number, &name)?.filter(|id| !id.is_empty()),
            "op_type" if action.operation == Operation::Index && value == "create" => {
                action.operation = Operation::Create
            }
            "if_seq_no" | "if_primary_term" | "version" | "version_type" if !value.is_null() => {
                action.unsupported =
                    Some("writes on condition of a version are not supported: events are never changed");
            }
            // Types are gone, and the others change nothing here.
            "_type"
            | "op_type"
            | "routing"
            | "_routing"
            | "pipeline"
            | "require_alias"
            | "require_data_stream"
            | "dynamic_templates"
            | "list_executed_pipelines"
            | "retry_on_conflict"
            | "_retry_on_conflict"
            | "_source"
            | "_source_includes"
            | "_source_excludes"
            | "fields"
            | "if_seq_no"
            | "if_primary_term"
            | "version"
            | "version_type" => {}
            _ => {
                let reason = format!("Action/metadata line [{number}] contains an unknown parameter [{name}]");
                return Err(Failure::IllegalArgument(reason));
            }
        }
    }
    Ok(index)
}

/// A text; numbers are taken as they stand.
fn text(value: Value, number: usize, name: &str) -> Result<Option<String>, Failure> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Number(value) => Ok(Some(value.to_string())),
        other => {
            Err(malformed(number, &format!("expected a simple value for field [{name}] but found [{}]", token(&other))))
        }
    }
}

/// Elasticsearch's name for what a value begins with.
fn token(value: &Value) -> &'static str {
    match value {
        Value::Null => "VALUE_NULL",
        Value::Bool(_) => "VALUE_BOOLEAN",
        Value::Number(_) => "VALUE_NUMBER",
        Value::String(_) => "VALUE_STRING",
        Value::Array(_) => "START_ARRAY",
        Value::Object(_) => "START_OBJECT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(body: &str) -> String {
        parse(&Bytes::from(body.to_owned()), Some("logs")).unwrap_err().to_string()
    }

    #[test]
    fn actions_and_documents_are_read() {
        let body = "{\"create\":{\"_index\":\"a\",\"_id\":7,\"pipeline\":\"p\"}}\n{\"x\":1}\r\n\n{\"index\":{}}\n{\"y\":2}\n\
                    {\"delete\":{\"_id\":\"z\"}}\n{\"update\":{\"_id\":\"u\"}}\n{\"doc\":{}}\n{\"index\":{\"op_type\":\"create\"}}\n{}\n";
        let body = Bytes::from(body);
        let actions = parse(&body, Some("path")).unwrap();
        let seen: Vec<_> = actions
            .iter()
            .map(|action| (action.operation.name(), &*action.index, action.id.as_deref(), &*action.document))
            .collect();
        assert_eq!(
            seen,
            [
                ("create", "a", Some("7"), &b"{\"x\":1}"[..]),
                ("index", "path", None, b"{\"y\":2}"),
                ("delete", "path", Some("z"), b""),
                ("update", "path", Some("u"), b"{\"doc\":{}}"),
                ("create", "path", None, b"{}"),
            ]
        );
    }

    #[test]
    fn errors_name_the_line() {
        let good = "{\"index\":{}}\n{}\n";
        assert_eq!(
            reason(&format!("{good}\"x\"\n{{}}\n")),
            "Malformed action/metadata line [3], expected START_OBJECT but found [VALUE_STRING]"
        );
        assert_eq!(
            reason("{\"indx\":{}}\n{}\n"),
            "Malformed action/metadata line [1], expected field [create], [delete], [index] or [update] but found [indx]"
        );
        assert!(reason(&format!("{good}{{\"index\":\n{{}}\n")).starts_with("Malformed action/metadata line [3], EOF"));
        assert_eq!(
            reason("{\"index\":{\"_idx\":1}}\n{}\n"),
            "Action/metadata line [1] contains an unknown parameter [_idx]"
        );
        assert_eq!(
            reason("{\"index\":{}}\n"),
            "Malformed action/metadata line [1], the document that belongs to it is missing"
        );
        assert_eq!(reason("{\"index\":{}}\n{}"), "The bulk request must be terminated by a newline [\\n]");
        assert_eq!(reason(" \n"), "request body is required");
        let error = parse(&Bytes::from_static(b"{\"index\":{}}\n{}\n"), None).unwrap_err();
        assert_eq!(error.kind(), "action_request_validation_exception");
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(lines in proptest::collection::vec("(\\{\"(index|create|delete)\":\\{\\}\\}|\\{\\}|.{0,12})\r?", 0..8)) {
            let mut body = lines.join("\n");
            body.push('\n');
            let body = Bytes::from(body);
            if let Ok(actions) = parse(&body, Some("logs")) {
                for action in actions {
                    proptest::prop_assert_eq!(action.document.is_empty(), action.operation == Operation::Delete);
                }
            }
        }
    }
}
