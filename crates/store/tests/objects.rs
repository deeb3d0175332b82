//! Segments in an object store: one in memory, which fails, hangs and lies on demand.

mod common;

use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use common::{EVENTS, SECOND, SEQUENCE, copy_folder, rules};
use eqlipse_store::{
    NewDocument, ObjectPlace, RecoveryReport, SegmentPlace, Snapshot, Store, StoreOptions, StoreRules, TimeRange,
};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// What goes wrong.
#[derive(Debug, Default)]
struct Faults {
    puts_fail: AtomicBool,
    gets_fail: AtomicBool,
    hangs: AtomicBool,
    gets_lie: AtomicBool,
    parts_fail: AtomicBool,
    parts_panic: AtomicBool,
    /// The end of the names of those that fail and hang.
    only: Mutex<&'static str>,
    /// Every call, by its name and object.
    calls: Mutex<Vec<String>>,
}

/// An object store in memory with faults.
#[derive(Clone, Debug, Default)]
struct Faulty {
    inner: Arc<InMemory>,
    faults: Arc<Faults>,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl Faulty {
    async fn call(&self, name: &str, at: &ObjectPath, fails: &AtomicBool) -> Result<()> {
        self.note(name, at);
        if !at.as_ref().ends_with(*self.faults.only.lock().unwrap()) {
            return Ok(());
        }
        while self.faults.hangs.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        match fails.load(Ordering::SeqCst) {
            true => Err(Error::Generic { store: "Faulty", source: format!("{name} fails").into() }),
            false => Ok(()),
        }
    }

    fn note(&self, name: &str, at: &ObjectPath) {
        self.faults.calls.lock().unwrap().push(format!("{name} {at}"));
    }

    /// How often something was asked for, of objects whose names end so.
    fn calls(&self, name: &str, end: &str) -> usize {
        let calls = self.faults.calls.lock().unwrap();
        calls.iter().filter(|call| call.split(' ').next() == Some(name) && call.ends_with(end)).count()
    }

    fn set(&self, fault: impl Fn(&Faults) -> &AtomicBool, is_on: bool) {
        fault(&self.faults).store(is_on, Ordering::SeqCst);
    }

    /// All objects below the prefix, by name.
    fn objects(&self) -> Vec<String> {
        let mut names: Vec<String> = block(async {
            let listed = self.inner.list(None).map(|object| object.unwrap().location.to_string());
            listed.collect::<Vec<String>>().await
        });
        names.sort();
        names
    }

    fn put(&self, name: &str, content: &'static str) {
        block(self.inner.put(&ObjectPath::parse(name).unwrap(), content.into())).unwrap();
    }

    fn remove(&self, name: &str) {
        block(self.inner.delete(&ObjectPath::parse(name).unwrap())).unwrap();
    }

    /// Damages the first segment, and returns its name.
    fn spoil(&self) -> String {
        let name = self.segments().remove(0);
        self.put(&name, "no Parquet file");
        name
    }

    fn segments(&self) -> Vec<String> {
        self.objects().into_iter().filter(|name| name.ends_with(".parquet")).collect()
    }
}

fn close(store: Store) {
    store.close().unwrap();
}

fn block<T>(call: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(call)
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, at: &ObjectPath, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.call("put", at, &self.faults.puts_fail).await?;
        self.inner.put_opts(at, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        at: &ObjectPath,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.call("begin", at, &self.faults.puts_fail).await?;
        let inner = self.inner.put_multipart_opts(at, options).await?;
        Ok(Box::new(FaultyUpload { inner, store: self.clone(), at: at.clone() }))
    }

    async fn get_opts(&self, at: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        self.call(if options.head { "head" } else { "get" }, at, &self.faults.gets_fail).await?;
        let lies = self.faults.gets_lie.load(Ordering::SeqCst) && !options.head;
        let mut got = self.inner.get_opts(at, options).await?;
        if lies && !at.as_ref().ends_with("eqlipse-store") {
            let (meta, range, attributes) = (got.meta.clone(), got.range.clone(), got.attributes.clone());
            let mut bytes = got.bytes().await?.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x20;
            let payload = object_store::GetResultPayload::Stream(
                futures_util::stream::once(async move { Ok(bytes.into()) }).boxed(),
            );
            got = GetResult { payload, meta, range, attributes };
        }
        Ok(got)
    }

    fn delete_stream(&self, at: BoxStream<'static, Result<ObjectPath>>) -> BoxStream<'static, Result<ObjectPath>> {
        let this = self.clone();
        at.then(move |at| {
            let this = this.clone();
            async move {
                let at = at?;
                this.call("delete", &at, &this.faults.puts_fail).await?;
                this.inner.delete(&at).await?;
                Ok(at)
            }
        })
        .boxed()
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct FaultyUpload {
    inner: Box<dyn MultipartUpload>,
    store: Faulty,
    at: ObjectPath,
}

#[async_trait]
impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        assert!(!self.store.faults.parts_panic.load(Ordering::SeqCst), "a part that panics");
        let (store, at, part) = (self.store.clone(), self.at.clone(), self.inner.put_part(data));
        Box::pin(async move {
            store.call("part", &at, &store.faults.parts_fail).await?;
            part.await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.store.note("complete", &self.at);
        self.inner.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.store.note("abort", &self.at);
        self.inner.abort().await
    }
}

/// A data folder and its object store.
struct Bench {
    folder: tempfile::TempDir,
    objects: Faulty,
    options: StoreOptions,
    cache_bytes: u64,
    patience: Duration,
}

impl Bench {
    fn new() -> Self {
        let options = StoreOptions { flush_age: Duration::from_secs(3600), ..StoreOptions::default() };
        let (folder, patience) = (tempfile::tempdir().unwrap(), Duration::from_millis(500));
        Self { folder, objects: Faulty::default(), options, cache_bytes: u64::MAX, patience }
    }

    /// One whose events are not kept for long.
    fn forgetful() -> Self {
        let mut bench = Self::new();
        bench.options.retention_age = Some(Duration::from_secs(1_000));
        bench
    }

    fn place(&self, prefix: &str) -> SegmentPlace {
        let mut place = ObjectPlace::new(Arc::new(self.objects.clone()), prefix, "mem://events").unwrap();
        place.cache_bytes = self.cache_bytes;
        place.patience = self.patience;
        SegmentPlace::Objects(place)
    }

    fn open(&self, rules: &Arc<StoreRules>) -> (Store, RecoveryReport) {
        let options = StoreOptions { segments: self.place("one/service"), ..self.options.clone() };
        Store::open(self.folder.path(), options, rules.clone()).unwrap()
    }

    fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }

    /// A new store with some events, which are in the object store already.
    fn filled(&self, rules: &Arc<StoreRules>, numbers: Range<i64>) -> Store {
        let (store, _) = self.open(rules);
        fill(&store, numbers);
        store.flush().unwrap();
        wait_for_uploads(&store);
        store
    }

    /// The store after a restart, when what it has is only in the object store.
    fn again_without_copies(&self, store: Store, rules: &Arc<StoreRules>) -> (Store, RecoveryReport) {
        close(store);
        self.forget_copies();
        self.open(rules)
    }

    /// Removes the copies, as somebody does who needs room.
    fn forget_copies(&self) {
        fs::remove_dir_all(self.path("segments")).unwrap();
    }
}

fn event(index: &str, number: i64, name: &str) -> NewDocument {
    let time = jiff::Timestamp::from_second(number).unwrap();
    let document = format!(
        "{{\"@timestamp\":\"{time}\",\"event\":{{\"category\":\"process\"}},\"process\":{{\"name\":\"{name}\",\"pid\":{}}}}}",
        number / 2
    );
    NewDocument {
        index: index.to_owned().into(),
        id: Some(format!("{index}-{number}").into()),
        document: document.into(),
    }
}

/// Events 0, 1, 2 … of which each even one is an "a", in two data streams.
fn fill(store: &Store, numbers: Range<i64>) {
    let documents = numbers.map(|number| {
        let index = if number % 4 < 2 { "logs-a-x" } else { "logs-b-x" };
        event(index, number, if number % 2 == 0 { "a" } else { "b" })
    });
    let stored = store.ingest(documents.collect::<Vec<_>>(), 100 * SECOND).unwrap();
    assert!(stored.iter().all(std::result::Result::is_ok), "{stored:?}");
}

fn evens(numbers: Range<i64>) -> Vec<i64> {
    numbers.filter(|number| number % 2 == 0).collect()
}

/// What each rule finds in a snapshot: the seconds of the events, in order.
fn found(snapshot: &Snapshot, rules: &Arc<StoreRules>) -> Vec<Vec<i64>> {
    let mut times = common::found(snapshot, rules);
    times.iter_mut().for_each(|times| times.sort_unstable());
    times
}

/// All documents, as a search has them: through the inputs of a hunt.
fn documents(snapshot: &Snapshot) -> usize {
    let range = TimeRange::default();
    snapshot.parts(&range).map(|part| (0..part.rows()).filter(|row| part.hit(*row).is_ok()).count()).sum()
}

/// What a hunt over the store reads: how many events, and what it could not read.
fn hunted(snapshot: &Snapshot) -> (u64, Vec<String>) {
    let inputs = snapshot.discovery(&TimeRange::default(), |_| true);
    let mut schema = eqlipse_batch::Schema::builder();
    eqlipse_events::reserve(&mut schema);
    let events = std::sync::atomic::AtomicU64::new(0);
    let options = eqlipse_events::ReadOptions::default();
    let report = eqlipse_events::read(&inputs, &schema.build(), &options, &Default::default(), |_| {
        |batch: &eqlipse_batch::EventBatch| _ = events.fetch_add(batch.rows().len() as u64, Ordering::Relaxed)
    });
    let problems = report.unwrap().problems.iter().map(ToString::to_string).collect();
    (events.into_inner(), problems)
}

#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[track_caller]
fn wait_for_uploads(store: &Store) {
    wait_until("segments are not put into the object store", || store.stats().objects.unwrap().waiting == 0);
}

#[track_caller]
fn wait_for_problem(store: &Store, said: &str) {
    let is_said = |problem: String| problem.contains(said);
    wait_until("the problem is not said", || store.stats().objects.unwrap().problem.is_some_and(is_said));
}

fn now() -> i64 {
    jiff::Timestamp::now().as_nanosecond() as i64
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path().display().to_string()),
        }
    }
    found
}

