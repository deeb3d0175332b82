//! The type checker and the rule compiler: whatever parses is checked, compiled or refused, and never fails.
#![no_main]

use eqlipse_engine::compile::{CompileOptions, Scope};
use eqlipse_engine::{MatchPlan, RuleSetBuilder};
use eqlipse_eql::{Catalogue, Dialect, check, parse_with};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(query) = parse_with(text, Dialect::Extended) else { return };
    for diagnostic in check(&query, &Catalogue) {
        diagnostic.render(text, "query", false);
    }
    let mut rules = RuleSetBuilder::new(CompileOptions::default());
    if rules.add(&query, &Scope::default()).is_ok() {
        MatchPlan::new(std::sync::Arc::new(rules.build()));
    }
});
