//! The background work: recent chunks into segments, small segments into larger ones, old ones away, and new rules over
//! what is there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use eqlipse_batch::EventBatch;
use eqlipse_engine::{Collector, Coverage, ListedRules, MatchList, Matcher};
use eqlipse_events::{
    DecodedPart, Discovery, DocumentPage, Effort, Identity, Progress, ReadOptions, SegmentColumns, SegmentContent,
    SegmentEvent, SegmentWriter, Source, concat_segments,
};
use jiff::Timestamp;
use walkdir::WalkDir;
use xxhash_rust::xxh3::Xxh3;

use crate::StoreError;
use crate::catalogue::Versions;
use crate::chunk::{Chunk, Decoded, Listed, split_lists};
use crate::damage::{self, Outcome};
use crate::direct::DirectFile;
use crate::index_name::folder_of;
use crate::matching::StoreRules;
use crate::part::{Part, PartKind, Span, TimeRange};
use crate::rows::Rows;
use crate::segment::{SegmentEntry, SegmentPart, rows_path, write_lasting};
use crate::store::{Inner, SegmentWriting, lock};
use crate::upload;

/// How often the background looks around.
const PERIOD: Duration = Duration::from_millis(500);
/// How often segments are looked at though none was written.
const COMPACTION_PERIOD: Duration = Duration::from_secs(300);
/// Neighbouring chunks are put together up to this size: requests may be small, and every part costs each rule a look.
const JOINED_BYTES: usize = 8 << 20;
/// Larger chunks stay as they are: there are never many of them.
const SMALL_BYTES: usize = 1 << 20;
/// The most events of a segment.
const MAX_SEGMENT_ROWS: usize = 1_000_000;
/// Segments of a data stream and day are put together while they have no more events than this in all.
const COMPACTED_ROWS: u32 = 200_000;
/// That is done when there are so many of them, if it makes one that stays as it is;
const COMPACTED_SEGMENTS: usize = 8;
/// and when there are so many in any case: with each time, their events are copied once more.
const AWAITED_SEGMENTS: usize = 16;

/// Where pieces would have so many rows on average, files of rows stay as they are, as pieces of one: of smaller ones, the
/// rules that each names would be most of it.
const MIN_PIECE_ROWS: usize = 4_096;
/// Segments that are put together are in memory up to so many bytes; others are copied piece by piece.
const MAX_READ_AT_ONCE: u64 = 128 << 20;

/// Beyond so many tenths of its memory, the cache of what matched is emptied down to so many.
const FULL: usize = 9;
const ROOM: usize = 6;
/// Segments that are written at once, at most: each has a row group in memory.
const MAX_WRITERS: usize = 4;

/// Runs until the store is closed.
pub(crate) fn maintain(inner: &Inner) {
    while !inner.is_closing() {
        inner.rest(PERIOD);
        let now = Timestamp::now().as_nanosecond() as i64;
        // Segments must not end with the thread, and nobody know.
        let done = catch_unwind(AssertUnwindSafe(|| {
            join_chunks(inner);
            let looked = damage::look_at_suspects(inner);
            let done = if is_due(inner, now) { flush(inner) } else { Ok(()) };
            // Whatever else fails: it may make the room that is missing.
            done.and(prune(inner, now)).and(looked)
        }));
        let failed = done.unwrap_or_else(|_| Err(panicked())).err().map(|error| error.to_string());
        inner.set_problem(failed.or_else(|| lock(&inner.compaction_problem).clone()));
        inner.readers.remove_waiting();
        if inner.cache.is_beyond(FULL) {
            release_rows(inner);
        }
    }
}

fn panicked() -> StoreError {
    StoreError::Rules("the background work panicked".to_owned())
}

/// Compacts until the store is closed, while recent events are written: who sends must not wait for it.
pub(crate) fn compact_on(inner: &Inner) {
    while !inner.is_closing() {
        // There is something to do when something was written, or a disk or an object store answers again.
        inner.compacting_bell.rest(COMPACTION_PERIOD);
        let done = catch_unwind(AssertUnwindSafe(|| compact(inner))).unwrap_or_else(|_| Err(panicked()));
        *lock(&inner.compaction_problem) = done.err().map(|error| error.to_string());
    }
}

fn is_due(inner: &Inner, now: i64) -> bool {
    let snapshot = inner.snapshot();
    let arrivals = snapshot.parts.iter().filter_map(|part| part.chunk()?.arrivals.first());
    let oldest = arrivals.map(|(_, time)| *time).min();
    let age = oldest.map_or(0, |oldest| now.saturating_sub(oldest));
    inner.recent_bytes() > inner.options.flush_bytes || age > inner.options.flush_age.as_nanos() as i64
}

/// Puts neighbouring small chunks together.
fn join_chunks(inner: &Inner) {
    let snapshot = inner.snapshot();
    let complete = inner.tickets.complete_below();
    let recent: Vec<&Arc<Part>> = snapshot.recent().collect();
    let mut run: Vec<&Arc<Part>> = Vec::new();
    let mut bytes = 0;
    for part in recent {
        let Some(chunk) = part.chunk() else { continue };
        let size = chunk.memory();
        let is_ready = chunk.end() <= complete && size <= SMALL_BYTES;
        let fits = is_ready
            && bytes + size <= JOINED_BYTES
            && run.last().is_none_or(|last| generations(last) == chunk.generations());
        if !fits {
            join_run(inner, &run);
            (run, bytes) = (Vec::new(), 0);
        }
        if is_ready {
            run.push(part);
            bytes += size;
        }
    }
    join_run(inner, &run);
}

