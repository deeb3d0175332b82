use std::collections::BTreeMap;
use std::path::PathBuf;

use eqlipse_testkit::interpreter::{Event, Interpreter};
use serde_json::Value;

use super::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_committed_files_are_what_is_made() {
    for (path, bytes) in files() {
        let committed =
            std::fs::read(root().join("examples").join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(committed == bytes, "{path} differs: run `cargo run -p xtask -- examples`");
        assert!(bytes.len() < 300_000, "{path} has {} bytes", bytes.len());
    }
}

/// How often each bundled rule finds something in these documents, by the rule's file name.
fn found(documents: &[Value]) -> BTreeMap<String, usize> {
    let events: Vec<Event> =
        documents.iter().zip(0..).map(|(doc, place)| Event { doc, arrival: (0, place), order: None }).collect();
    let interpreter = Interpreter::default();
    let prepared = interpreter.prepare(&events);
    let mut found = BTreeMap::new();
    for folder in ["windows", "linux", "cross-platform"] {
        for entry in std::fs::read_dir(root().join("rules").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let file: toml::Value = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let query = eqlipse_eql::parse(file["rule"]["query"].as_str().unwrap()).unwrap();
            let count = interpreter.run_prepared(&query, &prepared).len();
            if count > 0 {
                found.insert(path.file_stem().unwrap().to_string_lossy().into_owned(), count);
            }
        }
    }
    found
}

#[test]
fn the_linux_part_alerts_where_the_story_says() {
    let documents: Vec<Value> =
        web01::ndjson().split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert!(documents.len() > 200);
    let expected = [
        "command_and_control_unchecked_download_executed",
        "discovery_enumeration_by_service_account",
        "persistence_crontab_by_service_account",
        "persistence_script_written_to_upload_folder",
        "persistence_web_server_shell_enumerates",
    ];
    assert_eq!(found(&documents), expected.map(|name| (name.to_owned(), 1)).into());
}
