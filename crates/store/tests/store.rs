//! The store from outside: what was acknowledged is there, once, whatever happens, and matched.

mod common;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{EVENTS, SECOND, SEQUENCE, copy_folder, found, rules};
use eqlipse_store::{
    IngestError, NewDocument, Refused, Snapshot, Store, StoreOptions, StoreRules, StoreStats, TimeRange,
};

fn open(folder: &Path, rules: &Arc<StoreRules>) -> (Store, eqlipse_store::RecoveryReport) {
    let options = StoreOptions { flush_age: Duration::from_secs(3600), ..StoreOptions::default() };
    Store::open(folder, options, rules.clone()).unwrap()
}

fn event(index: &str, number: i64, name: &str) -> NewDocument {
    let time = jiff::Timestamp::from_second(number).unwrap();
    let document = format!(
        "{{\"@timestamp\":\"{time}\",\"event\":{{\"category\":\"process\"}},\"process\":{{\"name\":\"{name}\",\"pid\":{}}}}}",
        number / 2
    );
    NewDocument { index: index.to_owned().into(), id: None, document: document.into() }
}

/// The documents of all parts, by sequence number within each.
fn documents(snapshot: &Snapshot) -> Vec<String> {
    let parts: Vec<_> = snapshot.parts(&TimeRange::default()).cloned().collect();
    let rows = parts.iter().flat_map(|part| (0..part.rows()).map(move |row| (part, row)));
    rows.map(|(part, row)| String::from_utf8(part.hit(row).unwrap()).unwrap()).collect()
}

#[test]
fn events_are_matched_once_and_found_in_every_form() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules(&[EVENTS, SEQUENCE]);
    let (store, report) = open(folder.path(), &rules);
    assert_eq!(report.replayed, 0);
    let expected = vec![vec![0, 2, 4], vec![0, 1, 4, 5]];
    for (index, numbers) in [("logs-a-x", vec![(0, "a"), (5, "b")]), ("logs-b-x", vec![(1, "b"), (2, "a"), (4, "a")])] {
        let documents: Vec<_> = numbers.into_iter().map(|(number, name)| event(index, number, name)).collect();
        let stored = store.ingest(documents, 100 * SECOND).unwrap();
        assert!(stored.iter().all(Result::is_ok));
    }
    let before = store.snapshot();
    assert_eq!(found(&before, &rules), expected);
    assert!(documents(&before)[0].contains("\"ingested\":\"1970-01-01T00:01:40.000Z\""), "{}", documents(&before)[0]);

    // A killed process: nothing is closed, and the log is all there is.
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), copy.path());
    let (again, report) = open(copy.path(), &rules);
    assert_eq!((report.replayed, report.cut_bytes, report.quarantined.len()), (5, 0, 0));
    assert_eq!(found(&again.snapshot(), &rules), expected);
    assert_eq!(documents(&again.snapshot()), documents(&before));

    store.flush().unwrap();
    let after = store.snapshot();
    let stats = store.stats();
    assert_eq!((stats.recent_events, stats.segments, stats.segment_events, stats.accepted), (0, 2, 5, 5));
    assert_eq!(found(&after, &rules), expected);
    let sorted = |snapshot: &Snapshot| {
        let mut all = documents(snapshot);
        all.sort();
        all
    };
    assert_eq!(sorted(&after), sorted(&before));
    // The old snapshot is as it was.
    assert_eq!(found(&before, &rules), expected);
    store.ingest(&[event("logs-a-x", 6, "a"), event("logs-a-x", 7, "b")], 101 * SECOND).unwrap();
    store.close().unwrap();
    drop((store, before, after));
    let (store, report) = open(folder.path(), &rules);
    assert_eq!((report.replayed, store.stats().segments), (0, 3));
    assert_eq!(found(&store.snapshot(), &rules), [vec![0, 2, 4, 6], vec![0, 1, 4, 5, 6, 7]]);
    assert!(store.check().problems.is_empty());
}

#[test]
fn what_one_rule_wants_is_read_without_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules(&[EVENTS, SEQUENCE]);
    // Without room for what matched, all of it is read each time.
    let options = StoreOptions { flush_age: Duration::from_secs(3600), cache_bytes: 0, ..StoreOptions::default() };
    let (store, _) = Store::open(folder.path(), options, rules.clone()).unwrap();
    for (number, time) in [(0, 100), (2, 200)] {
        let documents = [event("logs-a-x", number, "a"), event("logs-a-x", number + 1, "b")];
        store.ingest(documents, time * SECOND).unwrap();
    }
    store.flush().unwrap();
    let snapshot = store.snapshot();
    let everything = TimeRange::default();
    let part = snapshot.parts(&everything).next().unwrap();
    let arrivals = part.arrivals().unwrap();
    assert_eq!([0, 1, 2, 3].map(|row| arrivals.of(row) / SECOND), [100, 100, 200, 200]);
    let [events, sequence] = [0, 1].map(|rule| rules.fingerprints[rule]);
    let rows = |lists: &[Arc<eqlipse_engine::MatchList>], of: u128| lists[0].count_rows(of, |_| true);
    let all = part.lists().unwrap();
    assert_eq!((rows(&all, events), rows(&all, sequence)), (2, 4));
    let some = part.lists_of(&[events]).unwrap();
    assert_eq!((rows(&some, events), rows(&some, sequence)), (2, 0));
    let counts = part.counts().unwrap();
    assert!(counts[0].has(events) && counts[0].has_rows(sequence) && !counts[0].has(7));
}

