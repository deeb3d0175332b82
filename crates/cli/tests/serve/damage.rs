//! Damaged files: said, kept apart, and the rest is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::{Bench, now, wait_until};

const INDEX: &str = "logs-a-default";
const OTHER: &str = "logs-b-default";

fn bench() -> Bench {
    // Nothing is written to segments unless the service stops in order.
    Bench::new()
        .rule("named", "any where process.name : \"*.exe\"", 1_000)
        .set("EQLIPSE_STORE_FLUSH_AGE", "1h")
        .set("EQLIPSE_SCHEDULE_TICK", "200ms")
}

fn events(name: &str) -> Vec<Value> {
    let event = |number: u32| {
        json!({
            "@timestamp": now(),
            "event": { "category": "process" },
            "process": { "name": format!("{name}.exe"), "pid": number, "command_line": format!("{name} --x {number}") },
        })
    };
    (0..5).map(event).collect()
}

/// The names of the stored programs, each once.
fn names(bench: &Bench) -> Vec<String> {
    let mut names: Vec<String> = bench
        .export()
        .iter()
        .map(|hit| hit["_source"]["process"]["name"].as_str().expect("a name").to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a name")
}

/// Changes a byte in the middle of a part of a file.
fn spoil(path: &Path, from: usize, to: usize) {
    let mut bytes = fs::read(path).expect("the file");
    let middle = (from + to.min(bytes.len())) / 2;
    bytes[middle] ^= 0x20;
    fs::write(path, bytes).expect("the file");
}

/// Overwrites all of a Parquet file but its footer, so that whoever reads it must notice.
fn ruin(path: &Path) {
    let mut bytes = fs::read(path).expect("the file");
    let end = bytes.len() - 8;
    let footer = u32::from_le_bytes(bytes[end..end + 4].try_into().expect("four bytes"));
    bytes[4..end - footer as usize].fill(0xff);
    fs::write(path, bytes).expect("the file");
}

/// A bench whose log has three frames, the log, and where they begin.
fn killed() -> (Bench, PathBuf, Vec<usize>) {
    let bench = bench();
    let service = bench.start();
    ["a", "b", "c"].iter().for_each(|name| service.bulk(INDEX, &events(name)));
    service.kill();
    let logs = bench.files("events/log", "log");
    assert_eq!(logs.len(), 1, "{logs:?}");
    let bytes = fs::read(&logs[0]).expect("the log");
    let starts = (0..bytes.len() - 4).filter(|at| bytes[*at..*at + 4] == bytes[..4]);
    let starts: Vec<usize> = starts.collect();
    assert_eq!(starts.len(), 3);
    (bench, logs[0].clone(), starts)
}

#[test]
fn a_torn_end_of_the_log_is_cut_off() {
    let (bench, log, starts) = killed();
    let mut bytes = fs::read(&log).expect("the log");
    // It would stand in place of the zeros that fill the last block up. A frame says how long it is behind its first 12 bytes.
    let length = bytes[starts[2] + 4..starts[2] + 8].try_into().map(u32::from_le_bytes).expect("four bytes");
    bytes.truncate(starts[2] + 12 + length as usize);
    let torn = bytes[starts[1]..starts[2] - 7].to_vec();
    bytes.extend(&torn);
    fs::write(&log, bytes).expect("the log");
    let service = bench.start();
    assert_eq!(service.count(INDEX), 15);
    let said = service.log();
    assert!(
        said.contains(&format!("{} bytes", torn.len())) || said.contains(&format!("bytes={}", torn.len())),
        "{said}"
    );
    // It goes on.
    service.bulk(INDEX, &events("d"));
    service.wait_for_signals("named", 20);
    service.stop();
    assert_eq!(names(&bench), ["a.exe", "b.exe", "c.exe", "d.exe"]);
}

#[test]
fn damage_in_the_log_costs_its_request_only() {
    let (bench, log, starts) = killed();
    spoil(&log, starts[1] + 40, starts[2]);
    let service = bench.start();
    assert_eq!(service.count(INDEX), 10);
    let copy = bench.data("events/quarantine").join(file_name(&log));
    assert!(copy.exists());
    let said = service.log();
    assert!(said.contains("ERROR") && said.contains(&copy.display().to_string()), "{said}");
    service.wait_for_signals("named", 10);
    service.stop();
    assert_eq!(names(&bench), ["a.exe", "c.exe"]);
}

/// A bench with a segment of two data streams each.
fn stopped() -> Bench {
    let bench = bench();
    let service = bench.start();
    service.bulk(INDEX, &events("a"));
    service.bulk(OTHER, &events("b"));
    service.wait_for_signals("named", 10);
    service.stop();
    assert_eq!(bench.files("events/segments", "parquet").len(), 2);
    let (_, err, code) = bench.store("check");
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("2 segments, 0 damaged"), "{err}");
    bench
}

