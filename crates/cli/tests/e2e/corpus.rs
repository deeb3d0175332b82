//! The published mshta rule over real logs: what the whole program is for.

use std::path::Path;

use eqlipse_testkit::corpus;

use crate::bench::Bench;
use serde_json::Value;

fn hunt(corpus: &Path, more: &[&str]) -> Value {
    let rules = corpus.join("seed").display().to_string();
    let logs = corpus.join("data/evtx-attack-samples").display().to_string();
    let arguments: Vec<&str> =
        ["hunt", "--rules", &rules, &logs, "--format", "json"].iter().chain(more).copied().collect();
    let (out, err, code) = Bench::new().run_all(&arguments);
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).expect("JSON")
}

#[test]
fn the_mshta_rule_finds_its_sequences() {
    let Some(corpus) = corpus("the mshta rule over real logs", "") else { return };
    let report = hunt(&corpus, &[]);
    assert_eq!(report["summary"]["alerts"], 4);
    let shells: Vec<&Value> = report["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|document| document.get("kibana.alert.building_block_type").is_none())
        .collect();
    assert_eq!(shells.len(), 4);
    for shell in shells {
        assert_eq!(shell["kibana.alert.severity"], "medium");
        assert_eq!(shell["kibana.alert.risk_score"], 47);
    }
    assert_eq!(report["alerts"].as_array().unwrap().len(), 12);
    assert_eq!(hunt(&corpus, &["--order-by", "@timestamp"])["summary"]["alerts"], 2);
}

#[test]
fn the_table_names_files_events_and_keys() {
    let Some(corpus) = corpus("the mshta rule over real logs", "") else { return };
    let rules = corpus.join("seed").display().to_string();
    let logs = corpus.join("data/evtx-attack-samples").display().to_string();
    let (out, _) = Bench::new().run(&["hunt", "--rules", &rules, &logs, "--format", "table"]);
    let alerts: Vec<&str> = out.split("\n\n").next().unwrap().split("\nmedium 47").skip(1).collect();
    let files = [
        "LM_DCOM_MSHTA_LethalHTA_Sysmon_3_1",
        "exec_persist_rundll32_mshta_scheduledtask_sysmon_1_3_11",
        "sysmon_mshta_sharpshooter_stageless_meterpreter",
        "panache_sysmon_vs_EDRTestingScript",
    ];
    assert_eq!(alerts.len(), files.len(), "{out}");
    for (alert, file) in alerts.iter().zip(files) {
        for part in [file, "TA0005 T1218 T1218.005", "process.entity_id=", "  process  ", "  network  "] {
            assert!(alert.contains(part), "{part}: {alert}");
        }
    }
}

#[test]
fn all_prebuilt_rules_give_the_same_report_with_any_number_of_threads() {
    let Some(corpus) = corpus("the mshta rule over real logs", "") else { return };
    let rules = corpus.join("rules/elastic-detection-rules").display().to_string();
    let logs = corpus.join("data/evtx-attack-samples").display().to_string();
    let run = |jobs| Bench::new().run(&["hunt", "--rules", &rules, &logs, "-f", "json", "--jobs", jobs]);
    let (one, many) = (run("1"), run("5"));
    assert!(one == many, "the report depends on the number of threads");
    let report: Value = serde_json::from_str(&one.0).unwrap();
    assert_eq!(report["manifest"]["rule_set"]["ran"], 1081);
    assert_eq!(report["manifest"]["rule_set"]["not_loaded"], Value::Array(Vec::new()));
}