#[test]
fn what_is_little_or_was_wanted_is_kept_where_all_is_too_much() {
    let folder = tempfile::tempdir().unwrap();
    let named = |name: &str| format!("process where process.name == \"{name}\"");
    let rules = rules(&[EVENTS, &named("some"), &named("few")]);
    let options = StoreOptions { flush_age: Duration::from_secs(3600), cache_bytes: 60_000, ..StoreOptions::default() };
    let (store, _) = Store::open(folder.path(), options, rules.clone()).unwrap();
    let ingest = |second: i64| {
        let name = |number: i64| if number % 400 == 0 { "few" } else { ["a", "some"][usize::from(number % 8 == 0)] };
        let events: Vec<_> = (0..2_000).map(|number| event("logs-a", number, name(number))).collect();
        store.ingest(events, second * SECOND).unwrap();
        store.flush().unwrap();
    };
    let remove = || {
        for entry in walkdir::WalkDir::new(folder.path().join("segments")).into_iter().flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "rows") {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    };
    let [much, some, few] = [0, 1, 2].map(|rule| rules.fingerprints[rule]);
    let rows = |of: u128| {
        let (snapshot, everything) = (store.snapshot(), TimeRange::default());
        let part = snapshot.parts(&everything).last().unwrap();
        part.lists_of(&[of]).map(|lists| lists[0].count_rows(of, |_| true)).ok()
    };
    ingest(100);
    assert_eq!((rows(some), rows(few)), (Some(245), Some(5)));
    ingest(200);
    remove();
    assert_eq!((rows(some), rows(few), rows(much)), (Some(245), Some(5), None));
}

/// What events that are read as a hunt reads them have as their times of arrival, in seconds.
fn arrivals(snapshot: &Snapshot) -> Vec<Vec<i64>> {
    let mut schema = eqlipse_batch::Schema::builder();
    let ingested = schema.add("event.ingested");
    eqlipse_events::reserve(&mut schema);
    let (inputs, found) = (snapshot.discovery(&TimeRange::default(), |_| true), Mutex::new(Vec::new()));
    let options = eqlipse_events::ReadOptions::default();
    let report = eqlipse_events::read(&inputs, &schema.build(), &options, &Default::default(), |_| {
        |batch: &eqlipse_batch::EventBatch| {
            let seconds = |value| match value {
                eqlipse_batch::ValueRef::Date(nanos) => nanos / SECOND,
                other => panic!("{other:?}"),
            };
            let of_row = |row| batch.column(ingested).values_of(row).map(seconds).collect();
            found.lock().unwrap().extend((0..batch.rows().len() as u32).map(of_row));
        }
    });
    assert!(report.unwrap().problems.is_empty());
    found.into_inner().unwrap()
}

#[test]
fn events_arrived_once_whatever_they_say_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules(&[EVENTS]);
    let (store, _) = open(folder.path(), &rules);
    let documents = [
        r#"{"event":{"ingested":"1999-01-01T00:00:00Z"},"event.ingested":"1998-01-01T00:00:00Z"}"#,
        r#"{"event.ingested":"1999-01-01T00:00:00Z","event.ingested":"1998-01-01T00:00:00Z","n":1}"#,
        r#"{"event":{"ingested":"1999-01-01T00:00:00Z","ingested":"1998-01-01T00:00:00Z"}}"#,
        r#"{"event":[{"ingested":"1999-01-01T00:00:00Z"},{"ingested":"1998-01-01T00:00:00Z"}]}"#,
        r#"{"event":"x","n":2}"#,
    ];
    let new = |document: &str| NewDocument { index: "logs-x".into(), id: None, document: document.to_owned().into() };
    assert!(store.ingest(documents.map(new), 100 * SECOND).unwrap().iter().all(Result::is_ok));
    let once = |snapshot: &Snapshot| {
        assert_eq!(arrivals(snapshot), vec![vec![100]; documents.len()]);
        for document in self::documents(snapshot) {
            assert!(!document.contains("1999") && !document.contains("1998"), "{document}");
            assert_eq!(document.matches("ingested").count(), 1, "{document}");
        }
    };
    once(&store.snapshot());
    store.flush().unwrap();
    once(&store.snapshot());
}

/// Earlier versions gave every data stream a folder of its own name; some have another now.
#[test]
fn segments_of_earlier_versions_stay_where_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules(&[EVENTS]);
    let (store, _) = open(folder.path(), &rules);
    store.ingest(&[event("logs-a.", 0, "a"), event("logs-a", 1, "a")], 100 * SECOND).unwrap();
    store.close().unwrap();
    drop(store);
    let segments = folder.path().join("segments");
    fs::rename(segments.join("logs-a!2e"), segments.join("logs-a.")).unwrap();
    let catalogue = rusqlite::Connection::open(folder.path().join("catalogue.sqlite")).unwrap();
    let moved = catalogue.execute("UPDATE segments SET path = replace(path, '!2e/', './')", []).unwrap();
    assert_eq!(moved, 2);
    drop(catalogue);

    let (store, report) = open(folder.path(), &rules);
    assert!(report.missing.is_empty() && documents(&store.snapshot()).len() == 2);
    store.ingest(&[event("logs-a.", 2, "a")], 101 * SECOND).unwrap();
    store.flush().unwrap();
    assert_eq!(store.snapshot().data_streams()["logs-a."].events, 2);
    assert!(segments.join("logs-a.").exists() && segments.join("logs-a!2e").exists());
    assert!(store.check().problems.is_empty());
}

