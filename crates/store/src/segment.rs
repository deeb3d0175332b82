//! Segments: a Parquet file with the events, and beside it a file of rows with what a plain Parquet file has no place
//! for: sequence numbers, times of arrival, and what matched.

use std::collections::{HashSet, VecDeque};
use std::fs;
use std::io::{self, Read, Write};
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use eqlipse_engine::{KnownRules, ListCounts, MatchList};
use eqlipse_events::{Segment, SegmentError};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::StoreError;
use crate::catalogue::{Catalogue, Versions};
use crate::direct::{self, DirectFile};
use crate::files::{Held, LocalFile, SegmentFiles};
use crate::part::Span;
use crate::readers::Readers;
use crate::rows::{Rows, RowsEncoder, by_rules, count_rows, join_all};
use crate::sync::lock;

/// What the catalogue knows of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentEntry {
    /// The Parquet file, below the folder of segments.
    pub(crate) path: String,
    /// The data stream of all its events.
    pub(crate) index: String,
    pub(crate) rows: u32,
    pub(crate) bytes: u64,
    /// XXH3 of the Parquet file.
    pub(crate) checksum: u128,
    pub(crate) first_sequence: u64,
    pub(crate) last_sequence: u64,
    /// By `@timestamp`.
    pub(crate) times: Span,
    /// By arrival.
    pub(crate) ingested: Span,
}

/// What is kept in memory of segments that somebody looked at, longer than all else: enough to know what not to read.
#[derive(Debug)]
pub(crate) struct Summary {
    /// From which row on, events arrived when.
    arrivals: Box<[(u32, i64)]>,
    /// How many rows there are of what, by the rules that lists were made with.
    pub(crate) counts: Arc<[ListCounts]>,
}

impl Summary {
    fn of(rows: &Rows) -> Self {
        let mut arrivals: Vec<(u32, i64)> = Vec::new();
        for (time, row) in rows.ingested.iter().zip(0..) {
            if arrivals.last().is_none_or(|(_, last)| last != time) {
                arrivals.push((row, *time));
            }
        }
        Self {
            arrivals: arrivals.into(),
            counts: by_rules(&rows.lists).iter().map(|lists| MatchList::counts_of(lists)).collect(),
        }
    }

    /// When the event of a row arrived.
    pub(crate) fn ingested(&self, row: u32) -> i64 {
        arrival(&self.arrivals, row)
    }

    fn memory(&self) -> usize {
        self.arrivals.len() * size_of::<(u32, i64)>() + self.counts.iter().map(ListCounts::memory).sum::<usize>()
    }
}

/// The time that a row has by what is said of from which row on.
pub(crate) fn arrival(arrivals: &[(u32, i64)], row: u32) -> i64 {
    let place = arrivals.partition_point(|(first, _)| *first <= row);
    arrivals[..place].last().map_or(0, |(_, time)| *time)
}

/// So many rules may want rows of a segment before it is read as a whole.
const MAX_NARROW: usize = 32;
/// Rules that have few rows in a segment: together no more than one for so many of its events.
const EVENTS_PER_FEW: u32 = 16;

/// The lists without the rows of other rules than some.
#[derive(Debug)]
struct Narrow {
    of: HashSet<u128>,
    lists: Vec<Arc<MatchList>>,
    /// All of those rules have few.
    is_least: bool,
}

impl Narrow {
    /// The rows of rules that have few of so many events, and of those that are asked for.
    fn new(events: u32, counts: &[ListCounts], lists: &[Arc<MatchList>], asked: impl Iterator<Item = u128>) -> Self {
        let mut by_rows: Vec<(u64, u128)> = counts.iter().flat_map(ListCounts::rows_of_rules).collect();
        by_rows.sort_unstable();
        let mut room = u64::from(events / EVENTS_PER_FEW);
        let few = by_rows.into_iter().map_while(|(rows, rule)| {
            room = room.checked_sub(rows)?;
            Some(rule)
        });
        let mut of: HashSet<u128> = few.collect();
        let few = of.len();
        of.extend(asked);
        let is_least = of.len() == few;
        let lists: Vec<_> = lists.iter().map(|list| Arc::new(list.only(|rule| of.contains(&rule)))).collect();
        Self { lists: join_all(&lists), of, is_least }
    }

