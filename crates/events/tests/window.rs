//! Events outside the window are counted and leave nothing behind.

mod common;

use common::{FIELDS, Row, options, read_file, schema};
use eqlipse_batch::EventBatch;
use eqlipse_events::{DiscoverOptions, MAX_BATCH_BYTES, OrderBy, Progress, ReadOptions, Window, discover, read};
use eqlipse_testkit::evtx_writer::{EvtxEvent, Payload, Value, write_evtx};

const SECOND: i64 = 1_000_000_000;

fn pids(rows: &[Row]) -> Vec<&str> {
    rows.iter().flat_map(|row| row.field("process.pid")).collect()
}

fn windows() -> [(Window, &'static [&'static str]); 5] {
    [
        (Window::default(), &["0", "1", "2", "3", "9"]),
        (Window { from: Some(SECOND), to: None }, &["1", "2", "3"]),
        (Window { from: None, to: Some(SECOND) }, &["0", "1"]),
        (Window { from: Some(SECOND), to: Some(2 * SECOND) }, &["1", "2"]),
        (Window { from: Some(9 * SECOND), to: None }, &[]),
    ]
}

#[test]
fn of_json() {
    let line =
        |second: i64| format!("{{\"@timestamp\":\"1970-01-01T00:00:0{second}Z\",\"process\":{{\"pid\":{second}}}}}\n");
    let text: String = (0..4).map(line).collect::<String>() + "{\"process\":{\"pid\":9}}\n";
    for (window, expected) in windows() {
        for batch_rows in [1, 2, 100] {
            let (rows, report) =
                read_file("x.ndjson", text.as_bytes(), &ReadOptions { window, ..options(2, batch_rows) });
            let mut pids = pids(&rows);
            pids.sort_unstable();
            assert_eq!(pids, expected, "{window:?}");
            assert_eq!((report.events, report.outside), (5, 5 - expected.len() as u64), "{window:?}");
            assert!(rows.iter().all(|row| row.hit.contains(&format!("\"pid\":{}", row.field("process.pid")[0]))));
        }
    }
}

/// The log's time and Sysmon's own may differ; the one that orders decides.
#[test]
fn of_event_logs() {
    let event = |second: i64| EvtxEvent {
        provider: "Microsoft-Windows-Sysmon".into(),
        channel: "Microsoft-Windows-Sysmon/Operational".into(),
        computer: "srv.example.test".into(),
        event_id: 5,
        record_id: second as u64 + 1,
        time: format!("1970-01-01T00:00:0{second}Z").parse().unwrap(),
        payload: Payload::EventData(vec![
            ("UtcTime".into(), Value::Text(format!("1970-01-01 00:00:0{}.000", second + 4))),
            ("ProcessId".into(), Value::Text(second.to_string())),
        ]),
        ..EvtxEvent::default()
    };
    let log = write_evtx(&(0..4).map(event).collect::<Vec<_>>()).unwrap();
    for (order_by, later) in [(OrderBy::Log, 0), (OrderBy::Timestamp, 4)] {
        let window = Window { from: Some((later + 1) * SECOND), to: Some((later + 2) * SECOND) };
        let (rows, report) = read_file("x.evtx", &log, &ReadOptions { window, order_by, ..options(1, 100) });
        assert_eq!(pids(&rows), ["1", "2"], "{order_by:?}");
        assert_eq!((report.events, report.outside), (4, 2));
        assert!(rows[0].hit.contains("\"record_id\":\"2\""), "{}", rows[0].hit);
    }
}

/// Neither events outside the window nor broken ones fill the dictionaries.
#[test]
fn what_gives_no_row_is_forgotten() {
    let name = "x".repeat(8_000);
    let inside = "{\"@timestamp\":\"1970-01-01T00:00:05Z\",\"process\":{\"name\":\"seen\"}}\n";
    let lines = 2 * MAX_BATCH_BYTES / name.len();
    let mut text = String::new();
    for number in 0..lines {
        let broken = if number % 2 == 0 { "" } else { "!" };
        text.push_str(&format!(
            "{{\"@timestamp\":\"1970-01-01T00:00:00Z\",\"process\":{{\"name\":\"{name}{number}\"}}{broken}}}\n"
        ));
    }
    text.push_str(inside);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.ndjson");
    std::fs::write(&path, text).unwrap();
    let found = discover(&[path], DiscoverOptions::default());
    let (schema, progress) = (schema(&FIELDS), Progress::default());
    let window = Window { from: Some(SECOND), to: None };
    let held = std::sync::Mutex::new(Vec::new());
    let report = read(&found, &schema, &ReadOptions { window, ..options(1, 100) }, &progress, |_| {
        |batch: &EventBatch| {
            let names = batch.column(schema.lookup("process.name").unwrap());
            held.lock().unwrap().push((batch.len(), names.cardinality()));
        }
    });
    assert_eq!(report.unwrap().outside, lines.div_ceil(2) as u64);
    assert_eq!(held.into_inner().unwrap(), [(1, 1)]);
}
