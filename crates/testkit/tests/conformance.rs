//! Elasticsearch's published EQL specs, run through the reference interpreter.

use eqlipse_ecs::FieldType;
use eqlipse_eql::ast::{Expr, Query};
use eqlipse_testkit::interpreter::{Event, Interpreter, Match, Options, Val};
use eqlipse_testkit::specs::{self, Setting};
use serde_json::{Value, json};

fn run(setting: &Setting, query: &Query) -> Vec<Match> {
    let types = setting.types.clone();
    let interpreter = Interpreter::new(Options {
        category_field: setting.category.into(),
        timestamp_field: setting.timestamp.into(),
        tiebreaker_field: setting.tiebreaker.map(str::to_owned),
        types: Box::new(move |name| types.get(name).copied().unwrap_or(FieldType::Dynamic)),
        max_samples_per_key: 1,
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
    if let Some(folder) = specs::corpus() {
        specs::check_all(&folder, &run, &constant);
    }
}
