//! The engine against the reference interpreter: generated queries over generated events must find the same.
//!
//! `PROPTEST_CASES` sets the number of cases; the nightly run uses 100,000.

mod common;

use common::{Setup, agree};
use eqlipse_testkit::generate::case;
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