#[test]
fn what_is_only_there_is_read_as_if_it_were_here() {
    let bench = Bench::new();
    let rules = rules(&[EVENTS, SEQUENCE]);
    let store = bench.filled(&rules, 0..8);
    let named = bench.objects.objects();
    assert_eq!(named.len(), 5, "{named:?}");
    assert!(named.iter().all(|name| name.starts_with("one/service/")), "{named:?}");
    let there = found(&store.snapshot(), &rules);
    assert_eq!(there, [evens(0..8), (0..8).collect()]);
    close(store);

    bench.forget_copies();
    let (store, report) = bench.open(&rules);
    assert_eq!((report.missing.len(), report.unknown_ids), (0, 0));
    // An id that was taken is known.
    let again = store.ingest(&[event("logs-a-x", 0, "a")], 101 * SECOND).unwrap();
    assert!(again[0].is_err());
    let snapshot = store.snapshot();
    assert!(
        files(&bench.path("segments")).iter().all(|path| path.ends_with(".rows")),
        "only what is needed is fetched"
    );
    assert_eq!(found(&snapshot, &rules), there);
    assert_eq!(hunted(&snapshot), (8, vec![]));
    assert_eq!(documents(&snapshot), 8);
    assert_eq!(files(&bench.path("segments")).len(), 4);
    let report = store.check();
    assert!(report.problems.is_empty() && report.orphans.is_empty(), "{report:?}");
    assert_eq!((report.segments, report.objects), (2, 2));
}

