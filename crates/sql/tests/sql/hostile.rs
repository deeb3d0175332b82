//! Queries that want more than they may.

use std::sync::Arc;
use std::time::{Duration, Instant};

use eqlipse_sql::{Events, MAX_SQL_BYTES, SqlError, SqlLimits};
use serde_json::{Value, json};

use crate::common::{Answer, engine, engine_with, ingest, open, try_ask};

fn store(folder: &std::path::Path, events: usize) -> eqlipse_store::Store {
    let store = open(folder);
    let document = |number| json!({"@timestamp": "2026-03-01T10:00:00Z", "process": {"pid": number, "name": format!("p{number}")}});
    ingest(&store, "logs-a-default", &(0..events).map(document).collect::<Vec<_>>());
    store
}

fn ask(sql: &str, memory: usize, time: Option<Duration>) -> Result<Answer, SqlError> {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), 3_000);
    let limits = SqlLimits { rows: None, time: time.map(|time| (time, "test.time")) };
    try_ask(&engine_with(memory), Events::of_snapshot(&store.snapshot()), sql, limits)
}

#[test]
fn nothing_is_written_and_no_file_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), 1);
    let target = folder.path().join("out.csv");
    let secret = folder.path().join("secret.csv");
    std::fs::write(&secret, "a\nsecret\n").unwrap();
    let engine = engine();
    for sql in [
        format!("COPY (SELECT 1) TO '{}'", target.display()),
        format!("COPY events TO '{}' STORED AS CSV", target.display()),
        format!("CREATE EXTERNAL TABLE t (a TEXT) STORED AS CSV LOCATION '{}'", secret.display()),
        format!("SELECT * FROM '{}'", secret.display()),
        format!("SELECT * FROM \"file://{}\"", secret.display()),
        format!("SELECT * FROM read_csv('{}')", secret.display()),
        "SELECT * FROM read_parquet('/etc/passwd')".to_owned(),
        "CREATE TABLE t AS SELECT 1".to_owned(),
        "CREATE VIEW v AS SELECT 1".to_owned(),
        "SELECT 1 INTO t".to_owned(),
        "INSERT INTO events VALUES (1)".to_owned(),
        "EXPLAIN ANALYZE INSERT INTO other SELECT 1".to_owned(),
        "EXPLAIN CREATE TABLE t AS SELECT 1".to_owned(),
        "DELETE FROM events".to_owned(),
        "UPDATE events SET a = 1".to_owned(),
        "DROP TABLE events".to_owned(),
        "TRUNCATE events".to_owned(),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        "PREPARE p AS SELECT 1".to_owned(),
        "EXECUTE p".to_owned(),
        "BEGIN".to_owned(),
        "SELECT 1; DROP TABLE events".to_owned(),
        "WITH t AS (DELETE FROM events RETURNING 1) SELECT * FROM t".to_owned(),
    ] {
        let answer = try_ask(&engine, Events::of_snapshot(&store.snapshot()), &sql, SqlLimits::default());
        let error = answer.expect_err(&sql);
        assert!(error.is_query(), "{sql}: {error:?}");
        assert!(!error.to_string().contains("secret\n"), "{sql}: {error}");
    }
    assert!(!target.exists());
}

#[test]
fn memory_is_limited() {
    for sql in [
        "SELECT l.process.name, r.process.name, count(*) FROM events l CROSS JOIN events r GROUP BY 1, 2",
        "SELECT array_agg(l.process.name) FROM events l, events r, events s",
        "SELECT * FROM events l, events r ORDER BY l.process.name || r.process.name, l._id, r._id",
    ] {
        match ask(sql, 4 << 20, None) {
            Err(SqlError::Memory { limit, setting, .. }) => assert_eq!((limit, setting), (4 << 20, "test.memory")),
            other => panic!("{sql}: {other:?}"),
        }
    }
}

#[test]
fn time_is_limited() {
    let sql =
        "SELECT count(*) FROM events a, events b, events c WHERE a.process.pid + b.process.pid > c.process.pid * 2";
    match ask(sql, 1 << 30, Some(Duration::from_millis(300))) {
        Err(SqlError::Time { setting, .. }) => assert_eq!(setting, "test.time"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_goes_away_stops_the_query() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), 3_000);
    let engine = engine_with(1 << 30);
    let snapshot = store.snapshot();
    let held = Arc::strong_count(&snapshot);
    let endless = "SELECT count(*) FROM events a, events b, events c, events d WHERE a.process.pid < d.process.pid";
    for _ in 0..20 {
        drop(engine.start(Events::of_snapshot(&snapshot), endless, SqlLimits::default()));
    }
    // A query holds on to its events until it ends; these would take days.
    let patience = Instant::now() + Duration::from_secs(60);
    while Arc::strong_count(&snapshot) > held {
        assert!(Instant::now() < patience, "queries that nobody waits for go on");
        std::thread::sleep(Duration::from_millis(10));
    }
    let events = Events::of_snapshot(&snapshot);
    let answer = try_ask(&engine, events, "SELECT count(*) FROM events", SqlLimits::default()).unwrap();
    assert_eq!(json!(answer.rows), json!([[3_000]]));
}

