//! The engine against the reference interpreter: generated queries over generated events must find the same.
//!
//! `PROPTEST_CASES` sets the number of cases; the nightly run uses 100,000.

mod common;

use common::{Setup, run};
use eqlipse_engine::CorrelateOptions;
use eqlipse_testkit::generate::{Case, case};
use eqlipse_testkit::interpreter::{Event, Interpreter, Match, Options};
use proptest::prelude::*;
use serde_json::Value;

/// Cases where `PROPTEST_CASES` says nothing.
const CASES: u32 = 2_000;

fn expected(case: &Case) -> Vec<Match> {
    let events: Vec<Event<'_>> = case
        .events
        .iter()
        .enumerate()
        .map(|(index, doc)| Event { doc, arrival: (0, index as u64), order: None })
        .collect();
    Interpreter::new(Options { end: case.end, ..Options::default() }).run(&case.query, &events)
}

/// Keys with each number as its exact value: 5 and 5.0 are the same key.
fn canonical(mut found: Vec<Match>) -> Vec<Match> {
    for found in &mut found {
        let counted = found.counted.iter_mut().flat_map(|counted| &mut counted.key);
        for key in found.join_keys.iter_mut().chain(counted) {
            if let Some(number) = key.as_f64().filter(|number| number.fract() == 0.0 && !key.is_i64() && !key.is_u64())
            {
                // -0.0 is 0.
                *key = Value::String(format!("{:.0}", number + 0.0));
            } else if key.is_number() {
                *key = Value::String(key.to_string());
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES),
        failure_persistence: None,
        max_shrink_iters: 1_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn engine_and_interpreter_agree(case in case(), batch_rows in 1usize..40, collectors in 1usize..4) {
        let correlate = CorrelateOptions { end: case.end, ..CorrelateOptions::default() };
        let setup = Setup { batch_rows, collectors, correlate, ..Setup::default() };
        let found = run(&[&case.query], &case.events, None, &setup).remove(0);
        prop_assert_eq!(canonical(found), canonical(expected(&case)), "{}", case.query);
    }
}