#[test]
fn documents_are_refused_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path(), &rules(&[EVENTS]));
    let new = |index: &str, id: Option<&str>, document: &str| NewDocument {
        index: index.to_owned().into(),
        id: id.map(|id| id.to_owned().into()),
        document: document.to_owned().into(),
    };
    let documents = [
        new("logs-x", Some("1"), "{\"a\":1}"),
        new("logs-x", Some("1"), "{\"a\":2}"),
        new("logs-y", Some("1"), "{\n\"a\":3}"),
        new("logs-x", Some("2"), "[]"),
        new("logs-x", Some("2"), "{}"),
        new("../x", None, "{}"),
        new("..", None, "{}"),
    ];
    let results = store.ingest(documents, 0).unwrap();
    assert!(matches!(
        &results[..],
        [
            Ok(_),
            Err(Refused::Conflict { .. }),
            Ok(_),
            Err(Refused::NotAnEvent(_)),
            Ok(_),
            Err(Refused::IndexName(_)),
            Err(Refused::IndexName(_)),
        ]
    ));
    store.close().unwrap();
    assert!(matches!(store.ingest(&[new("x", None, "{}")], 0), Err(IngestError::Closed)));
    drop(store);
    let (store, _) = open(folder.path(), &rules(&[EVENTS]));
    let again = store.ingest(&[new("logs-x", Some("2"), "{}"), new("logs-x", Some("3"), "{}")], 0).unwrap();
    assert!(matches!(&again[..], [Err(Refused::Conflict { .. }), Ok(_)]));
    // Another process must wait.
    assert!(Store::open(folder.path(), StoreOptions::default(), rules(&[EVENTS])).is_err());
    assert!(documents_of(&store).iter().any(|hit| hit.contains("\"a\":3}")));
}

#[test]
fn there_are_as_many_data_streams_as_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        || StoreOptions { max_data_streams: 2, flush_age: Duration::from_secs(3600), ..StoreOptions::default() };
    let take = |store: &Store, index: &str| {
        let new = NewDocument { index: index.to_owned().into(), id: None, document: "{}".into() };
        store.ingest(&[new], 0).unwrap().remove(0)
    };
    let (store, _) = Store::open(folder.path(), options(), rules(&[EVENTS])).unwrap();
    assert!(take(&store, "a").is_ok());
    // What is refused begins none.
    let odd = NewDocument { index: "odd".into(), id: None, document: "[]".into() };
    assert!(matches!(store.ingest(&[odd], 0).unwrap()[0], Err(Refused::NotAnEvent(_))));
    assert!(take(&store, "b").is_ok());
    assert!(matches!(take(&store, "c"), Err(Refused::TooManyStreams { limit: 2, .. })));
    store.close().unwrap();
    drop(store);
    let options = StoreOptions { retention_bytes: Some(0), ..options() };
    let (store, _) = Store::open(folder.path(), options, rules(&[EVENTS])).unwrap();
    assert!(take(&store, "a").is_ok());
    // Nothing is left of the others, once they are pruned.
    store.flush().unwrap();
    store.prune(0).unwrap();
    assert!(take(&store, "c").is_ok() && take(&store, "d").is_ok());
    assert!(take(&store, "a").is_err());
}

fn documents_of(store: &Store) -> Vec<String> {
    documents(&store.snapshot())
}

#[test]
fn new_rules_see_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path(), &rules(&[EVENTS]));
    store.ingest(&[event("logs-a", 0, "a")], SECOND).unwrap();
    store.flush().unwrap();
    store.ingest(&[event("logs-a", 1, "b"), event("logs-b", 2, "a")], 2 * SECOND).unwrap();
    let both = rules(&[SEQUENCE, EVENTS]);
    store.set_rules(both.clone(), &rules(&[SEQUENCE]), 0).unwrap();
    store.ingest(&[event("logs-a", 3, "b")], 2 * SECOND).unwrap();
    let expected = [vec![0, 1, 2, 3], vec![0, 2]];
    assert_eq!(found(&store.snapshot(), &both), expected);
    store.flush().unwrap();
    assert_eq!(found(&store.snapshot(), &both), expected);
    store.close().unwrap();
    drop(store);
    let (store, _) = open(folder.path(), &both);
    assert_eq!(found(&store.snapshot(), &both), expected);
}

