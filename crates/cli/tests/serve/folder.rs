//! Watched folders: files that are dropped in and files that grow, each event once, also over a restart.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::time::Duration;

use crate::bench::{Bench, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

/// A document of a line.
fn line(number: u32) -> String {
    format!("{{\"@timestamp\":\"2026-03-01T12:00:00Z\",\"n\":{number}}}\n")
}

/// How many events are in the store, of a service that does not run.
fn stored(bench: &Bench) -> Vec<u64> {
    let mut numbers: Vec<u64> = bench.export().iter().filter_map(|hit| hit["_source"]["n"].as_u64()).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn files_are_read_as_they_come_and_grow() {
    let bench = Bench::new();
    let folder = bench.path("in");
    let config = bench.file("eqlipse.toml", format!("[[input.folder]]\npath = {folder:?}\npoll = \"50ms\"\n"));
    let bench = bench.set("EQLIPSE_CONFIG", &config.display().to_string());
    let grows = bench.file("in/grows.ndjson", [line(0), line(1), line(2)[..20].to_owned()].concat());
    let notes = bench.data("inputs-0.json");
    let is_noted = |offset: usize| {
        let noted = fs::read_to_string(&notes).unwrap_or_default();
        if noted.contains(&format!("\"offset\":{offset},")) { Ok(()) } else { Err(noted) }
    };

    let service = bench.start();
    wait_until(PATIENCE, || is_noted(line(0).len() * 2));
    let mut file = OpenOptions::new().append(true).open(&grows).unwrap();
    file.write_all(&line(2).as_bytes()[20..]).unwrap();
    wait_until(PATIENCE, || is_noted(line(0).len() * 3));
    service.stop();
    assert_eq!(stored(&bench), [0, 1, 2]);

    // What was read is noted after it was stored: without the note, it is read again, and there once.
    fs::remove_file(&notes).unwrap();
    file.write_all(line(3).as_bytes()).unwrap();
    bench.file("in/packed.json", "[{\"@timestamp\":\"2026-03-01T12:00:00Z\",\"n\":4},\n {\"n\":5}]");
    bench.file("in/last.ndjson", [line(6), line(7)].concat().trim_end());
    let service = bench.start();
    wait_until(PATIENCE, || is_noted(line(0).len() * 4));
    wait_until(PATIENCE, || is_noted(line(0).len() * 2 - 1));
    wait_until(PATIENCE, || {
        let noted = fs::read_to_string(&notes).unwrap_or_default();
        if noted.contains("packed.json") { Ok(()) } else { Err(noted) }
    });
    service.stop();
    assert_eq!(stored(&bench), [0, 1, 2, 3, 4, 5, 6, 7]);
}
