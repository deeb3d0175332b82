use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::*;
use crate::interpreter::{Event, Interpreter};

#[test]
fn fields_have_the_types_of_the_catalogue() {
    for (name, ty) in FIELDS {
        assert_eq!(eqlipse_ecs::field_type(name).unwrap_or(FieldType::Dynamic), *ty, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn queries_parse_back_and_pass_the_check(query in query()) {
        let text = query.to_string();
        let parsed = eqlipse_eql::parse_with(&text, eqlipse_eql::Dialect::Extended).map_err(|errors| {
            TestCaseError::fail(format!("{text}\n{}", errors[0].message))
        })?;
        prop_assert!(parsed.eq_ignoring_spans(&query), "{text}\n{parsed}");
        let found = eqlipse_eql::check(&parsed, &eqlipse_eql::Catalogue);
        let errors: Vec<_> = found.iter().filter(|found| found.is_error()).map(|found| &found.message).collect();
        prop_assert!(errors.is_empty(), "{text}\n{errors:?}");
    }
}

#[test]
fn queries_find_something_and_never_panic() {
    let interpreter = Interpreter::default();
    let found = [(); 3].map(|()| Cell::new(0));
    let cases = 3_000;
    // The same cases each time: how many find something is counted, and must not be left to chance.
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let outcome = runner.run(&case(), |case| {
        let events: Vec<_> = (case.events.iter().zip(0..))
            .map(|(doc, position)| Event { doc, arrival: (0, position), order: None })
            .collect();
        let kind = match case.query.body {
            eqlipse_eql::ast::Body::Event(_) => 0,
            eqlipse_eql::ast::Body::Sequence(_) => 1,
            eqlipse_eql::ast::Body::Sample(_) => 2,
        };
        if !interpreter.run(&case.query, &events).is_empty() {
            found[kind].set(found[kind].get() + 1);
        }
        Ok(())
    });
    outcome.unwrap();
    let found = found.map(Cell::into_inner);
    println!("of {cases} queries found something: {found:?} (events, sequences, samples)");
    assert!(found.iter().all(|count| *count > 100), "{found:?}");
}