#[test]
fn segments_have_what_was_decoded_on_the_way_in() {
    let folder = tempfile::tempdir().unwrap();
    let old = rules(&[EVENTS]);
    let (store, _) = open(folder.path(), &old);
    let mut expected = Vec::new();
    // The first segments tell which fields there are, and further ones are written of what was decoded with those.
    for round in 0..4 {
        let mut events = Vec::new();
        for number in round * 100..round * 100 + 100 {
            let (name, index) =
                (if number % 2 == 0 { "a" } else { "b" }, ["logs-a", "logs-b", "logs-c"][number as usize % 3]);
            let plain = event(index, number, name);
            let document = match number % 100 {
                // Of another type; a field that nobody knows; what only looks like the rest of a hit.
                30 => plain.document.replace("}}", "},\"pid\":\"x\"}"),
                31 => plain.document.replace("}}", &format!("}},\"new{round}\":{{\"er\":[1,\"x\"]}}}}")),
                32 => plain.document.replace("}}", "},\"_id\":\"7\"}"),
                _ => plain.document.replace("}}", "},\"labels\":{\"a\":1}}"),
            };
            events.push(NewDocument { document: document.into(), ..plain });
            expected.push(number);
        }
        assert!(store.ingest(events, 100 * SECOND).unwrap().iter().all(Result::is_ok));
        store.flush().unwrap();
    }
    let later = [
        "any where labels.a == 1",
        "any where new3.er == \"x\" or new3.er == 1",
        "any where process.pid >= 0",
        SEQUENCE,
    ];
    let (all, added) = (rules(&[&[EVENTS], &later[..]].concat()), rules(&later));
    store.set_rules(all.clone(), &added, 0).unwrap();
    let mut found = found(&store.snapshot(), &all);
    found.iter_mut().for_each(|seconds| seconds.sort_unstable());
    let labelled = expected.iter().copied().filter(|number| !(30..33).contains(&(number % 100)));
    let even = expected.iter().copied().filter(|number| number % 2 == 0);
    assert_eq!(found, [even.collect(), labelled.collect(), vec![331], expected.clone(), expected]);
    assert!(store.check().problems.is_empty());
}

#[test]
fn what_comes_interleaved_keeps_its_order_and_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules(&[EVENTS, SEQUENCE]);
    let (store, _) = open(folder.path(), &rules);
    let number_of = |document: &str| {
        let value: serde_json::Value = serde_json::from_str(document).unwrap();
        value["_source"]["@timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second()
    };
    let mut expected = Vec::new();
    // From the second round on, segments are written of what was decoded, and of the log's pages.
    for round in 0..3 {
        let mut events = Vec::new();
        for place in 0..500 {
            let number = round * 1_000 + place;
            let index = ["logs-a", "logs-b", "logs-c", "logs-d"][(place * place % 7 % 4) as usize];
            let new = event(index, number, if number % 2 == 0 { "a" } else { "b" });
            let padding = format!("}},\"message\":\"{}\"}}", "x".repeat((place * 37 % 2_000) as usize));
            let document = match place % 50 {
                7 => "[]".to_owned(),
                // Odd: decoded again for its segment.
                11 => new.document.replace("}}", &format!("}},\"new{round}\":1}}")),
                // Its time stands in it in an odd way.
                23 => new.document.replace("}}", "},\"event.ingested\":7}"),
                29 => format!("{{\n{}", &new.document[1..]),
                _ => new.document.replace("}}", &padding),
            };
            events.push(NewDocument { document: document.into(), ..new });
            expected.extend((place % 50 != 7).then_some(number));
        }
        let results = store.ingest(events, (100 + round) * SECOND).unwrap();
        // Numbers for all documents were set aside; those of refused ones are left over behind the others.
        let mut next = round as u64 * 500;
        for (place, result) in results.iter().enumerate() {
            assert_eq!(result.is_ok(), place % 50 != 7);
            if let Ok(stored) = result {
                assert_eq!(stored.sequence, next);
                next += 1;
            }
        }
        let recent = store.snapshot();
        let recent: Vec<String> =
            documents(&recent).into_iter().filter(|document| number_of(document) >= round * 1_000).collect();
        let numbers: Vec<i64> = recent.iter().map(|document| number_of(document)).collect();
        assert_eq!(numbers, expected[expected.len() - numbers.len()..]);
        assert!(recent.iter().all(|document| document.matches("\"ingested\":\"1970").count() == 1
            || document.contains("\"event.ingested\":\"1970")));
        let copy = tempfile::tempdir().unwrap();
        copy_folder(folder.path(), copy.path());
        let (again, report) = open(copy.path(), &rules);
        assert_eq!(report.replayed as usize, recent.len());
        assert_eq!(documents(&again.snapshot()), documents(&store.snapshot()));
        let before = found(&store.snapshot(), &rules);
        assert_eq!(found(&again.snapshot(), &rules), before);
        store.flush().unwrap();
        let sorted = |mut all: Vec<Vec<i64>>| {
            all.iter_mut().for_each(|seconds| seconds.sort_unstable());
            all
        };
        assert_eq!(sorted(found(&store.snapshot(), &rules)), sorted(before));
        let mut numbers: Vec<i64> = documents(&store.snapshot()).iter().map(|document| number_of(document)).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, expected);
    }
    assert!(store.check().problems.is_empty());
    // A rule that comes later reads the columns.
    let later =
        ["any where process.pid >= 0 and event.ingested != null", "any where message : \"x*\"", "any where new2 == 1"];
    let (all, added) = (self::rules(&[&[EVENTS, SEQUENCE], &later[..]].concat()), self::rules(&later));
    store.set_rules(all.clone(), &added, 0).unwrap();
    let mut found = found(&store.snapshot(), &all);
    found.iter_mut().for_each(|seconds| seconds.sort_unstable());
    let seconds =
        |of: &dyn Fn(i64) -> bool| -> Vec<i64> { expected.iter().copied().filter(|number| of(*number)).collect() };
    let has_message = |number: i64| ![11, 23, 29].contains(&(number % 50)) && number % 1_000 * 37 % 2_000 > 0;
    assert_eq!(
        found[2..],
        [seconds(&|_| true), seconds(&has_message), seconds(&|number| number >= 2_000 && number % 50 == 11)]
    );
}