/// Names whose characters an object store, a URL or a file system has a meaning for.
#[test]
fn all_names_of_indices_are_names_of_objects() {
    let long = ["~".repeat(255), "\u{65e5}".repeat(85)];
    let names = ["a+b@c=d~e!f", "~", "!7e", "%7e", "caf\u{e9}", "cafe\u{301}", "a.", "a", &long[0], &long[1]];
    let bench = Bench::forgetful();
    let rules = rules(&[EVENTS]);
    let (store, _) = bench.open(&rules);
    let now = now();
    let stored = store.ingest(names.map(|name| event(name, 0, "a")), now).unwrap();
    assert!(stored.iter().all(std::result::Result::is_ok), "{stored:?}");
    store.flush().unwrap();
    wait_for_uploads(&store);
    assert_eq!(bench.objects.segments().len(), names.len(), "{:?}", bench.objects.segments());

    let (store, report) = bench.again_without_copies(store, &rules);
    assert!(report.missing.is_empty());
    assert_eq!(documents(&store.snapshot()), names.len());
    let streams = store.snapshot().data_streams();
    assert!(names.iter().all(|name| streams[*name].events == 1) && streams.len() == names.len());
    let checked = store.check();
    assert!(checked.problems.is_empty() && checked.orphans.is_empty(), "{checked:?}");
    assert_eq!(store.prune(now + 2_000 * SECOND).unwrap(), names.len() as u64);
    wait_until("objects stay", || bench.objects.objects() == ["one/service/eqlipse-store"]);
}

#[test]
fn copies_go_beyond_their_limit_and_what_is_read_stays() {
    let mut bench = Bench::new();
    bench.cache_bytes = 0;
    let rules = rules(&[EVENTS]);
    let (store, _) = bench.open(&rules);
    fill(&store, 0..8);
    store.flush().unwrap();
    let is_empty = || files(&bench.path("segments")).is_empty();
    wait_until("copies beyond the limit stay", is_empty);
    let snapshot = store.snapshot();
    let range = TimeRange::default();
    let part = snapshot.parts(&range).next().unwrap();
    let held = part.file().unwrap().unwrap();
    let path = held.path.to_owned();
    // Others come and go meanwhile.
    for _ in 0..20 {
        assert_eq!(hunted(&snapshot), (8, vec![]));
        assert_eq!(documents(&snapshot), 8);
        assert_eq!(found(&snapshot, &rules), [evens(0..8)]);
    }
    assert!(path.exists());
    drop(held);
    wait_until("copies beyond the limit stay", || is_empty() && store.stats().objects.unwrap().local_bytes == 0);
}

