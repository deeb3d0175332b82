use std::collections::BTreeMap;
use std::path::PathBuf;

use eqlipse_events::{DiscoverOptions, Progress, ReadOptions, convert, discover};
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

/// The bundled rules by file name without its ending.
fn rules() -> BTreeMap<String, toml::Value> {
    let mut rules = BTreeMap::new();
    for folder in ["windows", "linux", "cross-platform"] {
        for entry in std::fs::read_dir(root().join("rules").join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().ends_with(".test.toml") {
                continue;
            }
            let file = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            rules.insert(path.file_stem().unwrap().to_string_lossy().into_owned(), file);
        }
    }
    rules
}

/// How often each bundled rule finds something in these documents, by the rule's file name.
fn found(documents: &[Value]) -> BTreeMap<String, usize> {
    let events: Vec<Event> =
        documents.iter().zip(0..).map(|(doc, place)| Event { doc, arrival: (0, place), order: None }).collect();
    let interpreter = Interpreter::default();
    let prepared = interpreter.prepare(&events);
    let mut found = BTreeMap::new();
    for (stem, file) in rules() {
        let query = eqlipse_eql::parse(file["rule"]["query"].as_str().unwrap()).unwrap();
        let count = interpreter.run_prepared(&query, &prepared).len();
        if count > 0 {
            found.insert(stem, count);
        }
    }
    found
}

/// The folder as documents, Windows events normalised.
fn documents() -> Vec<Value> {
    let discovery = discover(&[root().join("examples")], DiscoverOptions::default());
    let mut lines = Vec::new();
    let report = convert(&discovery, &ReadOptions::default(), &Progress::default(), &mut lines).unwrap();
    assert!(report.inputs.len() >= files().len(), "{report:?}");
    lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

#[test]
fn the_story_alerts_where_the_readme_says() {
    let documents = documents();
    assert!(documents.len() > 600, "{}", documents.len());
    let expected = [
        // WS01
        "initial_access_downloaded_script_opened",
        "defense_evasion_mshta_network_connection",
        "execution_encoded_powershell_from_script_host",
        "execution_powershell_runs_what_it_fetched",
        "command_and_control_script_host_drops_program",
        "persistence_autostart_key_set_by_script_host",
        "command_and_control_repeated_connections_from_writable_folder",
        "discovery_rapid_enumeration_commands",
        "privilege_escalation_uac_bypass_by_shell_handler",
        "persistence_scheduled_task_for_user_folder",
        "credential_access_comsvcs_minidump",
        "credential_access_lsass_memory_read",
        "credential_access_lsass_access_then_dump_file",
        "credential_access_sam_and_system_hives_saved",
        "exfiltration_archive_created_then_uploaded",
        "defense_evasion_event_log_cleared",
        // SRV02
        "lateral_movement_service_over_network_logon",
        "persistence_service_with_suspicious_command",
        "persistence_local_administrator_created",
        // web01
        "persistence_script_written_to_upload_folder",
        "persistence_web_server_shell_enumerates",
        "discovery_enumeration_by_service_account",
        "command_and_control_unchecked_download_executed",
        "persistence_crontab_by_service_account",
    ];
    assert_eq!(found(&documents), expected.map(|name| (name.to_owned(), 1)).into());
}

#[test]
fn the_readme_names_every_rule_that_fires() {
    let readme = std::fs::read_to_string(root().join("examples/README.md")).unwrap();
    let fired = found(&documents());
    let (mut named, mut sequences) = (0, 0);
    for (stem, file) in rules() {
        let name = file["rule"]["name"].as_str().unwrap();
        assert_eq!(readme.contains(&format!("| {name}")), fired.contains_key(&stem), "{name}");
        if fired.contains_key(&stem) {
            named += 1;
            sequences += usize::from(file["rule"]["query"].as_str().unwrap().starts_with("sequence"));
        }
    }
    assert!(readme.contains(&format!("{named} alerts from {named} rules, {sequences} of them sequences")));
}
