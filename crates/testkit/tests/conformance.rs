//! Elasticsearch's published EQL specs, run through the reference interpreter. `docs/compatibility.md` lists what does
//! not pass; `EQLIPSE_BLESS=1 cargo test` rewrites that list.

use eqlipse_ecs::FieldType;
use eqlipse_eql::ast::{Expr, Query};
use eqlipse_testkit::corpus;
use eqlipse_testkit::interpreter::{Event, Interpreter, Match, Options, Val};
use eqlipse_testkit::specs::{self, Setting};
use serde_json::{Value, json};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compatibility.md");
/// What stands before the list of specs, which ends the page.
const LIST_BEGINS: &str = "of queries that do not pass:\n\n";

fn run(setting: &Setting, query: &Query) -> Vec<Match> {
    let types = setting.types.clone();
    let interpreter = Interpreter::new(Options {
        category_field: setting.category.into(),
        timestamp_field: setting.timestamp.into(),
        tiebreaker_field: setting.tiebreaker.map(str::to_owned),
        types: Box::new(move |name| types.get(name).copied().unwrap_or(FieldType::Dynamic)),
        processes: setting.processes.clone(),
        ..Options::default()
    });
    let order = |index: usize| setting.orders.as_ref().map(|orders| orders[index]);
    let events = setting.docs.iter().enumerate();
    let events: Vec<_> =
        events.map(|(index, doc)| Event { doc, arrival: (0, index as u64), order: order(index) }).collect();
    interpreter.run(query, &events)
}

fn constant(expr: &Expr) -> Value {
    match Interpreter::default().constant(expr) {
        Ok(Val::Null) => Value::Null,
        Ok(Val::Bool(value)) => json!(value),
        Ok(Val::Int(value)) => json!(value),
        Ok(Val::Double(value)) => json!(value),
        Ok(other) => json!(other.text()),
        Err(error) => json!(format!("{error:?}")),
    }
}

#[test]
fn the_interpreter_passes_the_specs() {
    let Some(folder) = corpus("EQL specs", "conformance/eql") else { return };
    let listed = specs::check_all(&folder, &run, &constant);
    let page = std::fs::read_to_string(PAGE).expect("docs/compatibility.md");
    let (before, list) = page.split_once(LIST_BEGINS).expect("the list of specs");
    if std::env::var_os("EQLIPSE_BLESS").is_some() {
        std::fs::write(PAGE, format!("{before}{LIST_BEGINS}{listed}")).expect("docs/compatibility.md can be written");
        return;
    }
    assert_eq!(list, listed, "EQLIPSE_BLESS=1 rewrites the list");
}
