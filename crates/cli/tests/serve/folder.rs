//! Watched folders: files that are dropped in and files that grow, each event once, also over a restart.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::{Bench, Service, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

/// A document of a line.
fn line(number: u32) -> String {
    format!("{{\"@timestamp\":\"2026-03-01T12:00:00Z\",\"n\":{number}}}\n")
}

/// A bench whose service watches `in`; its settings end with these.
fn watching(settings: &str) -> Bench {
    let bench = Bench::new();
    let folder = bench.file("in/.keep", "");
    let folder = folder.parent().expect("a folder");
    let text = format!("[[input.folder]]\npath = {folder:?}\npoll = \"50ms\"\n{settings}");
    let config = bench.file("eqlipse.toml", text);
    bench.set("EQLIPSE_CONFIG", &config.display().to_string())
}

/// The file in which what was read is noted.
fn notes(bench: &Bench) -> PathBuf {
    let files = bench.files("", "json");
    let is_notes = |path: &&PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("inputs-"));
    files.iter().find(is_notes).cloned().unwrap_or_else(|| bench.data("inputs.json"))
}

/// What was noted of the file that was last at this path.
fn noted(bench: &Bench, path: &Path) -> Value {
    let text = fs::read(notes(bench)).unwrap_or_default();
    let notes: Value = serde_json::from_slice(&text).unwrap_or_default();
    let mut files = notes.as_object().into_iter().flatten().map(|(_, file)| file.clone());
    files.find(|file| file["path"] == path.display().to_string()).unwrap_or_default()
}

