//! However a hunt runs, on how many threads, in batches of what size, with how much memory, it finds what the reference
//! interpreter finds.

mod common;

use std::collections::BTreeSet;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use common::{events, found, interpret};
use eqlipse_events::{DiscoverOptions, OrderBy, Progress, discover};
use eqlipse_fleet::Stream;
use eqlipse_hunt::{HuntOptions, RuleBook, run};
use eqlipse_rules::{PathOrStdin, load};
use eqlipse_testkit::corpus;

/// Enough for two planted attacks.
const EVENTS: usize = 6_000;

fn check(rules: &Path, inputs: &[PathBuf], windows: bool) {
    let book = RuleBook::compile(load(&[PathOrStdin::Path(rules.to_owned())]), |_| true, false);
    assert!(book.report().unloaded.is_empty(), "{:?}", book.report().unloaded);
    let inputs = discover(inputs, DiscoverOptions::default());
    let expected = interpret(book.rules(), &events(&inputs, windows, OrderBy::Log));
    assert!(!expected.is_empty());
    let mut alerts = BTreeSet::new();
    for jobs in [1, 2, 5] {
        for batch_rows in [1, 61, 16_384] {
            for memory_limit in [0, 64 << 10, usize::MAX] {
                let jobs = NonZeroUsize::new(jobs).unwrap();
                let options = HuntOptions { jobs, batch_rows, memory_limit, ..HuntOptions::default() };
                let report = run(&book, &inputs, &options, &Progress::default()).unwrap();
                let how = format!("{jobs} jobs, {batch_rows} rows a batch, {memory_limit} bytes");
                let found = found(&report.alerts);
                let ids: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
                for id in ids {
                    assert_eq!(found.get(id), expected.get(id), "rule {id} with {how}");
                }
                let ids: Vec<String> = report.alerts.iter().map(|alert| alert.id.clone()).collect();
                alerts.insert(ids);
            }
        }
    }
    assert_eq!(alerts.len(), 1, "the same alerts in the same order");
}

/// The generated stream in a file.
fn stream(folder: &Path) -> PathBuf {
    let path = folder.join("events.ndjson");
    let mut out = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
    Stream::new(3, 12).take(EVENTS).for_each(|line| writeln!(out, "{line}").unwrap());
    path
}

#[test]
fn the_bundled_rules_over_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules");
    check(&rules, &[stream(folder.path())], false);
}

#[test]
fn elastics_rules_over_the_stream() {
    let Some(rules) = corpus("Elastic's rules over the stream", "rules/elastic-detection-rules") else { return };
    let folder = tempfile::tempdir().unwrap();
    check(&rules, &[stream(folder.path())], false);
}

#[test]
fn elastics_rules_over_event_logs() {
    let Some(root) = corpus("Elastic's rules over event logs in every way", "") else { return };
    let logs = root.join("data/evtx-attack-samples/Execution");
    check(&root.join("rules/elastic-detection-rules"), &[logs], true);
}