#[test]
fn while_it_is_away_everything_goes_on_here() {
    let bench = Bench::new();
    let rules = rules(&[EVENTS]);
    bench.objects.set(|faults| &faults.puts_fail, true);
    bench.objects.set(|faults| &faults.gets_fail, true);
    let (store, _) = bench.open(&rules);
    fill(&store, 0..8);
    store.flush().unwrap();
    fill(&store, 8..12);
    wait_for_problem(&store, "");
    let stats = store.stats();
    // Events are kept as ever.
    assert_eq!((stats.problem, stats.segments, stats.recent_events), (None, 2, 4));
    let objects = stats.objects.unwrap();
    assert_eq!(objects.waiting, 2);
    assert!(objects.problem.unwrap().contains("fails"));
    assert_eq!(found(&store.snapshot(), &rules), [evens(0..12)]);
    close(store);
    // The next start is none the worse.
    let (store, report) = bench.open(&rules);
    assert_eq!((report.missing.len(), report.replayed), (0, 0));
    assert_eq!(found(&store.snapshot(), &rules), [evens(0..12)]);
    assert!(bench.objects.objects().is_empty());
    bench.objects.set(|faults| &faults.puts_fail, false);
    bench.objects.set(|faults| &faults.gets_fail, false);
    wait_for_uploads(&store);
    wait_until("the problem stays", || store.stats().objects.unwrap().problem.is_none());
    assert_eq!(bench.objects.segments().len(), 4);
    let (store, _) = bench.again_without_copies(store, &rules);
    assert_eq!(found(&store.snapshot(), &rules), [evens(0..12)]);
}

#[test]
fn one_that_hangs_holds_nothing_up() {
    let bench = Bench::new();
    let rules = rules(&[EVENTS]);
    let store = bench.filled(&rules, 0..4);
    bench.objects.set(|faults| &faults.hangs, true);
    fill(&store, 4..8);
    store.flush().unwrap();
    assert_eq!(found(&store.snapshot(), &rules), [evens(0..8)]);
    wait_for_problem(&store, "no answer within 500ms");
    bench.objects.set(|faults| &faults.hangs, false);
    wait_for_uploads(&store);
    close(store);
    bench.forget_copies();
    // Who reads what is only there waits for one answer, and not for one a segment.
    bench.objects.set(|faults| &faults.hangs, true);
    let (store, report) = bench.open(&rules);
    assert_eq!((report.missing.len(), report.unknown_ids), (0, 4));
    let (events, problems) = hunted(&store.snapshot());
    assert_eq!((events, problems.len()), (0, 4), "{problems:?}");
    assert!(problems[0].contains("no answer within"), "{problems:?}");
    bench.objects.set(|faults| &faults.hangs, false);
    wait_until("it cannot be read again", || hunted(&store.snapshot()) == (8, vec![]));
}

#[test]
fn wrong_bytes_are_not_believed() {
    let bench = Bench::new();
    let rules = rules(&[EVENTS]);
    let (store, _) = bench.open(&rules);
    fill(&store, 0..4);
    close(store);
    let (store, _) = bench.open(&rules);
    for path in files(&bench.path("segments")).iter().filter(|path| path.ends_with(".parquet")) {
        fs::remove_file(path).unwrap();
    }
    bench.objects.set(|faults| &faults.gets_lie, true);
    let (events, problems) = hunted(&store.snapshot());
    assert_eq!((events, problems.len()), (0, 2));
    assert!(problems[0].contains("checksum") && problems[0].contains("object store"), "{problems:?}");
    assert!(files(&bench.path("segments")).iter().all(|path| path.ends_with(".rows")), "nothing of it is kept");
    bench.objects.set(|faults| &faults.gets_lie, false);
    assert_eq!(hunted(&store.snapshot()), (4, vec![]));
    assert!(store.check().problems.is_empty());
}

/// Changes a byte in the middle of a file.
fn spoil(path: &str) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_damaged_here_is_fetched_and_what_is_damaged_there_is_put_again() {
    let bench = Bench::new();
    let rules = rules(&[EVENTS]);
    let store = bench.filled(&rules, 0..8);
    files(&bench.path("segments")).iter().for_each(|path| spoil(path));
    let report = store.check();
    assert!(report.problems.len() >= 2 && report.quarantined.is_empty(), "{report:?}");
    assert!(store.check().problems.is_empty());
    assert_eq!((documents(&store.snapshot()), hunted(&store.snapshot())), (8, (8, vec![])));
    assert_eq!(found(&store.snapshot(), &rules), [evens(0..8)]);

    let damaged = bench.objects.spoil();
    bench.objects.remove(&damaged.replace(".parquet", ".rows"));
    let report = store.check();
    assert!(report.problems.len() == 1 && report.quarantined.is_empty(), "{report:?}");
    wait_for_uploads(&store);
    let report = store.check();
    assert!(report.problems.is_empty() && report.quarantined.is_empty(), "{report:?}");
}

