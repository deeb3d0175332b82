//! All of Elastic's EQL rules over real logs: every alert of the hunt is one that the reference interpreter finds, rule
//! by rule, and the other way round.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::{events, found, interpret};
use eqlipse_events::{DiscoverOptions, OrderBy, Progress, discover};
use eqlipse_hunt::{HuntOptions, RuleBook, run};
use eqlipse_rules::{PathOrStdin, load};
use eqlipse_testkit::corpus;

fn check(paths: &[PathBuf], windows: bool, order_by: OrderBy) -> usize {
    let rules = corpus("Elastic's rules", "rules/elastic-detection-rules").unwrap();
    let book = RuleBook::compile(load(&[PathOrStdin::Path(rules)]), |_| true, false);
    assert!(book.report().unloaded.is_empty(), "{:?}", book.report().unloaded);
    assert_eq!(book.rules().len(), 1081);
    let inputs = discover(paths, DiscoverOptions::default());
    let options = HuntOptions { order_by, ..HuntOptions::default() };
    let report = run(&book, &inputs, &options, &Progress::default()).unwrap();

    let found = found(&report.alerts);
    let events = events(&inputs, windows, order_by);
    let expected = interpret(book.rules(), &events);
    let ids: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    for id in ids {
        assert_eq!(found.get(id), expected.get(id), "rule {id}");
    }
    println!(
        "{}: {} events, {} rules fired, {} alerts",
        paths[0].display(),
        events.len(),
        found.len(),
        report.alerts.len()
    );
    report.alerts.len()
}

#[test]
fn hunt_equals_interpreter_on_event_logs() {
    let Some(root) = corpus("Elastic's rules over event logs, against the interpreter", "") else { return };
    assert!(check(&[root.join("data/evtx-attack-samples")], true, OrderBy::Log) > 1000);
}

#[test]
fn hunt_equals_interpreter_in_elastic_order() {
    let Some(root) = corpus("Elastic's rules in Elastic's order, against the interpreter", "") else { return };
    assert!(check(&[root.join("data/evtx-attack-samples/Execution")], true, OrderBy::Timestamp) > 0);
}

#[test]
fn hunt_equals_interpreter_on_json() {
    let Some(root) = corpus("Elastic's rules over JSON datasets, against the interpreter", "") else { return };
    // Small enough for the interpreter; the rest are Windows logs, which the other tests have.
    let sets = ["aws", "linux"].map(|set| root.join("data/security-datasets/atomic").join(set));
    check(&sets, false, OrderBy::Log);
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/story/linux-web01.ndjson");
    assert!(check(&[examples], false, OrderBy::Log) > 0);
}

/// The four attacks of the rule that started the project, and the two that Elastic's own order leaves.
#[test]
fn the_seed_rule_finds_its_attacks() {
    let Some(root) = corpus("the seed rule", "") else { return };
    let files = |order_by| {
        let book = RuleBook::compile(load(&[PathOrStdin::Path(root.join("seed"))]), |_| true, false);
        let inputs = discover(&[root.join("data/evtx-attack-samples")], DiscoverOptions::default());
        let options = HuntOptions { order_by, ..HuntOptions::default() };
        let report = run(&book, &inputs, &options, &Progress::default()).unwrap();
        let mut files = Vec::new();
        for alert in &report.alerts {
            let [Some(start), Some(connection)] = &alert.events[..] else { panic!("{:?}", alert.events) };
            assert_eq!(start.origin, connection.origin);
            assert_eq!((alert.severity.as_str(), alert.risk_score), ("medium", 47.0));
            let mitre: Vec<_> = alert.rule.tactic_ids().chain(alert.rule.technique_ids()).collect();
            assert_eq!(mitre, ["TA0005", "T1218", "T1218.005"]);
            let entity =
                |event: &eqlipse_alerts::MatchedEvent| event.source["process"]["entity_id"].as_str().map(str::to_owned);
            assert_eq!(alert.join_keys[0].as_str().map(str::to_owned), entity(start));
            assert_eq!(entity(start), entity(connection));
            let origin = start.origin.clone().unwrap();
            files.push(Path::new(&origin).file_stem().unwrap().to_string_lossy().into_owned());
        }
        files.sort();
        files
    };
    let (panache, rundll32, sharpshooter, lethal) = (
        "panache_sysmon_vs_EDRTestingScript",
        "exec_persist_rundll32_mshta_scheduledtask_sysmon_1_3_11",
        "sysmon_mshta_sharpshooter_stageless_meterpreter",
        "LM_DCOM_MSHTA_LethalHTA_Sysmon_3_1",
    );
    assert_eq!(files(OrderBy::Log), [lethal, rundll32, panache, sharpshooter]);
    assert_eq!(files(OrderBy::Timestamp), [panache, sharpshooter]);
}
