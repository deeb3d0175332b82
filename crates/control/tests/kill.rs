//! The process is killed in the middle of its work: what was told to be done is there, and nothing by halves.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use eqlipse_control::{AlertQuery, Control, Execution, ExecutionStatus, NewAlert, WindowKind};
use serde_json::{Value, json};

const PATH: &str = "EQLIPSE_KILL_TEST_PATH";
const ROUNDS: u64 = 12;
const ALERTS: i64 = 5;

fn commit(control: &Control, number: i64) {
    let alerts: Vec<NewAlert> = (0..ALERTS).map(|alert| new_alert(number, alert)).collect();
    let execution = Execution {
        uuid: number.to_string(),
        rule: "r".to_owned(),
        rule_id: "x".to_owned(),
        from: number - 1,
        to: number,
        basis: None,
        kind: WindowKind::OnTime,
        scheduled: number,
        started: number,
        finished: number,
        status: ExecutionStatus::Succeeded,
        matches: ALERTS as u64,
        new_alerts: ALERTS as u64,
        known_alerts: 0,
        capped: 0,
        late_events: 0,
        missed_events: 0,
        message: String::new(),
    };
    control.commit_execution(&[execution], &alerts).unwrap();
}

fn new_alert(number: i64, alert: i64) -> NewAlert {
    let document = json!({ "kibana.alert.workflow_status": "open", "text": "x".repeat(5_000) });
    let Value::Object(document) = document else { unreachable!() };
    let (rule, rule_id) = ("r".to_owned(), "x".to_owned());
    NewAlert { id: format!("{number}-{alert}"), rule, rule_id, time: number, building_block_of: None, document }
}

/// The process that is killed: goes on after the last window, and tells each that is done.
#[test]
#[ignore = "the other test starts it"]
fn victim() {
    let Ok(path) = std::env::var(PATH) else { return };
    let control = Control::open(Path::new(&path)).unwrap();
    let mut out = std::io::stdout();
    for number in control.last_window("r").unwrap().unwrap_or(0) + 1.. {
        commit(&control, number);
        writeln!(out, "\ndone {number}").unwrap();
        out.flush().unwrap();
    }
}

/// Lets the process work for a while, kills it, and returns what it told last.
fn run_and_kill(path: &Path, while_working: Duration) -> i64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored", "--nocapture"])
        .env(PATH, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reader = thread::spawn(move || {
        let told = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("done ")?.parse().ok());
        told.last().unwrap_or(0)
    });
    thread::sleep(while_working);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
fn nothing_is_lost_or_doubled_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sqlite");
    let mut last_told = 0;
    for round in 0..ROUNDS {
        last_told = run_and_kill(&path, Duration::from_millis(60 + 37 * round % 150)).max(last_told);
        let control = Control::open(&path).unwrap();
        let last = control.last_window("r").unwrap().unwrap_or(0);
        assert!(last >= last_told, "{last} of {last_told}");
        let windows: Vec<i64> =
            control.ledger("r", usize::MAX).unwrap().iter().rev().map(|execution| execution.to).collect();
        assert_eq!(windows, (1..=last).collect::<Vec<_>>());
        let mut found = BTreeSet::new();
        let query = AlertQuery::default();
        control
            .for_each_alert(&query, &mut |id, _| {
                assert!(found.insert(id.to_owned()));
                ControlFlow::Continue(())
            })
            .unwrap();
        let wanted = (1..=last).flat_map(|number| (0..ALERTS).map(move |alert| format!("{number}-{alert}")));
        assert_eq!(found, wanted.collect());
        assert_eq!(control.check().unwrap(), Vec::<String>::new());
    }
    assert!(last_told > 10, "only {last_told} windows were written");
}
