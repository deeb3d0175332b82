//! One query over events of the test's own making: `size`, position, pipes, keys, case, and what the report says.

use std::fs;
use std::path::PathBuf;

use eqlipse_events::{DiscoverOptions, Discovery, Progress, Window, discover};
use eqlipse_hunt::{
    BlindReason, CompiledQuery, Counting, HuntOptions, QueryOptions, QueryRun, ResultPosition, run_query,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with events in it.
struct Data {
    _folder: TempDir,
    inputs: Discovery,
}

impl Data {
    fn new(events: &[Value]) -> Data {
        let folder = TempDir::new().unwrap();
        let path: PathBuf = folder.path().join("events.ndjson");
        let lines: Vec<String> = events.iter().map(Value::to_string).collect();
        fs::write(&path, lines.join("\n")).unwrap();
        Data { inputs: discover(&[path], DiscoverOptions::default()), _folder: folder }
    }

    /// Twenty events, numbered in the order of time, but written in another.
    fn twenty() -> Data {
        let mut events: Vec<Value> = (0..20).map(|n| event(n, if n % 2 == 0 { "even" } else { "odd" })).collect();
        events.reverse();
        Data::new(&events)
    }

    fn run(&self, query: &str, options: &QueryOptions) -> QueryRun<'_> {
        let compiled = CompiledQuery::eql(query, options).expect("a query without errors");
        run_query(&compiled, &self.inputs, &HuntOptions::default(), &Progress::default()).unwrap()
    }

    /// The numbers of the results' events; -1 for a missing one.
    fn numbers(&self, query: &str, options: &QueryOptions) -> Vec<Vec<i64>> {
        let mut run = self.run(query, options);
        let results = run.results().map(|result| {
            let events = result.unwrap().events;
            events.iter().map(|event| event.as_ref().map_or(-1, |event| event.source["n"].as_i64().unwrap())).collect()
        });
        results.collect()
    }

    /// The numbers of single events.
    fn events(&self, query: &str, options: &QueryOptions) -> Vec<i64> {
        self.numbers(query, options).concat()
    }
}

fn event(n: i64, category: &str) -> Value {
    json!({
        "@timestamp": format!("2024-03-01T12:00:{n:02}Z"), "n": n, "event": {"category": category},
        "host": {"name": "h"}, "process": {"name": if n == 3 { "Cmd.EXE" } else { "sh" }, "entity_id": (n / 2).to_string()},
        "reverse": 100 - n
    })
}

fn options() -> QueryOptions {
    QueryOptions::default()
}

#[test]
fn size_keeps_the_last_results_in_ascending_order() {
    let data = Data::twenty();
    assert_eq!(data.events("any where true", &options()), (10..20).collect::<Vec<_>>());
    let head = QueryOptions { result_position: ResultPosition::Head, size: Some(3), ..options() };
    assert_eq!(data.events("any where true", &head), [0, 1, 2]);
    assert_eq!(data.events("any where true", &QueryOptions { size: None, ..options() }).len(), 20);
}

#[test]
fn size_zero_gives_none_and_the_true_total() {
    let data = Data::twenty();
    let none = QueryOptions { size: Some(0), ..options() };
    let mut run = data.run("odd where true", &none);
    assert_eq!((run.report().total, run.report().results), (10, 0));
    assert_eq!(run.results().count(), 0);
    assert_eq!(data.run("any where true | head 2", &options()).report().total, 20);
}

#[test]
fn size_is_a_limit_before_the_first_pipe_of_its_direction() {
    let data = Data::twenty();
    assert_eq!(data.events("any where true | head 50", &options()), (0..10).collect::<Vec<_>>());
    assert_eq!(data.events("any where true | tail 50", &options()), (10..20).collect::<Vec<_>>());
    assert_eq!(data.events("any where true | tail 10 | head 7", &options()), (10..17).collect::<Vec<_>>());
    assert_eq!(data.events("any where true | head 5 | tail 2", &options()), [3, 4]);
    let position = QueryOptions { result_position: ResultPosition::Tail, size: Some(4), ..options() };
    assert_eq!(data.events("any where true | head 9", &position), [0, 1, 2, 3]);
    let all = QueryOptions { size: None, ..options() };
    assert_eq!(data.events("any where true | head 15", &all).len(), 15);
}

#[test]
fn sequences_are_found_before_they_are_cut() {
    let data = Data::twenty();
    let query = "sequence by process.entity_id [even where true] [odd where true]";
    let two = QueryOptions { size: Some(2), ..options() };
    assert_eq!(data.numbers(query, &two), [[16, 17], [18, 19]]);
    assert_eq!(data.run(query, &two).report().total, 10);
    let mut run = data.run(query, &two);
    let keys: Vec<Vec<Value>> = run.results().map(|result| result.unwrap().join_keys).collect();
    assert_eq!(keys, [[json!("8")], [json!("9")]]);
}

#[test]
fn a_missing_event_has_a_place() {
    let data = Data::twenty();
    let query = "sequence with maxspan=1m [any where n == 1] ![any where n == 77] [any where n == 4]";
    assert_eq!(data.numbers(query, &options()), [[1, -1, 4]]);
}

#[test]
fn samples_per_key() {
    let data = Data::twenty();
    let query = "sample by host.name [even where true] [odd where true]";
    assert_eq!(data.numbers(query, &options()), [[0, 1]]);
    let more = QueryOptions { max_samples_per_key: 3, ..options() };
    assert_eq!(data.numbers(query, &more).len(), 3);
    assert_eq!(data.numbers(query, &QueryOptions { size: Some(2), ..more }).len(), 2);
}