    fn has(&self, fingerprints: &[u128]) -> bool {
        fingerprints.iter().all(|fingerprint| self.of.contains(fingerprint))
    }

    fn memory(&self) -> usize {
        self.of.capacity() * size_of::<u128>() + self.lists.iter().map(|list| list.memory()).sum::<usize>()
    }
}

/// The file of rows of a Parquet file.
pub(crate) fn rows_path(parquet: &Path) -> PathBuf {
    parquet.with_extension("rows")
}

/// A segment that can be read.
#[derive(Debug)]
pub(crate) struct SegmentPart {
    pub(crate) entry: SegmentEntry,
    /// Where the Parquet file is while it is [held](Self::hold).
    pub(crate) path: PathBuf,
    files: Arc<SegmentFiles>,
    /// The Parquet file, and that of rows.
    local: Box<[LocalFile; 2]>,
    versions: Mutex<Versions>,
    cache: Arc<RowsCache>,
    rows: Mutex<Option<Arc<Rows>>>,
    /// What stays when the file of rows has to go for others.
    summary: Mutex<Option<Arc<Summary>>>,
    narrow: Mutex<Option<Narrow>>,
    documents: Mutex<Option<OpenSegment>>,
    /// Who removes its files once nobody has them any more, if they are to go.
    doomed: OnceLock<Arc<Readers>>,
    is_damaged: AtomicBool,
    /// It could not be put together with others, although it is not damaged.
    is_single: AtomicBool,
    /// Somebody could not read something of it.
    is_suspect: AtomicBool,
    /// Of the file of rows.
    changes: AtomicU32,
    /// What the object store has of it is not what was put there.
    has_bad_objects: AtomicBool,
}

impl Drop for SegmentPart {
    fn drop(&mut self) {
        if let Some(readers) = self.doomed.take() {
            readers.remove(self.local.iter().map(|file| file.path.clone()));
            if self.versions().has_objects() {
                self.files.remove_objects(&self.entry.path);
            }
        }
        self.release_rows();
        self.release_summary();
    }
}

/// Writes a file so that it is either there as a whole or not at all, and on disk.
pub(crate) fn write_lasting(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let unfinished = path.with_extension("tmp");
    let write = || {
        let mut file = DirectFile::create(&unfinished, false, bytes.len())?;
        file.write_all(bytes)?;
        file.finish()?;
        fs::rename(&unfinished, path)?;
        path.parent().map_or(Ok(()), |folder| fs::File::open(folder)?.sync_all())
    };
    let written = write();
    if written.is_err() {
        _ = fs::remove_file(&unfinished);
    }
    written.map_err(StoreError::io(path))
}

/// An open file, which has nothing to show.
struct OpenSegment(Segment);

impl std::fmt::Debug for OpenSegment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenSegment").field("rows", &self.0.rows()).finish()
    }
}

impl SegmentPart {
    pub(crate) fn new(
        files: Arc<SegmentFiles>,
        entry: SegmentEntry,
        versions: Versions,
        cache: Arc<RowsCache>,
    ) -> Self {
        let local = Box::new(files.of_segment(&entry.path));
        Self {
            entry,
            path: local[0].path.clone(),
            files,
            local,
            versions: Mutex::new(versions),
            cache,
            rows: Mutex::default(),
            summary: Mutex::default(),
            narrow: Mutex::default(),
            documents: Mutex::default(),
            doomed: OnceLock::new(),
            is_damaged: AtomicBool::new(false),
            is_single: AtomicBool::new(false),
            is_suspect: AtomicBool::new(false),
            changes: AtomicU32::new(0),
            has_bad_objects: AtomicBool::new(false),
        }
    }

    /// Where its files are, and those of all others.
    pub(crate) fn files(&self) -> &Arc<SegmentFiles> {
        &self.files
    }

    /// Sees to it that the Parquet file is at its path until what is returned is dropped.
    pub(crate) fn hold(&self) -> Result<Held, StoreError> {
        self.files.hold(&self.local[0], self.is_sound(false))
    }