#[test]
fn what_is_damaged_here_and_there_goes_to_quarantine() {
    let bench = Bench::new();
    let rules = rules(&[EVENTS]);
    let store = bench.filled(&rules, 0..8);
    let damaged = bench.objects.spoil();
    let name = damaged.strip_prefix("one/service/").unwrap();
    let here = bench.path("segments").join(name);
    spoil(here.to_str().unwrap());
    let report = store.check();
    assert_eq!(report.quarantined, [Path::new(name)], "{report:?}");
    assert_eq!((documents(&store.snapshot()), store.stats().quarantined), (4, 1));
    assert!(bench.path("quarantine").join(name).exists());
    // What is there is left to whoever looks into it.
    assert!(bench.objects.segments().contains(&damaged));
    assert_eq!(store.check().orphans.len(), 2);
    store.remove_orphans().unwrap();
    assert!(!bench.objects.segments().contains(&damaged));
}

#[test]
fn a_copy_stays_until_there_is_another() {
    let bench = Bench::new();
    let rules = rules(&[EVENTS]);
    let store = bench.filled(&rules, 0..4);
    let (snapshot, range) = (store.snapshot(), TimeRange::default());
    let held = snapshot.parts(&range).next().unwrap().file().unwrap().unwrap();
    spoil(held.path.to_str().unwrap());
    bench.objects.set(|faults| &faults.gets_fail, true);
    assert!(!store.check().problems.is_empty());
    assert!(held.path.exists(), "somebody has it");
    bench.objects.set(|faults| &faults.gets_fail, false);
    wait_until("it is not mended", || store.check().problems.is_empty());
    assert!(held.path.exists());
    assert_eq!(hunted(&snapshot), (4, vec![]));
}

#[test]
fn what_is_put_again_stays_here_until_it_is_there() {
    let faults: [fn(&Faults) -> &AtomicBool; 2] = [|faults| &faults.hangs, |faults| &faults.gets_fail];
    for fault in faults {
        let mut bench = Bench::new();
        (bench.cache_bytes, bench.patience) = (0, Duration::from_secs(20));
        let (store, _) = bench.open(&rules(&[EVENTS]));
        store.ingest(&[event("logs-a-x", 0, "a")], SECOND).unwrap();
        store.flush().unwrap();
        wait_until("copies beyond the limit stay", || files(&bench.path("segments")).is_empty());
        let (snapshot, range) = (store.snapshot(), TimeRange::default());
        let held = snapshot.parts(&range).next().unwrap().file().unwrap();
        bench.objects.spoil();
        *bench.objects.faults.only.lock().unwrap() = ".rows";
        bench.objects.set(fault, true);
        bench.objects.faults.calls.lock().unwrap().clear();
        std::thread::scope(|scope| {
            let check = scope.spawn(|| store.check());
            wait_until("its rows are not looked at", || bench.objects.calls("head", ".rows") > 0);
            // Its Parquet file was found to be sound, and from now on nobody else holds it.
            drop(held);
            std::thread::sleep(Duration::from_millis(1_200));
            bench.objects.set(fault, false);
            assert!(check.join().unwrap().quarantined.is_empty());
        });
        wait_until("it is not put there again", || store.check().problems.is_empty());
        wait_for_uploads(&store);
        assert_eq!((hunted(&store.snapshot()), store.stats().quarantined), ((1, vec![]), 0));
        assert!(store.check().problems.is_empty());
    }
}

#[test]
fn who_fetches_keeps_nobody_from_asking() {
    let mut bench = Bench::new();
    bench.patience = Duration::from_secs(20);
    let rules = rules(&[EVENTS]);
    let store = bench.filled(&rules, 0..4);
    bench.forget_copies();
    bench.objects.set(|faults| &faults.hangs, true);
    let snapshot = store.snapshot();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| hunted(&snapshot));
        wait_until("nothing is fetched", || bench.objects.calls("head", ".parquet") > 0);
        let asked = Instant::now();
        let stats = store.stats();
        let waited = asked.elapsed();
        bench.objects.set(|faults| &faults.hangs, false);
        assert!(stats.segments == 2 && waited < Duration::from_secs(5), "{waited:?}");
        assert_eq!(reader.join().unwrap(), (4, vec![]));
    });
}

#[test]
fn segments_are_written_while_new_rules_wait_for_what_is_there() {
    let mut bench = Bench::new();
    bench.patience = Duration::from_secs(20);
    let (first, both) = (rules(&[EVENTS]), rules(&[EVENTS, SEQUENCE]));
    let store = bench.filled(&first, 0..8);
    bench.forget_copies();
    fill(&store, 8..12);
    bench.objects.set(|faults| &faults.hangs, true);
    std::thread::scope(|scope| {
        let matched = scope.spawn(|| store.set_rules(both.clone(), &rules(&[SEQUENCE]), 0));
        wait_until("nothing is fetched", || bench.objects.calls("head", "") > 0);
        let (sender, flushed) = std::sync::mpsc::channel();
        let flush = || store.flush().is_ok();
        scope.spawn(move || sender.send(flush()));
        let is_flushed = flushed.recv_timeout(Duration::from_secs(5));
        bench.objects.set(|faults| &faults.hangs, false);
        assert_eq!((is_flushed, store.stats().recent_events), (Ok(true), 0));
        matched.join().unwrap().unwrap();
    });
    assert_eq!(store.stats().problem, None);
    assert_eq!(found(&store.snapshot(), &both), [evens(0..12), (0..12).collect()]);
}