#[test]
fn fields_of_category_and_time_can_be_others() {
    let data = Data::twenty();
    let category = QueryOptions { event_category_field: "process.name".to_owned(), ..options() };
    assert_eq!(data.events("sh where n < 3", &category), [0, 1, 2]);
    let time = QueryOptions { timestamp_field: "reverse".to_owned(), size: Some(2), ..options() };
    assert_eq!(data.events("any where true", &time), [1, 0]);
    let same_time: Vec<Value> =
        (0..4).map(|n| json!({"@timestamp": "2024-03-01T12:00:00Z", "n": n, "t": 9 - n})).collect();
    let tiebreaker = QueryOptions { tiebreaker_field: Some("t".to_owned()), ..options() };
    assert_eq!(Data::new(&same_time).events("any where true", &tiebreaker), [3, 2, 1, 0]);
}

#[test]
fn case_counts_unless_told_otherwise() {
    let data = Data::twenty();
    let folded = QueryOptions { case_insensitive: true, size: None, ..options() };
    for query in [
        r#"any where process.name == "cmd.exe""#,
        r#"any where not process.name != "cmd.exe""#,
        r#"any where process.name in ("CMD.exe", "x")"#,
        r#"any where process.name like "cmd*""#,
        r#"any where process.name regex "cmd.*""#,
        r#"any where startsWith(process.name, "cmd")"#,
        r#"any where substring(process.name, 0, 3) == "cmd""#,
    ] {
        assert_eq!(data.events(query, &folded), [3], "{query}");
        assert_eq!(data.events(query, &options()), [] as [i64; 0], "{query}");
    }
    assert_eq!(data.events(r#"any where process.name != "cmd.exe""#, &folded).len(), 19);
    assert_eq!(data.events("any where n == 3", &folded), [3]);
    assert_eq!(data.events("EVEN where true", &folded), [] as [i64; 0]);
}

#[test]
fn the_report_tells_nothing_found_from_nothing_to_find() {
    let data = Data::twenty();
    let report = |query: &str| {
        let run = data.run(query, &options());
        (run.report().lacks.clone(), run.report().unseen.clone())
    };
    assert_eq!(report(r#"any where process.name == "zsh""#), (vec![], vec![]));
    let field = "file.path".to_owned();
    assert_eq!(report(r#"any where file.path : "*""#), (vec![BlindReason::Field(field.clone())], vec![field.clone()]));
    assert_eq!(report(r#"any where n == 5 or file.path : "x""#), (vec![], vec![field]));
    assert_eq!(report("file where true").0, [BlindReason::Category("file".to_owned())]);
}

/// A relation reads the ids of processes, though the query does not name them.
#[test]
fn the_fields_of_relations_are_missed() {
    let unseen = |event: Value| {
        let data = Data::new(&[event]);
        data.run("any where child of [any where n == 1]", &options()).report().unseen.clone()
    };
    let ids = json!({"n": 1, "process": {"entity_id": "a", "parent": {"entity_id": "b"}}});
    assert_eq!(unseen(ids), [] as [String; 0]);
    assert_eq!(unseen(json!({"n": 1})), ["process.entity_id", "process.parent.entity_id"]);
}

#[test]
fn errors_point_at_their_place() {
    let errors = |query: &str| CompiledQuery::eql(query, &options()).err().expect("an error");
    assert_eq!(errors("process were true")[0].line_column("process were true"), (1, 9));
    assert!(errors(r#"any where process.name regex "(""#)[0].is_error());
    assert!(errors("any where process.pid : 4").iter().any(|diagnostic| diagnostic.is_error()));
    assert!(errors("").iter().all(|diagnostic| diagnostic.is_error()));
    let warned = CompiledQuery::eql("any where proces.name == null", &options()).expect("no error");
    assert!(!warned.warnings().is_empty());
}

#[test]
fn size_is_a_limit_behind_pipes_that_make_something() {
    let data = Data::twenty();
    assert_eq!(data.events("any where true | sort reverse", &options()), (10..20).rev().collect::<Vec<_>>());
    assert_eq!(data.events("any where true | unique process.name | tail 1", &options()), [3]);
    let all = QueryOptions { size: None, ..options() };
    assert_eq!(data.events("any where true | filter n < 15 | tail 12", &all).len(), 12);
    let run = data.run("any where true | count process.entity_id", &QueryOptions { size: Some(4), ..options() });
    assert_eq!((run.report().results, run.report().total, run.report().counting), (4, 20, Counting::Instead));
}

/// With an end to the window, what must be missing behind a sequence may still come.
#[test]
fn the_end_of_the_window_is_the_end_of_time() {
    let data = Data::twenty();
    let query = "sequence with maxspan=10s [any where n in (5, 12)] ![any where n == 99]";
    let compiled = CompiledQuery::eql(query, &options()).unwrap();
    let found = |to: Option<&str>| {
        let to = to.map(|time| time.parse::<jiff::Timestamp>().unwrap().as_nanosecond() as i64);
        let hunt = HuntOptions { window: Window { from: None, to }, ..HuntOptions::default() };
        let mut run = run_query(&compiled, &data.inputs, &hunt, &Progress::default()).unwrap();
        run.results().map(|result| result.unwrap().events[0].clone().unwrap().source["n"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(found(None), [5, 12]);
    assert_eq!(found(Some("2024-03-01T12:00:15Z")), [5]);
    assert_eq!(found(Some("2024-03-01T12:00:14Z")), [0; 0]);
}