    /// Whether what was fetched may be the file. One of rows has checksums in itself.
    fn is_sound(&self, is_rows: bool) -> impl Fn(u64, u128) -> bool {
        move |_, checksum| is_rows || checksum == self.entry.checksum
    }

    /// The file of rows, or the Parquet file.
    pub(crate) fn file(&self, is_rows: bool) -> &LocalFile {
        &self.local[usize::from(is_rows)]
    }

    /// How much of it is here.
    pub(crate) fn local_bytes(&self) -> u64 {
        self.local.iter().filter_map(LocalFile::bytes).sum()
    }

    /// What of it is in the object store.
    pub(crate) fn versions(&self) -> Versions {
        *lock(&self.versions)
    }

    /// Notes which version of it is in the object store, or [`BEGUN`](crate::catalogue::BEGUN). Says whether it is still a
    /// segment: of one that has gone nothing is noted.
    pub(crate) fn set_uploaded(&self, version: i64, catalogue: &Catalogue) -> Result<bool, StoreError> {
        let mut versions = lock(&self.versions);
        let is_known = catalogue.set_uploaded(&self.entry.path, version)?;
        if is_known {
            versions.uploaded = Some(version);
        }
        Ok(is_known)
    }

    /// All of it is in the object store.
    pub(crate) fn is_uploaded(&self) -> bool {
        self.versions().is_uploaded()
    }

    /// The Parquet file is here, or can be had. A file of rows can be made anew.
    pub(crate) fn is_there(&self) -> bool {
        self.local[0].bytes().is_some() || (self.files.is_remote() && self.versions().has_parquet())
    }

    /// What stands in the bytes of its file of rows; `None` if they are damaged.
    pub(crate) fn decode_rows(&self, bytes: &[u8]) -> Option<Rows> {
        Rows::decode(bytes, &self.cache.rules).filter(|read| read.sequences.len() == self.entry.rows as usize)
    }

    /// The file of rows, read when it is first asked for, and again when it had to go for others.
    pub(crate) fn rows(&self) -> Result<Arc<Rows>, StoreError> {
        let mut rows = lock(&self.rows);
        if let Some(rows) = &*rows {
            return Ok(rows.clone());
        }
        let read = self.read_rows()?;
        if self.cache.admit(read.memory()) {
            *rows = Some(read.clone());
        }
        Ok(read)
    }

    /// Whether the file of rows is in memory.
    pub(crate) fn has_rows(&self) -> bool {
        lock(&self.rows).is_some()
    }

    /// Reads the file of rows, for those who need it once.
    fn read_rows(&self) -> Result<Arc<Rows>, StoreError> {
        let read = self.rows_as_they_are().inspect_err(|error| self.suspect_rows(error))?;
        self.summarize(&read);
        Ok(Arc::new(read))
    }

    /// Takes note of what was written to its file of rows just now. What is new is looked at in a moment, as a whole.
    pub(crate) fn know_rows(&self, rows: Rows, is_new: bool) {
        self.summarize(&rows);
        if is_new && self.cache.admit(rows.memory()) {
            *lock(&self.rows) = Some(Arc::new(rows));
        } else {
            self.keep_narrow(&rows, &[], &mut lock(&self.narrow));
        }
    }

    /// What the file of rows has.
    pub(crate) fn summary(&self) -> Result<Arc<Summary>, StoreError> {
        if let Some(summary) = &*lock(&self.summary) {
            return Ok(summary.clone());
        }
        // Who replaces the file waits for this lock, and lets go of the summary after that.
        let rows = lock(&self.rows);
        let read = match &*rows {
            Some(rows) => rows.clone(),
            None => self.read_rows()?,
        };
        Ok(self.summarize(&read))
    }

    fn summarize(&self, rows: &Rows) -> Arc<Summary> {
        let make = || {
            let summary = Summary::of(rows);
            self.cache.charge(summary.memory());
            Arc::new(summary)
        };
        lock(&self.summary).get_or_insert_with(make).clone()
    }