#[test]
fn while_it_is_away_nothing_is_taken_for_damaged() {
    let bench = Bench::new();
    let rules = rules(&[EVENTS]);
    let store = bench.filled(&rules, 0..8);
    for path in files(&bench.path("segments")) {
        if path.ends_with(".parquet") { spoil(&path) } else { fs::remove_file(path).unwrap() }
    }
    bench.objects.set(|faults| &faults.gets_fail, true);
    let report = store.check();
    assert!(!report.problems.is_empty() && report.quarantined.is_empty(), "{report:?}");
    assert_eq!((store.stats().segments, store.stats().quarantined), (2, 0));
    bench.objects.set(|faults| &faults.gets_fail, false);
    wait_until("it is not mended", || {
        let report = store.check();
        assert!(report.quarantined.is_empty(), "{report:?}");
        report.problems.is_empty()
    });
    assert_eq!((documents(&store.snapshot()), hunted(&store.snapshot())), (8, (8, vec![])));
    assert_eq!(found(&store.snapshot(), &rules), [evens(0..8)]);
}

#[test]
fn what_is_matched_later_is_there_too() {
    let bench = Bench::new();
    let first = rules(&[EVENTS]);
    let store = bench.filled(&first, 0..8);
    let both = rules(&[EVENTS, SEQUENCE]);
    bench.objects.set(|faults| &faults.puts_fail, true);
    store.set_rules(both.clone(), &rules(&[SEQUENCE]), 0).unwrap();
    // What is not there yet does not go from here.
    assert_eq!(store.stats().objects.unwrap().waiting, 2);
    assert_eq!(found(&store.snapshot(), &both), [evens(0..8), (0..8).collect()]);
    bench.objects.set(|faults| &faults.puts_fail, false);
    wait_for_uploads(&store);
    let (store, _) = bench.again_without_copies(store, &both);
    assert_eq!(found(&store.snapshot(), &both), [evens(0..8), (0..8).collect()]);
}

#[test]
fn objects_go_with_the_last_reader() {
    let bench = Bench::forgetful();
    let rules = rules(&[EVENTS]);
    let (store, _) = bench.open(&rules);
    let now = now();
    store.ingest(&[event("logs-a-x", 0, "a")], now).unwrap();
    store.flush().unwrap();
    wait_for_uploads(&store);
    let snapshot = store.snapshot();
    bench.forget_copies();
    assert_eq!(store.prune(now + 2_000 * SECOND).unwrap(), 1);
    assert_eq!(store.stats().segments, 0);
    // A reader from before still has it, though it is there only.
    assert_eq!(hunted(&snapshot), (1, vec![]));
    assert_eq!(bench.objects.segments().len(), 1);
    bench.objects.set(|faults| &faults.puts_fail, true);
    drop(snapshot);
    wait_for_problem(&store, "");
    close(store);
    assert_eq!(bench.objects.segments().len(), 1);
    bench.objects.set(|faults| &faults.puts_fail, false);
    // What could not be removed then is removed after the next start.
    let (_store, _) = bench.open(&rules);
    wait_until("objects stay", || bench.objects.objects() == ["one/service/eqlipse-store"]);
}

#[test]
fn small_segments_are_put_together_there_too() {
    let mut bench = Bench::new();
    bench.options.flush_age = Duration::ZERO;
    let rules = rules(&[EVENTS, SEQUENCE]);
    let (store, _) = bench.open(&rules);
    let now = now();
    for number in 0..20 {
        store.ingest(&[event("logs-a-x", number, if number % 2 == 0 { "a" } else { "b" })], now).unwrap();
        store.flush().unwrap();
    }
    // The background puts segments together when there is something to write.
    store.ingest(&[event("logs-a-x", 20, "a")], now).unwrap();
    wait_until("segments stay apart", || {
        let stats = store.stats();
        stats.segments <= 8
            && stats.objects.unwrap().waiting == 0
            && bench.objects.segments().len() as u64 == stats.segments
    });
    let (store, _) = bench.again_without_copies(store, &rules);
    assert_eq!(found(&store.snapshot(), &rules), [evens(0..21), (0..20).collect()]);
    let report = store.check();
    assert!(report.problems.is_empty() && report.orphans.is_empty(), "{report:?}");
}