#[test]
fn small_segments_are_put_together_and_old_ones_go() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules(&[EVENTS, SEQUENCE]);
    let options = StoreOptions {
        flush_age: Duration::ZERO,
        retention_age: Some(Duration::from_secs(1_000)),
        ..StoreOptions::default()
    };
    let (store, _) = Store::open(folder.path(), options, rules.clone()).unwrap();
    let now = jiff::Timestamp::now().as_nanosecond() as i64;
    for number in 0..20 {
        store.ingest(&[event("logs-a", number, if number % 2 == 0 { "a" } else { "b" })], now).unwrap();
        store.flush().unwrap();
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    store.ingest(&[event("logs-a", 20, "a")], now).unwrap();
    let is_done = |stats: StoreStats| stats.segments <= 8 && stats.recent_events == 0;
    while !is_done(store.stats()) && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    let stats = store.stats();
    assert!(stats.segments <= 8, "{stats:?}");
    assert_eq!(stats.problem, None);
    let snapshot = store.snapshot();
    assert_eq!(found(&snapshot, &rules)[1], (0..20).collect::<Vec<i64>>());
    assert_eq!(documents(&snapshot).len(), 21);
    assert!(store.check().problems.is_empty());
    assert!(store.prune(now + 2_000 * SECOND).unwrap() > 0);
    assert_eq!(store.stats().segments, 0);
    assert_eq!(documents(&snapshot).len(), 21);
    drop(snapshot);
    // The background may have looked at them just now.
    let left = || files(&folder.path().join("segments"));
    while !left().is_empty() && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(left(), Vec::<String>::new());
}

/// Waits until there is one segment, and nothing recent.
fn wait_for_one_segment(store: &Store) {
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    let is_done = |stats: &StoreStats| stats.segments == 1 && stats.recent_events == 0;
    while !is_done(&store.stats()) {
        assert!(std::time::Instant::now() < deadline, "{:?}", store.stats());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn files_of_rows_of_large_segments_become_pieces_of_one() {
    const EACH: i64 = 4_096;
    let folder = tempfile::tempdir().unwrap();
    let rules = rules(&[EVENTS, SEQUENCE]);
    let options = || StoreOptions { flush_age: Duration::from_secs(3600), cache_bytes: 0, ..StoreOptions::default() };
    let (store, _) = Store::open(folder.path(), options(), rules.clone()).unwrap();
    let is_found = |number: i64| number % 998 < 2;
    let name = |number: i64| ["a", "b", "c"][usize::try_from(number % 998).unwrap().min(2)];
    // The second event of each sequence is in another segment than the first.
    for segment in 0..16 {
        let events = (0..EACH).map(|number| number * 16 + segment).map(|number| event("logs-a", number, name(number)));
        store.ingest(events.collect::<Vec<_>>(), 0).unwrap();
        store.flush().unwrap();
    }
    wait_for_one_segment(&store);

    let seconds: Vec<i64> = (0..16 * EACH).filter(|number| is_found(*number)).collect();
    let firsts: Vec<i64> = seconds.iter().copied().filter(|number| number % 2 == 0).collect();
    let check = |store: &Store, lists: usize, sets: usize| {
        let snapshot = store.snapshot();
        let mut found = found(&snapshot, &rules);
        found.iter_mut().for_each(|seconds| seconds.sort_unstable());
        assert_eq!(found, [firsts.clone(), seconds.clone()]);
        let everything = TimeRange::default();
        let part = snapshot.parts(&everything).next().unwrap();
        let all = part.lists().unwrap();
        assert_eq!(all.len(), lists);
        for list in &all {
            for event in list.events_of(rules.fingerprints[0]) {
                let hit = String::from_utf8(part.hit(u32::try_from(event.handle).unwrap()).unwrap()).unwrap();
                let time = jiff::Timestamp::from_nanosecond(event.order.time.unwrap().into()).unwrap();
                assert!(hit.contains(&format!("\"@timestamp\":\"{time}\"")), "{time}: {hit}");
            }
        }
        let some = part.lists_of(&rules.fingerprints[..1]).unwrap();
        let counts = part.counts().unwrap();
        let rows = |fingerprint| some.iter().map(|list| list.count_rows(fingerprint, |_| true)).sum::<usize>();
        // Rules that have few rows come along.
        assert_eq!((rows(rules.fingerprints[0]), rows(rules.fingerprints[1])), (firsts.len(), seconds.len()));
        assert_eq!((some.len(), counts.len()), (sets, sets));
        assert!(store.check().problems.is_empty());
    };
    check(&store, 16, 1);
    store.close().unwrap();
    drop(store);
    let (store, _) = Store::open(folder.path(), options(), rules.clone()).unwrap();
    check(&store, 16, 1);

    // What is written anew becomes one piece.
    let later = "process where process.name == \"b\"";
    let (all, added) = (self::rules(&[EVENTS, SEQUENCE, later]), self::rules(&[later]));
    store.set_rules(all.clone(), &added, 0).unwrap();
    check(&store, 2, 2);
    assert_eq!(found(&store.snapshot(), &all)[2].len(), firsts.len());
}

#[test]
fn pieces_do_not_become_many() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules(&[EVENTS, SEQUENCE]);
    let (store, _) = open(folder.path(), &rules);
    let ingest = |numbers: std::ops::Range<i64>| {
        store.ingest(numbers.map(|number| event("logs-a", number, "a")).collect::<Vec<_>>(), 0).unwrap();
        store.flush().unwrap();
    };
    let lists = || store.snapshot().parts(&TimeRange::default()).next().unwrap().lists().unwrap().len();
    // One large segment carries fifteen small ones, once: their average would let it do so again and again.
    ingest(0..70_000);
    for (round, expected) in [(1, 16), (2, 1)] {
        (0..15).for_each(|number| ingest(round * 100_000 + number..round * 100_000 + number + 1));
        wait_for_one_segment(&store);
        assert_eq!(lists(), expected, "round {round}");
    }
}

#[test]
fn damage_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules(&[EVENTS]);
    let (store, _) = open(folder.path(), &rules);
    store.ingest(&[event("logs-a", 0, "a"), event("logs-b", 0, "a")], 0).unwrap();
    store.close().unwrap();
    drop(store);
    let parquet = files(&folder.path().join("segments")).into_iter().find(|path| path.ends_with(".parquet")).unwrap();
    let mut bytes = fs::read(&parquet).unwrap();
    bytes[20] ^= 1;
    fs::write(&parquet, bytes).unwrap();
    let (store, report) = open(folder.path(), &rules);
    assert!(report.missing.is_empty());
    let report = store.check();
    assert_eq!(report.problems.len(), 1);
    assert!(report.problems[0].to_string().contains("checksum"), "{}", report.problems[0]);
    // It is out of the way, and stays named.
    let name = Path::new(&parquet).strip_prefix(folder.path().join("segments")).unwrap().to_owned();
    for _ in 0..2 {
        assert_eq!(store.check().quarantined, [name.as_path()]);
    }
    let stats = store.stats();
    assert_eq!((stats.segments, stats.quarantined, stats.problem), (1, 1, None));
    assert_eq!(documents_of(&store).len(), 1);
    let kept = folder.path().join("quarantine").join(&name);
    assert!(kept.exists() && kept.with_extension("rows").exists());
    let note = fs::read_to_string(kept.with_extension("txt")).unwrap();
    assert!(note.contains("checksum") && note.contains("1 events of logs-"), "{note}");
    store.close().unwrap();
    drop(store);
    assert!(!Path::new(&parquet).exists());
    let (store, report) = open(folder.path(), &rules);
    assert_eq!((report.missing.len(), store.stats().segments, store.stats().quarantined), (0, 1, 1));
    store.close().unwrap();
    drop(store);
    // Who has seen to it removes it.
    fs::remove_dir_all(folder.path().join("quarantine")).unwrap();
    let missing = files(&folder.path().join("segments")).into_iter().find(|path| path.ends_with(".parquet")).unwrap();
    fs::remove_file(missing).unwrap();
    let (store, report) = open(folder.path(), &rules);
    assert_eq!((report.missing.len(), store.stats().segments, store.stats().quarantined), (1, 0, 0));
}

