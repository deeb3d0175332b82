//! Reads real logs.

mod common;

use std::collections::BTreeMap;
use std::time::Instant;

use common::{FIELDS, options, read_rows, schema};
use eqlipse_events::{DiscoverOptions, discover};
use eqlipse_testkit::corpus;

#[test]
fn attack_samples() {
    let Some(path) = corpus("the EVTX attack samples", "data/evtx-attack-samples") else { return };
    let discovery = discover(&[path], DiscoverOptions::default());
    let (rows, report) = read_rows(&discovery, &schema(&FIELDS), &options(2, 16_384));
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!(report.inputs.len(), 277);
    assert_eq!(report.events, 8_255);
    let skipped: u64 = report.inputs.iter().map(|input| input.skipped).sum();
    assert_eq!(skipped, 0);
    for row in &rows {
        let json = row.json();
        assert!(json["_source"]["@timestamp"].is_string());
        assert!(row.order.time.is_some() && row.order.tiebreaker.is_some() && row.identity.is_some());
    }
}

#[test]
fn everything() {
    let Some(path) = corpus("all data", "data") else { return };
    let discovery = discover(&[path], DiscoverOptions::default());
    let start = Instant::now();
    let (rows, report) = read_rows(&discovery, &schema(&FIELDS), &options(2, 16_384));
    let mut formats: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for input in &report.inputs {
        let (inputs, events, skipped) = formats.entry(&input.format).or_default();
        *inputs += 1;
        *events += input.events;
        *skipped += input.skipped;
        for record in &input.first_skipped {
            eprintln!("{}: {}: {}", input.name, record.place, record.reason);
        }
    }
    for (format, (inputs, events, skipped)) in &formats {
        eprintln!("{format}: {inputs} inputs, {events} events, {skipped} skipped");
    }
    eprintln!("{} other files; {:?}; {:?}", report.not_logs, start.elapsed(), report.problems);
    assert!(report.problems.is_empty());
    assert!(report.events > 100_000);
    for row in rows {
        row.json();
    }
}