fn generations(part: &Part) -> Vec<u64> {
    part.chunk().map(Chunk::generations).unwrap_or_default()
}

fn join_run(inner: &Inner, run: &[&Arc<Part>]) {
    // Joining costs a copy: a few at a time are left until there are more.
    if run.len() < 4 {
        return;
    }
    let _flushing = lock(&inner.flushing);
    let chunks: Vec<&Chunk> = run.iter().filter_map(|part| part.chunk()).collect();
    let joined = Arc::new(Part::recent(Chunk::join(&chunks)));
    inner.change(|parts| {
        let place = parts.iter().position(|part| Arc::ptr_eq(part, run[0]));
        let is_there = place.is_some_and(|place| {
            parts[place..].iter().zip(run).filter(|(part, old)| Arc::ptr_eq(part, old)).count() == run.len()
        });
        // A rule that came in the meantime has left its list with the old ones.
        let is_same = generations(&joined) == generations(run[0])
            && run.iter().all(|old| generations(old) == generations(&joined));
        if let (Some(place), true, true) = (place, is_there, is_same) {
            parts.splice(place..place + run.len(), [joined]);
        }
    });
}

/// Writes all complete recent chunks to segments.
pub(crate) fn flush(inner: &Inner) -> Result<(), StoreError> {
    let _flushing = lock(&inner.flushing);
    let complete = inner.tickets.complete_below();
    let snapshot = inner.snapshot();
    let is_complete = |part: &&Arc<Part>| part.chunk().is_some_and(|chunk| chunk.end() <= complete);
    let taken: Vec<&Arc<Part>> = snapshot.recent().take_while(is_complete).collect();
    let Some(end) = taken.last().and_then(|part| part.chunk()).map(Chunk::end) else { return Ok(()) };
    let (mut written, mut rows) = (Vec::new(), Vec::new());
    let made = (|| {
        for group in taken.chunk_by(|a, b| generations(a) == generations(b)) {
            let chunks: Vec<&Chunk> = group.iter().filter_map(|part| part.chunk()).collect();
            write_chunks(inner, &chunks, &mut written, &mut rows)?;
        }
        inner.catalogue.replace(&[], &written, Some(end))
    })();
    if let Err(error) = made {
        written.iter().for_each(|entry| remove_files(&segments_folder(inner).join(&entry.path)));
        return Err(error);
    }
    written.iter().for_each(|entry| inner.streams.know(&entry.index));
    inner.schema.learn(lock(&inner.writing).columns.values().flat_map(SegmentColumns::fields));
    let segments = written.into_iter().zip(rows).map(|(entry, rows)| Arc::new(new_segment(inner, entry, rows, true)));
    let segments: Vec<Arc<Part>> = segments.collect();
    inner.change(|parts| {
        let taken: HashSet<*const Part> = taken.iter().map(|part| Arc::as_ptr(part)).collect();
        parts.retain(|part| !taken.contains(&Arc::as_ptr(part)));
        let behind = parts.iter().take_while(|part| part.as_segment().is_some()).count();
        parts.splice(behind..behind, segments);
    });
    inner.files.wake();
    inner.compacting_bell.ring();
    inner.log.forget_below(end)
}

fn segments_folder(inner: &Inner) -> &Path {
    inner.files.folder()
}

/// A segment that was written here just now, of events that are new or came out of others.
fn new_segment(inner: &Inner, entry: SegmentEntry, rows: Rows, is_new: bool) -> Part {
    let segment = SegmentPart::new(inner.files.clone(), entry, Versions::default(), inner.cache.clone());
    segment.know_rows(rows, is_new);
    Part::segment(segment)
}

fn remove_files(parquet: &Path) {
    _ = fs::remove_file(parquet);
    _ = fs::remove_file(rows_path(parquet));
}

/// The events of a segment to be written.
struct SegmentRows<'c> {
    index: &'c str,
    /// By row: chunk, and row there.
    places: Vec<(usize, u32)>,
    /// The same, by what came in together.
    parts: Vec<DecodedPart<'c>>,
    /// The number of the run that the last part is of.
    run: usize,
}

/// Where the events of a data stream in a run go on.
#[derive(Clone, Default)]
struct Cursor<'c> {
    /// The number of the run.
    run: usize,
    /// Among the data streams of what was decoded together.
    stream: usize,
    next: u32,
    pages: &'c [DocumentPage],
}

impl<'c> Cursor<'c> {
    fn new(run: usize, decoded: Option<&'c Decoded>, numbers: &HashMap<&str, usize>, index: &str) -> Self {
        let known = decoded.zip(numbers.get(index).copied());
        known.map_or(Self { run, ..Self::default() }, |(decoded, stream)| Self {
            run,
            stream,
            next: decoded.rows.stream(stream).start,
            pages: &decoded.streams[stream].pages,
        })
    }
}

