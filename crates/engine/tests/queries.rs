//! Queries on small sets of documents, through the whole engine.

mod common;

use common::{Setup, run};
use eqlipse_eql::Dialect;
use eqlipse_testkit::interpreter::Match;
use serde_json::{Value, json};

fn find(query: &str, docs: &[Value]) -> Vec<Vec<Option<usize>>> {
    let query = eqlipse_eql::parse(query).unwrap_or_else(|errors| panic!("{query}: {}", errors[0].message));
    let found = run(&[&query], docs, None, &Setup::default()).remove(0);
    found.into_iter().map(|found| found.events).collect()
}

fn hits(query: &str, docs: &[Value]) -> Vec<usize> {
    find(query, docs).into_iter().map(|events| events[0].unwrap()).collect()
}

#[test]
fn predicates_are_two_valued() {
    let docs = [
        json!({"process": {"name": "a", "pid": 5}}),
        json!({"process.name": ["a", "x"], "process": {"pid": [0, 5]}}),
        json!({"process": {"name": null}}),
        json!({}),
    ];
    let cases: [(&str, &[usize]); 16] = [
        (r#"any where process.name == "x""#, &[1]),
        (r#"any where process.name != "x""#, &[0, 2, 3]),
        (r#"any where not process.name : "X*""#, &[0, 2, 3]),
        (r#"any where process.name == null"#, &[2, 3]),
        (r#"any where process.name != null"#, &[0, 1]),
        (r#"any where process.pid > 1 and process.pid < 3"#, &[1]),
        (r#"any where process.pid >= 0 and process.pid < 3"#, &[1]),
        (r#"any where not length(process.name) > 0"#, &[2, 3]),
        (r#"any where length(process.name) == null"#, &[2, 3]),
        (r#"any where process.pid + 1 != 6"#, &[2, 3]),
        (r#"any where (process.pid > 4) == null"#, &[2, 3]),
        (r#"any where process.name in ("q", "x")"#, &[1]),
        (r#"any where process.name not in~ ("Q", "X")"#, &[0, 2, 3]),
        (r#"any where not (process.name : "a" and process.pid == 5)"#, &[2, 3]),
        (r#"any where concat(process.name, "-", process.pid) == "x-5""#, &[1]),
        (r#"any where process.name : "*" "#, &[0, 1]),
    ];
    for (query, expected) in cases {
        assert_eq!(hits(query, &docs), expected, "{query}");
    }
}

fn events(list: &[(&str, i64, i64)]) -> Vec<Value> {
    list.iter()
        .map(|(category, second, key)| {
            json!({"event": {"category": category}, "@timestamp": second * 1000, "process": {"pid": key}})
        })
        .collect()
}

fn sequences(query: &str, list: &[(&str, i64, i64)]) -> Vec<Vec<usize>> {
    let found = find(query, &events(list));
    found.into_iter().map(|events| events.into_iter().flatten().collect()).collect()
}

#[test]
fn sequences_follow_the_reference() {
    let twice = [("A", 1, 0), ("A", 2, 0), ("B", 3, 0), ("B", 4, 0), ("A", 5, 0)];
    assert_eq!(sequences("sequence [A where true] [B where true]", &twice), [[1, 2]]);
    assert_eq!(sequences("sequence [any where true] [any where true]", &twice[..3]), [[0, 1], [1, 2]]);

    let until =
        [("A", 0, 0), ("A", 3, 0), ("U", 4, 0), ("B", 5, 0), ("A", 6, 0), ("B", 16, 0), ("A", 20, 0), ("B", 31, 0)];
    let query = "sequence with maxspan=10s [A where true] [B where true] until [U where true]";
    assert_eq!(sequences(query, &until), [[4, 5]]);

    let missing = [("A", 1, 0), ("B", 2, 0), ("M", 3, 0), ("B", 4, 0), ("C", 5, 0)];
    let query = "sequence with maxspan=1h [A where true] [B where true] ![M where true] [C where true]";
    assert_eq!(sequences(query, &missing), [] as [Vec<usize>; 0]);

    let keys = [("A", 1, 1), ("A", 2, 2), ("B", 3, 2), ("B", 4, 1)];
    assert_eq!(sequences("sequence by process.pid [A where true] [B where true]", &keys), [[1, 2], [0, 3]]);
    let runs = [("A", 1, 1), ("A", 2, 1), ("A", 3, 1), ("A", 4, 1)];
    assert_eq!(
        sequences("sequence by process.pid [A where true] with runs=2 [A where true]", &runs),
        [[0, 1, 2], [1, 2, 3]]
    );
    let never = "sequence [A where true] [B where true] until [A where true]";
    assert_eq!(sequences(never, &twice), [] as [Vec<usize>; 0]);
}

#[test]
fn the_documented_overwriting_of_candidates() {
    let list = [
        ("root", "attrib"),
        ("root", "attrib"),
        ("elkbee", "bash"),
        ("root", "bash"),
        ("root", "bash"),
        ("elkbee", "attrib"),
        ("root", "attrib"),
        ("elkbee", "bash"),
        ("root", "cat"),
        ("elkbee", "cat"),
        ("root", "cat"),
    ];
    let docs: Vec<Value> = list
        .iter()
        .enumerate()
        .map(|(index, (user, name))| {
            json!({"@timestamp": index, "event.category": "process", "user": {"name": user}, "process": {"name": name}})
        })
        .collect();
    let query = r#"sequence by user.name [process where process.name == "attrib"]
        [process where process.name == "bash"] [process where process.name == "cat"]"#;
    assert_eq!(find(query, &docs), [[Some(1), Some(3), Some(8)], [Some(5), Some(7), Some(9)]]);
}

#[test]
fn an_index_pattern_hides_events() {
    use eqlipse_engine::compile::{CompileOptions, RuleSetBuilder, Scope};
    let query = eqlipse_eql::parse("any where true").unwrap();
    let mut builder = RuleSetBuilder::new(CompileOptions::default());
    let scope = |list: &[&str]| Scope { index: list.iter().map(|s| s.to_string()).collect(), ..Scope::default() };
    builder.add(&query, &scope(&["logs-*", "-logs-secret*"])).unwrap();
    builder.add(&query, &scope(&["*:winlogbeat-*"])).unwrap();
    builder.add(&query, &scope(&[])).unwrap();
    let docs = [
        json!({"_index": ["logs-system.security-default", "winlogbeat-8"]}),
        json!({"_index": "logs-secret-default"}),
        json!({}),
    ];
    let found = common::run_rules(builder.build(), &docs);
    assert_eq!(found, [vec![0, 2], vec![0, 2], vec![0, 1, 2]]);
}

fn piped(query: &str, docs: &[Value]) -> Vec<Match> {
    let query = eqlipse_eql::parse_with(query, Dialect::Extended)
        .unwrap_or_else(|errors| panic!("{query}: {}", errors[0].message));
    run(&[&query], docs, None, &Setup { batch_rows: 2, collectors: 2, ..Setup::default() }).remove(0)
}

/// The first event of each result.
fn firsts(query: &str, docs: &[Value]) -> Vec<usize> {
    piped(query, docs).into_iter().map(|found| found.events[0].unwrap()).collect()
}

fn named() -> Vec<Value> {
    let rows = [("b", 1), ("A", 2), ("a", 3), ("c", 4), ("a", 5), ("B", 6)];
    let row = |(name, pid): (&str, i64)| json!({"@timestamp": pid * 1000, "process": {"name": name, "pid": pid}});
    rows.map(row).into_iter().chain([json!({"@timestamp": 7000, "process": {"pid": [8, 7]}})]).collect()
}

#[test]
fn pipes_choose_and_sort() {
    let docs = named();
    let cases: [(&str, &[usize]); 11] = [
        ("filter process.pid > 5", &[5, 6]),
        ("filter process.pid == 7", &[6]),
        ("filter not process.name : \"a\"", &[0, 3, 5, 6]),
        ("unique process.name", &[0, 1, 3, 6]),
        ("unique process.pid % 2", &[0, 1]),
        ("sort process.name", &[6, 1, 2, 4, 0, 5, 3]),
        ("sort process.name, -process.pid", &[6, 4, 2, 1, 5, 0, 3]),
        ("sort process.pid / 0", &[0, 1, 2, 3, 4, 5, 6]),
        ("tail 3 | sort process.name | head 2", &[6, 4]),
        ("unique_count process.name | filter count > 2", &[1]),
        ("unique_count process.name | sort -count | head 1 | filter percent > 0.4", &[1]),
    ];
    for (pipes, expected) in cases {
        assert_eq!(firsts(&format!("any where true | {pipes}"), &docs), expected, "{pipes}");
    }
}

#[test]
fn pipes_count() {
    let counted = |pipes: &str| {
        let found = piped(&format!("any where true | {pipes}"), &named());
        let row = |found: Match| {
            let counted = found.counted.unwrap();
            json!([counted.count, counted.percent, counted.key])
        };
        found.into_iter().map(row).collect::<Vec<_>>()
    };
    let seventh = 1.0 / 7.0;
    assert_eq!(counted("count"), [json!([7, null, ["totals"]])]);
    assert_eq!(
        counted("count process.name"),
        [
            json!([1, seventh, [null]]),
            json!([1, seventh, ["c"]]),
            json!([2, 2.0 / 7.0, ["b"]]),
            json!([3, 3.0 / 7.0, ["A"]]),
        ]
    );
    assert_eq!(
        counted("count process.name, process.pid > 3 | filter key == \"b\""),
        [json!([1, seventh, ["b", false]]),]
    );
    assert_eq!(
        counted("unique_count process.name | count count"),
        [json!([1, 0.25, [2]]), json!([1, 0.25, [3]]), json!([2, 0.5, [1]]),]
    );
    assert_eq!(counted("count process.name | unique_count true"), [json!([7, 1.0, [null]])]);
    assert_eq!(counted("filter false | count | unique_count 1"), [json!([0, 0.0, ["totals"]])]);
    assert_eq!(counted("filter false | count process.name"), Vec::<Value>::new());
}

#[test]
fn pipes_read_the_events_of_sequences() {
    let docs = named();
    let sequence = "sequence with maxspan=1s ![any where process.pid == 100] [any where true] [any where true]";
    assert_eq!(
        piped(&format!("{sequence} | filter events[1].process.pid + 1 == events[2].process.pid"), &docs).len(),
        6
    );
    let found = piped(&format!("{sequence} | filter events[2].process.name == events[1].process.name"), &docs);
    assert_eq!(found, []);
    // The first event is one that is missing.
    assert_eq!(piped(&format!("{sequence} | filter process.pid != null"), &docs), []);
    let found = piped(&format!("{sequence} | sort -events[2].process.pid | head 1"), &docs);
    assert_eq!(found[0].events, [None, Some(5), Some(6)]);
}