#[test]
fn what_makes_much_of_little_is_not_there() {
    for sql in [
        "SELECT repeat('x', 1000000000)",
        "SELECT range(0, 100000000000)",
        "SELECT generate_series(0, 100000000000)",
        "SELECT array_repeat(1, 100000000000)",
        "SELECT array_resize([1], 100000000000, 1)",
        "SELECT list_repeat(1, 100000000000)",
        "SELECT list_resize([1], 100000000000, 1)",
        "SELECT lpad('x', 2000000000, 'y')",
        "SELECT rpad('x', 2000000000, 'y')",
    ] {
        let error = ask(sql, 64 << 20, None).expect_err(sql);
        assert!(error.is_query(), "{sql}: {error:?}");
    }
}

#[test]
fn nesting_is_limited() {
    let many = |before: &str, between: &str, behind: &str, count: usize| {
        format!("SELECT {before}{}{behind}", vec!["1"; count].join(between))
    };
    let mut refused = vec![
        format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000)),
        format!("SELECT -{}1", "- ".repeat(20_000)),
        format!("SELECT {}true", "NOT ".repeat(20_000)),
        many("", " + ", "", 20_000),
        many("", " OR 1 = ", "", 20_000),
        format!("SELECT {}1{}", "abs(".repeat(5_000), ")".repeat(5_000)),
        format!("SELECT {}1{}", "[".repeat(5_000), "]".repeat(5_000)),
        format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(2_000), " END".repeat(2_000)),
        format!("SELECT 1{}", "::int".repeat(20_000)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(5_000)),
        format!("SELECT 1 FROM events{}", " CROSS JOIN events".repeat(5_000)),
        format!("SELECT 1 FROM {}events{}", "(SELECT * FROM ".repeat(1_000), ")".repeat(1_000)),
        format!("SELECT '{}'", "x".repeat(MAX_SQL_BYTES)),
        format!("SELECT {}", "a.".repeat(20_000)),
        format!("SELECT process.args{} FROM events", "[1]".repeat(20_000)),
        format!("EXPLAIN {} SELECT 1", "EXPLAIN ".repeat(20_000)),
    ];
    refused.push("(".repeat(50_000));
    for sql in refused {
        let error = ask(&sql, 64 << 20, None).expect_err(&sql[..60]);
        assert!(error.is_query(), "{}: {error:?}", &sql[..60]);
    }
    // What people write is far from that.
    let wide = format!("SELECT count(*) FROM events WHERE process.name IN ({})", vec!["'p7'"; 10_000].join(","));
    assert_eq!(json!(ask(&wide, 64 << 20, None).unwrap().rows), json!([[1]]));
    let long = format!("SELECT count(*) FROM events WHERE {}", vec!["process.pid = 7"; 400].join(" OR "));
    assert_eq!(json!(ask(&long, 64 << 20, None).unwrap().rows), json!([[1]]));
}

#[test]
fn odd_texts_are_refused_without_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path(), 2);
    let engine = engine();
    let seeds = [
        "SELECT process.name, count(*) FROM \"logs-*\" WHERE event.type = 'x' GROUP BY 1 ORDER BY 2 DESC LIMIT 3",
        "WITH a AS (SELECT * FROM events) SELECT a.process.pid[1], unnest(a.tags) FROM a JOIN events ON true",
    ];
    for seed in seeds {
        for end in 0..=seed.len() {
            for text in [&seed[..end], &seed[end..]] {
                match try_ask(&engine, Events::of_snapshot(&store.snapshot()), text, SqlLimits::default()) {
                    Ok(_) => {}
                    Err(error) => assert!(error.is_query(), "{text}: {error:?}"),
                }
            }
        }
    }
    let answer = try_ask(&engine, Events::of_snapshot(&store.snapshot()), "SELECT 1 / 0", SqlLimits::default());
    assert!(answer.unwrap_err().is_query());
    let one: Vec<Vec<Value>> =
        try_ask(&engine, Events::of_snapshot(&store.snapshot()), "SELECT 1 AS \"a\"", SqlLimits::default())
            .unwrap()
            .rows;
    assert_eq!(json!(one), json!([[1]]));
}
