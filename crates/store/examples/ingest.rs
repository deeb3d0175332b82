//! Takes events in as the service does, without HTTP and rules' executions, for profiles: `ingest EVENTS.ndjson RULES SECONDS`.

use std::ffi::OsString;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use eqlipse_hunt::RuleBook;
use eqlipse_rules::{PathOrStdin, load};
use eqlipse_store::{IngestError, NewDocument, Store, StoreOptions, StoreRules};
use jiff::Timestamp;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Events of a request, and threads that make requests.
const BULK: usize = 1_000;
const CLIENTS: usize = 4;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [events, rules, seconds] = arguments.as_slice() else { panic!("ingest EVENTS.ndjson RULES SECONDS") };
    let time = Duration::from_secs(seconds.parse().expect("a number of seconds"));
    let text = fs::read_to_string(events).expect("events");
    let book = RuleBook::compile(load(&[PathOrStdin::from(OsString::from(rules))]), |_| true, false);
    let fingerprints = (0..book.rules().len() as u128).collect();
    let rules = Arc::new(StoreRules::new(book.plan().clone(), fingerprints));
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _) = Store::open(folder.path(), StoreOptions::default(), rules).expect("a store");
    let documents: Vec<NewDocument> = text.lines().map(new_document).collect();
    let bulks: Vec<&[NewDocument]> = documents.chunks(BULK).collect();
    let (next, begun) = (AtomicUsize::new(0), Instant::now());
    let send = || {
        while begun.elapsed() < time {
            send_bulk(&store, bulks[next.fetch_add(1, Ordering::Relaxed) % bulks.len()]);
        }
    };
    std::thread::scope(|scope| (0..CLIENTS).for_each(|_| _ = scope.spawn(send)));
    let sent = next.load(Ordering::Relaxed) * BULK;
    println!("{:.0} events/s; {:?}", sent as f64 / begun.elapsed().as_secs_f64(), store.stats());
    store.close().expect("an end");
}

fn new_document(line: &str) -> NewDocument {
    let dataset = line.split_once("\"dataset\":\"").and_then(|(_, rest)| rest.split('"').next());
    let index = format!("logs-{}-default", dataset.unwrap_or("generic"));
    NewDocument { index: index.into(), id: None, document: line.into() }
}

fn send_bulk(store: &Store, bulk: &[NewDocument]) {
    loop {
        match store.ingest(bulk, Timestamp::now().as_nanosecond() as i64) {
            Err(IngestError::Overloaded { .. }) => std::thread::sleep(Duration::from_millis(50)),
            taken => return drop(taken.expect("events are taken")),
        }
    }
}