#[test]
fn a_process_that_is_killed_while_it_sends_goes_on() {
    let bench = Bench::new();
    let rules = rules(&[EVENTS]);
    let store = bench.filled(&rules, 0..4);
    bench.objects.faults.calls.lock().unwrap().clear();
    fill(&store, 4..8);
    bench.objects.set(|faults| &faults.hangs, true);
    store.flush().unwrap();
    wait_until("nothing is sent", || {
        bench.objects.faults.calls.lock().unwrap().iter().any(|call| call.starts_with("put"))
    });
    // A killed process: its folder as it is now, and half of its objects.
    let copy = Bench { objects: bench.objects.clone(), ..Bench::new() };
    copy_folder(bench.folder.path(), copy.folder.path());
    bench.objects.set(|faults| &faults.hangs, false);
    wait_for_uploads(&store);
    bench.objects.remove(&bench.objects.segments()[3]);
    let (again, report) = copy.open(&rules);
    assert_eq!(report.missing.len(), 0);
    wait_for_uploads(&again);
    assert_eq!(found(&again.snapshot(), &rules), [evens(0..8)]);
    assert!(again.check().problems.is_empty());
    assert_eq!(bench.objects.segments().len(), 4);
}

#[test]
fn another_process_sees_what_is_only_there() {
    let mut bench = Bench::forgetful();
    bench.cache_bytes = 0;
    let rules = rules(&[EVENTS]);
    let (store, _) = bench.open(&rules);
    let now = now();
    store.ingest(&[event("logs-a-x", 0, "a"), event("logs-b-x", 1, "b")], now).unwrap();
    store.flush().unwrap();
    store.ingest(&[event("logs-a-x", 2, "a")], now).unwrap();
    let is_empty = || files(&bench.path("segments")).is_empty();
    wait_until("copies beyond the limit stay", is_empty);
    let Err(error) = Store::view(bench.folder.path()) else { panic!("it opens") };
    assert!(error.to_string().contains("object store"), "{error}");
    let view = Store::view_at(bench.folder.path(), &bench.place("one/service")).unwrap();
    assert_eq!(view.damaged, Vec::<PathBuf>::new());
    assert_eq!((documents(&view.snapshot), hunted(&view.snapshot)), (3, (3, vec![])));
    assert!(view.snapshot.check().problems.is_empty());
    assert!(is_empty(), "nothing is fetched into the folder of another");
    // What it sees stays there while it looks.
    assert_eq!(store.prune(now + 2_000 * SECOND).unwrap(), 2);
    let again = Store::view_at(bench.folder.path(), &bench.place("one/service")).unwrap();
    assert_eq!(documents(&again.snapshot), 1);
    assert_eq!(documents(&view.snapshot), 3);
    assert_eq!(bench.objects.segments().len(), 2);
    drop((view, again));
    wait_until("objects stay", || bench.objects.segments().is_empty());
}

#[test]
fn objects_of_others_are_left_alone() {
    let bench = Bench::new();
    let rules = rules(&[EVENTS]);
    let foreign = ["one/other/logs-a-x/1970-01-01/0000000000000000-00000002.parquet", "one/service/notes.txt"];
    foreign.iter().for_each(|name| bench.objects.put(name, "x"));
    let store = bench.filled(&rules, 0..4);
    // Of a catalogue that was put back.
    let orphan = "logs-a-x/1970-01-01/0000000000000700-00000002.parquet";
    bench.objects.put(&format!("one/service/{orphan}"), "x");
    assert_eq!(store.check().orphans, [orphan]);
    let before = bench.objects.objects().len();
    assert_eq!(store.remove_orphans().unwrap(), 1);
    assert!(store.check().orphans.is_empty());
    assert_eq!(bench.objects.objects().len(), before - 1);
    assert!(foreign.iter().all(|name| bench.objects.objects().contains(&(*name).to_owned())));
    store.close().unwrap();

    // Another store does not take the prefix.
    let other = Bench { objects: bench.objects.clone(), ..Bench::new() };
    let before = bench.objects.objects();
    let (other, _) = other.open(&rules);
    fill(&other, 0..4);
    other.flush().unwrap();
    wait_for_problem(&other, "another store's");
    assert_eq!(bench.objects.objects(), before);
    assert!(other.remove_orphans().is_err());
}

#[test]
fn a_store_is_not_opened_without_its_objects() {
    let bench = Bench::new();
    let rules = rules(&[EVENTS]);
    // Segments that were kept here are put there.
    let (store, _) = Store::open(bench.folder.path(), bench.options.clone(), rules.clone()).unwrap();
    fill(&store, 0..4);
    close(store);
    let (store, _) = bench.open(&rules);
    wait_for_uploads(&store);
    close(store);
    // As long as all is here too, they can be kept here again.
    let (store, _) = Store::open(bench.folder.path(), bench.options.clone(), rules.clone()).unwrap();
    assert_eq!(found(&store.snapshot(), &rules), [evens(0..4)]);
    close(store);
    bench.forget_copies();
    let Err(error) = Store::open(bench.folder.path(), bench.options.clone(), rules.clone()) else { panic!("it opens") };
    assert!(error.to_string().contains("object store"), "{error}");
    // A wrong prefix is noticed too.
    let options = StoreOptions { segments: bench.place("elsewhere"), ..bench.options.clone() };
    let (store, _) = Store::open(bench.folder.path(), options, rules.clone()).unwrap();
    wait_for_problem(&store, "not here");
    assert!(bench.objects.objects().iter().all(|name| !name.starts_with("elsewhere")));
}