    /// The lists with the rows of these rules, and of others maybe.
    pub(crate) fn lists_of(&self, fingerprints: &[u128]) -> Result<Vec<Arc<MatchList>>, StoreError> {
        if let Some(rows) = &*lock(&self.rows) {
            return Ok(rows.lists.clone());
        }
        let mut narrow = lock(&self.narrow);
        if let Some(known) = narrow.as_ref().filter(|known| known.has(fingerprints)) {
            return Ok(known.lists.clone());
        }
        if fingerprints.len() > MAX_NARROW {
            drop(narrow);
            return Ok(self.rows()?.lists.clone());
        }
        self.cache.want(fingerprints);
        Ok(self.keep_narrow(&*self.read_rows()?, fingerprints, &mut narrow))
    }

    /// Keeps the rows of rules that have few, and of those that are asked for or were before.
    fn keep_narrow(&self, rows: &Rows, asked: &[u128], narrow: &mut Option<Narrow>) -> Vec<Arc<MatchList>> {
        let before = narrow.take();
        let asked = asked.iter().chain(before.iter().flat_map(|known| &known.of)).copied().chain(self.cache.wanted());
        let made = Narrow::new(self.entry.rows, &self.summarize(rows).counts, &rows.lists, asked);
        self.replace_narrow(before, made, narrow)
    }

    /// Counts and keeps what takes the place of another.
    fn replace_narrow(&self, before: Option<Narrow>, made: Narrow, kept: &mut Option<Narrow>) -> Vec<Arc<MatchList>> {
        self.cache.release(before.map_or(0, |known| known.memory()));
        let lists = made.lists.clone();
        if self.cache.admit(made.memory()) {
            *kept = Some(made);
        }
        lists
    }

    /// The file of rows as it is on disk now.
    pub(crate) fn rows_as_they_are(&self) -> Result<Rows, StoreError> {
        self.decode_rows(&self.read_rows_file()?).ok_or_else(|| self.damaged_rows())
    }

    fn read_rows_file(&self) -> Result<Vec<u8>, StoreError> {
        let path = &self.local[1].path;
        let _held = self.files.hold(&self.local[1], self.is_sound(true))?;
        fs::read(path).map_err(StoreError::io(path))
    }

    fn damaged_rows(&self) -> StoreError {
        StoreError::Segment { path: self.local[1].path.clone(), reason: "its file of rows is damaged".to_owned() }
    }

    /// The bytes of the file of rows, if they are what they were.
    pub(crate) fn sound_rows(&self) -> Result<Vec<u8>, StoreError> {
        let read = self.read_rows_file().and_then(|bytes| match count_rows(&bytes) {
            Some(rows) if rows == self.entry.rows as usize => Ok(bytes),
            _ => Err(self.damaged_rows()),
        });
        read.inspect_err(|error| self.suspect_rows(error))
    }

    /// Adds what was matched later, on disk too. What the object store has is then an older version.
    pub(crate) fn add_list(&self, list: MatchList, catalogue: &Catalogue) -> Result<(), StoreError> {
        let known = self.rows()?;
        let lists = known.lists.iter().cloned().chain([Arc::new(list)]).collect();
        let (sequences, ingested) = (known.sequences.clone(), known.ingested.clone());
        let rows = Rows { sequences, ingested, own_ids: known.own_ids.clone(), lists };
        self.replace_rows(&rows.joined(), catalogue)
    }

    /// Writes the file of rows anew.
    pub(crate) fn replace_rows(&self, rows: &Rows, catalogue: &Catalogue) -> Result<(), StoreError> {
        let mut encoder = RowsEncoder::default();
        let bytes = encoder.encode(rows).map_err(StoreError::io(&self.local[1].path))?;
        let written = self.write_rows(bytes, catalogue);
        // What failed late may have changed the file.
        self.forget_rows();
        written?;
        self.files.wake();
        Ok(())
    }

    /// Something of it could not be read: it is looked at soon. An object store that is away says nothing about it.
    pub(crate) fn suspect(&self, error: &StoreError) {
        if !matches!(error, StoreError::Objects { .. } | StoreError::Gone { .. }) {
            self.set_suspect();
        }
    }

