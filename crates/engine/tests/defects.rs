//! Known defects of Elasticsearch's EQL, and what is done instead. `docs/compatibility.md` has the list.

mod common;

use common::{Setup, run};
use eqlipse_engine::CorrelateOptions;
use serde_json::{Value, json};

fn find(query: &str, docs: &[Value]) -> Vec<Vec<Option<usize>>> {
    let query = eqlipse_eql::parse(query).unwrap_or_else(|errors| panic!("{query}: {}", errors[0].message));
    let found = [1, 2, 5, 1000].map(|batch_rows| {
        let setup = Setup { batch_rows, collectors: 2, ..Setup::default() };
        run(&[&query], docs, None, &setup).remove(0)
    });
    assert!(found.iter().all(|other| *other == found[0]), "the size of batches changes what {query} finds");
    let [found, ..] = found;
    found.into_iter().map(|found| found.events).collect()
}

fn event(category: &str, seconds: f64, more: Value) -> Value {
    let mut event = json!({"event": {"category": category}, "@timestamp": (seconds * 1000.0) as i64});
    event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event
}

fn events(list: &[(&str, f64)]) -> Vec<Value> {
    list.iter().map(|(category, seconds)| event(category, *seconds, json!({}))).collect()
}

/// elastic/elasticsearch#90340: `tail` lost matches depending on the page size.
#[test]
fn tail_cuts_what_was_found_in_ascending_order() {
    let docs = events(&[("A", 0.0), ("B", 1.0), ("A", 2.0), ("B", 3.0), ("A", 4.0), ("B", 5.0)]);
    let sequence = "sequence [A where true] [B where true]";
    let (all, last) = (find(sequence, &docs), find(&format!("{sequence} | tail 1"), &docs));
    assert_eq!(all.len(), 3);
    assert_eq!(last, all[2..]);
    assert_eq!(find(&format!("{sequence} | tail 2 | head 1"), &docs), all[1..2]);
}

/// PR 59196: maxspan is inclusive, whatever the page size.
#[test]
fn maxspan_is_inclusive() {
    let query = "sequence with maxspan=10s [A where true] [B where true]";
    assert_eq!(find(query, &events(&[("A", 0.0), ("B", 10.0)])).len(), 1);
    assert_eq!(find(query, &events(&[("A", 0.0), ("B", 10.001)])).len(), 0);
}

/// elastic/elasticsearch#145323: a trailing missing event was judged before maxspan had passed. In a hunt the end of the
/// data is the end of time, and whatever is in the data counts.
#[test]
fn a_trailing_missing_event_is_judged_on_all_data() {
    let query = "sequence with maxspan=10m [A where true] ![B where true]";
    assert_eq!(find(query, &events(&[("A", 0.0), ("B", 360.352)])), [] as [Vec<Option<usize>>; 0]);
    assert_eq!(find(query, &events(&[("A", 0.0), ("B", 600.001)])), [[Some(0), None]]);
    assert_eq!(find(query, &events(&[("A", 0.0)])), [[Some(0), None]]);
}

/// The same where the end of the data is not the end of time: what has not come yet may still deny it.
#[test]
fn a_trailing_missing_event_waits_until_maxspan_has_passed() {
    let found = |query: &str, docs: &[Value], end: i64| {
        let correlate = CorrelateOptions { end: Some(end * 1_000_000_000), ..CorrelateOptions::default() };
        run(&[&eqlipse_eql::parse(query).unwrap()], docs, None, &Setup { correlate, ..Setup::default() })
            .remove(0)
            .len()
    };
    let (one_end, start) = ("sequence with maxspan=10m [A where true] ![B where true]", events(&[("A", 0.0)]));
    assert_eq!([0, 599, 600, 700].map(|end| found(one_end, &start, end)), [0, 0, 1, 1]);
    // Elsewhere nothing is left to wait for.
    assert_eq!(found("sequence with maxspan=10m ![B where true] [A where true]", &start, 0), 1);
    let both_ends = "sequence with maxspan=10m ![C where true] [A where true] ![B where true]";
    assert_eq!(found(both_ends, &start, 0), 1, "without a C before it nothing can deny it");
    let after_c = events(&[("C", 0.0), ("A", 100.0)]);
    assert_eq!([599, 600].map(|end| found(both_ends, &after_c, end)), [0, 1]);
}

/// elastic/elasticsearch#101025: leading and trailing missing events, two keys, one of them an array.
#[test]
fn missing_events_hold_for_each_value_of_an_array_key() {
    let query = "sequence by host.name, user.name with maxspan=1m ![A where true] [B where true] ![C where true]";
    let keyed =
        |category, seconds, users: Value| event(category, seconds, json!({"host.name": "h", "user": {"name": users}}));
    let docs = [keyed("A", 0.0, json!("ann")), keyed("B", 10.0, json!(["ann", "bob"])), keyed("C", 20.0, json!("ann"))];
    // Ann's event stands between an A and a C within a minute; Bob's does not.
    assert_eq!(find(query, &docs), [[None, Some(1), None]]);
}

