//! The store from another process: what a view has is one moment of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use eqlipse_engine::{CompileOptions, MatchPlan, RuleSetBuilder};
use eqlipse_store::{NewDocument, Snapshot, Store, StoreOptions, StoreRules, TimeRange};

const WRITERS: usize = 2;

fn no_rules() -> Arc<StoreRules> {
    let mut builder = RuleSetBuilder::new(CompileOptions::default());
    eqlipse_events::reserve(builder.schema_mut());
    Arc::new(StoreRules::new(Arc::new(MatchPlan::new(Arc::new(builder.build()))), Vec::new()))
}

/// Events of long ago would be written to segments at once.
fn now() -> i64 {
    jiff::Timestamp::now().as_nanosecond() as i64
}

fn open(folder: &Path, options: StoreOptions) -> Store {
    Store::open(folder, options, no_rules()).unwrap().0
}

fn documents(snapshot: &Snapshot) -> Vec<serde_json::Value> {
    let mut documents = Vec::new();
    for part in snapshot.parts(&TimeRange::default()) {
        for row in 0..part.rows() {
            let hit: serde_json::Value = serde_json::from_slice(&part.hit(row).unwrap()).unwrap();
            documents.push(hit["_source"].clone());
        }
    }
    documents
}

/// Who has been answered how often, and who has asked.
#[derive(Default)]
struct Counts {
    sent: [AtomicU64; WRITERS],
    acknowledged: [AtomicU64; WRITERS],
}

impl Counts {
    fn acknowledged(&self) -> Vec<u64> {
        self.acknowledged.iter().map(|count| count.load(Ordering::SeqCst)).collect()
    }
}

/// Sends events that say which of the others were acknowledged before.
fn write(store: &Store, writer: usize, counts: &Counts, is_over: &AtomicBool) {
    let mut number = 0;
    while !is_over.load(Ordering::SeqCst) {
        let size = 1 + number % 7;
        let known = counts.acknowledged();
        let document = |number: u64| NewDocument {
            index: format!("logs-{}", number % 2).into(),
            id: None,
            document: serde_json::json!({ "writer": writer, "number": number, "known": known }).to_string().into(),
        };
        let documents: Vec<NewDocument> = (number..number + size).map(document).collect();
        number += size;
        counts.sent[writer].store(number, Ordering::SeqCst);
        assert!(store.ingest(documents, now()).unwrap().iter().all(Result::is_ok));
        counts.acknowledged[writer].store(number, Ordering::SeqCst);
        if number % 3 == 0 {
            store.flush().unwrap();
        }
    }
}

/// Checks that a snapshot is one moment: of each writer the first events up to some number, each once, and with an event
/// everything that was acknowledged before it was sent.
fn check(snapshot: &Snapshot, acknowledged: &[u64], counts: &Counts) {
    let mut numbers: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut known = [0; WRITERS];
    for document in documents(snapshot) {
        let number = |value: &serde_json::Value| value.as_u64().unwrap();
        numbers.entry(number(&document["writer"])).or_default().push(number(&document["number"]));
        for (writer, known) in known.iter_mut().enumerate() {
            *known = number(&document["known"][writer]).max(*known);
        }
    }
    for writer in 0..WRITERS {
        let mut seen = numbers.remove(&(writer as u64)).unwrap_or_default();
        seen.sort_unstable();
        let count = seen.len() as u64;
        assert_eq!(seen, (0..count).collect::<Vec<u64>>(), "writer {writer}");
        assert!(
            count >= acknowledged[writer].max(known[writer]),
            "writer {writer}: {count}, {acknowledged:?}, {known:?}"
        );
        assert!(count <= counts.sent[writer].load(Ordering::SeqCst));
    }
}

#[test]
fn a_view_is_one_moment_of_a_store_that_works() {
    let folder = tempfile::tempdir().unwrap();
    // The background flushes and puts segments together all the time, so that files come and go.
    let options = StoreOptions { flush_age: Duration::ZERO, ..StoreOptions::default() };
    let store = open(folder.path(), options);
    let (counts, is_over) = (Counts::default(), AtomicBool::new(false));
    let (mut segments, mut recent) = (false, false);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (store, counts, is_over) = (&store, &counts, &is_over);
            scope.spawn(move || write(store, writer, counts, is_over));
        }
        let mut held = Vec::new();
        let (mut views, mut count, mut is_compacted) = (0, 0, false);
        // Until views have seen events in both forms, and small segments were put together under them.
        while views < 60 || !segments || !recent || !is_compacted {
            let before = std::mem::replace(&mut count, store.stats().segments);
            is_compacted |= count < before;
            let acknowledged = counts.acknowledged();
            let view = Store::view(folder.path()).unwrap();
            assert!(view.damaged.is_empty(), "{:?}", view.damaged);
            let stats = view.stats();
            segments |= stats.segments > 0;
            recent |= stats.recent_events > 0;
            // It is read only after the store has gone on.
            held.push((view, acknowledged));
            if held.len() > 10 {
                let (view, acknowledged) = held.remove(0);
                check(&view.snapshot, &acknowledged, &counts);
            }
            views += 1;
        }
        is_over.store(true, Ordering::SeqCst);
        held.iter().for_each(|(view, acknowledged)| check(&view.snapshot, acknowledged, &counts));
    });
    let view = Store::view(folder.path()).unwrap();
    check(&view.snapshot, &counts.acknowledged(), &counts);
    assert_eq!(view.snapshot.events(), store.snapshot().events());
    assert_eq!(view.snapshot.data_streams().len(), 2);
}