    /// Its file of rows could not be read. Where it is gone, it can be made anew.
    fn suspect_rows(&self, error: &StoreError) {
        if !matches!(error, StoreError::Objects { .. }) {
            self.set_suspect();
        }
    }

    pub(crate) fn set_suspect(&self) {
        // What was noted before is seen by who takes the mark.
        self.is_suspect.store(true, Ordering::Release);
    }

    pub(crate) fn is_suspect(&self) -> bool {
        self.is_suspect.load(Ordering::Relaxed)
    }

    /// It is being looked at, and no longer waits for that.
    pub(crate) fn clear_suspect(&self) {
        self.is_suspect.swap(false, Ordering::Acquire);
    }

    /// What is there may not take the place of what is here, until that was looked at.
    pub(crate) fn set_bad_objects(&self) {
        self.has_bad_objects.store(true, Ordering::Relaxed);
        self.set_suspect();
    }

    /// What is there is to be put there anew, or was.
    pub(crate) fn clear_bad_objects(&self) {
        self.has_bad_objects.store(false, Ordering::Relaxed);
    }

    pub(crate) fn has_bad_objects(&self) -> bool {
        self.has_bad_objects.load(Ordering::Relaxed)
    }

    /// Fetches a file again, in the place of what is here. Says whether there is another.
    pub(crate) fn fetch_again(&self, is_rows: bool) -> Result<bool, StoreError> {
        let versions = self.versions();
        let is_there = if is_rows { versions.is_uploaded() } else { versions.has_parquet() };
        if !is_there || !self.files.is_remote() {
            return Ok(false);
        }
        self.files.fetch_again(self.file(is_rows), self.is_sound(is_rows))?;
        // What is open is what lay here before.
        self.forget_rows();
        Ok(true)
    }

    /// Its objects stay where they are when it goes.
    pub(crate) fn leave_objects(&self) {
        lock(&self.versions).uploaded = None;
    }

    fn write_rows(&self, bytes: &[u8], catalogue: &Catalogue) -> Result<(), StoreError> {
        self.files.write(&self.local[1], bytes, || self.begin_version(catalogue))
    }

    /// Counts a change of the file of rows, before it is made.
    pub(crate) fn begin_version(&self, catalogue: &Catalogue) -> Result<(), StoreError> {
        if !self.files.is_remote() && !self.versions().has_objects() {
            return Ok(());
        }
        let version = self.versions().rows + 1;
        catalogue.set_rows(&self.entry.path, version)?;
        lock(&self.versions).rows = version;
        Ok(())
    }

    /// Its files are to go as soon as nobody has them any more.
    pub(crate) fn doom(&self, readers: &Arc<Readers>) {
        _ = self.doomed.set(readers.clone());
    }

    /// Its files seem to be damaged: it is neither put together with others nor put into the object store.
    pub(crate) fn set_damaged(&self, is_damaged: bool) {
        self.is_damaged.store(is_damaged, Ordering::Relaxed);
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.is_damaged.load(Ordering::Relaxed)
    }