#[test]
fn a_damaged_segment_is_named_and_the_rest_is_there() {
    let bench = stopped();
    let damaged = bench.files("events/segments/logs-a-default", "parquet").remove(0);
    spoil(&damaged, 0, usize::MAX);
    let (_, err, code) = bench.store("check");
    assert_eq!(code, 1, "{err}");
    assert!(err.contains(file_name(&damaged)) && err.contains("checksum"), "{err}");
    assert!(err.contains("in quarantine") && quarantine(&bench, &damaged).exists() && !damaged.exists(), "{err}");
    goes_on(&bench, &damaged);
}

#[test]
fn a_segment_that_a_rule_finds_damaged_is_put_into_quarantine() {
    let bench = stopped();
    let damaged = bench.files("events/segments/logs-a-default", "parquet").remove(0);
    ruin(&damaged);
    goes_on(&bench, &damaged);
    assert!(quarantine(&bench, &damaged).exists() && !damaged.exists());
    let (_, err, code) = bench.store("check");
    assert!(code == 1 && err.contains("in quarantine"), "{err}");
    // The execution that met it says so.
    let met = |execution: &eqlipse_control::Execution| execution.message.contains(file_name(&damaged));
    assert!(bench.ledger("named").iter().any(met));
}

#[test]
fn a_damaged_segment_is_not_put_together_with_others() {
    let bench = bench().set("EQLIPSE_STORE_FLUSH_AGE", "100ms");
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
        let service = bench.start();
        service.bulk(INDEX, &events(name));
        service.stop();
    }
    let segments = bench.files("events/segments", "parquet");
    assert!(segments.len() > 7, "{segments:?}");
    let damaged = &segments[2];
    spoil(damaged, 0, usize::MAX);
    let kept = quarantine(&bench, damaged);
    let service = bench.start();
    // Events are written to segments again and again, after which those that are small are put together.
    let left = wait_until(Duration::from_secs(20), || {
        service.bulk(INDEX, &events("j"));
        let left = bench.files("events/segments", "parquet");
        if left.len() < 7 && kept.exists() { Ok(left) } else { Err(format!("{left:?}\n{}", service.log())) }
    });
    assert!(!left.contains(damaged), "{left:?}");
    wait_until(Duration::from_secs(5), || match service.send("GET", "/health/ready", "") {
        answer if answer.status == 200 && answer.text().contains("quarantine") => Ok(()),
        answer => Err(answer.text()),
    });
    service.stop();
    let (_, err, code) = bench.store("check");
    assert_eq!((code, err.matches("in quarantine").count()), (1, 1), "{err}");
    assert!(err.contains(file_name(damaged)), "{err}");
}

#[test]
fn damaged_matches_are_named_and_the_rest_is_there() {
    let bench = stopped();
    let damaged = bench.files("events/segments/logs-a-default", "rows").remove(0);
    spoil(&damaged, 24, usize::MAX);
    let (_, err, code) = bench.store("check");
    assert_eq!(code, 1, "{err}");
    assert!(err.contains(file_name(&damaged)) && err.contains("damaged"), "{err}");
    // It was made anew.
    let (_, err, code) = bench.store("check");
    assert_eq!(code, 0, "{err}");
    spoil(&damaged, 24, usize::MAX);
    goes_on(&bench, &damaged);
    let (_, err, code) = bench.store("check");
    assert_eq!(code, 0, "{err}");
    assert_eq!(names(&bench), ["a.exe", "b.exe", "c.exe"]);
}

#[test]
fn a_missing_segment_is_named_and_the_rest_is_there() {
    let bench = stopped();
    let missing = bench.files("events/segments/logs-a-default", "parquet").remove(0);
    fs::remove_file(&missing).expect("the segment");
    let (_, err, code) = bench.store("check");
    assert_eq!(code, 1, "{err}");
    assert!(err.contains(file_name(&missing)), "{err}");
    goes_on(&bench, &missing);
}

/// Where a segment's file is when it is in quarantine.
fn quarantine(bench: &Bench, path: &Path) -> PathBuf {
    let below = path.strip_prefix(bench.data("events/segments")).expect("a segment");
    bench.data("events/quarantine").join(below)
}

/// The service starts, says which file it is, answers for what it has, and rules run over what comes in.
fn goes_on(bench: &Bench, damaged: &Path) {
    let service = bench.start();
    assert_eq!(service.count(OTHER), 5);
    service.bulk(OTHER, &events("c"));
    service.wait_for_signals("named", 15);
    let hits = service.ask("GET", &format!("/{OTHER}/_search?size=100"), &Value::Null);
    assert_eq!(hits["hits"]["total"]["value"], 10);
    // An answer about the damaged stream is no lie, until it is known that nothing of it is there.
    let is_there = damaged.extension().is_some_and(|end| end == "rows");
    wait_until(Duration::from_secs(20), || {
        let answer = service.ask("GET", "/logs-*/_search?size=100", &Value::Null);
        assert_eq!(answer["hits"]["total"]["value"], if is_there { 15 } else { 10 }, "{answer}");
        match answer["_shards"]["failed"] == 0 && (is_there || !damaged.exists()) {
            true => Ok(()),
            false => Err(answer.to_string()),
        }
    });
    wait_until(Duration::from_secs(10), || match service.log() {
        said if said.contains(file_name(damaged)) => Ok(()),
        said => Err(format!("{} is not named:\n{said}", damaged.display())),
    });
    service.stop();
}