#[test]
fn one_that_had_objects_is_not_begun_elsewhere() {
    let bench = Bench::forgetful();
    let rules = rules(&[EVENTS]);
    let is_refused_elsewhere = || {
        let options = StoreOptions { segments: bench.place("elsewhere"), ..bench.options.clone() };
        let (store, _) = Store::open(bench.folder.path(), options, rules.clone()).unwrap();
        wait_for_problem(&store, "");
        let problem = store.stats().objects.unwrap().problem.unwrap();
        assert!(problem.contains("not here"), "{problem}");
        assert!(bench.objects.objects().iter().all(|name| !name.starts_with("elsewhere")));
        store.close().unwrap();
    };
    // Something was sent, and nobody knows whether it arrived.
    let (store, _) = bench.open(&rules);
    wait_until("the prefix is not taken", || bench.objects.objects() == ["one/service/eqlipse-store"]);
    bench.objects.set(|faults| &faults.puts_fail, true);
    let now = now();
    store.ingest(&[event("logs-a-x", 0, "a")], now).unwrap();
    store.flush().unwrap();
    wait_for_problem(&store, "");
    close(store);
    bench.objects.set(|faults| &faults.puts_fail, false);
    is_refused_elsewhere();
    // The segment is no more, and its objects are still there.
    let (store, _) = bench.open(&rules);
    wait_for_uploads(&store);
    bench.objects.set(|faults| &faults.puts_fail, true);
    assert_eq!(store.prune(now + 2_000 * SECOND).unwrap(), 1);
    close(store);
    bench.objects.set(|faults| &faults.puts_fail, false);
    assert_eq!(bench.objects.segments().len(), 1);
    is_refused_elsewhere();
}

#[test]
fn what_goes_before_it_was_sent_is_not_sent() {
    let mut bench = Bench::forgetful();
    bench.patience = Duration::from_secs(20);
    let rules = rules(&[EVENTS]);
    let (store, _) = bench.open(&rules);
    let marker = ["one/service/eqlipse-store"];
    *bench.objects.faults.only.lock().unwrap() = ".parquet";
    bench.objects.set(|faults| &faults.hangs, true);
    let now = now();
    store.ingest(&[event("logs-a-x", 0, "a"), event("logs-b-x", 1, "b")], now).unwrap();
    store.flush().unwrap();
    let calls = |name: &str| bench.objects.calls(name, ".parquet");
    wait_until("nothing is sent", || calls("put") == 1);
    assert_eq!(store.prune(now + 2_000 * SECOND).unwrap(), 2);
    bench.objects.set(|faults| &faults.hangs, false);
    wait_until("objects stay", || calls("delete") > 0 && bench.objects.objects() == marker);
    assert_eq!(calls("put"), 1, "{:?}", bench.objects.faults.calls);
}

#[test]
fn large_files_go_in_parts() {
    let bench = Bench::new();
    let rules = rules(&[EVENTS]);
    let (store, _) = bench.open(&rules);
    let mut chance = 7u64;
    let mut text = || {
        let next = |_| {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b' ' + 1 + ((chance >> 40) % 90) as u8)
        };
        (0..1 << 20).map(next).filter(|letter| !"\"\\".contains(*letter)).collect::<String>()
    };
    for number in 0..14 {
        let document = format!(
            "{{\"event\":{{\"category\":\"process\"}},\"process\":{{\"name\":\"a\",\"pid\":{number}}},\"message\":\"{}\"}}",
            text()
        );
        let new = NewDocument { index: "logs-a-x".into(), id: None, document: document.into() };
        // What arrives now is not due to be written for a while.
        assert!(store.ingest(&[new], now()).unwrap()[0].is_ok());
    }
    // What panics is said, and does not end the work.
    bench.objects.set(|faults| &faults.parts_panic, true);
    store.flush().unwrap();
    let problem = || store.stats().objects.unwrap().problem.unwrap_or_default();
    wait_until("the panic is not said", || problem().contains("panicked"));
    // What is broken off leaves no parts.
    bench.objects.set(|faults| &faults.parts_fail, true);
    bench.objects.set(|faults| &faults.parts_panic, false);
    let calls = |name: &str| bench.objects.calls(name, ".parquet");
    wait_until("parts are left", || calls("abort") > 0);
    assert_eq!((calls("complete"), bench.objects.segments().len()), (0, 0));
    bench.objects.set(|faults| &faults.parts_fail, false);
    bench.objects.faults.calls.lock().unwrap().clear();
    wait_for_uploads(&store);
    let parts = store.stats().segment_bytes.div_ceil(8 << 20) as usize;
    assert!(parts > 1, "{:?}", store.stats());
    assert_eq!((calls("put"), calls("complete")), (0, 1));
    assert!(calls("part") >= parts, "{:?}", bench.objects.faults.calls);
    let (store, _) = bench.again_without_copies(store, &rules);
    assert_eq!(hunted(&store.snapshot()), (14, vec![]));
    assert!(store.check().problems.is_empty());
}