/// The segments of chunks: parts their events by data stream. Returns too, by chunk and row, in which segment an event is, and
/// as which row.
fn part_by_stream<'c>(chunks: &[&'c Chunk]) -> (Vec<SegmentRows<'c>>, Vec<Vec<(u32, u32)>>) {
    let mut segments: Vec<SegmentRows<'c>> = Vec::new();
    let mut open: HashMap<&str, usize> = HashMap::new();
    let (mut places, mut run) = (Vec::new(), 0);
    for (number, chunk) in chunks.iter().enumerate() {
        let mut own = Vec::with_capacity(chunk.events.len());
        let mut cursors: Vec<Cursor<'c>> = vec![Cursor::default(); chunk.indices.len()];
        for (count, decoded) in &chunk.decoded {
            let decoded = decoded.as_deref();
            let names = decoded.into_iter().flat_map(|decoded| &decoded.streams).map(|stream| &*stream.index);
            let numbers: HashMap<&str, usize> = names.zip(0..).collect();
            run += 1;
            for row in own.len() as u32..own.len() as u32 + count {
                let index = chunk.events[row as usize].index as usize;
                let (cursor, name) = (&mut cursors[index], &*chunk.indices[index]);
                if cursor.run != run {
                    *cursor = Cursor::new(run, decoded, &numbers, name);
                }
                let segment = open.entry(name).or_insert(usize::MAX);
                if segments.get(*segment).is_none_or(|segment| segment.places.len() == MAX_SEGMENT_ROWS) {
                    *segment = segments.len();
                    segments.push(SegmentRows { index: name, places: Vec::new(), parts: Vec::new(), run: 0 });
                }
                own.push((*segment as u32, segments[*segment].places.len() as u32));
                segments[*segment].add((number, row), decoded, cursor);
            }
        }
        places.push(own);
    }
    (segments, places)
}

impl<'c> SegmentRows<'c> {
    /// Adds an event, the next of its data stream in the run.
    fn add(&mut self, place: (usize, u32), decoded: Option<&'c Decoded>, cursor: &mut Cursor<'c>) {
        self.places.push(place);
        let Cursor { run, stream, next, pages } = cursor;
        let first = *next;
        *next += 1;
        match self.parts.last_mut() {
            Some(part) if self.run == *run => part.rows.end = *next,
            _ => {
                let decoded = decoded.map(|decoded| &decoded.rows);
                self.parts.push(DecodedPart { decoded, stream: *stream, rows: first..*next, pages });
                self.run = *run;
            }
        }
    }
}

