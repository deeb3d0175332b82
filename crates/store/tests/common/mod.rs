//! What the tests share: two rules, what they find, and the data folder of a process that is killed.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use eqlipse_engine::{
    CompileOptions, CorrelateOptions, ListQuery, ListView, MatchPlan, RuleIndex, RuleSetBuilder, Scope,
};
use eqlipse_store::{Snapshot, StoreRules, TimeRange};

pub const SECOND: i64 = 1_000_000_000;
pub const EVENTS: &str = "process where process.name == \"a\"";
pub const SEQUENCE: &str =
    "sequence by process.pid [process where process.name == \"a\"] [process where process.name == \"b\"]";

pub fn rules(queries: &[&str]) -> Arc<StoreRules> {
    let mut builder = RuleSetBuilder::new(CompileOptions::default());
    eqlipse_events::reserve(builder.schema_mut());
    for query in queries {
        builder.add(&eqlipse_eql::parse(query).unwrap(), &Scope::default()).unwrap();
    }
    let fingerprint = |query: &&str| query.bytes().fold(7u128, |hash, byte| hash.wrapping_mul(257) + u128::from(byte));
    let fingerprints = queries.iter().map(fingerprint).collect();
    Arc::new(StoreRules::new(Arc::new(MatchPlan::new(Arc::new(builder.build()))), fingerprints))
}

/// What each rule finds in a snapshot: the seconds of the events.
pub fn found(snapshot: &Snapshot, rules: &Arc<StoreRules>) -> Vec<Vec<i64>> {
    let parts: Vec<_> = snapshot.parts(&TimeRange::default()).cloned().collect();
    let lists: Vec<_> = parts.iter().flat_map(|part| part.lists().unwrap()).collect();
    let lists: Vec<_> = lists.iter().map(|list| ListView { list, has_news: false }).collect();
    let set = rules.plan.rules();
    let which: Vec<RuleIndex> = (0..rules.fingerprints.len() as u32).map(RuleIndex).collect();
    let keep = |_: usize, _: u32, event: &eqlipse_engine::correlate::MatchedEvent| Some(event.handle);
    let (fingerprints, options) = (&rules.fingerprints, &CorrelateOptions::default());
    let found = ListQuery { rules: set, fingerprints, which: &which, lists: &lists, options }.all(keep);
    let mut times = vec![Vec::new(); which.len()];
    for detection in &found.detections {
        let events = detection.events.iter().flatten();
        let seconds = events.map(|event| found.matched.events()[*event as usize].order.time.unwrap() / SECOND);
        times[detection.rule.0 as usize].extend(seconds);
    }
    times
}

pub fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => {
                fs::create_dir_all(&target).unwrap();
                copy_folder(&entry.path(), &target);
            }
            false => _ = fs::copy(entry.path(), target).unwrap(),
        }
    }
}