/// Every file with its length and when it was written, but SQLite's memory that its readers share.
fn files(folder: &Path) -> Vec<(String, u64, SystemTime)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let metadata = entry.metadata().unwrap();
        let path = entry.path().display().to_string();
        if metadata.is_dir() {
            found.extend(files(&entry.path()));
        } else if !path.ends_with("-shm") {
            found.push((path, metadata.len(), metadata.modified().unwrap()));
        }
    }
    found.sort();
    found
}

/// The frames of a file of the log, without the zeros that fill its last block up: a frame may end with some too.
fn frames(log: &Path) -> Vec<u8> {
    let mut bytes = fs::read(log).unwrap();
    let mut end = 0;
    while bytes[end..].starts_with(b"eqL2") {
        let length = bytes[end + 4..end + 8].try_into().map(u32::from_le_bytes).unwrap();
        end += 12 + length as usize;
    }
    bytes.truncate(end);
    bytes
}

#[test]
fn a_view_changes_nothing_and_keeps_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Store::view(folder.path()).is_err());
    let new = |number: u64| NewDocument {
        index: "logs-x".into(),
        id: Some(number.to_string().into()),
        document: format!("{{\"@timestamp\":\"2026-03-01T12:00:00Z\",\"number\":{number}}}").into(),
    };
    let options = StoreOptions { flush_age: Duration::from_secs(3600), ..StoreOptions::default() };
    let store = open(folder.path(), options.clone());
    store.ingest(&[new(1), new(2)], now()).unwrap();
    store.flush().unwrap();
    store.ingest(&[new(3)], now()).unwrap();
    let before = files(folder.path());
    let view = Store::view(folder.path()).unwrap();
    let stats = view.stats();
    assert_eq!((stats.segment_events, stats.recent_events, stats.data_streams), (2, 1, 1));
    assert!(stats.log_bytes > 0);
    assert_eq!(documents(&view.snapshot), documents(&store.snapshot()));
    assert_eq!(files(folder.path()), before);
    // A frame that is being written is not there yet.
    let log = fs::read_dir(folder.path().join("log")).unwrap().flatten().map(|entry| entry.path()).max().unwrap();
    let whole = frames(&log);
    fs::write(&log, [&whole[..], &whole[..whole.len() - 1]].concat()).unwrap();
    let torn = Store::view(folder.path()).unwrap();
    assert_eq!((documents(&torn.snapshot).len(), torn.damaged.len()), (3, 0));
    fs::write(&log, &whole).unwrap();

    store.close().unwrap();
    drop(store);
    let before = files(folder.path());
    assert_eq!(documents(&Store::view(folder.path()).unwrap().snapshot).len(), 3);
    assert_eq!(files(folder.path()), before);
    // The one from before is as it was, and in nobody's way.
    let store = open(folder.path(), StoreOptions { retention_bytes: Some(0), ..options });
    store.prune(i64::MAX).unwrap();
    assert_eq!(store.snapshot().events(), 0);
    assert_eq!(documents(&view.snapshot).len(), 3);
    assert_eq!(Store::view(folder.path()).unwrap().snapshot.events(), 0);
    drop((view, torn));
    store.close().unwrap();
    drop(store);
    // What it held is gone at the latest with the next start.
    drop(open(folder.path(), StoreOptions::default()));
    assert!(files(&folder.path().join("segments")).is_empty());
}

#[test]
fn damage_is_named_by_a_view() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), StoreOptions { flush_age: Duration::from_secs(3600), ..StoreOptions::default() });
    let new = |index: &str| NewDocument { index: index.to_owned().into(), id: None, document: "{}".into() };
    store.ingest(&[new("logs-a"), new("logs-b")], now()).unwrap();
    store.flush().unwrap();
    for _ in 0..3 {
        store.ingest(&[new("logs-c")], now()).unwrap();
    }
    let log = fs::read_dir(folder.path().join("log")).unwrap().flatten().map(|entry| entry.path()).max().unwrap();
    let mut bytes = frames(&log);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes).unwrap();
    let day = fs::read_dir(folder.path().join("segments/logs-a")).unwrap().flatten().next().unwrap().path();
    fs::remove_dir_all(day).unwrap();
    let view = Store::view(folder.path()).unwrap();
    assert_eq!(view.damaged.len(), 2, "{:?}", view.damaged);
    assert_eq!(view.damaged[0], log);
    assert_eq!(documents(&view.snapshot).len(), 3);
}