/// Several values of a key field are several keys.
#[test]
fn an_array_key_joins_on_each_value() {
    let docs = [
        event("A", 0.0, json!({"user": {"name": ["ann", "bob"]}})),
        event("B", 1.0, json!({"user": {"name": "bob"}})),
        event("B", 2.0, json!({"user": {"name": ["cid", "ann"]}})),
    ];
    let query = "sequence by user.name [A where true] [B where true]";
    assert_eq!(find(query, &docs), [[Some(0), Some(1)], [Some(0), Some(2)]]);
}

/// elastic/elasticsearch#64706: events of one time. A tiebreaker comes before none; without any, arrival decides, and
/// one event never fills two items.
#[test]
fn equal_times_are_ordered_by_tiebreaker_then_arrival() {
    let query = "sequence [any where true] [any where true]";
    let tied = |tiebreaker: Value| event("A", 1.0, json!({"event.sequence": tiebreaker}));
    assert_eq!(
        find(query, &[tied(Value::Null), tied(json!(2)), tied(json!(1))]),
        [[Some(2), Some(1)], [Some(1), Some(0)]]
    );
    assert_eq!(find(query, &events(&[("A", 1.0), ("A", 1.0)])), [[Some(0), Some(1)]]);
    assert_eq!(find(query, &events(&[("A", 1.0)])).len(), 0);
}

/// `ignore_above` hides long values from Elasticsearch's index.
#[test]
fn values_of_any_length_match() {
    let long = format!("cmd /c {} -enc", "x".repeat(40_000));
    let docs = [json!({"process.command_line": long})];
    assert_eq!(find(r#"any where process.command_line : "*-ENC""#, &docs).len(), 1);
    assert_eq!(find(r#"any where length(process.command_line) > 40000"#, &docs).len(), 1);
}

/// In Elasticsearch the constant of `endsWith` and `stringContains` becomes an unescaped wildcard query.
#[test]
fn functions_take_their_text_letter_by_letter() {
    let docs = [json!({"process.command_line": r"a*b?c\d"}), json!({"process.command_line": r"axxbyc\d"})];
    for query in [
        r#"any where stringContains(process.command_line, "a*b?")"#,
        r#"any where endsWith(process.command_line, "b?c\\d")"#,
        r#"any where startsWith~(process.command_line, "A*B")"#,
    ] {
        assert_eq!(find(query, &docs), [[Some(0)]], "{query}");
    }
}

/// An item that can never match empties Elasticsearch's whole sequence, even one that must be missing.
#[test]
fn a_missing_item_that_never_matches_changes_nothing() {
    let query = "sequence with maxspan=1m [A where true] ![B where false] [C where true]";
    assert_eq!(find(query, &events(&[("A", 0.0), ("B", 1.0), ("C", 2.0)])), [[Some(0), None, Some(2)]]);
}

/// A field that no index maps is an absent field: `not` is the complement for both.
#[test]
fn an_unmapped_field_is_an_absent_field() {
    let docs = events(&[("A", 0.0), ("A", 1.0), ("A", 2.0)]);
    for (query, expected) in [
        ("any where ?never.seen == null", 3),
        ("any where ?never.seen == 123", 0),
        ("any where ?never.seen", 0),
        (r#"any where not ?never.seen : "x""#, 3),
        (r#"any where not never.seen : "x""#, 3),
        ("any where not ?never.seen > 5", 3),
    ] {
        assert_eq!(find(query, &docs).len(), expected, "{query}");
    }
}

/// A null key joins nothing, unless it is optional: then null joins null.
#[test]
fn only_optional_keys_may_be_null() {
    let docs = events(&[("A", 0.0), ("B", 1.0)]);
    assert_eq!(find("sequence by process.pid [A where true] [B where true]", &docs).len(), 0);
    assert_eq!(find("sequence by ?process.pid [A where true] [B where true]", &docs).len(), 1);
}

/// A sample whose items share few events among many must not try every combination.
#[test]
fn a_hopeless_sample_is_given_up_at_once() {
    let mut docs: Vec<Value> = (0..3_000).map(|n| event("A", f64::from(n), json!({"host.name": "h"}))).collect();
    docs.push(event("B", 0.0, json!({"host.name": "h"})));
    let query = "sample by host.name [A where true] [A where true] [A where true] [B where true] [B where true]";
    assert_eq!(find(query, &docs), [] as [Vec<Option<usize>>; 0]);
    let query = "sample by host.name [A where true] [A where true] [A where true] [B where true]";
    assert_eq!(find(query, &docs), [[Some(0), Some(1), Some(2), Some(3_000)]]);
}
