//! The rules that come with eqlipse, kept and read again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use eqlipse_control::{Control, StoredRule};
use eqlipse_rules::{LoadedRule, PathOrStdin, Rule};
use eqlipse_testkit::corpus;
use serde_json::{Map, Value};

/// Fields that say how a rule is kept.
const KEPT: [&str; 9] =
    ["id", "enabled", "revision", "immutable", "rule_source", "created_at", "created_by", "updated_at", "updated_by"];

fn load(folder: &Path) -> Vec<LoadedRule> {
    eqlipse_rules::load(&[PathOrStdin::Path(folder.to_owned())]).rules
}

fn parameters(rule: &Rule) -> Map<String, Value> {
    let mut document = rule.to_api_json();
    document.retain(|field, _| !KEPT.contains(&field.as_str()));
    document
}

/// Installs rules twice, and returns how they are kept. Prints how long it took.
fn install(rules: &[LoadedRule]) -> Vec<StoredRule> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sqlite");
    let control = Control::open(&path).unwrap();
    let began = Instant::now();
    let report = control.install(rules, true, "eqlipse", 1).unwrap();
    println!("{} rules: installed in {:?}", rules.len(), began.elapsed());
    assert_eq!((report.installed, report.updated, report.unchanged), (rules.len() - report.failed.len(), 0, 0));
    println!("{:#?}", report.failed);
    drop(control);

    let control = Control::open(&path).unwrap();
    let generation = control.rules_generation();
    let began = Instant::now();
    let again = control.install(rules, true, "eqlipse", 2).unwrap();
    println!("again in {:?}", began.elapsed());
    assert_eq!((again.installed, again.updated, again.unchanged), (0, 0, report.installed));
    assert_eq!(control.rules_generation(), generation);
    let began = Instant::now();
    let stored = control.rules().unwrap();
    println!("read in {:?}", began.elapsed());
    assert_eq!(stored.len(), report.installed);
    assert_eq!(control.check().unwrap(), Vec::<String>::new());
    stored
}

fn check(rules: &[LoadedRule], stored: &[StoredRule]) {
    let by_id: BTreeMap<&str, &Rule> =
        rules.iter().rev().map(|loaded| (loaded.rule.rule_id.as_str(), &loaded.rule)).collect();
    for stored in stored {
        let wanted = parameters(by_id[stored.rule.rule_id.as_str()]);
        assert_eq!(parameters(&stored.rule), wanted);
        assert!(stored.enabled && stored.immutable && stored.document["rule_source"]["is_customized"] == false);
    }
}

#[test]
fn bundled_rules_are_kept_whole() {
    let rules = load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules"));
    assert!(rules.len() > 10, "{}", rules.len());
    let stored = install(&rules);
    assert_eq!(stored.len(), rules.len());
    check(&rules, &stored);
}

/// Elastic's prebuilt rules.
#[test]
fn prebuilt_rules_are_kept_whole() {
    let Some(folder) = corpus("prebuilt rules in control data", "rules/elastic-detection-rules") else { return };
    let rules = load(&folder);
    assert!(rules.len() > 2_000, "{}", rules.len());
    check(&rules, &install(&rules));
}
