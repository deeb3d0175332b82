//! Counts over a store, and which files are read.

use std::collections::BTreeMap;

use eqlipse_fleet::Stream;
use eqlipse_sql::{Events, SqlLimits};
use serde_json::{Value, json};

use crate::common::{engine, ingest, open, rows, try_ask};

/// Events of every kind, half of them in segments.
fn documents() -> Vec<Value> {
    let names = ["cmd.exe", "powershell.exe", "mshta.exe"];
    (0..600)
        .map(|number: i64| {
            let time = jiff::Timestamp::from_second(1_772_000_000 + number * 60).unwrap();
            let mut document = json!({
                "@timestamp": time.to_string(),
                "event": {"category": "process", "type": if number % 7 == 0 { json!(["start", "end"]) } else { json!("start") }},
                "process": {"name": names[number as usize % 3], "pid": number % 50},
                "host": {"name": format!("host-{}", number % 4)},
            });
            if number % 5 == 0 {
                document["user"] = json!({"name": format!("user{}", number % 2)});
            }
            document
        })
        .collect()
}

fn counted(documents: &[Value], key: impl Fn(&Value) -> Option<String>) -> Value {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    documents.iter().filter_map(key).for_each(|key| *counts.entry(key).or_default() += 1);
    json!(counts.into_iter().map(|(key, count)| json!([key, count])).collect::<Vec<_>>())
}

#[test]
fn counts_are_those_of_a_plain_pass() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let documents = documents();
    ingest(&store, "logs-a-default", &documents[..200]);
    ingest(&store, "logs-b-default", &documents[200..300]);
    store.flush().unwrap();
    ingest(&store, "logs-a-default", &documents[300..]);
    assert!(store.stats().recent_events == 300 && store.stats().segments >= 2, "{:?}", store.stats());
    let text = |field: &'static str| move |document: &Value| document.pointer(field)?.as_str().map(str::to_owned);
    let by_name = "SELECT process.name, count(*) FROM events GROUP BY process.name ORDER BY process.name";
    assert_eq!(json!(rows(&store, by_name)), counted(&documents, text("/process/name")));
    let by_user = "SELECT user.name, count(*) FROM events WHERE user.name IS NOT NULL GROUP BY 1 ORDER BY 1";
    assert_eq!(json!(rows(&store, by_user)), counted(&documents, text("/user/name")));
    let sum: i64 = documents.iter().map(|document| document["process"]["pid"].as_i64().unwrap()).sum();
    assert_eq!(json!(rows(&store, "SELECT count(*), sum(process.pid) FROM \"logs-*\"")), json!([[600, sum]]));
    // A comparison of a field with several values is true if one of them passes, whatever file it is in.
    for (filter, expected) in [
        ("event.type = 'start'", 600),
        ("event.type = 'end'", 86),
        ("'end' = event.type", 86),
        ("event.type <> 'end'", 514),
        ("event.type IN ('end', 'x')", 86),
        ("event.type NOT IN ('end')", 514),
        ("event.type LIKE 'e%'", 86),
        ("event.type NOT LIKE 'e%'", 514),
        ("event.type ILIKE 'E_D'", 86),
        ("event.type ~ '^e.d$'", 86),
        ("event.type ~* '^E'", 86),
        ("event.type BETWEEN 'end' AND 'enz'", 86),
        ("event.type > 'end'", 600),
        ("event.type < 'start'", 86),
        ("event.type = event.category", 0),
        // Only every fifth event has the one, so that of the others nothing is known.
        ("event.type <> user.name", 120),
        ("event.type NOT LIKE user.name", 120),
        ("event.type NOT BETWEEN user.name AND user.name", 120),
        ("process.pid = 7 AND event.type = 'start'", 12),
    ] {
        assert_eq!(
            json!(rows(&store, &format!("SELECT count(*) FROM events WHERE {filter}"))),
            json!([[expected]]),
            "{filter}"
        );
    }
    let sources = rows(&store, "SELECT _source FROM events ORDER BY @timestamp");
    let mut stamped: Vec<Value> = sources.into_iter().map(|mut row| row.remove(0)).collect();
    for document in &mut stamped {
        assert!(document["event"].as_object_mut().unwrap().remove("ingested").is_some(), "{document}");
    }
    assert_eq!(stamped, documents);
}

