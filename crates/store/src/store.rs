//! The store as its callers see it.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use bytestring::ByteString;
use eqlipse_events::{SegmentColumns, SegmentWriter, Window};

use crate::catalogue::Catalogue;
use crate::chunk::{Chunk, Decoded, Listed};
use crate::damage;
use crate::files::SegmentFiles;
use crate::flush;
use crate::ids::{EventId, RecentIds};
use crate::intake::{GroupIntake, Made};
use crate::log::{Log, Recovered};
use crate::matching::{IntakeSchema, StoreRules, Workers};
use crate::objects::{Objects, SegmentPlace};
use crate::part::{Part, PartKind, TimeRange};
use crate::queue::{Answer, Group, Queue};
use crate::readers::Readers;
use crate::replay::Replay;
use crate::rows::RowsEncoder;
use crate::segment::{RowsCache, SegmentPart};
use crate::snapshot::Snapshot;
use crate::streams::Streams;
use crate::sync::Bell;
pub(crate) use crate::sync::lock;
use crate::tickets::Tickets;
use crate::upload;
use crate::{IngestError, Refused, StoreError, StoreView};

/// How a store works.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The most bytes of recent events and of events under way; beyond it, events are turned away for a moment.
    pub max_memory: usize,
    /// Recent events are written to segments when they take so many bytes.
    pub flush_bytes: usize,
    /// And at the latest when the oldest is so old.
    pub flush_age: Duration,
    /// The longest document, in bytes.
    pub max_document_bytes: usize,
    /// Data streams at most: each has files of its own, and a shipper with a wrong template may name one for each event.
    pub max_data_streams: usize,
    /// Memory for what matched in segments.
    pub cache_bytes: usize,
    /// Segments whose events all arrived before that are removed; `None` keeps all.
    pub retention_age: Option<Duration>,
    /// The oldest segments are removed while all together are larger; `None` keeps all.
    pub retention_bytes: Option<u64>,
    /// Where segments are kept.
    pub segments: SegmentPlace,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            max_memory: 512 << 20,
            flush_bytes: 128 << 20,
            flush_age: Duration::from_secs(300),
            max_document_bytes: 16 << 20,
            max_data_streams: 1_000,
            cache_bytes: 256 << 20,
            retention_age: None,
            retention_bytes: None,
            segments: SegmentPlace::Own,
        }
    }
}

/// A document on its way in. Its texts may share the memory of a request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDocument {
    /// Index or data stream.
    pub index: ByteString,
    /// The id that its sender gives it.
    pub id: Option<ByteString>,
    /// A JSON object.
    pub document: ByteString,
}

/// An event that is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its sender's, or a new one.
    pub id: EventId,
    /// Its place among all events that ever came in.
    pub sequence: u64,
}

/// What was found when a store was opened.
#[derive(Debug, Default)]
pub struct RecoveryReport {
    /// Events that were in the log and in no segment yet.
    pub replayed: u64,
    /// Bytes at the end of the log that were being written when the process ended. Nobody was told that they were taken.
    pub cut_bytes: u64,
    /// Files with damage, moved or copied there.
    pub quarantined: Vec<PathBuf>,
    /// Segments that are in quarantine since before.
    pub in_quarantine: Vec<PathBuf>,
    /// Segments that the catalogue names and that are not there.
    pub missing: Vec<PathBuf>,
    /// Segments of which it is not known now which ids their events have: such an event could be taken a second time.
    pub unknown_ids: u64,
}

/// Numbers for those who watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Events accepted since the start.
    pub accepted: u64,
    /// Events refused one by one since the start.
    pub refused: u64,
    /// Requests turned away since the start because memory was short.
    pub overloaded: u64,
    /// Requests since the start that could not be written.
    pub failed: u64,
    /// Events in recent chunks.
    pub recent_events: u64,
    /// Bytes of memory of recent chunks.
    pub recent_bytes: u64,
    /// Segments.
    pub segments: u64,
    /// Events in segments.
    pub segment_events: u64,
    /// Bytes of segments on disk.
    pub segment_bytes: u64,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// Data streams that have segments.
    pub data_streams: u64,
    /// What went wrong in the background last, until it works again.
    pub problem: Option<String>,
    /// Segments that are in quarantine: their events are not looked at.
    pub quarantined: u64,
    /// Where segments are kept in an object store.
    pub objects: Option<ObjectStats>,
}

