//! What a cache of loads stands on: their binary form, and snapshots of their files.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use eqlipse_rules::*;
use eqlipse_testkit::corpus;
use serde_json::{Value, json};

/// Rules of all types with what they may have, and everything that may stand beside rules.
fn all_kinds() -> RuleLoad {
    let rule = |id: &str, more: Value| {
        let mut rule = json!({
            "rule_id": id, "name": id, "description": "d", "severity": "high", "risk_score": 73, "interval": "7m",
            "from": "now-9m/m", "meta": {"a": [1.5, null, {"b": "ü"}]}, "unknown": {"x": -1}, "max_signals": 7,
        });
        let more = more.as_object().cloned().unwrap_or_default();
        rule.as_object_mut().into_iter().for_each(|rule| rule.extend(more.clone()));
        rule.to_string()
    };
    let threat = json!([{
        "framework": "MITRE ATT&CK", "odd": 1, "tactic": {"id": "TA0002", "name": "Execution", "reference": "r"},
        "technique": [{"id": "T1059", "name": "n", "reference": "r", "subtechnique": [{"id": "T1059.001"}]}],
    }]);
    let lines = [
        rule("query", json!({"type": "query", "query": "a:b", "language": "lucene", "filters": [{"meta": {}}]})),
        rule("saved", json!({"type": "saved_query", "saved_id": "s"})),
        rule("eql", json!({"type": "eql", "query": "any where true", "timestamp_field": "t", "threat": threat})),
        rule(
            "threshold",
            json!({"type": "threshold", "query": "", "threshold": {"field": ["a"], "value": 3, "cardinality":
                [{"field": "b", "value": 2}]}, "alert_suppression": {"duration": {"value": 5, "unit": "h"}}}),
        ),
        rule(
            "new",
            json!({"type": "new_terms", "query": "a", "new_terms_fields": ["a"], "history_window_start": "now-7d"}),
        ),
        rule(
            "threat",
            json!({"type": "threat_match", "query": "a", "threat_query": "*", "threat_index": ["i"], "threat_mapping":
                [{"entries": [{"field": "a", "type": "mapping", "value": "b"}]}]}),
        ),
        rule("esql", json!({"type": "esql", "language": "esql", "query": "FROM a", "license": "L", "version": 300})),
        rule(
            "ml",
            json!({"type": "machine_learning", "anomaly_threshold": 50, "machine_learning_job_id": ["j"],
                "severity_mapping": [{"field": "f", "operator": "equals", "value": "v", "severity": "low"}],
                "exceptions_list": [{"id": "i", "list_id": "l", "type": "detection", "namespace_type": "single"}],
                "related_integrations": [{"package": "p", "version": "^1"}], "note": "n", "enabled": true}),
        ),
        rule("eql", json!({"type": "eql", "query": "any where false"})),
        json!({"type": "eql", "rule_id": "broken", "name": 5, "query": "any where true"}).to_string(),
        json!({"id": "x", "type": "action", "attributes": {}, "references": []}).to_string(),
        "{\"type\": \"eql\", ".to_owned(),
        json!({"exported_rules_count": 12, "exported_count": 12}).to_string(),
    ];
    load_bytes("all.ndjson", lines.join("\n").as_bytes())
}

fn shown(load: &RuleLoad) -> String {
    format!("{load:#?}")
}

#[test]
fn loads_survive_their_binary_form() {
    let load = all_kinds();
    assert_eq!(load.rules.len(), 8, "{}", shown(&load));
    assert!(load.failures.len() >= 3 && !load.warnings.is_empty() && !load.skipped.is_empty(), "{}", shown(&load));
    let bytes = load.to_bytes().expect("bytes");
    assert_eq!(shown(&RuleLoad::from_bytes(&bytes).expect("a load")), shown(&load));
}

#[test]
fn the_published_rules_survive_it_too() {
    let Some(path) = corpus("the binary form of rules", "rules/elastic-detection-rules") else { return };
    let load = load(&[path.into()]);
    let again = RuleLoad::from_bytes(&load.to_bytes().expect("bytes")).expect("a load");
    assert_eq!(shown(&again), shown(&load));
}

