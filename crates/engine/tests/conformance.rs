//! Elasticsearch's published EQL specs, run through the engine.

mod common;

use std::sync::Arc;

use common::{Setup, run};
use eqlipse_engine::compile::{ProcessEvents, constant};
use eqlipse_engine::script::Scalar;
use eqlipse_testkit::corpus;
use eqlipse_testkit::interpreter;
use eqlipse_testkit::specs::{self, Setting};
use serde_json::{Value, json};

fn setup(setting: &Setting, batch_rows: usize) -> Setup {
    let types = setting.types.clone();
    Setup {
        category_field: setting.category.into(),
        timestamp_field: setting.timestamp.into(),
        tiebreaker_field: setting.tiebreaker.map(str::to_owned),
        types: Arc::new(move |name| types.get(name).copied()),
        batch_rows,
        collectors: 2,
        processes: processes(&setting.processes),
        ..Setup::default()
    }
}

fn processes(events: &interpreter::ProcessEvents) -> ProcessEvents {
    let interpreter::ProcessEvents { id_field, parent_field, start, end } = events.clone();
    ProcessEvents { id_field, parent_field, start, end }
}

fn json_of(value: &Scalar<'_>) -> Value {
    match value {
        Scalar::Null => Value::Null,
        Scalar::Bool(value) => json!(value),
        Scalar::Int(value) => json!(value),
        Scalar::Double(value) => json!(value),
        other => json!(other.text()),
    }
}

#[test]
fn the_engine_passes_the_specs() {
    let Some(folder) = corpus("EQL specs", "conformance/eql") else { return };
    for batch_rows in [7, 16_384] {
        specs::check_all(
            &folder,
            &|setting, query| {
                run(&[query], &setting.docs, setting.orders.as_deref(), &setup(setting, batch_rows)).remove(0)
            },
            &|expr| constant(expr).map_or_else(|error| json!(error.to_string()), |value| json_of(&value)),
        );
    }
}