/// Numbers about segments that are kept in an object store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectStats {
    /// Bytes of files that are here: copies, and what is not there yet.
    pub local_bytes: u64,
    /// Segments that are not there yet.
    pub waiting: u64,
    /// Why the object store cannot be used. What is not there is here.
    pub problem: Option<String>,
}

/// What a check of all segments found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Segments looked at.
    pub segments: u64,
    /// Those of them that were looked at in the object store.
    pub objects: u64,
    /// What is wrong with some of them.
    pub problems: Vec<StoreError>,
    /// Segments' objects in the object store that no segment has: of a catalogue that was older or was lost.
    pub orphans: Vec<String>,
    /// Segments that were put into quarantine, now or before, and are still there.
    pub quarantined: Vec<PathBuf>,
}

/// The event store. Clones are the same store.
#[derive(Clone)]
pub struct Store(pub(crate) Arc<Inner>);

/// What is kept from one segment to the next.
#[derive(Default)]
pub(crate) struct SegmentWriting {
    /// By data stream: the columns of its segments.
    pub(crate) columns: HashMap<String, SegmentColumns>,
    /// Those that nobody writes with now.
    pub(crate) writers: Vec<SegmentWriter>,
    /// Likewise, for files of rows.
    pub(crate) encoders: Vec<RowsEncoder>,
}

pub(crate) struct Inner {
    pub(crate) folder: PathBuf,
    pub(crate) options: StoreOptions,
    pub(crate) catalogue: Catalogue,
    pub(crate) log: Log,
    pub(crate) tickets: Tickets,
    pub(crate) readers: Arc<Readers>,
    pub(crate) cache: Arc<RowsCache>,
    pub(crate) files: Arc<SegmentFiles>,
    rules: RwLock<(u64, Arc<StoreRules>)>,
    pub(crate) schema: IntakeSchema,
    workers: Workers,
    queue: Queue,
    snapshot: RwLock<Arc<Snapshot>>,
    /// Held by who changes the snapshot.
    changing: Mutex<()>,
    /// Held by who writes segments.
    pub(crate) flushing: Mutex<()>,
    /// For those who write a segment's files.
    pub(crate) writing: Mutex<SegmentWriting>,
    pub(crate) ids: Mutex<RecentIds>,
    pub(crate) streams: Streams,
    under_way: AtomicUsize,
    recent_bytes: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
    overloaded: AtomicU64,
    failed: AtomicU64,
    /// Segments in quarantine.
    pub(crate) quarantined: AtomicU64,
    problem: Mutex<Option<String>>,
    /// Why segments could not be put together last, until they can.
    pub(crate) compaction_problem: Mutex<Option<String>>,
    closing: AtomicBool,
    bell: Bell,
    pub(crate) compacting_bell: Bell,
    maintenance: Mutex<Vec<JoinHandle<()>>>,
    /// Keeps others out of the folder.
    _lock: File,
}

/// Where the segments' files are, by the settings and what the catalogue says of them.
fn open_files(folder: &Path, place: &SegmentPlace, catalogue: &Catalogue) -> Result<SegmentFiles, StoreError> {
    let here = place.folder(folder);
    fs::create_dir_all(&here).map_err(StoreError::io(&here))?;
    let versions = catalogue.versions()?;
    let SegmentPlace::Objects(place) = place else { return SegmentFiles::only_local(here, &versions) };
    let removed = catalogue.removed()?;
    // The marker was there before anything else.
    let is_begun = !removed.is_empty() || versions.values().any(|version| version.has_objects());
    let objects = Objects::new(place.clone())?;
    Ok(SegmentFiles::remote(here, objects, catalogue.id()?, is_begun, removed))
}