#[test]
fn errors_of_the_system_are_not_kept() {
    let load = load(&[Path::new("no-such-file").into()]);
    assert_eq!(load.failures.len(), 1);
    assert_eq!(load.to_bytes(), None);
}

#[test]
fn other_bytes_are_refused() {
    let bytes = all_kinds().to_bytes().expect("bytes");
    assert_eq!(RuleLoad::from_bytes(&[]).err(), Some(DecodeError::UnexpectedEnd));
    for end in 0..bytes.len() {
        assert!(RuleLoad::from_bytes(&bytes[..end]).is_err(), "{end}");
    }
    assert!(RuleLoad::from_bytes(&[&bytes[..], b"x"].concat()).is_err());
    // A flipped bit may give another load, but never a panic or memory without bounds.
    for at in 0..bytes.len() {
        for bit in [0x01, 0x10, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= bit;
            let _ = RuleLoad::from_bytes(&damaged);
        }
    }
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    assert_eq!(RuleLoad::from_bytes(&huge).err(), Some(DecodeError::UnexpectedEnd));
    assert_eq!(RuleLoad::from_bytes(&[0xff; 12]).err(), Some(DecodeError::OutOfRange));
}

/// A folder of files that were last changed a minute ago.
fn folder(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in names {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
        fs::write(&path, name).expect("a writable file");
        let minute_ago = SystemTime::now() - Duration::from_secs(60);
        File::options().append(true).open(&path).and_then(|file| file.set_modified(minute_ago)).expect("its time");
    }
    folder
}

#[test]
fn snapshots_show_every_change() {
    let names = ["a.toml", "b/c.toml", "b/.hidden"];
    let folder = folder(&names);
    let take = || Snapshot::take(&[folder.path().into()]).expect("a snapshot");
    let at = |name: &str| folder.path().join(name);
    let mut before = take();
    assert_eq!(before, take());
    assert!(before.is_settled());
    assert_eq!(before.bytes(), 14);
    let mut changed = |what: &str| {
        let after = take();
        assert_ne!(before.digest(), after.digest(), "{what}");
        before = after;
    };
    fs::write(at("a.toml"), "b.toml").expect("a writable file");
    changed("other content of the same size");
    assert!(!take().is_settled());
    fs::write(at("d.toml"), "").expect("a writable file");
    changed("a new file");
    fs::rename(at("d.toml"), at("e.toml")).expect("a new name");
    changed("another name");
    fs::remove_file(at("e.toml")).expect("a file less");
    changed("a file less");
    fs::rename(at("b/.hidden"), at("b/shown")).expect("a new name");
    changed("a file that is no longer hidden");
    fs::create_dir(at("empty")).expect("a folder");
    changed("a folder");
}

#[cfg(unix)]
#[test]
fn snapshots_follow_links() {
    let folder = folder(&["a.toml", "b.toml"]);
    let link = folder.path().join("link");
    let take = || Snapshot::take(&[folder.path().into()]).expect("a snapshot");
    let mut seen = vec![take()];
    for target in ["a.toml", "b.toml", "nowhere", "."] {
        std::os::unix::fs::symlink(target, &link).expect("a link");
        let snapshot = take();
        assert!(!seen.contains(&snapshot), "{target}");
        seen.push(snapshot);
        fs::remove_file(&link).expect("a link less");
    }
}

/// The same size and time under the same name, as a backup that is put back has.
#[cfg(unix)]
#[test]
fn snapshots_tell_another_file_of_the_same_time() {
    let folder = folder(&["a.toml"]);
    let path = folder.path().join("a.toml");
    let take = || Snapshot::take(&[path.clone().into()]).expect("a snapshot");
    let before = take();
    let time = path.metadata().and_then(|metadata| metadata.modified()).expect("a time");
    fs::write(folder.path().join("other"), "A.TOML").expect("a writable file");
    fs::rename(folder.path().join("other"), &path).expect("a new name");
    File::options().append(true).open(&path).and_then(|file| file.set_modified(time)).expect("its time");
    assert_ne!(before, take());
}

#[test]
fn what_cannot_be_looked_at_has_no_snapshot() {
    assert_eq!(Snapshot::take(&["-".into()]), None);
    assert_eq!(Snapshot::take(&["no-such-file".into()]), None);
}