/// Two data streams whose events came in turn, in segments; and the folder.
fn two_segments(rules: &Arc<StoreRules>) -> (tempfile::TempDir, Vec<Vec<i64>>, Vec<Vec<i64>>) {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path(), rules);
    for number in 0..8 {
        let index = if number % 4 < 2 { "logs-a" } else { "logs-b" };
        let id = Some(format!("id-{number}").into());
        let new = NewDocument { id, ..event(index, number, if number % 2 == 0 { "a" } else { "b" }) };
        // Not on a whole millisecond.
        assert!(store.ingest(&[new], (100 + number) * SECOND + 1_234_567).unwrap()[0].is_ok());
    }
    store.flush().unwrap();
    let (there, order) = (found(&store.snapshot(), rules), sequences(&store.snapshot()));
    store.close().unwrap();
    (folder, there, order)
}

/// The sequence numbers of what matched, by part and row.
fn sequences(snapshot: &Snapshot) -> Vec<Vec<i64>> {
    let parts = snapshot.parts(&TimeRange::default()).cloned().collect::<Vec<_>>();
    let of_part = |part: &Arc<eqlipse_store::Part>| {
        let lists = part.lists().unwrap();
        let mut rows: Vec<_> = lists.iter().flat_map(|list| list.events()).collect();
        rows.sort_by_key(|event| event.handle);
        rows.dedup_by_key(|event| event.handle);
        rows.iter().map(|event| event.order.arrival.position as i64).collect()
    };
    parts.iter().map(of_part).collect()
}

