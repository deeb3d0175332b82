//! `eqlipse sql`, end to end.

use serde_json::{Value, json};

use crate::bench::Bench;

const COUNTS: &str = "SELECT event.category, count(*) AS n FROM events GROUP BY 1 ORDER BY 2 DESC, 1";

/// A folder with the events of [`Bench::filled`] as Parquet too.
fn bench() -> Bench {
    let bench = Bench::filled();
    assert_eq!(bench.run(&["convert", "events.ndjson", "--to", "parquet", "-o", "events.parquet"]).1, 0);
    bench
}

#[test]
fn every_format() {
    let bench = bench();
    let run = |format: &str| bench.run_all(&["sql", COUNTS, "events.parquet", "--format", format]);
    let (out, err, code) = run("table");
    assert_eq!(out, "event.category  n\nprocess         2\nnetwork         1\n2 rows\n");
    assert_eq!((err.as_str(), code), ("", 0));
    assert_eq!(run("csv").0, "event.category,n\r\nprocess,2\r\nnetwork,1\r\n");
    assert_eq!(run("ndjson").0, "{\"event.category\":\"process\",\"n\":2}\n{\"event.category\":\"network\",\"n\":1}\n");
    let answer: Value = serde_json::from_str(&run("json").0).unwrap();
    assert_eq!(
        answer,
        json!({
            "columns": [{"name": "event.category", "type": "keyword"}, {"name": "n", "type": "long"}],
            "rows": [["process", 2], ["network", 1]],
        })
    );
    let (out, err, code) = bench.run_all(&[
        "sql",
        "SELECT process.name FROM events ORDER BY @timestamp",
        "events.parquet",
        "--size",
        "1",
        "-f",
        "json",
    ]);
    let cut: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&cut["rows"], &cut["truncated"], code), (&json!([["courier.exe"]]), &json!(true), 0));
    assert!(err.contains("more than 1 row (--size)"), "{err}");
}

#[test]
fn logs_are_converted_first() {
    let bench = bench();
    let (out, code) = bench.run(&["sql", COUNTS, "events.ndjson", "--format", "csv"]);
    assert_eq!((out.as_str(), code), ("event.category,n\r\nprocess,2\r\nnetwork,1\r\n", 0));
    let both = ["sql", "SELECT count(*) AS n FROM events", "events.ndjson", "events.parquet"];
    assert_eq!(bench.run(&both), ("{\"n\":6}\n".to_owned(), 0));
    bench.file("no-log.bin", [0, 159, 146, 150]);
    assert_eq!(bench.run(&["sql", COUNTS, "no-log.bin"]).1, 1);
    assert_eq!(bench.run(&["sql", COUNTS, "nowhere"]).1, 1);
    bench.file("foreign.parquet", b"PAR1 and no more");
    let (_, err, code) = bench.run_all(&["sql", COUNTS, "foreign.parquet"]);
    assert!(code == 1 && err.contains("foreign.parquet"), "{err}");
}

#[test]
fn the_query_comes_from_where_it_is_said() {
    let bench = bench();
    bench.file("count.sql", "SELECT count(*) AS n\nFROM events");
    assert_eq!(bench.run(&["sql", "@count.sql", "events.parquet"]), ("{\"n\":3}\n".to_owned(), 0));
    let output = bench
        .eqlipse(&["sql", "-", "events.parquet"])
        .write_stdin("SELECT count(*) AS n FROM events")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "{\"n\":3}\n");
    let (_, err, code) = bench.run_all(&["sql", "SELECT proces.name FROM events", "events.parquet"]);
    assert_eq!(code, 2);
    assert!(err.contains("line 1:8: unknown column proces.name: did you mean process.name?"), "{err}");
    let (_, err, code) = bench.run_all(&["sql", "COPY events TO 'x.csv'", "events.parquet"]);
    assert!(code == 2 && err.contains("only SELECT"), "{err}");
    assert!(!bench.path("x.csv").exists());
    let (_, err, code) = bench.run_all(&["sql", COUNTS, "--data", "nothing"]);
    assert!(code == 1 && err.contains("nothing"), "{err}");
}