/// Writes the events of chunks with lists of the same generations, a segment for each data stream, on all cores: who sends
/// waits while too much is not written yet.
fn write_chunks(
    inner: &Inner,
    chunks: &[&Chunk],
    written: &mut Vec<SegmentEntry>,
    rows: &mut Vec<Rows>,
) -> Result<(), StoreError> {
    let (segments, places) = part_by_stream(chunks);
    let lists = split_lists(chunks, segments.len(), |chunk, row| {
        let (segment, place) = places[chunk][row as usize];
        (segment, u64::from(place))
    });
    let streams = Mutex::new(segments.iter().zip(lists).enumerate());
    let next = || lock(&streams).next();
    let work = || {
        let mut written = Vec::new();
        while let Some((number, (segment, lists))) = next() {
            written.push((number, write_stream(inner, chunks, segment, lists)));
        }
        written
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_WRITERS).min(segments.len());
    let mut done = thread::scope(|scope| {
        // Where there is no thread to be had, this one does it.
        let start = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
        let others: Vec<_> = (1..threads).filter_map(start).collect();
        let mut done = work();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        done
    });
    done.sort_by_key(|(number, _)| *number);
    let mut failed = None;
    for (_, made) in done {
        match made {
            Ok((entry, its_rows)) => {
                written.push(entry);
                rows.push(its_rows);
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(()), Err)
}

fn write_stream(
    inner: &Inner,
    chunks: &[&Chunk],
    SegmentRows { index, places, parts, .. }: &SegmentRows<'_>,
    lists: Vec<Listed>,
) -> Result<(SegmentEntry, Rows), StoreError> {
    let events = places.iter().filter_map(|(chunk, row)| chunks[*chunk].event(*row));
    let events: Vec<SegmentEvent<'_>> = events.collect();
    let mut times = Span::default();
    events.iter().for_each(|event| times.add(event.meta.order.time));
    let rows = Rows {
        sequences: events.iter().map(|event| event.meta.order.arrival.position).collect(),
        ingested: places.iter().map(|(chunk, row)| chunks[*chunk].ingested(*row)).collect(),
        own_ids: places.iter().filter_map(|(chunk, row)| chunks[*chunk].events[*row as usize].own_id).collect(),
        lists: lists.into_iter().map(|listed| listed.list).collect(),
    };
    let write = |path: &Path| {
        write_parquet(inner, index, path, |writer, columns, open| {
            writer.write_decoded(columns, &events, parts, Effort::Little, open)
        })
    };
    Ok((write_one(inner, index, &rows, None, times, write)?, rows))
}

/// Makes a folder below another, so that it is there after a loss of power as what comes into it will be.
fn create_folder(root: &Path, folder: &Path) -> Result<(), StoreError> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(StoreError::io(folder))?;
    for above in folder.ancestors().skip(1).take_while(|above| above.starts_with(root)) {
        File::open(above).and_then(|above| above.sync_all()).map_err(StoreError::io(above))?;
    }
    Ok(())
}

/// Writes one segment: its Parquet file with `write`, which says how long that is and what its checksum is, and its file of
/// rows, of `pieces` where they are to stay as they are.
fn write_one(
    inner: &Inner,
    index: &str,
    rows: &Rows,
    pieces: Option<&[Vec<u8>]>,
    times: Span,
    write: impl FnOnce(&Path) -> io::Result<(u64, u128)>,
) -> Result<SegmentEntry, StoreError> {
    let mut ingested = Span::default();
    rows.ingested.iter().for_each(|time| ingested.add(Some(*time)));
    let first_sequence = rows.sequences.iter().min().copied().unwrap_or_default();
    let last_sequence = rows.sequences.iter().max().copied().unwrap_or_default();
    let day =
        Timestamp::from_nanosecond(i128::from(ingested.first.unwrap_or_default())).unwrap_or(Timestamp::UNIX_EPOCH);
    let day = day.strftime("%Y-%m-%d").to_string();
    let name = format!("{}/{day}/{first_sequence:016}-{:08}.parquet", folder_of(index), rows.sequences.len());
    let path = segments_folder(inner).join(&name);
    create_folder(segments_folder(inner), path.parent().unwrap_or(&path))?;
    let (bytes, checksum) = write(&path).map_err(|error| {
        remove_files(&path);
        StoreError::io(&path)(error)
    })?;
    let mut encoder = lock(&inner.writing).encoders.pop().unwrap_or_default();
    let packed = match pieces {
        Some(pieces) => Ok(encoder.line_up(pieces)),
        None => encoder.encode(rows),
    };
    let lasting = packed.map_err(StoreError::io(&path)).and_then(|packed| write_lasting(&rows_path(&path), packed));
    lock(&inner.writing).encoders.push(encoder.emptied());
    if let Err(error) = lasting {
        remove_files(&path);
        return Err(error);
    }
    let count = rows.sequences.len() as u32;
    let index = index.to_owned();
    Ok(SegmentEntry { path: name, index, rows: count, bytes, checksum, first_sequence, last_sequence, times, ingested })
}

/// Data streams whose columns are remembered.
const MAX_STREAMS: usize = 1_000;

/// Writes the Parquet file with `write`, and says how long it is and what its checksum is.
fn write_parquet(
    inner: &Inner,
    index: &str,
    path: &Path,
    write: impl FnOnce(&mut SegmentWriter, &mut SegmentColumns, &dyn Fn() -> io::Result<Hashing>) -> io::Result<Hashing>,
) -> io::Result<(u64, u128)> {
    let (mut columns, mut writer) = {
        let SegmentWriting { columns, writers, .. } = &mut *lock(&inner.writing);
        if columns.len() >= MAX_STREAMS && !columns.contains_key(index) {
            columns.clear();
        }
        (columns.remove(index).unwrap_or_default(), writers.pop().unwrap_or_default())
    };
    let written = write(&mut writer, &mut columns, &|| Hashing::create(path));
    let mut writing = lock(&inner.writing);
    writing.columns.insert(index.to_owned(), columns);
    writing.writers.push(writer);
    drop(writing);
    written?.finish()
}

/// A file to be, with its checksum.
struct Hashing {
    file: DirectFile,
    hasher: Xxh3,
}

impl Hashing {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: DirectFile::create(path, false, usize::MAX)?, hasher: Xxh3::new() })
    }

    /// Sees to it that all is on disk, and says how long it is and what its checksum is.
    fn finish(self) -> io::Result<(u64, u128)> {
        let length = self.file.length();
        self.file.finish()?;
        Ok((length, self.hasher.digest128()))
    }
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Puts small segments of one data stream and day together.
pub(crate) fn compact(inner: &Inner) -> Result<(), StoreError> {
    // Nobody looks at a segment while it is marked to be looked at.
    let flushing = lock(&inner.flushing);
    let snapshot = inner.snapshot();
    let mut small: BTreeMap<&Path, Vec<&SegmentPart>> = BTreeMap::new();
    for part in &snapshot.parts {
        let Some(segment) = part.as_segment() else { continue };
        if segment.is_damaged() || segment.has_bad_objects() {
            // Its disk or its object store may not have answered, and does now.
            segment.set_suspect();
        } else if segment.entry.rows < COMPACTED_ROWS / 2 && !segment.is_single() {
            small.entry(Path::new(&segment.entry.path).parent().unwrap_or(Path::new(""))).or_default().push(segment);
        }
    }
    drop(flushing);
    let mut done = Ok(());
    let is_due = |segments: &Vec<&SegmentPart>| {
        let rows = || segments.iter().map(|segment| segment.entry.rows).sum::<u32>();
        segments.len() >= AWAITED_SEGMENTS || segments.len() >= COMPACTED_SEGMENTS && rows() >= COMPACTED_ROWS / 2
    };
    for segments in small.into_values().filter(is_due) {
        let mut rows = 0;
        let fits = |segment: &&&SegmentPart| {
            rows += segment.entry.rows;
            rows <= COMPACTED_ROWS
        };
        let segments: Vec<&SegmentPart> = segments.iter().take_while(fits).copied().collect();
        if segments.len() > 1 && !inner.is_closing() {
            // What fails in one folder keeps no other as it is.
            done = done.and(compact_segments(inner, &segments));
        }
    }
    done
}