#[test]
fn a_file_of_rows_is_made_anew_from_its_events() {
    let rules = rules(&[EVENTS, SEQUENCE]);
    for damage in ["spoiled", "gone", "empty"] {
        let (folder, there, order) = two_segments(&rules);
        let rows = files(&folder.path().join("segments"))
            .into_iter()
            .find(|path| path.contains("logs-a") && path.ends_with(".rows"));
        let rows = rows.unwrap();
        let mut bytes = fs::read(&rows).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        match damage {
            "spoiled" => fs::write(&rows, bytes).unwrap(),
            "empty" => fs::write(&rows, "").unwrap(),
            _ => fs::remove_file(&rows).unwrap(),
        }
        let (store, report) = open(folder.path(), &rules);
        assert_eq!((report.missing.len(), report.unknown_ids), (0, 1), "{damage}");
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        // Somebody looked at it: it is mended in the background.
        while store.snapshot().parts(&TimeRange::default()).any(|part| part.lists().is_err()) {
            assert!(std::time::Instant::now() < deadline, "{damage}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let snapshot = store.snapshot();
        assert_eq!((found(&snapshot, &rules), sequences(&snapshot)), (there, order), "{damage}");
        let arrivals =
            snapshot.parts(&TimeRange::default()).next().unwrap().arrivals().map(|of| [of.of(0), of.of(1), of.of(3)]);
        // To the millisecond, and never out of the span that the catalogue has.
        let exact = [100, 101, 105].map(|second| second * SECOND + 1_234_567);
        assert_eq!(arrivals.unwrap(), [exact[0], exact[1] - 234_567, exact[2] - 234_567], "{damage}");
        let again = NewDocument { id: Some("id-1".into()), ..event("logs-a", 1, "b") };
        assert!(matches!(&store.ingest(&[again], 200 * SECOND).unwrap()[..], [Err(Refused::Conflict { .. })]));
        let report = store.check();
        assert!(report.problems.is_empty() && report.quarantined.is_empty(), "{report:?}");
        // The damaged one is kept.
        let kept = folder.path().join("quarantine");
        assert_eq!(if kept.exists() { files(&kept).len() } else { 0 }, usize::from(damage != "gone"));
    }
}

#[test]
fn no_sequence_number_is_given_twice() {
    let rules = rules(&[EVENTS, SEQUENCE]);
    for is_other_lost in [false, true] {
        let (folder, there, order) = two_segments(&rules);
        let rows_of = |index: &str| {
            let files = files(&folder.path().join("segments"));
            files.into_iter().find(|path| path.contains(index) && path.ends_with(".rows")).unwrap()
        };
        let (damaged, other) = (rows_of("logs-a"), rows_of("logs-b"));
        let kept = fs::read(&other).unwrap();
        fs::write(&damaged, "").unwrap();
        match is_other_lost {
            true => fs::write(&other, "").unwrap(),
            false => {
                fs::remove_file(&other).unwrap();
                fs::create_dir(&other).unwrap();
            }
        }
        let (store, _) = open(folder.path(), &rules);
        if !is_other_lost {
            // Nobody knows now which numbers the other has.
            for _ in 0..2 {
                let report = store.check();
                assert!(report.problems.len() >= 2 && report.quarantined.is_empty(), "{report:?}");
            }
            fs::remove_dir(&other).unwrap();
            fs::write(&other, kept).unwrap();
        }
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !store.check().problems.is_empty() {
            assert!(std::time::Instant::now() < deadline, "it is not mended");
            std::thread::sleep(Duration::from_millis(20));
        }
        let snapshot = store.snapshot();
        match is_other_lost {
            true => {
                let mut all = sequences(&snapshot).concat();
                all.sort_unstable();
                assert_eq!(all, (0..8).collect::<Vec<i64>>());
            }
            false => assert_eq!((found(&snapshot, &rules), sequences(&snapshot)), (there, order)),
        }
        assert_eq!(store.stats().quarantined, 0);
    }
}

#[test]
fn files_of_others_stay() {
    let rules = rules(&[EVENTS]);
    let (folder, ..) = two_segments(&rules);
    let segments = folder.path().join("segments");
    let day = segments.join("logs-a/2026-01-01");
    fs::create_dir_all(&day).unwrap();
    let foreign = [segments.join("export.parquet"), segments.join("logs-a/notes.tmp"), day.join("query.rows")];
    let orphans =
        ["0000000000000700-00000002.parquet", "0000000000000700-00000002.rows.tmp"].map(|name| day.join(name));
    foreign.iter().chain(&orphans).for_each(|path| fs::write(path, "x").unwrap());
    let (store, _) = open(folder.path(), &rules);
    assert_eq!(documents_of(&store).len(), 8);
    assert!(foreign.iter().all(|path| path.exists()), "{:?}", files(&segments));
    assert!(!orphans.iter().any(|path| path.exists()), "{:?}", files(&segments));
}

#[test]
fn new_rules_see_all_that_is_not_damaged() {
    let first = rules(&[EVENTS]);
    let (folder, ..) = two_segments(&first);
    let parquet = files(&folder.path().join("segments"))
        .into_iter()
        .find(|path| path.contains("logs-a") && path.ends_with(".parquet"));
    let parquet = parquet.unwrap();
    let bytes = fs::read(&parquet).unwrap();
    fs::write(&parquet, &bytes[..bytes.len() / 2]).unwrap();
    let (store, _) = open(folder.path(), &first);
    let both = rules(&[EVENTS, SEQUENCE]);
    store.set_rules(both.clone(), &rules(&[SEQUENCE]), 0).unwrap();
    let stats = store.stats();
    assert_eq!((stats.segments, stats.quarantined, stats.problem), (1, 1, None));
    assert_eq!(found(&store.snapshot(), &both), [vec![2, 6], vec![2, 3, 6, 7]]);
}

/// Spoils all that is in a Parquet file, but not what it says of itself.
fn spoil_pages(parquet: &str) -> Vec<u8> {
    let mut bytes = fs::read(parquet).unwrap();
    let end = bytes.len() - 8;
    let footer = u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap()) as usize;
    bytes[4..end - footer].fill(0xff);
    fs::write(parquet, &bytes).unwrap();
    bytes
}

#[test]
fn one_that_cannot_be_joined_keeps_no_others_apart() {
    let (folder, rules) = (tempfile::tempdir().unwrap(), rules(&[EVENTS]));
    let now = || jiff::Timestamp::now().as_nanosecond() as i64;
    // Segments in which a field has columns of different types are put together event by event.
    let put = |store: &Store, number: i64| {
        let value = if number == 0 { "1" } else { "[\"x\",\"x\"]" };
        let document = format!("{{\"@timestamp\":\"2026-01-01T00:00:00Z\",\"field\":{value}}}").into();
        let new = NewDocument { document, ..event("logs-a", 0, "a") };
        assert!(store.ingest(&[new], now()).unwrap()[0].is_ok());
    };
    let (store, _) = open(folder.path(), &rules);
    for number in 0..9 {
        put(&store, number);
        store.flush().unwrap();
    }
    store.close().unwrap();
    drop(store);
    // One of them cannot be read, and was written so.
    let segments = folder.path().join("segments");
    let parquet = files(&segments).into_iter().find(|path| path.ends_with(".parquet")).unwrap();
    let checksum = xxhash_rust::xxh3::xxh3_128(&spoil_pages(&parquet)).to_le_bytes();
    let name = Path::new(&parquet).strip_prefix(&segments).unwrap().to_str().unwrap();
    let catalogue = rusqlite::Connection::open(folder.path().join("catalogue.sqlite")).unwrap();
    let change = "UPDATE segments SET checksum = ?1 WHERE path = ?2";
    assert_eq!(catalogue.execute(change, rusqlite::params![checksum, name]).unwrap(), 1);
    drop(catalogue);
    let options = StoreOptions { flush_age: Duration::ZERO, ..StoreOptions::default() };
    let (store, _) = Store::open(folder.path(), options, rules).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    for number in 9.. {
        put(&store, number);
        std::thread::sleep(Duration::from_millis(300));
        if store.stats().segments <= 4 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{:?}", store.stats());
    }
    assert!(Path::new(&parquet).exists());
    assert_eq!(store.stats().quarantined, 0);
}

#[test]
fn a_damaged_footer_keeps_no_others_apart() {
    let (folder, rules) = (tempfile::tempdir().unwrap(), rules(&[EVENTS]));
    let put = |store: &Store, number: i64| {
        let now = jiff::Timestamp::now().as_nanosecond() as i64;
        assert!(store.ingest(&[event("logs-a", number, "a")], now).unwrap()[0].is_ok());
    };
    let (store, _) = open(folder.path(), &rules);
    for number in 0..9 {
        put(&store, number);
        store.flush().unwrap();
    }
    store.close().unwrap();
    drop(store);
    let segments = files(&folder.path().join("segments"));
    let parquet = segments.into_iter().find(|path| path.ends_with(".parquet")).unwrap();
    let mut bytes = fs::read(&parquet).unwrap();
    // In front of the footer's length.
    let last = bytes.len() - 9;
    bytes[last] ^= 0xff;
    fs::write(&parquet, bytes).unwrap();
    let options = StoreOptions { flush_age: Duration::ZERO, ..StoreOptions::default() };
    let (store, _) = Store::open(folder.path(), options, rules).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    for number in 9.. {
        put(&store, number);
        std::thread::sleep(Duration::from_millis(300));
        if store.stats().segments <= 4 && store.stats().quarantined == 1 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{:?}", store.stats());
    }
    assert!(!Path::new(&parquet).exists());
}

#[test]
fn a_damaged_document_takes_its_segment_out_of_the_way() {
    let rules = rules(&[EVENTS]);
    let (folder, ..) = two_segments(&rules);
    let parquet = files(&folder.path().join("segments"))
        .into_iter()
        .find(|path| path.contains("logs-a") && path.ends_with(".parquet"));
    let parquet = parquet.unwrap();
    spoil_pages(&parquet);
    let (store, _) = open(folder.path(), &rules);
    let snapshot = store.snapshot();
    let part = snapshot.parts(&TimeRange::default()).find(|part| part.data_stream() == Some("logs-a")).unwrap().clone();
    assert!(part.hit(0).is_err());
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while store.stats().quarantined == 0 && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!((store.stats().quarantined, store.stats().segments), (1, 1));
    // Who had it before has what can be read of it.
    assert_eq!(part.lists().unwrap().len(), 1);
    assert_eq!(documents_of(&store).len(), 4);
}

#[test]
fn requests_share_syncs_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let rules = rules(&[EVENTS]);
    let (store, _) = open(folder.path(), &rules);
    // Events of long ago would be written to segments at once, and not be in the log any more.
    let now = jiff::Timestamp::now().as_nanosecond() as i64;
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..50 {
                    let events = [event("logs-a", thread * 50 + number, "a")];
                    assert!(store.ingest(events, now + number).unwrap()[0].is_ok());
                }
            });
        }
    });
    let mut seconds = found(&store.snapshot(), &rules).remove(0);
    seconds.sort_unstable();
    assert_eq!(seconds, (0..400).collect::<Vec<i64>>());
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder.path(), copy.path());
    assert_eq!(open(copy.path(), &rules).1.replayed, 400);
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path().display().to_string()),
        }
    }
    found
}
