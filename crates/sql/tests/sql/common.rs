//! Stores and queries for tests.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use eqlipse_engine::{CompileOptions, MatchPlan, RuleSetBuilder};
use eqlipse_sql::{Events, SqlColumn, SqlEngine, SqlError, SqlLimits, SqlOptions, SqlPart};
use eqlipse_store::{NewDocument, Store, StoreOptions, StoreRules};
use serde_json::Value;

/// When tests ingest.
pub const NOW: i64 = 1_800_000_000_000_000_000;

pub fn engine() -> SqlEngine {
    engine_with(256 << 20)
}

pub fn engine_with(memory: usize) -> SqlEngine {
    SqlEngine::new(SqlOptions { threads: 2, memory, memory_setting: "test.memory", may_spill: false }).unwrap()
}

/// A store that no rule looks at.
pub fn open(folder: &Path) -> Store {
    let mut builder = RuleSetBuilder::new(CompileOptions::default());
    eqlipse_events::reserve(builder.schema_mut());
    let plan = Arc::new(MatchPlan::new(Arc::new(builder.build())));
    let options = StoreOptions { flush_age: Duration::from_secs(3600), ..StoreOptions::default() };
    Store::open(folder, options, Arc::new(StoreRules::new(plan, Vec::new()))).unwrap().0
}

pub fn ingest(store: &Store, index: &str, documents: &[Value]) {
    let new = |document: &Value| NewDocument {
        index: index.to_owned().into(),
        id: None,
        document: document.to_string().into(),
    };
    for result in store.ingest(documents.iter().map(new).collect::<Vec<_>>(), NOW).unwrap() {
        result.unwrap();
    }
}

/// What came of a query.
#[derive(Debug, Default)]
pub struct Answer {
    pub columns: Vec<SqlColumn>,
    pub rows: Vec<Vec<Value>>,
    pub cut: Option<usize>,
}

pub fn try_ask(engine: &SqlEngine, events: Events, sql: &str, limits: SqlLimits) -> Result<Answer, SqlError> {
    let mut run = engine.start(events, sql, limits);
    let mut answer = Answer::default();
    while let Some(part) = run.blocking_next() {
        match part? {
            SqlPart::Columns(columns) => answer.columns = columns,
            SqlPart::Rows(rows) => answer.rows.extend(rows),
            SqlPart::Cut(limit) => answer.cut = Some(limit),
        }
    }
    Ok(answer)
}

/// The rows of a query over a store.
pub fn rows(store: &Store, sql: &str) -> Vec<Vec<Value>> {
    let answer = try_ask(&engine(), Events::of_snapshot(&store.snapshot()), sql, SqlLimits::default());
    answer.unwrap_or_else(|error| panic!("{sql}: {error}")).rows
}

/// The error of a query over a store.
pub fn error(store: &Store, sql: &str) -> String {
    let answer = try_ask(&engine(), Events::of_snapshot(&store.snapshot()), sql, SqlLimits::default());
    answer.expect_err(sql).to_string()
}