#[test]
fn the_fleet_counts_the_same_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut fleet = Stream::new(7, 5);
    let mut expected: BTreeMap<(String, String), u64> = BTreeMap::new();
    for round in 0..4 {
        let mut by_index: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for number in 0..250 {
            let document = fleet.at(1_772_000_000_000 + (round * 250 + number) * 1_000);
            let index = format!("logs-{}-default", document["data_stream"]["dataset"].as_str().unwrap());
            let host = document.pointer("/host/name").and_then(Value::as_str).unwrap_or("none").to_owned();
            *expected.entry((index.clone(), host)).or_default() += 1;
            by_index.entry(index).or_default().push(document);
        }
        for (index, documents) in by_index {
            ingest(&store, &index, &documents);
        }
        if round < 3 {
            store.flush().unwrap();
        }
    }
    let sql = "SELECT _index, coalesce(host.name, 'none') AS host, count(*) FROM events GROUP BY 1, 2 ORDER BY 1, 2";
    let expected: Vec<Value> = expected.iter().map(|((index, host), count)| json!([index, host, count])).collect();
    assert_eq!(json!(rows(&store, sql)), json!(expected));
}

#[test]
fn files_of_other_times_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for day in 1..=4 {
        let time = |hour: u32| format!("2026-03-0{day}T{hour:02}:00:00Z");
        let documents: Vec<Value> =
            (0..20).map(|hour| json!({"@timestamp": time(hour), "process": {"name": "a", "pid": hour}})).collect();
        ingest(&store, "logs-a-default", &documents);
        store.flush().unwrap();
    }
    let explained = |filter: &str| {
        let rows = rows(&store, &format!("EXPLAIN SELECT process.name FROM events WHERE {filter}"));
        let plan = rows.iter().find(|row| row[0] == json!("physical_plan")).unwrap()[1].as_str().unwrap().to_owned();
        plan.matches(".parquet").count()
    };
    assert_eq!(explained("process.pid > 3"), 4);
    assert_eq!(explained("@timestamp >= '2026-03-03T00:00:00Z' AND process.pid > 3"), 2);
    assert_eq!(explained("@timestamp BETWEEN '2026-03-02T00:00:00Z' AND '2026-03-02T05:00:00Z'"), 1);
    assert_eq!(explained("@timestamp > now() + INTERVAL '100 years'"), 0);
    let count = "SELECT count(*) FROM events WHERE @timestamp >= '2026-03-03T10:00:00Z'";
    assert_eq!(json!(rows(&store, count)), json!([[30]]));
    // Within a file, by row groups: that statistics are there is what this shows.
    let analyzed = rows(&store, "EXPLAIN ANALYZE SELECT process.name FROM events WHERE process.pid > 100");
    let text = analyzed.iter().flatten().filter_map(Value::as_str).collect::<String>();
    assert!(text.contains("row_groups_pruned_statistics=4 total"), "{text}");
}

#[test]
fn a_query_sees_the_events_of_its_moment() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    ingest(&store, "logs-a-default", &[json!({"@timestamp": "2026-03-01T00:00:00Z", "n": 1})]);
    store.flush().unwrap();
    let events = Events::of_snapshot(&store.snapshot());
    ingest(&store, "logs-a-default", &[json!({"@timestamp": "2026-03-01T00:00:01Z", "n": 2})]);
    store.flush().unwrap();
    let engine = engine();
    let count = |events: Events| try_ask(&engine, events, "SELECT count(*) FROM events", SqlLimits::default()).unwrap();
    assert_eq!(json!(count(events).rows), json!([[1]]));
    assert_eq!(json!(count(Events::of_snapshot(&store.snapshot())).rows), json!([[2]]));
    // Recent events are made a file once; those of other parts do not take their place.
    for number in 3..30 {
        ingest(&store, "logs-a-default", &[json!({"@timestamp": "2026-03-01T00:00:01Z", "n": number})]);
        assert_eq!(json!(count(Events::of_snapshot(&store.snapshot())).rows), json!([[number]]));
    }
}

#[test]
fn an_empty_store_has_an_empty_table() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    assert_eq!(
        json!(rows(&store, "SELECT count(*), max(@timestamp) FROM events WHERE process.name = 'x'")),
        json!([[0, null]])
    );
}

#[test]
fn what_is_cut_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    ingest(&store, "logs-a-default", &documents());
    let engine = engine();
    let ask = |rows| {
        let limits = SqlLimits { rows: Some(rows), time: None };
        let events = Events::of_snapshot(&store.snapshot());
        try_ask(&engine, events, "SELECT process.pid FROM events ORDER BY @timestamp", limits).unwrap()
    };
    let cut = ask(5);
    assert_eq!((json!(cut.rows), cut.cut), (json!([[0], [1], [2], [3], [4]]), Some(5)));
    assert_eq!((ask(600).rows.len(), ask(600).cut), (600, None));
    assert_eq!((ask(0).rows.len(), ask(0).cut), (0, Some(0)));
}
