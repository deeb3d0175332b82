//! Columns hold what a plain walk over the parsed document finds.

mod common;
#[path = "common/walk.rs"]
mod walk;

use common::{options, read_file, schema};
use proptest::prelude::*;
use serde_json::{Map, Value};

/// Fields of all shapes: nested in each other, catalogued with each type, and not catalogued.
const FIELDS: [&str; 12] = [
    "a",
    "a.b",
    "a.b.c",
    "a.c",
    "b.a",
    "c",
    "process.pid",
    "process.name",
    "source.ip",
    "event.created",
    "process.parent.group_leader.same_as_process",
    "host.cpu.usage",
];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-1e15..1e15).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        "[\\x00-\\x7f]{0,12}".prop_map(Value::from),
        prop_oneof![
            Just("10.0.0.1"),
            Just("::1"),
            Just("-"),
            Just("17"),
            Just("true"),
            Just("2026-03-03T08:00:00Z"),
            Just("1e3"),
        ]
        .prop_map(Value::from),
    ]
}

fn key() -> impl Strategy<Value = String> {
    let known = prop_oneof![
        Just("a"),
        Just("b"),
        Just("c"),
        Just("a.b"),
        Just("b.c"),
        Just("process"),
        Just("pid"),
        Just("name"),
        Just("process.pid"),
        Just("source.ip"),
        Just("ip"),
        Just("event"),
        Just("created"),
        Just("parent.group_leader"),
        Just("same_as_process"),
        Just("host.cpu.usage"),
    ];
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => "\\PC{0,4}", 1 => "[ab.]{0,5}"]
}

fn object(depth: u32) -> impl Strategy<Value = Value> {
    let value = scalar().prop_recursive(depth, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((key(), inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    prop::collection::vec((key(), value), 0..8)
        .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn columns_equal_a_plain_walk(documents in prop::collection::vec(object(5), 1..6), pretty in any::<bool>()) {
        let schema = schema(&FIELDS);
        let text: String = if pretty {
            serde_json::to_string_pretty(&documents).unwrap()
        } else {
            documents.iter().map(|document| format!("{document}\n")).collect()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, text).unwrap();
        let discovery = eqlipse_events::discover(&[path], Default::default());
        let (rows, report) = common::read_rows(&discovery, &schema, &options(1, 3));
        prop_assert_eq!(report.inputs[0].skipped, 0, "{:?}", report.inputs[0].first_skipped);
        prop_assert_eq!(rows.len(), documents.len());
        for (row, document) in rows.iter().zip(&documents) {
            walk::check(row, &schema);
            prop_assert_eq!(&row.source(), document);
        }
    }
}

#[test]
fn keys_twice_do_no_harm() {
    let text = "{\"a\":1,\"a\":2,\"process\":{\"pid\":1},\"process\":{\"pid\":2},\"process.pid\":3}\n{\"_source\":{\"a\":1},\"_source\":{\"a\":2}}\n";
    let (rows, report) = read_file("log", text.as_bytes(), &options(1, 10));
    assert_eq!(report.inputs[0].skipped, 0);
    assert_eq!(rows[0].field("process.pid"), ["1", "2", "3"]);
}

/// What stands beside `_source` in a hit is not of the document, wherever it stands; the last `_source` counts.
#[test]
fn a_hit_is_its_source() {
    let schema = schema(&["process.pid"]);
    for text in [
        r#"{"process":{"pid":1},"_source":{"process":{"pid":2}},"process.pid":3}"#,
        r#"{"_source":{"process":{"pid":1}},"@timestamp":"2026-01-01","_source":{"process.pid":2},"_source":[7]}"#,
        r#"{"_id":"x","_source":7,"process":{"pid":2}}"#,
        r#"{"_source":[{"process":{"pid":1}}],"process":{"pid":2}}"#,
    ] {
        let (rows, report) = read_file("log", text.as_bytes(), &options(1, 10));
        assert_eq!(report.events, 1, "{text}");
        assert_eq!(rows[0].field("process.pid"), ["2"], "{text}");
        assert_eq!(rows[0].order.time, None, "{text}");
        walk::check(&rows[0], &schema);
    }
}

#[test]
fn large_numbers() {
    let text = "{\"process\":{\"pid\":18446744073709551615}}\n{\"process\":{\"pid\":18446744073709551616}}\n\
                {\"process\":{\"pid\":-9223372036854775808}}\n{\"process\":{\"pid\":1e18}}\n{\"process\":{\"pid\":-0.0}}\n";
    let (rows, report) = read_file("log", text.as_bytes(), &options(1, 10));
    assert_eq!(report.inputs[0].skipped, 0);
    let values: Vec<String> = rows.iter().map(|row| row.field("process.pid").concat()).collect();
    assert_eq!(values, ["18446744073709551615", "", "-9223372036854775808", "1000000000000000000", "0"]);
}