/// A document that was read back.
struct ReadBack {
    hit: Hit,
    meta: eqlipse_batch::RowMeta,
}

#[derive(serde::Deserialize)]
struct Hit {
    #[serde(rename = "_index")]
    index: String,
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_source")]
    source: Box<serde_json::value::RawValue>,
}

/// What others change of the segments meanwhile is found out at the end, and then all stays as it was.
fn compact_segments(inner: &Inner, segments: &[&SegmentPart]) -> Result<(), StoreError> {
    let changes = || segments.iter().map(|segment| segment.changes()).collect::<Vec<_>>();
    let before = changes();
    // What was matched with other rules is not joined: it ages out.
    let rules = |segment: &SegmentPart| -> Result<Vec<ListedRules>, StoreError> {
        Ok(segment.summary()?.counts.iter().map(|counts| counts.rules().clone()).collect())
    };
    let of_all = segments.iter().map(|segment| rules(segment).inspect_err(|error| leave_apart(segment, error)));
    let of_all: Vec<Vec<ListedRules>> = of_all.collect::<Result<_, _>>()?;
    if of_all.iter().any(|rules| *rules != of_all[0]) {
        return Ok(());
    }
    let _held = segments
        .iter()
        .map(|segment| segment.hold().inspect_err(|error| leave_apart(segment, error)))
        .collect::<Result<Vec<_>, _>>()?;
    let contents = sound_contents(segments)?;
    let all = segments.iter().map(|segment| segment.rows().inspect_err(|error| leave_apart(segment, error)));
    let all: Vec<Arc<Rows>> = all.collect::<Result<_, _>>()?;
    let pieces = are_large(&all, of_all[0].len()).then(|| sound_rows(segments)).transpose()?;
    let rows = Rows::lined_up(all.iter().map(|rows| Rows::clone(rows)));
    let rows = if pieces.is_some() { rows } else { rows.joined() };
    let mut times = Span::default();
    for span in segments.iter().map(|segment| segment.entry.times) {
        times.add(span.first);
        times.add(span.last);
    }
    let index = &segments[0].entry.index;
    let write = |path: &Path| {
        let copied = concat_segments(&contents, || Hashing::create(path))?;
        drop(contents);
        match copied {
            Some(out) => out.finish(),
            None => write_again(inner, index, path, segments, &all),
        }
    };
    let entry = write_one(inner, index, &rows, pieces.as_deref(), times, write)?;
    let gone: Vec<&str> = segments.iter().map(|segment| segment.entry.path.as_str()).collect();
    let _flushing = lock(&inner.flushing);
    let snapshot = inner.snapshot();
    let is_there = |segment: &&SegmentPart| {
        let mut known = snapshot.parts.iter().filter_map(|part| part.as_segment());
        known.any(|known| std::ptr::eq(known, *segment)) && !segment.is_damaged()
    };
    let is_same = segments.iter().all(is_there) && changes() == before;
    let replaced = if is_same { inner.catalogue.replace(&gone, std::slice::from_ref(&entry), None) } else { Ok(()) };
    if !is_same || replaced.is_err() {
        remove_files(&segments_folder(inner).join(&entry.path));
        return replaced;
    }
    // Rules that looked at all of them will look at all of this one.
    let is_known = segments.iter().all(|segment| segment.has_rows());
    let part = Arc::new(new_segment(inner, entry, rows, is_known));
    inner.change(|parts| {
        let is_gone =
            |part: &Arc<Part>| part.as_segment().is_some_and(|segment| gone.contains(&segment.entry.path.as_str()));
        let place = parts.iter().position(is_gone).unwrap_or_default();
        parts.retain(|part| !is_gone(part));
        parts.insert(place.min(parts.len()), part);
    });
    segments.iter().for_each(|segment| segment.doom(&inner.readers));
    inner.files.wake();
    Ok(())
}

/// What stands in segments that are put together. What is damaged stays as it is: a new file of it would have a checksum
/// that fits.
fn sound_contents(segments: &[&SegmentPart]) -> Result<Vec<SegmentContent>, StoreError> {
    let mut room = MAX_READ_AT_ONCE;
    let mut content = |segment: &SegmentPart| match room.checked_sub(segment.entry.bytes) {
        Some(left) => {
            room = left;
            segment.sound_bytes().map(SegmentContent::Bytes)
        }
        None => segment.sound_file().map(SegmentContent::File),
    };
    segments.iter().map(|segment| content(segment).inspect_err(|error| leave_apart(segment, error))).collect()
}

/// Whether the pieces of files of rows are so large that they stay. All are of so many sets of rules.
fn are_large(all: &[Arc<Rows>], sets: usize) -> bool {
    let count = |of: fn(&Rows) -> usize| all.iter().map(|rows| of(rows)).sum::<usize>();
    // Each piece has a list of each set.
    let pieces = all.len().max(count(|rows| rows.lists.len()) / sets.max(1));
    count(|rows| rows.sequences.len()) >= pieces * MIN_PIECE_ROWS
}

/// The files of rows of segments that are put together, if they are sound.
fn sound_rows(segments: &[&SegmentPart]) -> Result<Vec<Vec<u8>>, StoreError> {
    segments.iter().map(|segment| segment.sound_rows().inspect_err(|error| leave_apart(segment, error))).collect()
}