impl Store {
    /// Opens the store in a folder, or begins one. Events that were in the log are matched again.
    ///
    /// # Errors
    /// If the folder cannot be used, or another process uses it.
    pub fn open(
        folder: &Path,
        options: StoreOptions,
        rules: Arc<StoreRules>,
    ) -> Result<(Self, RecoveryReport), StoreError> {
        fs::create_dir_all(folder).map_err(StoreError::io(folder))?;
        let lock_path = folder.join("lock");
        let lock_file = File::create(&lock_path).map_err(StoreError::io(&lock_path))?;
        if lock_file.try_lock().is_err() {
            return Err(StoreError::Locked(folder.to_owned()));
        }
        let readers = Arc::new(Readers::open(folder).map_err(StoreError::io(folder))?);
        let catalogue = Catalogue::open(&folder.join("catalogue.sqlite"))?;
        let (log, recovered) = Log::open(&folder.join("log"), &folder.join("quarantine"))?;
        let mut report = RecoveryReport {
            cut_bytes: recovered.cut,
            quarantined: recovered.quarantined.clone(),
            in_quarantine: damage::quarantined(folder),
            ..RecoveryReport::default()
        };
        let inner = Inner {
            folder: folder.to_owned(),
            cache: Arc::new(RowsCache::new(options.cache_bytes)),
            files: Arc::new(open_files(folder, &options.segments, &catalogue)?),
            options,
            catalogue,
            log,
            tickets: Tickets::default(),
            readers,
            rules: RwLock::new((0, rules)),
            schema: IntakeSchema::default(),
            workers: Workers::default(),
            queue: Queue::default(),
            snapshot: RwLock::default(),
            changing: Mutex::default(),
            flushing: Mutex::default(),
            writing: Mutex::default(),
            ids: Mutex::default(),
            streams: Streams::default(),
            under_way: AtomicUsize::new(0),
            recent_bytes: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            overloaded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            quarantined: AtomicU64::new(damage::quarantined(folder).len() as u64),
            problem: Mutex::default(),
            compaction_problem: Mutex::default(),
            closing: AtomicBool::new(false),
            bell: Bell::default(),
            compacting_bell: Bell::default(),
            maintenance: Mutex::default(),
            _lock: lock_file,
        };
        inner.open_segments(&mut report)?;
        inner.replay(recovered, &mut report)?;
        let inner = Arc::new(inner);
        let start = |name: &str, work: fn(&Inner)| {
            let maintained = inner.clone();
            let thread = std::thread::Builder::new().name(name.to_owned());
            thread.spawn(move || work(&maintained)).map_err(StoreError::io(folder))
        };
        lock(&inner.maintenance).push(start("eqlipse-store", flush::maintain)?);
        lock(&inner.maintenance).push(start("eqlipse-compact", flush::compact_on)?);
        if inner.files.is_remote() {
            lock(&inner.maintenance).push(start("eqlipse-upload", upload::maintain)?);
        }
        Ok((Self(inner), report))
    }

    /// What the store in a folder has now, whether a service runs on it or not: nothing is written, and nobody is kept
    /// out.
    ///
    /// # Errors
    /// If there is no store, or it cannot be read.
    pub fn view(folder: &Path) -> Result<StoreView, StoreError> {
        Self::view_at(folder, &SegmentPlace::Own)
    }

    /// As [`Self::view`], of a store whose segments are kept there. What is in an object store only is fetched to a
    /// temporary folder.
    ///
    /// # Errors
    /// See there.
    pub fn view_at(folder: &Path, segments: &SegmentPlace) -> Result<StoreView, StoreError> {
        crate::view::view(folder, segments)
    }

    /// Accepts documents that arrive `now`, in nanoseconds since the Unix epoch. When it returns, those that were taken
    /// are on disk and in snapshots. Each gets `event.ingested`, and `@timestamp` too if it has none.
    ///
    /// # Errors
    /// If none was taken; the request can then be made again.
    pub fn ingest(
        &self,
        documents: impl Into<Vec<NewDocument>>,
        now: i64,
    ) -> Result<Vec<Result<Stored, Refused>>, IngestError> {
        let taken = self.0.ingest(documents.into(), now);
        match &taken {
            Ok(results) => {
                let accepted = results.iter().filter(|result| result.is_ok()).count() as u64;
                self.0.accepted.fetch_add(accepted, Ordering::Relaxed);
                self.0.refused.fetch_add(results.len() as u64 - accepted, Ordering::Relaxed);
            }
            Err(IngestError::Overloaded { .. }) => _ = self.0.overloaded.fetch_add(1, Ordering::Relaxed),
            Err(_) => _ = self.0.failed.fetch_add(1, Ordering::Relaxed),
        }
        taken
    }

