//! Tables and columns by their names.

use serde_json::{Value, json};

use crate::common::{error, ingest, open, rows};

fn store(folder: &std::path::Path) -> eqlipse_store::Store {
    let store = open(folder);
    ingest(
        &store,
        "logs-a-default",
        &[json!({
            "@timestamp": "2026-03-01T10:00:00Z", "process": {"name": "a.exe", "args": ["x", "y"], "pid": 7},
            "user": {"name": "ann"}, "group": {"id": "7"}, "winlog": {"event_data": {"TargetUserName": "Bob"}},
        })],
    );
    store.flush().unwrap();
    ingest(&store, "logs-b-default", &[json!({"@timestamp": "2026-03-01T11:00:00Z", "process": {"name": "b.exe"}})]);
    ingest(&store, "other", &[json!({"@timestamp": "2026-03-01T12:00:00Z", "process": {"name": "c.exe"}})]);
    store
}

#[test]
fn fields_need_no_quotes() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    for (sql, expected) in [
        ("SELECT process.name FROM \"logs-a-default\"", json!([["a.exe"]])),
        ("SELECT \"process.name\" FROM events WHERE process.pid = 7", json!([["a.exe"]])),
        ("SELECT PROCESS.Name FROM events WHERE Process.PID = 7", json!([["a.exe"]])),
        ("SELECT user.name, group.id FROM events WHERE user.name IS NOT NULL", json!([["ann", "7"]])),
        (
            "SELECT winlog.event_data.targetusername FROM events WHERE winlog.event_data.TargetUserName = 'Bob'",
            json!([["Bob"]]),
        ),
        ("SELECT e.process.name FROM events e WHERE e.process.pid = 7", json!([["a.exe"]])),
        ("SELECT e.process.name AS N FROM events AS e WHERE E.user.name = 'ann' ORDER BY n", json!([["a.exe"]])),
        ("SELECT process.args[1] FROM events WHERE process.pid = 7", json!([["x"]])),
        ("SELECT max(@timestamp) FROM events", json!([["2026-03-01T12:00:00Z"]])),
        (
            "WITH named AS (SELECT process.name AS name FROM events) SELECT COUNT(*) FROM named WHERE named.name = 'a.exe'",
            json!([[1]]),
        ),
        (
            "SELECT l.process.name, r.process.name FROM events l JOIN events r ON l.process.name < r.process.name \
             WHERE r.process.name = 'b.exe'",
            json!([["a.exe", "b.exe"]]),
        ),
        ("SELECT process.name FROM events ORDER BY process.name DESC LIMIT 1", json!([["c.exe"]])),
        (
            "SELECT process.name, count(*) AS n FROM events GROUP BY process.name HAVING count(*) > 0 ORDER BY 1 LIMIT 1",
            json!([["a.exe", 1]]),
        ),
        ("SELECT u FROM (SELECT unnest(process.args) AS u FROM events) ORDER BY u", json!([["x"], ["y"]])),
        // A field that the catalogue knows is there, even if no event has it.
        ("SELECT count(dns.question.name) FROM events", json!([[0]])),
        ("SELECT '@' || _index, _id IS NOT NULL FROM other", json!([["@other", true]])),
        ("SELECT value FROM generate_series(1, 2)", json!([[1], [2]])),
    ] {
        assert_eq!(json!(rows(&store, sql)), expected, "{sql}");
    }
}

#[test]
fn tables_are_streams_and_patterns() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    for (table, expected) in [
        ("events", 3),
        ("\"logs-*\"", 2),
        ("'logs-*'", 2),
        ("\"logs-*,other\"", 3),
        ("\"*,-logs-b-*\"", 2),
        ("\"logs-b-default\"", 1),
        ("other", 1),
    ] {
        assert_eq!(json!(rows(&store, &format!("SELECT count(*) FROM {table}"))), json!([[expected]]), "{table}");
    }
    let tables: Vec<Value> = rows(&store, "SHOW TABLES").into_iter().map(|row| row[2].clone()).collect();
    for name in ["events", "logs-a-default", "logs-b-default", "other"] {
        assert!(tables.contains(&json!(name)), "{name} in {tables:?}");
    }
    let columns = rows(&store, "DESCRIBE \"logs-a-default\"");
    let kind = |name: &str| columns.iter().find(|row| row[0] == json!(name)).map(|row| json!([row[1], row[2]]));
    assert_eq!(kind("process.name"), Some(json!(["keyword", false])));
    assert_eq!(kind("process.args"), Some(json!(["keyword", true])));
    assert_eq!(kind("process.pid"), Some(json!(["long", false])));
    assert_eq!(kind("@timestamp"), Some(json!(["datetime", false])));
    assert_eq!(kind("_source"), Some(json!(["object", false])));
    assert_eq!(kind("process.command_line"), None);
    let shown = rows(&store, "SHOW COLUMNS FROM other");
    assert!(shown.iter().any(|row| row[3] == json!("process.name")), "{shown:?}");
    let in_schema = rows(&store, "SELECT table_name FROM information_schema.tables WHERE table_name = 'other'");
    assert_eq!(json!(in_schema), json!([["other"]]));
}

#[test]
fn errors_say_where_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    for (sql, expected) in [
        ("SELECT proces.name FROM events", "line 1:8: unknown column proces.name: did you mean process.name?"),
        (
            "SELECT count(*)\nFROM events\nWHERE process.nmae = 'x'",
            "line 3:7: unknown column process.nmae: did you mean process.name?",
        ),
        (
            "SELECT 1 FROM \"logs-c-default\"",
            "line 1:15: no data stream is called or matches \"logs-c-default\"; did you mean",
        ),
        ("SELECT 1 FROM nothing", "there are: events, logs-a-default, logs-b-default, other"),
        ("SELECT process.name FROM events WHERE process.name = \"a.exe\"", "texts stand in single quotes"),
        ("SELECT 1 FROM logs-*", "names with other characters"),
        ("SELEC 1", "line 1:1:"),
        ("SELECT 1 FROM", "line 1:14"),
        ("", "the query is empty"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("SELECT nosuch(1)", "nosuch"),
        ("SELECT sum(process.name) FROM events", "sum"),
    ] {
        let error = error(&store, sql);
        assert!(error.contains(expected), "{sql}\n  {error}\n  {expected}");
    }
}