/// What is damaged is not tried again and again, and is looked at.
fn leave_apart(segment: &SegmentPart, error: &StoreError) {
    segment.suspect(error);
    segment.set_damaged(segment.is_suspect());
}

/// Writes the events of segments in which a field has columns of different types to one file.
fn write_again(
    inner: &Inner,
    index: &str,
    path: &Path,
    segments: &[&SegmentPart],
    all: &[Arc<Rows>],
) -> io::Result<(u64, u128)> {
    let mut events = Vec::new();
    for (segment, rows) in segments.iter().zip(all) {
        let read = read_back(segment, rows).inspect_err(|error| {
            segment.suspect(error);
            // Its checksum was found to fit just now: it would be sound, and fail again.
            segment.stay_single();
        });
        events.extend(read.map_err(io::Error::other)?);
    }
    let views = events.iter().map(|event| SegmentEvent {
        index: &event.hit.index,
        id: &event.hit.id,
        document: event.hit.source.get(),
        meta: event.meta,
    });
    write_parquet(inner, index, path, |writer, columns, open| writer.write(columns, views, Effort::Usual, open))
}

/// All events of a segment: their documents, and what its columns say of their place in time.
fn read_back(segment: &SegmentPart, rows: &Rows) -> Result<Vec<ReadBack>, StoreError> {
    let failed = |reason: String| StoreError::Segment { path: segment.path.clone(), reason };
    let mut metas = Vec::with_capacity(rows.sequences.len());
    let mut schema = eqlipse_batch::Schema::builder();
    eqlipse_events::reserve(&mut schema);
    read_segment(segment, &schema.build(), &mut |batch| metas.extend_from_slice(batch.rows()))?;
    metas.sort_by_key(|meta| meta.order.arrival.position);
    let mut file = segment.open_documents()?;
    let events = metas.into_iter().zip(&rows.sequences).zip(0..).map(|((mut meta, sequence), row)| {
        let mut text = Vec::new();
        file.write_hit(row, &mut text).map_err(|error| failed(error.to_string()))?;
        let hit = serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
        meta.order.arrival = eqlipse_batch::Arrival { source: 0, position: *sequence };
        Ok(ReadBack { hit, meta })
    });
    let events: Vec<ReadBack> = events.collect::<Result<_, StoreError>>()?;
    match events.len() == rows.sequences.len() {
        true => Ok(events),
        false => Err(failed("it has not as many events as the catalogue says".to_owned())),
    }
}

/// Reads a segment's columns; the position of each row's arrival is its row.
fn read_segment(
    segment: &SegmentPart,
    schema: &Arc<eqlipse_batch::Schema>,
    take: &mut (dyn FnMut(&EventBatch) + Send),
) -> Result<(), StoreError> {
    let failed = |reason: String| StoreError::Segment { path: segment.path.clone(), reason };
    let _held = segment.hold()?;
    let source = Source {
        path: Some(segment.path.clone()),
        name: segment.entry.path.clone(),
        bytes: segment.entry.bytes,
        explicit: true,
        folders: Vec::new(),
        memory: None,
        fetch: None,
    };
    let inputs = Discovery { sources: vec![source], ..Discovery::default() };
    let options = ReadOptions { jobs: std::num::NonZeroUsize::MIN, ..ReadOptions::default() };
    let take = std::sync::Mutex::new(take);
    let report = eqlipse_events::read(&inputs, schema, &options, &Progress::default(), |_| {
        |batch: &EventBatch| lock(&take)(batch)
    });
    let report = report.map_err(|error| failed(error.to_string()))?;
    if let Some(skipped) = report.inputs.iter().find(|input| input.skipped > 0) {
        return Err(failed(format!("{} of its records cannot be read", skipped.skipped)));
    }
    match report.problems.first() {
        Some(problem) => Err(failed(problem.to_string())),
        None => Ok(()),
    }
}

/// Removes segments beyond the limits of age and size, oldest first.
pub(crate) fn prune(inner: &Inner, now: i64) -> Result<u64, StoreError> {
    let _flushing = lock(&inner.flushing);
    let snapshot = inner.snapshot();
    let mut segments: Vec<&SegmentPart> = snapshot.parts.iter().filter_map(|part| part.as_segment()).collect();
    segments.sort_by_key(|segment| segment.entry.ingested.last);
    let mut bytes: u64 = segments.iter().map(|segment| segment.entry.bytes).sum();
    let before =
        inner.options.retention_age.map(|age| now.saturating_sub(i64::try_from(age.as_nanos()).unwrap_or(i64::MAX)));
    let gone: Vec<&SegmentPart> = segments
        .into_iter()
        .take_while(|segment| {
            let is_old = before.is_some_and(|before| segment.entry.ingested.last.is_some_and(|last| last < before));
            let is_over = inner.options.retention_bytes.is_some_and(|limit| bytes > limit);
            bytes -= if is_old || is_over { segment.entry.bytes } else { 0 };
            is_old || is_over
        })
        .collect();
    if gone.is_empty() {
        return Ok(0);
    }
    let paths: HashSet<&str> = gone.iter().map(|segment| segment.entry.path.as_str()).collect();
    inner.catalogue.replace(&paths.iter().copied().collect::<Vec<_>>(), &[], None)?;
    inner.change(|parts| {
        parts.retain(|part| part.as_segment().is_none_or(|segment| !paths.contains(segment.entry.path.as_str())));
    });
    gone.iter().for_each(|segment| segment.doom(&inner.readers));
    forget_streams(inner, gone.iter().map(|segment| &*segment.entry.index));
    Ok(gone.len() as u64)
}