    /// Matches what comes in from now on with these rules. What arrived since `since` and is in the store is looked
    /// through for `added`, the rules among them that were not there before, compiled by themselves. Returns when that is
    /// done; a part whose files are damaged is left out and named in [`StoreStats::problem`].
    ///
    /// # Errors
    /// If the rules lack what the reader needs.
    pub fn set_rules(&self, rules: Arc<StoreRules>, added: &Arc<StoreRules>, since: i64) -> Result<(), StoreError> {
        let generation = {
            let mut current = self.0.rules.write().unwrap_or_else(PoisonError::into_inner);
            *current = (current.0 + 2, rules);
            current.0
        };
        // Lists of added rules alone are a generation of their own.
        let ingested = Window { from: Some(since), to: None };
        flush::match_again(&self.0, added, generation - 1, &TimeRange { ingested, ..TimeRange::default() })
    }

    /// Looks through what is in a range for rules that it was not matched with, for once: what comes in later is not
    /// matched with them.
    ///
    /// # Errors
    /// If the rules lack what the reader needs.
    pub fn match_with(&self, rules: &Arc<StoreRules>, range: &TimeRange) -> Result<(), StoreError> {
        let generation = {
            let mut current = self.0.rules.write().unwrap_or_else(PoisonError::into_inner);
            // What comes in later must not be joined with what has these lists.
            current.0 += 2;
            current.0
        };
        flush::match_again(&self.0, rules, generation - 1, range)
    }

