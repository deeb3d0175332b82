//! The engine against the reference interpreter. The first line is a query, the second a number of batch sizes and the
//! like, and each other line an event; what is no query of the right types, or no JSON, is passed over.
#![no_main]

#[path = "../../crates/engine/tests/common/mod.rs"]
mod common;

use common::{Setup, agree};
use eqlipse_engine::RuleSetBuilder;
use eqlipse_engine::compile::{CompileOptions, Scope};
use eqlipse_eql::{Catalogue, Dialect, check, parse_with};
use eqlipse_testkit::generate::Case;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const MOST_EVENTS: usize = 40;
const SECOND: i64 = 1_000_000_000;

fuzz_target!(|text: &str| {
    let mut lines = text.lines();
    let (Some(query), Some(sizes)) = (lines.next(), lines.next()) else { return };
    let Ok(query) = parse_with(query, Dialect::Extended) else { return };
    let mut rules = RuleSetBuilder::new(CompileOptions::default());
    let refused = check(&query, &Catalogue).iter().any(|diagnostic| diagnostic.is_error());
    if refused || rules.add(&query, &Scope::default()).is_err() {
        return;
    }
    let events: Vec<Value> = lines.take(MOST_EVENTS).filter_map(|line| serde_json::from_str(line).ok()).collect();
    let sizes: Vec<i64> = sizes.split(' ').map(|number| number.parse().unwrap_or(0)).collect();
    let size = |index: usize, most: i64| sizes.get(index).map_or(0, |size| size.rem_euclid(most));
    let setup = Setup { batch_rows: size(0, 40) as usize + 1, collectors: size(1, 3) as usize + 1, ..Setup::default() };
    let end = sizes.get(2).map(|second| second.saturating_mul(SECOND));
    if let Err(difference) = agree(&Case { query, events, end }, setup) {
        panic!("{difference}");
    }
});
