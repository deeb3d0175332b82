//! Random queries and events for property tests: everything the language has, over a few fields, with values drawn
//! from small pools so that queries often match.
//!
//! The queries have the shape that the parser gives (every one parses back from its text to the same tree, spans
//! aside) and pass the type check.

mod build;
mod events;
mod expressions;
mod pools;
mod queries;

#[cfg(test)]
mod tests;

use eqlipse_ecs::FieldType;
use eqlipse_eql::ast::Query;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::Value;

pub use build::*;
pub use events::{event, events};
pub use expressions::{boolean, condition, number, text};
pub use queries::{event_query, query, sample, sequence};

/// The fields that queries name and events have, with their types. The `custom` ones are in no catalogue.
pub const FIELDS: &[(&str, FieldType)] = &[
    ("event.category", FieldType::Keyword),
    ("event.action", FieldType::Keyword),
    ("event.type", FieldType::Keyword),
    ("host.id", FieldType::Keyword),
    ("process.entity_id", FieldType::Keyword),
    ("process.parent.entity_id", FieldType::Keyword),
    ("process.name", FieldType::Keyword),
    ("process.command_line", FieldType::Keyword),
    ("process.pid", FieldType::Long),
    ("process.exit_code", FieldType::Long),
    ("event.risk_score", FieldType::Double),
    ("dll.code_signature.exists", FieldType::Boolean),
    ("event.created", FieldType::Date),
    ("source.ip", FieldType::Ip),
    ("custom.text", FieldType::Dynamic),
    ("custom.mixed", FieldType::Dynamic),
];

/// A query and the events it runs over, in order of arrival.
#[derive(Clone, Debug)]
pub struct Case {
    /// The query; its text is `query.to_string()`.
    pub query: Query,
    /// The documents.
    pub events: Vec<Value>,
    /// The time after which more events may come; see [`Options::end`](crate::interpreter::Options::end).
    pub end: Option<i64>,
}

/// Some cases, the same each time.
///
/// # Panics
/// If the generators refuse almost everything.
pub fn samples(count: usize) -> Vec<Case> {
    let mut runner = TestRunner::deterministic();
    let mut next = || case().new_tree(&mut runner).expect("a case can be generated").current();
    std::iter::repeat_with(&mut next).take(count).collect()
}

/// Any query over some events; some are of processes and their relations alone.
pub fn case() -> impl Strategy<Value = Case> {
    let any = (query(), events()).boxed();
    let of_processes = (queries::of_processes(), events::of_processes()).boxed();
    (prop_oneof![8 => any, 1 => of_processes], events::end()).prop_map(|((query, events), end)| Case {
        query,
        events,
        end,
    })
}