    /// All events that are there now. It stays as it is.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.snapshot()
    }

    /// The time up to which all that arrived is in snapshots taken from now on: `now`, or a little earlier while events
    /// are under way. Nothing arrives at or before it any more.
    pub fn watermark(&self, now: i64) -> i64 {
        self.0.tickets.watermark(now)
    }

    /// The earliest time that events can arrive at. It is ahead of the clock where that was ahead.
    pub fn earliest_arrival(&self) -> i64 {
        self.0.tickets.earliest()
    }

    /// Has no event arrive at or before `time`, as if it had been told as a [watermark](Self::watermark).
    pub fn arrive_after(&self, time: i64) {
        self.0.tickets.start_from(0, time.saturating_add(1));
    }

    /// Has events arrive from `now` on, although the clock was ahead. What was told of a [watermark](Self::watermark) that
    /// is later does not hold any more: for those who go back too.
    pub fn go_back(&self, now: i64) {
        self.0.tickets.go_back(now);
    }

    /// Writes all recent events to segments.
    ///
    /// # Errors
    /// If they cannot be written. They stay where they are.
    pub fn flush(&self) -> Result<(), StoreError> {
        flush::flush(&self.0)
    }

    /// Removes what is beyond the limits of age and size. Returns how many segments that were.
    ///
    /// # Errors
    /// If the catalogue cannot be written.
    pub fn prune(&self, now: i64) -> Result<u64, StoreError> {
        flush::prune(&self.0, now)
    }

    /// Reads every segment and compares it with its checksum, in the object store too. What is damaged is mended, or put
    /// into quarantine.
    pub fn check(&self) -> CheckReport {
        let mut report = self.snapshot().check();
        report.problems.extend(damage::look_at_suspects(&self.0).err());
        report.quarantined = damage::quarantined(&self.0.folder);
        match self.0.files.objects().map_err(StoreError::from).and_then(|objects| self.orphans(objects)) {
            Ok(orphans) => report.orphans = orphans,
            // The check itself says it too.
            Err(_) if !report.problems.is_empty() => {}
            Err(error) => report.problems.push(error),
        }
        report
    }

    /// Removes the objects that [`CheckReport::orphans`] names. Returns how many those were.
    ///
    /// # Errors
    /// If the object store does not answer.
    pub fn remove_orphans(&self) -> Result<u64, StoreError> {
        let objects = self.0.files.objects()?;
        let orphans = self.orphans(objects)?;
        if let Some(objects) = objects {
            for name in &orphans {
                objects.remove(name)?;
            }
        }
        Ok(orphans.len() as u64)
    }

    /// Objects that have the name of a segment's file and that no segment has.
    fn orphans(&self, objects: Option<&Objects>) -> Result<Vec<String>, StoreError> {
        let Some(objects) = objects else { return Ok(Vec::new()) };
        let listed = objects.list()?;
        // What came while the list was made is in the catalogue, and what goes is known too.
        let snapshot = self.snapshot();
        let segments = snapshot.parts.iter().filter_map(|part| part.as_segment());
        let mut known: HashSet<String> = segments.map(|segment| segment.entry.path.clone()).collect();
        known.extend(self.0.catalogue.versions()?.into_keys());
        known.extend(self.0.catalogue.removed()?);
        let is_orphan = |name: &String| {
            let parquet = Path::new(name).with_extension("parquet");
            upload::is_ours(name) && !known.contains(&*parquet.to_string_lossy())
        };
        Ok(listed.into_iter().filter(is_orphan).collect())
    }

    /// Numbers for those who watch.
    pub fn stats(&self) -> StoreStats {
        let inner = &self.0;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let stats = self.snapshot().stats();
        let objects = inner.files.is_remote().then(|| stats.objects.clone().unwrap_or_default());
        StoreStats {
            accepted: load(&inner.accepted),
            refused: load(&inner.refused),
            overloaded: load(&inner.overloaded),
            failed: load(&inner.failed),
            recent_bytes: inner.recent_bytes.load(Ordering::Relaxed) as u64,
            log_bytes: Log::bytes(&inner.folder.join("log")),
            problem: lock(&inner.problem).clone(),
            quarantined: load(&inner.quarantined),
            objects: objects.map(|objects| ObjectStats { problem: inner.files.problem(), ..objects }),
            ..stats
        }
    }

    /// Writes out what is recent and ends the background work. What is under way is finished; nothing more is taken.
    ///
    /// # Errors
    /// If recent events could not be written to segments: they are in the log and come back at the next start.
    pub fn close(&self) -> Result<(), StoreError> {
        self.0.closing.store(true, Ordering::SeqCst);
        self.0.wake();
        self.0.compacting_bell.ring();
        self.0.files.wake();
        for thread in std::mem::take(&mut *lock(&self.0.maintenance)) {
            _ = thread.join();
        }
        let flushed = flush::flush(&self.0);
        if self.0.files.is_remote() {
            upload::finish(&self.0);
        }
        self.0.log.close();
        flushed
    }
}

/// What an event takes for a moment beside its texts.
const PASSING_BYTES: usize = 512;

/// Room for the bytes of a request, which is given back when it is dropped.
struct Room<'a> {
    inner: &'a Inner,
    bytes: usize,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.inner.under_way.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

