//! The engine against the reference interpreter: generated queries over generated events must find the same.
//!
//! `PROPTEST_CASES` sets the number of cases; the nightly run uses 100,000.

mod common;

use common::{Setup, agree, run};
use eqlipse_testkit::generate::{Case, case};
use proptest::prelude::*;

/// Cases where `PROPTEST_CASES` says nothing.
const CASES: u32 = 2_000;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(CASES),
        failure_persistence: None,
        max_shrink_iters: 1_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn engine_and_interpreter_agree(
        case in case(),
        batch_rows in 1usize..40,
        collectors in 1usize..4,
        memory_limit in prop_oneof![Just(usize::MAX), Just(0), 200usize..4_000],
        lists: bool,
    ) {
        let setup = Setup { batch_rows, collectors, memory_limit, lists, ..Setup::default() };
        agree(&case, setup).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn lists_that_ignore_case_find_what_lists_with_case_find() {
    let field = |name: &str, values: &[serde_json::Value]| -> Vec<serde_json::Value> {
        values.iter().map(|value| serde_json::json!({ "@timestamp": "2024-01-02T03:04:05Z", name: value })).collect()
    };
    let values = serde_json::json!([true, "true", "TRUE", 1e30, "1E30", 5, "Ab", "aB"]);
    let events =
        [field("custom.mixed", values.as_array().unwrap()), field("dll.code_signature.exists", &[true.into()])];
    let events = events.concat();
    let texts = ["TRUE", "true", "1E30", "1e30", "5", "AB"];
    let subjects = ["custom.mixed", "dll.code_signature.exists", "string(custom.mixed)"];
    for (subject, text) in subjects.iter().flat_map(|subject| texts.map(|text| (subject, text))) {
        let parse = |query: &str| eqlipse_eql::parse(query).unwrap_or_else(|e| panic!("{query}: {}", e[0].message));
        let only_with_case = format!("any where {subject} in (\"{text}\") and not {subject} in~ (\"{text}\")");
        let found = run(&[&parse(&only_with_case)], &events, None, &Setup::default()).remove(0);
        assert!(found.is_empty(), "{only_with_case}: {found:?}");
        for query in [
            format!("any where {subject} in~ (\"{text}\")"),
            format!("any where not ({subject} in~ (\"{text}\") or event.category == \"\")"),
        ] {
            agree(&Case { query: parse(&query), events: events.clone(), end: None }, Setup::default()).unwrap();
        }
    }
}