    /// It is not put together with others before the next start.
    pub(crate) fn stay_single(&self) {
        self.is_single.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_single(&self) -> bool {
        self.is_single.load(Ordering::Relaxed)
    }

    /// Lets go of the file of rows, but for what is likely to be asked for soon.
    pub(crate) fn narrow_rows(&self) {
        lock(&self.documents).take();
        // Who replaces the file waits for this lock, and lets go of what is kept after that.
        let mut rows = lock(&self.rows);
        let Some(whole) = rows.take() else { return };
        self.cache.release(whole.memory());
        self.keep_narrow(&whole, &[], &mut lock(&self.narrow));
    }

    /// Lets go of the rows that were asked for of rules that have many.
    pub(crate) fn release_wanted(&self) {
        let mut narrow = lock(&self.narrow);
        let Some(known) = narrow.take_if(|known| !known.is_least) else { return };
        let counts = lock(&self.summary).as_ref().map(|summary| summary.counts.clone()).unwrap_or_default();
        let made = Narrow::new(self.entry.rows, &counts, &known.lists, iter::empty());
        self.replace_narrow(Some(known), made, &mut narrow);
    }

    /// Lets go of the file of rows.
    pub(crate) fn release_rows(&self) {
        lock(&self.documents).take();
        self.cache.release(lock(&self.rows).take().map_or(0, |rows| rows.memory()));
    }

    /// Lets go of what was kept for rules that look far back.
    pub(crate) fn release_narrow(&self) {
        self.cache.release(lock(&self.narrow).take().map_or(0, |narrow| narrow.memory()));
    }

    /// Lets go of that, and of what says that they need not.
    pub(crate) fn release_summary(&self) {
        // What is kept goes by the summary: neither outlives the other.
        let mut narrow = lock(&self.narrow);
        let summary = lock(&self.summary).take().map_or(0, |summary| summary.memory());
        self.cache.release(summary + narrow.take().map_or(0, |narrow| narrow.memory()));
    }

    /// The file of rows is another now. Whoever calls holds `flushing`.
    fn forget_rows(&self) {
        self.release_rows();
        self.release_summary();
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// How often the file of rows became another.
    pub(crate) fn changes(&self) -> u32 {
        self.changes.load(Ordering::Acquire)
    }

    /// Its documents, in a file that is opened for the caller alone.
    pub(crate) fn open_documents(&self) -> Result<Segment, StoreError> {
        let _held = self.hold()?;
        Segment::open(&self.path).map_err(|reason| self.unreadable(&reason))
    }

    /// Why a document cannot be read.
    pub(crate) fn unreadable(&self, reason: &SegmentError) -> StoreError {
        self.set_suspect();
        StoreError::Segment { path: self.path.clone(), reason: reason.to_string() }
    }

    pub(crate) fn write_hit(&self, row: u32, out: &mut Vec<u8>) -> Result<(), StoreError> {
        let mut documents = lock(&self.documents);
        let open = match &mut *documents {
            Some(open) => open,
            none => none.insert(OpenSegment(self.open_documents()?)),
        };
        open.0.write_hit(row as usize, out).map_err(|reason| self.unreadable(&reason))
    }

    /// What is wrong with its files here. What is not here is fetched.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let _held = self.hold()?;
        self.check_parquet()?;
        self.rows_as_they_are().map(drop)
    }

    /// What is wrong with those of its files that are here.
    pub(crate) fn check_here(&self) -> Result<(), StoreError> {
        self.check_what_is_here().inspect_err(|error| self.suspect(error))
    }

    fn check_what_is_here(&self) -> Result<(), StoreError> {
        if !self.files.is_remote() {
            return self.check();
        }
        if self.local[0].bytes().is_some() {
            let _held = self.hold()?;
            self.check_parquet()?;
        }
        if self.local[1].bytes().is_some() {
            self.rows_as_they_are()?;
        }
        Ok(())
    }

    /// What is wrong with the Parquet file.
    pub(crate) fn check_parquet(&self) -> Result<(), StoreError> {
        self.sound_file().map(drop)
    }

    /// The Parquet file, if its bytes are what they were.
    pub(crate) fn sound_file(&self) -> Result<fs::File, StoreError> {
        let mut file = fs::File::open(&self.path).map_err(StoreError::io(&self.path))?;
        let mut hasher = Xxh3::new();
        let mut hash = || -> io::Result<u128> {
            let mut piece = vec![0; 1 << 20];
            loop {
                match file.read(&mut piece)? {
                    0 => return Ok(hasher.digest128()),
                    length => hasher.update(&piece[..length]),
                }
            }
        };
        self.check_hash(hash().map_err(StoreError::io(&self.path))?).map(|()| file)
    }

    /// The bytes of the Parquet file, if they are what they were.
    pub(crate) fn sound_bytes(&self) -> Result<Bytes, StoreError> {
        let length = usize::try_from(self.entry.bytes).unwrap_or(usize::MAX);
        let bytes = direct::read(&self.path, length).map_err(StoreError::io(&self.path))?;
        self.check_hash(xxh3_128(&bytes)).map(|()| bytes)
    }

    fn check_hash(&self, hash: u128) -> Result<(), StoreError> {
        match hash == self.entry.checksum {
            true => Ok(()),
            false => Err(StoreError::Segment { path: self.path.clone(), reason: "its checksum is another".to_owned() }),
        }
    }
}

/// How much memory files of rows take together, and what is kept of them.
#[derive(Debug)]
pub(crate) struct RowsCache {
    limit: usize,
    used: Mutex<usize>,
    /// The rules of the lists in them.
    rules: KnownRules,
    /// The rules whose rows had to be read for them lately, the last one behind.
    wanted: Mutex<VecDeque<u128>>,
}

/// So many of them are known.
const MAX_WANTED: usize = 2 * MAX_NARROW;

impl RowsCache {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: Mutex::default(), rules: KnownRules::default(), wanted: Mutex::default() }
    }

    /// Takes note that the rows of these rules are wanted of what is old.
    fn want(&self, fingerprints: &[u128]) {
        let mut wanted = lock(&self.wanted);
        wanted.retain(|known| !fingerprints.contains(known));
        wanted.extend(fingerprints);
        let beyond = wanted.len().saturating_sub(MAX_WANTED);
        wanted.drain(..beyond);
    }

    fn wanted(&self) -> VecDeque<u128> {
        lock(&self.wanted).clone()
    }

    /// Whether there is room for so many bytes, which then count.
    fn admit(&self, bytes: usize) -> bool {
        let mut used = lock(&self.used);
        let fits = *used + bytes <= self.limit;
        *used += if fits { bytes } else { 0 };
        fits
    }

    /// Counts so many bytes, whether there is room or not: what is older goes for them.
    fn charge(&self, bytes: usize) {
        *lock(&self.used) += bytes;
    }

    fn release(&self, bytes: usize) {
        let mut used = lock(&self.used);
        *used = used.saturating_sub(bytes);
    }

    /// Whether more than so many tenths are taken.
    pub(crate) fn is_beyond(&self, tenths: usize) -> bool {
        *lock(&self.used) > self.limit / 10 * tenths
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::rules;
    use crate::{NewDocument, Store, StoreOptions};

    #[test]
    fn what_is_wanted_most_goes_last() {
        let folder = tempfile::tempdir().unwrap();
        let options = StoreOptions { flush_age: std::time::Duration::from_secs(3600), ..StoreOptions::default() };
        let rules = rules(&["process where process.pid > 0", "process where process.pid == 7"]);
        let (store, _) = Store::open(folder.path(), options, rules.clone()).unwrap();
        let event = |pid: u32| NewDocument {
            index: "logs-x".into(),
            id: None,
            document: format!("{{\"event\":{{\"category\":\"process\"}},\"process\":{{\"pid\":{pid}}}}}").into(),
        };
        store.ingest((1..=64).map(event).collect::<Vec<_>>(), 0).unwrap();
        store.flush().unwrap();
        let (snapshot, fingerprints) = (store.snapshot(), rules.fingerprints.clone());
        let segment = snapshot.parts[0].as_segment().unwrap();
        let rows = |of: usize| {
            let lists = segment.lists_of(&fingerprints[of..=of]).ok()?;
            Some(lists[0].count_rows(fingerprints[of], |_| true))
        };
        let used = || *lock(&segment.cache.used);
        let whole = used();
        // Or the background makes the file of rows anew.
        let _flushing = lock(&store.0.flushing);

        segment.cache.want(&fingerprints[..1]);
        segment.narrow_rows();
        let with_wanted = used();
        fs::remove_file(rows_path(&segment.path)).unwrap();
        assert_eq!((segment.has_rows(), rows(0), rows(1)), (false, Some(64), Some(1)));
        segment.release_wanted();
        let with_few = used();
        assert_eq!(rows(1), Some(1));
        segment.release_wanted();
        segment.release_narrow();
        let with_summary = used();
        assert!(segment.summary().is_ok() && rows(1).is_none());
        segment.release_summary();
        assert!(segment.summary().is_err());
        assert!(whole > with_wanted && with_wanted > with_few && with_few > with_summary && with_summary > used());
        assert_eq!(used(), 0);
    }
}