impl Inner {
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the snapshot by a changed one.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Vec<Arc<Part>>)) {
        let _changing = lock(&self.changing);
        let mut parts = self.snapshot().parts.clone();
        change(&mut parts);
        let recent = parts.iter().filter_map(|part| match &part.kind {
            PartKind::Recent(chunk) => Some(chunk.memory()),
            PartKind::Segment(_) => None,
        });
        self.recent_bytes.store(recent.sum(), Ordering::Relaxed);
        let old = {
            let mut snapshot = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *snapshot, Arc::new(Snapshot { parts, _reading: None }))
        };
        // Its segments may be the last of their kind: files are removed without the lock.
        drop(old);
    }

    pub(crate) fn rules(&self) -> (u64, Arc<StoreRules>) {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn recent_bytes(&self) -> usize {
        self.recent_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    pub(crate) fn set_problem(&self, problem: Option<String>) {
        let mut known = lock(&self.problem);
        if let Some(problem) = problem.as_ref().filter(|problem| known.as_ref() != Some(problem)) {
            tracing::error!(problem, "background work on events fails");
        }
        *known = problem;
    }

    pub(crate) fn wake(&self) {
        self.bell.ring();
    }

    /// Waits until somebody wakes, or for so long.
    pub(crate) fn rest(&self, time: Duration) {
        self.bell.rest(time);
    }

    fn room(&self, bytes: usize) -> Result<Room<'_>, IngestError> {
        let under_way = self.under_way.fetch_add(bytes, Ordering::SeqCst) + bytes;
        let room = Room { inner: self, bytes };
        // A request is never too large for an idle store.
        let is_alone = under_way == bytes && self.recent_bytes() < self.options.flush_bytes;
        // Decoded, matched and packed, an event takes about three times its text for a moment.
        if !is_alone && self.recent_bytes().saturating_add(under_way.saturating_mul(3)) > self.options.max_memory {
            self.wake();
            return Err(IngestError::Overloaded { retry_after: Duration::from_secs(1) });
        }
        Ok(room)
    }

    fn ingest(&self, documents: Vec<NewDocument>, now: i64) -> Answer {
        if self.is_closing() {
            return Err(IngestError::Closed);
        }
        let bytes: usize = documents.iter().map(|new| new.document.len()).sum();
        let beside =
            documents.iter().map(|new| new.index.len() + new.id.as_ref().map_or(0, |id| id.len()) + PASSING_BYTES);
        let _room = self.room(bytes + beside.sum::<usize>())?;
        if documents.is_empty() {
            return Ok(Vec::new());
        }
        self.queue.answer(documents, now, |group| {
            let answer = self.take_in(group);
            group.answer(answer);
        })
    }

    /// What becomes of the documents of requests.
    fn take_in(&self, group: &mut Group<'_>) -> Answer {
        if self.is_closing() {
            return Err(IngestError::Closed);
        }
        let documents = group.documents();
        let ticket = self.tickets.open(documents.len() as u64, group.time());
        // Who changes the rules waits for the tickets that were opened with those before.
        let (generation, rules) = self.rules();
        let failed = |error: StoreError| IngestError::Log(error.to_string());
        let mut worker = self.workers.take(&rules, &self.schema.of(&rules, documents.len())).map_err(failed)?;
        let intake = GroupIntake::new(self, &mut worker, ticket.ingested);
        let Made { results, chunk, ids, streams, rows, stream_rows } = intake.take(&documents, ticket.first);
        let decoded = worker.decoded(&stream_rows);
        let matched = worker.matches(|row| u64::from(rows[row as usize])).map_err(failed)?;
        if rows.is_empty() {
            self.workers.give_back(worker);
            return Ok(results);
        }
        let made = worker.scratch.frame.finish(ticket.first, ticket.ingested);
        self.workers.give_back(worker);
        group.leave();
        let (frame, pages) = made.map_err(|error| IngestError::Log(error.to_string()))?;
        self.log.append(frame, ticket.first + rows.len() as u64 - 1).map_err(IngestError::Log)?;
        ids.keep();
        streams.iter().for_each(|name| self.streams.know(name));
        let lists = vec![Listed::new(generation, matched)];
        let decoded = decoded.map(|rows| Decoded { rows, streams: pages });
        self.publish(chunk.finish(ticket.first, vec![(0, ticket.ingested)], lists, decoded));
        Ok(results)
    }

    /// Puts a chunk into the snapshot, by its sequence number.
    fn publish(&self, chunk: Chunk) {
        let first = chunk.first;
        let part = Arc::new(Part::recent(chunk));
        self.change(|parts| {
            let is_before = |part: &&Arc<Part>| match &part.kind {
                PartKind::Segment(_) => true,
                PartKind::Recent(chunk) => chunk.first < first,
            };
            let behind = parts.iter().rev().take_while(|part| !is_before(part)).count();
            parts.insert(parts.len() - behind, part);
        });
        if self.recent_bytes() > self.options.flush_bytes {
            self.wake();
        }
    }

    fn open_segments(&self, report: &mut RecoveryReport) -> Result<(), StoreError> {
        let mut versions = self.catalogue.versions()?;
        let mut parts = Vec::new();
        let mut next = self.catalogue.flushed_below()?;
        let mut latest = 0;
        for entry in self.catalogue.segments()? {
            next = next.max(entry.last_sequence + 1);
            self.streams.know(&entry.index);
            latest = latest.max(entry.ingested.last.unwrap_or_default());
            let version = versions.remove(&entry.path).unwrap_or_default();
            let segment = SegmentPart::new(self.files.clone(), entry, version, self.cache.clone());
            match segment.is_there() {
                true => parts.push(Arc::new(Part::segment(segment))),
                false => report.missing.push(segment.path.clone()),
            }
        }
        // Those that somebody still reads wait for the next start: until then, a flush may write files of their names anew.
        self.readers.alone(|| flush::remove_orphans(self.files.folder(), &parts)).transpose()?;
        self.tickets.start_from(next, latest);
        let mut ids = Vec::new();
        for part in parts.iter().rev() {
            if let PartKind::Segment(segment) = &part.kind
                && ids.len() < crate::ids::MAX_IDS
            {
                // One whose file of rows is damaged is found out when a rule looks at it.
                let rows = segment.rows();
                report.unknown_ids += u64::from(rows.is_err());
                ids.extend(rows.iter().flat_map(|rows| rows.own_ids.iter().rev().copied()));
                drop(rows);
                segment.release_rows();
                segment.release_summary();
            }
        }
        let mut known = lock(&self.ids);
        ids.into_iter().rev().for_each(|id| _ = known.insert(id));
        drop(known);
        self.change(|known| *known = parts);
        Ok(())
    }

    /// Brings back the events that are in the log only.
    fn replay(&self, recovered: Recovered, report: &mut RecoveryReport) -> Result<(), StoreError> {
        let flushed = self.catalogue.flushed_below()?;
        let (generation, rules) = self.rules();
        let mut replay = Replay::new(self.workers.take(&rules, &rules.schema)?, generation);
        for frame in recovered.frames.into_values().filter(|frame| frame.first >= flushed) {
            let has_id = |id| _ = lock(&self.ids).insert(id);
            let (count, chunk) = replay.add(&frame, |index| self.streams.know(index), has_id)?;
            report.replayed += count;
            self.tickets.start_from(frame.first + u64::from(frame.count), frame.ingested);
            chunk.into_iter().for_each(|chunk| self.publish(chunk));
        }
        let (chunk, worker) = replay.finish()?;
        chunk.into_iter().for_each(|chunk| self.publish(chunk));
        self.workers.give_back(worker);
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ids::id_hash;

    /// A store with one event, which is in a segment.
    pub(crate) fn one_segment(segments: SegmentPlace) -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions { flush_age: Duration::from_secs(3600), segments, ..StoreOptions::default() };
        let (store, _) = Store::open(folder.path(), options, crate::view::no_rules()).unwrap();
        let new = NewDocument { index: "logs-x".into(), id: None, document: "{}".into() };
        assert!(store.ingest(&[new], 0).unwrap()[0].is_ok());
        store.flush().unwrap();
        (folder, store)
    }

    /// These queries as rules.
    pub(crate) fn rules(queries: &[&str]) -> Arc<StoreRules> {
        let mut builder = eqlipse_engine::RuleSetBuilder::new(eqlipse_engine::CompileOptions::default());
        eqlipse_events::reserve(builder.schema_mut());
        for query in queries {
            builder.add(&eqlipse_eql::parse(query).unwrap(), &eqlipse_engine::Scope::default()).unwrap();
        }
        let plan = eqlipse_engine::MatchPlan::new(Arc::new(builder.build()));
        Arc::new(StoreRules::new(Arc::new(plan), (1..=queries.len() as u128).collect()))
    }

    #[test]
    fn the_id_of_an_event_that_could_not_be_written_is_free() {
        let (_folder, store) = one_segment(SegmentPlace::Own);
        store.0.log.close();
        let new = NewDocument { index: "logs-x".into(), id: Some("1".into()), document: "{}".into() };
        assert!(matches!(store.ingest(&[new], 0), Err(IngestError::Log(_))));
        assert_eq!(lock(&store.0.ids).reserve(id_hash("logs-x", "1")), Ok(()));
    }
}