/// Forgets those of these data streams that have no segment left. Recent events of one make it known again when they are
/// written.
pub(crate) fn forget_streams<'n>(inner: &Inner, names: impl Iterator<Item = &'n str>) {
    let mut gone: HashSet<&str> = names.collect();
    let snapshot = inner.snapshot();
    for part in &snapshot.parts {
        part.data_stream().into_iter().for_each(|name| _ = gone.remove(name));
    }
    inner.streams.retain(|name| !gone.contains(name));
}

/// Lets go of what matched in the oldest segments, until there is room again; last of what is little and wanted often.
fn release_rows(inner: &Inner) {
    let snapshot = inner.snapshot();
    let release = |release: fn(&SegmentPart)| {
        let segments = snapshot.parts.iter().filter_map(|part| part.as_segment());
        segments.take_while(|_| inner.cache.is_beyond(ROOM)).for_each(release);
    };
    release(SegmentPart::narrow_rows);
    release(SegmentPart::release_wanted);
    release(SegmentPart::release_narrow);
    release(SegmentPart::release_summary);
}

/// Removes the files that no catalogued segment has.
pub(crate) fn remove_orphans(folder: &Path, parts: &[Arc<Part>]) -> Result<(), StoreError> {
    let known: HashSet<PathBuf> = parts
        .iter()
        .filter_map(|part| Some(part.as_segment()?.path.clone()))
        .flat_map(|path| [rows_path(&path), path])
        .collect();
    for entry in WalkDir::new(folder).into_iter().flatten() {
        // The folder may be one in which others have files too.
        let is_ours = entry.path().strip_prefix(folder).is_ok_and(upload::is_ours_here);
        if entry.file_type().is_file() && is_ours && !known.contains(entry.path()) {
            fs::remove_file(entry.path()).map_err(StoreError::io(entry.path()))?;
        }
    }
    Ok(())
}

/// Looks through what is in a range for rules that came later.
pub(crate) fn match_again(
    inner: &Inner,
    added: &Arc<StoreRules>,
    generation: u64,
    range: &TimeRange,
) -> Result<(), StoreError> {
    if added.fingerprints.is_empty() {
        return Ok(());
    }
    // Requests that began with the old rules end first.
    let begun = inner.tickets.next();
    while inner.tickets.complete_below() < begun {
        std::thread::sleep(Duration::from_millis(1));
    }
    let is_meant = |part: &&Arc<Part>| part.meets(range);
    let mut problem = None;
    let before = inner.snapshot();
    for part in before.parts.iter().filter(is_meant) {
        problem = part.as_segment().and_then(|segment| match_in_turn(inner, part, segment, added).err()).or(problem);
    }
    // What is recent, and what was written meanwhile.
    let _flushing = lock(&inner.flushing);
    let done: HashSet<*const Part> = before.parts.iter().map(Arc::as_ptr).collect();
    for part in inner.snapshot().parts.iter().filter(is_meant) {
        let matched = match &part.kind {
            PartKind::Recent(chunk) => match_chunk(chunk, added, generation),
            PartKind::Segment(_) if done.contains(&Arc::as_ptr(part)) => Ok(()),
            PartKind::Segment(segment) => match_or_mend(inner, part, segment, added),
        };
        problem = matched.err().or(problem);
    }
    inner.set_problem(problem.map(|error: StoreError| error.to_string()));
    Ok(())
}

/// Whether no list has some of the rules.
fn lacks<'l>(mut lists: impl Iterator<Item = &'l Arc<MatchList>> + Clone, rules: &StoreRules) -> bool {
    rules.fingerprints.iter().any(|fingerprint| !lists.clone().any(|list| list.has(*fingerprint)))
        || lists.next().is_none()
}

fn match_chunk(chunk: &Chunk, added: &Arc<StoreRules>, generation: u64) -> Result<(), StoreError> {
    let lists = chunk.lists();
    if !lacks(lists.iter().map(|listed| &listed.list), added) {
        return Ok(());
    }
    let (mut worker, mut rows) = (crate::matching::Worker::new(added)?, Vec::new());
    for (event, row) in chunk.events.iter().zip(0..) {
        let Some(SegmentEvent { index, id, document, meta }) = chunk.event(row) else { continue };
        let own = event.own_id.map(|_| id);
        // It was taken once, with these very bytes; other rules may make the reader take it for something else.
        if worker.add(document, index, own, Identity::Known(meta.identity), meta.order.arrival.position).is_ok() {
            rows.push(u64::from(row));
        }
    }
    let mut list = worker.matches(u64::from)?;
    list.replace_events(|mut event| {
        event.handle = rows.get(event.handle as usize).copied().unwrap_or(event.handle);
        event
    });
    chunk.add_list(Listed::new(generation, list));
    Ok(())
}