/// Waits until so many bytes of the lines of a file were read.
fn wait_for(bench: &Bench, path: &Path, offset: usize) {
    wait_until(PATIENCE, || {
        let noted = noted(bench, path);
        if noted["offset"] == json!(offset) { Ok(()) } else { Err(format!("{offset}: {noted}")) }
    });
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// How many events are in the store, of a service that does not run.
fn stored(bench: &Bench) -> Vec<u64> {
    let mut numbers: Vec<u64> = bench.export().iter().filter_map(|hit| hit["_source"]["n"].as_u64()).collect();
    numbers.sort_unstable();
    numbers
}

/// The documents that were refused, oldest first.
fn refused(service: &Service) -> Vec<String> {
    let letters = service.ask("GET", "/api/dead_letters", &Value::Null);
    let letters = letters.as_array().expect("a list");
    letters.iter().rev().map(|letter| letter["document"].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn files_are_read_as_they_come_and_grow() {
    let bench = watching("");
    let grows = bench.file("in/grows.ndjson", [line(0), line(1), line(2)[..20].to_owned()].concat());
    let service = bench.start();
    wait_for(&bench, &grows, line(0).len() * 2);
    let before = fs::read(notes(&bench)).unwrap();
    append(&grows, &line(2)[20..]);
    wait_for(&bench, &grows, line(0).len() * 3);
    service.stop();
    assert_eq!(stored(&bench), [0, 1, 2]);

    // What was read is noted after it was stored: if the process ends between the two, it is read again, and there once.
    fs::write(notes(&bench), before).unwrap();
    append(&grows, &line(3));
    let packed = bench.file("in/packed.json", "[{\"@timestamp\":\"2026-03-01T12:00:00Z\",\"n\":4},\n {\"n\":5}]");
    let last = bench.file("in/last.ndjson", [line(6), line(7)].concat().trim_end());
    let service = bench.start();
    wait_for(&bench, &grows, line(0).len() * 4);
    wait_for(&bench, &last, line(0).len() * 2 - 1);
    let is_whole = |of: u64| {
        let noted = noted(&bench, &packed);
        if noted["whole"][0] == json!(of) { Ok(()) } else { Err(noted.to_string()) }
    };
    wait_until(PATIENCE, || is_whole(fs::metadata(&packed).unwrap().len()));
    // A file that is read as a whole has grown: what was in it before is there once.
    fs::write(&packed, "[{\"@timestamp\":\"2026-03-01T12:00:00Z\",\"n\":4},\n {\"n\":5},\n {\"n\":8}]").unwrap();
    wait_until(PATIENCE, || is_whole(fs::metadata(&packed).unwrap().len()));
    service.stop();
    assert_eq!(stored(&bench), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn logs_that_are_rotated_or_written_anew_lose_and_repeat_nothing() {
    let bench = watching("include = [\"*.ndjson\"]\n");
    let log = bench.file("in/log.ndjson", [line(0), line(1)].concat());
    let again = bench.file("in/again.ndjson", [line(20), line(21)].concat());
    let service = bench.start();
    wait_for(&bench, &log, line(0).len() * 2);
    wait_for(&bench, &again, line(20).len() * 2);
    // Its last line may come before or after it is seen under its new name, which is none of those that are wanted.
    let rotated = bench.path("in/log.ndjson.1");
    fs::rename(&log, &rotated).unwrap();
    append(&rotated, &line(2));
    // The new one begins as the old one did.
    bench.file("in/log.ndjson", [line(0), line(3), line(4), line(5)].concat());
    fs::write(&again, line(20)).unwrap();
    wait_for(&bench, &rotated, line(0).len() * 3);
    wait_for(&bench, &log, line(0).len() * 4);
    wait_for(&bench, &again, line(20).len());
    service.stop();
    assert_eq!(stored(&bench), [0, 0, 1, 2, 3, 4, 5, 20, 20, 21]);
}

#[test]
fn lines_that_are_no_events_are_kept_and_hide_no_others() {
    let bench = watching("");
    let log = bench.file("in/log.ndjson", line(0));
    let bulk = bench.file("in/bulk.ndjson", format!("{{\"index\":{{}}}}\n{}{{\"index\":{{}}}}\n", line(10)));
    let outside = bench.file("outside.ndjson", line(30));
    std::os::unix::fs::symlink(&outside, bench.path("in/link.ndjson")).unwrap();
    let service = bench.start();
    wait_for(&bench, &log, line(0).len());
    wait_for(&bench, &bulk, 13 + line(10).len());
    // What begins so would be no log of lines, were it looked at by itself.
    let alert = "{\"kibana.alert.uuid\":\"x\",\"n\":9}";
    let more = format!("[1]\n{}plain text\n{}{alert}\n{}{}", line(1), line(2), line(3), line(4));
    append(&log, &more);
    append(&bulk, &line(11));
    wait_for(&bench, &log, line(0).len() + more.len());
    wait_for(&bench, &bulk, 2 * (13 + line(10).len()));
    wait_for(&bench, &bench.path("in/link.ndjson"), line(30).len());
    assert_eq!(refused(&service), ["[1]", "plain text", alert]);
    service.stop();
    assert_eq!(stored(&bench), [0, 1, 2, 3, 4, 10, 11, 30]);
}

#[test]
fn files_that_have_other_numbers_after_a_start_are_read_on() {
    let bench = watching("");
    let copied = bench.file("in/copied.ndjson", [line(0), line(1)].concat());
    let moved = bench.file("in/moved.ndjson", [line(10), line(11)].concat());
    let service = bench.start();
    wait_for(&bench, &copied, 2 * line(0).len());
    wait_for(&bench, &moved, 2 * line(10).len());
    service.stop();
    // The device has another number, and one file was put back from a copy.
    let notes = notes(&bench);
    let known: serde_json::Map<String, Value> = serde_json::from_slice(&fs::read(&notes).unwrap()).unwrap();
    let renamed = |(key, file): (String, Value)| (format!("fff{}", &key[key.find('-').expect("a key")..]), file);
    let known: serde_json::Map<String, Value> = known.into_iter().map(renamed).collect();
    fs::write(&notes, serde_json::to_vec(&known).unwrap()).unwrap();
    let copy = bench.path("copy");
    fs::copy(&copied, &copy).unwrap();
    fs::rename(&copy, &copied).unwrap();
    append(&copied, &line(2));
    let renamed = bench.path("in/renamed.ndjson");
    fs::rename(&moved, &renamed).unwrap();
    append(&renamed, &line(12));
    let service = bench.start();
    wait_for(&bench, &copied, 3 * line(0).len());
    wait_for(&bench, &renamed, 3 * line(10).len());
    service.stop();
    assert_eq!(stored(&bench), [0, 1, 2, 10, 11, 12]);
}

#[test]
fn a_folder_that_is_not_there_is_said_once_and_read_when_it_is() {
    let bench = Bench::new();
    let folder = bench.path("later");
    let config = bench.file("eqlipse.toml", format!("[[input.folder]]\npath = {folder:?}\npoll = \"50ms\"\n"));
    let bench = bench.set("EQLIPSE_CONFIG", &config.display().to_string());
    let service = bench.start();
    let said = |service: &Service| service.log().matches("a folder or file is not read").count();
    wait_until(PATIENCE, || if said(&service) > 0 { Ok(()) } else { Err(service.log()) });
    let log = bench.file("later/log.ndjson", line(0));
    wait_for(&bench, &log, line(0).len());
    assert_eq!(said(&service), 1);
    service.stop();
    assert_eq!(stored(&bench), [0]);
}