/// Matches a segment while others can be written before and after: what is in an object store only may take its time.
fn match_in_turn(
    inner: &Inner,
    part: &Arc<Part>,
    segment: &SegmentPart,
    added: &Arc<StoreRules>,
) -> Result<(), StoreError> {
    // What cannot be had is said or mended below.
    if segment.rows().is_ok_and(|rows| !lacks(rows.lists.iter(), added)) {
        return Ok(());
    }
    let _held = (segment.file(true).keep(), segment.hold());
    let _flushing = lock(&inner.flushing);
    match inner.snapshot().parts.iter().any(|other| Arc::ptr_eq(other, part)) {
        true => match_or_mend(inner, part, segment, added),
        // What has taken its place is looked at later.
        false => Ok(()),
    }
}

/// A segment that cannot be read is looked at: what can be mended is matched, and what cannot is no longer in the way.
fn match_or_mend(
    inner: &Inner,
    part: &Arc<Part>,
    segment: &SegmentPart,
    added: &Arc<StoreRules>,
) -> Result<(), StoreError> {
    let Err(error) = match_segment(inner, segment, added) else { return Ok(()) };
    segment.suspect(&error);
    if !segment.is_suspect() {
        return Err(error);
    }
    match damage::look_at(inner, part)? {
        Outcome::Sound => Err(error),
        Outcome::Mended => match_segment(inner, segment, added),
        Outcome::Lost => Ok(()),
    }
}

fn match_segment(inner: &Inner, segment: &SegmentPart, added: &Arc<StoreRules>) -> Result<(), StoreError> {
    let rows = segment.rows()?;
    if !lacks(rows.lists.iter(), added) {
        return Ok(());
    }
    segment.add_list(match_rows(segment, &rows, added)?, &inner.catalogue)
}

/// What matches of a segment's events.
pub(crate) fn match_rows(segment: &SegmentPart, rows: &Rows, added: &Arc<StoreRules>) -> Result<MatchList, StoreError> {
    let rules = added.plan.rules();
    let (mut matcher, mut coverage) = (Matcher::new(added.plan.clone()), Coverage::new(rules));
    let mut collector = Collector::new(rules.clone());
    read_segment(segment, rules.schema(), &mut |batch| {
        collector.start(batch);
        matcher.run(batch, &mut coverage, |stage, rows| {
            collector.add(batch, stage, rows, |row| batch.rows()[row as usize].order.arrival.position);
        });
    })?;
    let mut list = collector.into_list(rules, &added.listed).map_err(StoreError::io(&segment.path))?;
    list.replace_events(|mut event| {
        let row = event.order.arrival.position;
        let sequence = rows.sequences.get(row as usize).copied().unwrap_or_default();
        event.order.arrival = eqlipse_batch::Arrival { source: 0, position: sequence };
        event.handle = row;
        event
    });
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::RowsEncoder;
    use crate::store::tests::one_segment;
    use crate::{NewDocument, Store};

    /// A store with an event in each of two segments.
    fn two_segments() -> (tempfile::TempDir, Store) {
        let (folder, store) = one_segment(Default::default());
        let new = NewDocument { index: "logs-x".into(), id: None, document: "{}".into() };
        assert!(store.ingest(&[new], 0).unwrap()[0].is_ok());
        store.flush().unwrap();
        (folder, store)
    }

    fn segments(snapshot: &crate::Snapshot) -> Vec<&SegmentPart> {
        snapshot.parts.iter().filter_map(|part| part.as_segment()).collect()
    }

    fn files_of_rows(folder: &Path) -> usize {
        let entries = WalkDir::new(folder.join("segments")).into_iter().flatten();
        entries.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "rows")).count()
    }

    #[test]
    fn what_changes_meanwhile_is_not_put_together() {
        let (folder, store) = two_segments();
        let (inner, snapshot) = (&*store.0, store.snapshot());
        let segments = segments(&snapshot);
        let rows = segments[0].rows().unwrap();
        thread::scope(|scope| {
            let flushing = lock(&inner.flushing);
            let done = scope.spawn(|| compact_segments(inner, &segments));
            // Once its file of rows is there, it waits for the lock.
            while files_of_rows(folder.path()) < 3 && !done.is_finished() {
                thread::sleep(Duration::from_millis(1));
            }
            segments[0].replace_rows(&rows, &inner.catalogue).unwrap();
            drop(flushing);
            done.join().unwrap().unwrap();
        });
        assert_eq!((store.stats().segments, files_of_rows(folder.path())), (2, 2));
        compact_segments(inner, &segments).unwrap();
        assert_eq!(store.stats().segments, 1);
    }

    #[test]
    fn a_file_of_rows_that_lacks_a_piece_stays_apart() {
        let (_folder, store) = two_segments();
        // Or the background looks at it.
        let (_flushing, snapshot) = (lock(&store.0.flushing), store.snapshot());
        let segment = segments(&snapshot)[0];
        let bytes = segment.sound_rows().unwrap();
        let mut encoder = RowsEncoder::default();
        let path = &segment.file(true).path;
        for (pieces, is_sound) in [(vec![bytes.clone()], true), (vec![bytes.clone(); 2], false), (Vec::new(), false)] {
            fs::write(path, encoder.line_up(&pieces)).unwrap();
            assert_eq!((segment.sound_rows().is_ok(), segment.is_suspect()), (is_sound, !is_sound));
            segment.clear_suspect();
        }
    }
}
