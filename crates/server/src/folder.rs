//! Watched folders (`[[input.folder]]`): files that are dropped in are read, and files that grow are read on.
//!
//! A file is the same under any name: it is known by device, inode and how it begins. So one that is renamed, as logs are
//! when they are rotated, is read on, and another one that comes to its name is another one. What was read of each is in
//! `inputs-….json` in the data folder.
//!
//! * Files of lines: a line's event has an id made of an id of the file, which is made up and noted before the first event
//!   is sent, and of the event's number. So what was read twice, because the process ended between reading and noting, is
//!   there once, and a file that was written anew has new events. A file that was once found to have lines is never looked
//!   at for another format.
//! * Other files are read as a whole when they have come to rest, and again when they have changed. Their events have ids
//!   made of their content.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::UNIX_EPOCH;

use eqlipse_events::{DiscoverOptions, Discovery, Given, Progress, ReadOptions, ReadReport, discover};
use globset::{Glob, GlobSet, GlobSetBuilder};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use walkdir::WalkDir;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::config::FolderConfig;
use crate::dead_letters::DeadLetter;
use crate::metrics::DocumentResult;
use crate::portions::{Ids, Portions, Target};
use crate::state::{App, sync_folder_of};

/// How much of a file tells it from another.
const BEGINNING: u64 = 1024;
/// Lines that are sent together, in bytes.
const BLOCK_BYTES: usize = 1 << 20;
/// How many lines that are no events are kept together.
const MAX_LETTERS: usize = 10_000;
/// What was read is noted when it is so much, and when all files were looked at.
const NOTE_BYTES: u64 = 16 << 20;
/// How long a file that is gone is remembered, in nanoseconds: it may be on a disk that is away.
const REMEMBERED: i64 = 24 * 3600 * 1_000_000_000;

/// What was read of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    /// Where it was found, for people.
    path: String,
    /// What tells the file from a later one on its inode: a hash of how it begins.
    beginning: String,
    /// How many bytes of it that hash is of.
    hashed: u64,
    /// What the ids of its events begin with.
    id: String,
    /// How its lines are read, if it has lines.
    lines: Option<Lines>,
    /// How far they were read.
    offset: u64,
    /// And how many events that were: the next one's number, and part of its id.
    events: u64,
    /// Size and time of change when it was read as a whole.
    whole: Option<Stamp>,
    /// Since when it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gone: Option<i64>,
}

/// How the lines of a file are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Lines {
    Documents,
    /// As in a bulk request.
    Bulk,
}

impl Lines {
    fn given(self) -> Given {
        match self {
            Self::Documents => Given::Lines,
            Self::Bulk => Given::Bulk,
        }
    }
}

/// Size, and time of change in nanoseconds.
type Stamp = (u64, u64);

/// A file that is there.
struct Found {
    path: PathBuf,
    /// Device and inode.
    key: String,
    stamp: Stamp,
}

impl Seen {
    /// Whether a file of this size may be what this was: it begins as that did, and has what was read.
    fn may_be(&self, file: &mut File, size: u64) -> io::Result<bool> {
        Ok(size >= self.hashed.max(self.offset) && beginning(file, self.hashed)? == self.beginning)
    }
}

impl Found {
    /// Opens it, if it still has its name.
    fn open(&self) -> io::Result<Option<File>> {
        let file = File::open(&self.path)?;
        let is_same = key_of(&self.path, &file.metadata()?) == self.key;
        Ok(Some(file).filter(|_| is_same))
    }
}

/// Which files of a folder are read.
///
/// # Errors
/// If its patterns are none.
pub(crate) fn included(config: &FolderConfig) -> io::Result<GlobSet> {
    let mut include = GlobSetBuilder::new();
    for pattern in &config.include {
        include.add(Glob::new(pattern).map_err(io::Error::other)?);
    }
    include.build().map_err(io::Error::other)
}

/// Begins to watch a folder; `number` tells several watches of it apart.
///
/// # Errors
/// If its patterns are none, what was noted cannot be read, or no thread can be had.
pub(crate) fn start(app: &App, config: FolderConfig, number: usize) -> io::Result<JoinHandle<()>> {
    let include = included(&config)?;
    // By the folder, so that the order of the settings means nothing.
    let hash = xxh3_64(config.path.as_os_str().as_encoded_bytes());
    let state = app.config.server.data.join(format!("inputs-{hash:016x}-{number}.json"));
    let seen = match fs::read(&state) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(error),
    };
    let watch = Watch {
        app: app.clone(),
        config,
        include,
        state,
        seen,
        unnoted: None,
        stamps: BTreeMap::new(),
        problems: BTreeSet::new(),
        letters: Vec::new(),
        letter_bytes: 0,
    };
    thread::Builder::new().name("eqlipse-folder".to_owned()).spawn(move || watch.run())
}

struct Watch {
    app: App,
    config: FolderConfig,
    include: GlobSet,
    /// Where what was read is noted.
    state: PathBuf,
    /// By device and inode.
    seen: BTreeMap<String, Seen>,
    /// Bytes that were read and are not noted, if anything is not noted.
    unnoted: Option<u64>,
    /// Files as they were the last time, and how often they have been so since.
    stamps: BTreeMap<String, (Stamp, u32)>,
    /// What was said of the last look.
    problems: BTreeSet<String>,
    /// Lines that are no events, and are kept before anything is noted.
    letters: Vec<Letter>,
    /// Of their documents.
    letter_bytes: usize,
}

/// A line that is no event.
struct Letter {
    time: String,
    reason: String,
    document: String,
}

impl Watch {
    fn run(mut self) {
        while !self.is_stopping() {
            let mut problems = BTreeSet::new();
            if let Err(error) = self.look_at_all(&mut problems) {
                problems.insert(format!("{}: {error}", self.state.display()));
                // What was not read must not count as looked at.
                self.stamps.clear();
            }
            for problem in problems.difference(&self.problems) {
                tracing::warn!(problem, "a folder or file is not read, and tried again");
            }
            self.problems = problems;
            thread::sleep(self.config.poll.0);
        }
    }

    fn is_stopping(&self) -> bool {
        self.app.stopping.load(Ordering::Relaxed)
    }

    /// Reads what is new in all files.
    ///
    /// # Errors
    /// If it cannot be noted; nothing is read then.
    fn look_at_all(&mut self, problems: &mut BTreeSet<String>) -> io::Result<()> {
        let (files, unread) = self.files(problems);
        self.forget(&files, &unread);
        let mut due = Vec::new();
        for file in files {
            let times = self.times(&file);
            // Once more when it has come to rest, and then no more.
            if times > 1 {
                continue;
            }
            match self.identify(&file) {
                Ok(false) => {}
                Ok(true) => due.push((file, times == 1)),
                Err(error) => self.failed(&file, &error, problems),
            }
        }
        // Ids of files before events with them.
        self.note()?;
        for (file, is_settled) in due {
            if self.is_stopping() {
                break;
            }
            if let Err(error) = self.look(&file, is_settled) {
                self.failed(&file, &error, problems);
            }
        }
        self.note()
    }

    fn failed(&mut self, file: &Found, error: &io::Error, problems: &mut BTreeSet<String>) {
        self.stamps.remove(&file.key);
        problems.insert(format!("{}: {error}", file.path.display()));
    }

    /// The files that are wanted, each once, whatever its names; and the folders and files that cannot be looked at.
    fn files(&self, problems: &mut BTreeSet<String>) -> (Vec<Found>, Vec<PathBuf>) {
        let (mut files, mut unread) = (BTreeMap::<String, Found>::new(), Vec::new());
        for entry in WalkDir::new(&self.config.path).sort_by_file_name() {
            let path = match &entry {
                Ok(entry) => Some(entry.path().to_owned()),
                Err(error) => error.path().map(Path::to_owned),
            };
            let found = entry.map_err(io::Error::from).and_then(|entry| {
                let kind = entry.file_type();
                // Links to files are followed, links to folders are not.
                if !kind.is_file() && !kind.is_symlink() {
                    return Ok(None);
                }
                let metadata = fs::metadata(entry.path())?;
                let file =
                    Found { key: key_of(entry.path(), &metadata), stamp: stamp(&metadata), path: entry.into_path() };
                Ok(Some(file).filter(|file| metadata.is_file() && self.is_wanted(file)))
            });
            match found {
                Ok(None) => {}
                Ok(Some(file)) => _ = files.entry(file.key.clone()).or_insert(file),
                // Files come and go.
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.config.path.exists() => {}
                Err(error) => {
                    problems.insert(format!("{}: {error}", self.config.path.display()));
                    unread.push(path.unwrap_or_else(|| self.config.path.clone()));
                }
            }
        }
        let mut files: Vec<Found> = files.into_values().collect();
        files.sort_by(|one, other| one.path.cmp(&other.path));
        (files, unread)
    }

    /// By its name; or by what it was: a log that is rotated is read to its end.
    fn is_wanted(&self, file: &Found) -> bool {
        let name = file.path.file_name().unwrap_or_default();
        let is_included = self.include.is_empty() || self.include.is_match(name) || self.include.is_match(&file.path);
        is_included || self.seen.get(&file.key).is_some_and(|seen| seen.lines.is_some())
    }

    /// Forgets files that are gone for long. What was last seen where nobody can look now does not count as gone.
    fn forget(&mut self, files: &[Found], unread: &[PathBuf]) {
        let there: BTreeSet<&str> = files.iter().map(|file| &*file.key).collect();
        self.stamps.retain(|key, _| there.contains(&**key));
        if forget(&mut self.seen, &there, unread, crate::now()) {
            self.unnoted.get_or_insert(0);
        }
    }

    /// How often a file has been as it is now.
    fn times(&mut self, file: &Found) -> u32 {
        let known = self.stamps.entry(file.key.clone()).or_insert((file.stamp, 0));
        *known = if known.0 == file.stamp { (known.0, known.1.saturating_add(1)) } else { (file.stamp, 1) };
        known.1 - 1
    }

    /// Finds out whether it is the file that was known by its inode. Says whether there is something in it.
    fn identify(&mut self, found: &Found) -> io::Result<bool> {
        let (size, _) = found.stamp;
        if size == 0 {
            // It was emptied, if it was known; what comes now is another file.
            if self.seen.remove(&found.key).is_some() {
                self.unnoted.get_or_insert(0);
            }
            return Ok(false);
        }
        let Some(mut file) = self.open(found)? else { return Ok(false) };
        let path = found.path.display().to_string();
        let hashed = size.min(BEGINNING);
        let known = match self.seen.get(&found.key) {
            Some(known) if known.may_be(&mut file, size)? => known.clone(),
            _ => match adopted(&self.seen, found, &mut file)? {
                Some(key) => self.seen.remove(&key).unwrap_or_default(),
                None => Seen { id: Uuid::new_v4().simple().to_string(), ..Seen::default() },
            },
        };
        let now = Seen { path, hashed, beginning: beginning(&mut file, hashed)?, gone: None, ..known };
        if self.seen.get(&found.key) != Some(&now) {
            self.seen.insert(found.key.clone(), now);
            self.unnoted.get_or_insert(0);
        }
        Ok(true)
    }

    /// Opens a file. If another one has its name by now, it is looked for again the next time.
    fn open(&mut self, found: &Found) -> io::Result<Option<File>> {
        let file = found.open()?;
        if file.is_none() {
            self.stamps.remove(&found.key);
        }
        Ok(file)
    }

    /// Reads what is new in a file.
    fn look(&mut self, found: &Found, is_settled: bool) -> io::Result<()> {
        let Some(mut seen) = self.seen.get(&found.key).cloned() else { return Ok(()) };
        if seen.lines.is_none() && seen.whole != Some(found.stamp) {
            let Some(file) = self.open(found)? else { return Ok(()) };
            seen.lines = lines_of(file, self.app.config.limits.document_bytes.0)?;
        }
        match seen.lines {
            Some(lines) => self.read_lines(found, seen, lines.given(), is_settled),
            // It may still be on its way.
            None if is_settled && seen.whole != Some(found.stamp) => {
                let inputs = discover(&[&found.path], DiscoverOptions::default());
                let (_, report) = self.send(&inputs, None, Ids::Content, 0)?;
                self.say(&found.path, &report);
                if self.open(found)?.is_none() {
                    return Ok(());
                }
                self.seen(found, Seen { whole: Some(found.stamp), ..seen }, found.stamp.0);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Reads the lines that are whole and were not read yet; where the file does not grow, also a last one without its end.
    fn read_lines(&mut self, found: &Found, mut seen: Seen, given: Given, is_settled: bool) -> io::Result<()> {
        let Some(mut file) = self.open(found)? else { return Ok(()) };
        file.seek(SeekFrom::Start(seen.offset))?;
        let max_bytes = self.app.config.limits.document_bytes.0;
        let mut records = Records { reader: BufReader::with_capacity(1 << 16, file), max_bytes, given, is_settled };
        let mut next = records.next()?;
        while let Some(mut block) = next.take() {
            // More of them at once, as far as they are there. What may be no event is looked at alone.
            while !block.is_doubtful && block.lines.len() < BLOCK_BYTES {
                match records.next()? {
                    Some(record) if !record.is_doubtful => block.add(&record),
                    other => {
                        next = other;
                        break;
                    }
                }
            }
            let length = block.length;
            let is_last = next.is_none() && !block.is_doubtful && block.lines.len() < BLOCK_BYTES;
            seen.events = self.send_block(found, block, &seen.id, seen.events, given)?;
            seen.offset += length;
            self.seen(found, seen.clone(), length);
            if self.unnoted.is_some_and(|bytes| bytes >= NOTE_BYTES) {
                self.note()?;
            }
            if next.is_none() && !is_last {
                next = records.next()?;
            }
        }
        Ok(())
    }

    /// Sends lines, the first event of which has this number, and returns the number of the next event. Where one of many
    /// is refused, halves of them are sent again until it is alone: what is stored by then is known by its id.
    fn send_block(&mut self, found: &Found, block: Record, id: &str, number: u64, given: Given) -> io::Result<u64> {
        if block.is_cut {
            let reason = "the line is longer than limits.document_bytes, and is cut here";
            self.bury(&found.path, block.document(), reason);
            return Ok(number);
        }
        let mut inputs = Discovery::default();
        inputs.add_held(&found.path.display().to_string(), block.lines.clone());
        let (next, report) = self.send(&inputs, Some(given), Ids::Numbered(id.to_owned()), number)?;
        match report.inputs.iter().find_map(|input| input.first_skipped.first()) {
            Some(_) if block.parts.len() > 1 => {
                let (first, second) = block.halves();
                let number = self.send_block(found, first, id, number, given)?;
                self.send_block(found, second, id, number, given)
            }
            Some(record) => {
                self.bury(&found.path, block.document(), &record.reason);
                Ok(next)
            }
            None => {
                self.say(&found.path, &report);
                Ok(next)
            }
        }
    }

    /// Says and counts what of a file is no event.
    fn say(&self, path: &Path, report: &ReadReport) {
        for input in &report.inputs {
            self.app.metrics.documents(DocumentResult::Refused, input.skipped);
            for record in &input.first_skipped {
                tracing::warn!(path = %path.display(), place = record.place, reason = record.reason, "not an event");
            }
        }
        for problem in &report.problems {
            tracing::warn!(path = %path.display(), %problem, "not read");
        }
    }

    /// Puts a line that is no event with those that are kept together: each time, the disk is waited for.
    fn bury(&mut self, path: &Path, document: String, reason: &str) {
        let time = Timestamp::from_nanosecond(i128::from(crate::now())).unwrap_or(Timestamp::UNIX_EPOCH).to_string();
        self.app.metrics.documents(DocumentResult::Refused, 1);
        self.letter_bytes += document.len();
        self.letters.push(Letter { time, reason: format!("{}: {reason}", path.display()), document });
        if self.letter_bytes >= BLOCK_BYTES || self.letters.len() >= MAX_LETTERS {
            self.keep_letters();
        }
    }

    /// Keeps the lines that are no events.
    fn keep_letters(&mut self) {
        self.letter_bytes = 0;
        let letters = std::mem::take(&mut self.letters);
        if letters.is_empty() {
            return;
        }
        let letters: Vec<DeadLetter<'_>> = letters
            .iter()
            .map(|Letter { time, reason, document }| DeadLetter {
                time,
                index: &self.config.index,
                id: None,
                operation: None,
                reason,
                document,
            })
            .collect();
        self.app.keep_dead_letters(&letters, crate::now());
    }

    /// Sends the events of inputs, the first of which has this number, and returns the number of the next one.
    fn send(&self, inputs: &Discovery, given: Option<Given>, ids: Ids, number: u64) -> io::Result<(u64, ReadReport)> {
        let options = ReadOptions {
            jobs: std::num::NonZeroUsize::MIN,
            max_document_bytes: self.app.config.limits.document_bytes.as_usize(),
            given,
            cancel: Some(&self.app.stopping),
            ..ReadOptions::default()
        };
        let target = Target { index: None, fallback: self.config.index.clone(), ids, caller: None };
        let mut portions = Portions::new(&self.app, target, None, &self.app.stopping);
        portions.number = number;
        let read = eqlipse_events::convert_hits(inputs, &options, &Progress::default(), &mut |hit| portions.add(hit));
        let sent = portions.send();
        let next = portions.number;
        if let Some(failure) = portions.failure {
            return Err(io::Error::other(failure.to_string()));
        }
        sent?;
        let report = read.map_err(|error| io::Error::other(error.to_string()))?;
        if self.is_stopping() {
            return Err(io::Error::other("the service is stopping"));
        }
        Ok((next, report))
    }

    fn seen(&mut self, found: &Found, seen: Seen, bytes: u64) {
        self.seen.insert(found.key.clone(), seen);
        *self.unnoted.get_or_insert(0) += bytes;
    }

    /// Notes what was read, so that it is not read again.
    fn note(&mut self) -> io::Result<()> {
        self.keep_letters();
        if self.unnoted.is_none() {
            return Ok(());
        }
        let unfinished = self.state.with_extension("tmp");
        let mut file = File::create(&unfinished)?;
        file.write_all(&serde_json::to_vec(&self.seen)?)?;
        file.sync_all()?;
        fs::rename(unfinished, &self.state)?;
        sync_folder_of(&self.state)?;
        self.unnoted = None;
        Ok(())
    }
}

/// Notes which files are there no more, and forgets those that are so for long; says whether anything changed.
fn forget(seen: &mut BTreeMap<String, Seen>, there: &BTreeSet<&str>, unread: &[PathBuf], now: i64) -> bool {
    let mut is_changed = false;
    seen.retain(|key, seen| {
        let was_gone = seen.gone;
        if there.contains(&**key) {
            seen.gone = None;
        } else if !unread.iter().any(|folder| Path::new(&seen.path).starts_with(folder)) {
            seen.gone = was_gone.or(Some(now));
        }
        let stays = seen.gone.is_none_or(|since| now - since < REMEMBERED);
        is_changed |= seen.gone != was_gone || !stays;
        stays
    });
    is_changed
}

/// The key of a file that is gone and is this one: devices have other numbers after a start, and files others when they are
/// copied to their old place.
fn adopted(seen: &BTreeMap<String, Seen>, found: &Found, file: &mut File) -> io::Result<Option<String>> {
    let inode = |key: &str| key.split_once('-').map(|(_, inode)| inode.to_owned());
    let gone = || seen.iter().filter(|(_, seen)| seen.gone.is_some());
    let by_inode = gone().filter(|(key, _)| inode(key).is_some_and(|of| Some(of) == inode(&found.key)));
    let path = found.path.display().to_string();
    for (key, known) in by_inode.chain(gone().filter(|(_, seen)| seen.path == path)) {
        if known.may_be(file, found.stamp.0)? {
            return Ok(Some(key.clone()));
        }
    }
    Ok(None)
}

/// Lines that are read together: one, an action with its document, or many of these.
struct Record {
    lines: Vec<u8>,
    /// Of `lines`, where each document and what belongs to it begins, and where the document itself does.
    parts: Vec<(usize, usize)>,
    /// As they lie in the file.
    length: u64,
    /// The last line is no JSON object as it stands.
    is_doubtful: bool,
    /// And its end is missing, as it is too long.
    is_cut: bool,
}

impl Record {
    /// The last document.
    fn document(&self) -> String {
        let start = self.parts.last().map_or(0, |(_, document)| *document);
        String::from_utf8_lossy(self.lines[start..].trim_ascii()).into_owned()
    }

    fn add(&mut self, other: &Self) {
        let before = self.lines.len();
        self.parts.extend(other.parts.iter().map(|(start, document)| (before + start, before + document)));
        self.lines.extend_from_slice(&other.lines);
        self.length += other.length;
    }

    /// An action's document, which belongs to it.
    fn add_document(&mut self, other: &Self) {
        self.parts = vec![(0, self.lines.len())];
        self.lines.extend_from_slice(&other.lines);
        self.length += other.length;
        (self.is_doubtful, self.is_cut) = (other.is_doubtful, other.is_cut);
    }

    /// Two records of many documents, none of which is doubtful.
    fn halves(mut self) -> (Self, Self) {
        let mut parts = self.parts.split_off(self.parts.len() / 2);
        let start = parts.first().map_or(self.lines.len(), |(start, _)| *start);
        parts.iter_mut().for_each(|(part, document)| (*part, *document) = (*part - start, *document - start));
        let lines = self.lines.split_off(start);
        self.length = start as u64;
        let length = lines.len() as u64;
        (self, Self { lines, parts, length, is_doubtful: false, is_cut: false })
    }
}

/// Reads lines that are whole.
struct Records<R> {
    reader: BufReader<R>,
    /// Of a line.
    max_bytes: u64,
    given: Given,
    /// The file does not grow: its last line may be whole without an end.
    is_settled: bool,
}

impl<R: Read> Records<R> {
    fn next(&mut self) -> io::Result<Option<Record>> {
        let Some(mut record) = self.line()? else { return Ok(None) };
        if self.given.is_open(&record.lines) {
            let Some(document) = self.line()? else { return Ok(None) };
            record.add_document(&document);
        }
        Ok(Some(record))
    }

    fn line(&mut self) -> io::Result<Option<Record>> {
        let mut lines = Vec::new();
        let mut length = (&mut self.reader).take(self.max_bytes + 1).read_until(b'\n', &mut lines)? as u64;
        let mut has_end = lines.ends_with(b"\n");
        let is_cut = !has_end && length > self.max_bytes;
        if is_cut {
            let (rest, is_found) = self.pass_over()?;
            length += rest;
            has_end = is_found;
        }
        let is_empty = lines.trim_ascii().is_empty();
        let is_doubtful = is_cut || !is_empty && !is_object(&lines);
        let is_whole = has_end || (self.is_settled && length > 0 && (is_cut || !is_doubtful));
        Ok(is_whole.then_some(Record { lines, parts: vec![(0, 0)], length, is_doubtful, is_cut }))
    }

    /// Passes over the rest of a line; says how long that is, and whether it ends.
    fn pass_over(&mut self) -> io::Result<(u64, bool)> {
        let mut length = 0;
        loop {
            let bytes = self.reader.fill_buf()?;
            let end = memchr::memchr(b'\n', bytes);
            let count = end.map_or(bytes.len(), |end| end + 1);
            self.reader.consume(count);
            length += count as u64;
            if end.is_some() || count == 0 {
                return Ok((length, end.is_some()));
            }
        }
    }
}

fn is_object(line: &[u8]) -> bool {
    line.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
}

/// How the lines of a file are read, as its first one says, if that is whole.
fn lines_of(file: File, max_bytes: u64) -> io::Result<Option<Lines>> {
    let mut first = Vec::new();
    BufReader::new(file.take(max_bytes)).read_until(b'\n', &mut first)?;
    Ok(match Given::of_line(&first).filter(|_| is_object(&first)) {
        Some(Given::Lines) => Some(Lines::Documents),
        Some(Given::Bulk) => Some(Lines::Bulk),
        None => None,
    })
}

fn stamp(metadata: &Metadata) -> Stamp {
    let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    (metadata.len(), changed.map_or(0, |time| time.as_nanos() as u64))
}

#[cfg(unix)]
fn key_of(_: &Path, metadata: &Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("{:x}-{:x}", metadata.dev(), metadata.ino())
}

/// Where files have no number, they are known by their names.
#[cfg(not(unix))]
fn key_of(path: &Path, _: &Metadata) -> String {
    format!("{:032x}", xxh3_128(path.as_os_str().as_encoded_bytes()))
}

/// A hash of how a file begins.
fn beginning(file: &mut File, bytes: u64) -> io::Result<String> {
    let mut read = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(bytes).read_to_end(&mut read)?;
    Ok(format!("{:032x}", xxh3_128(&read)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str, given: Given, is_settled: bool) -> Vec<(String, u64, bool, bool)> {
        let reader = BufReader::with_capacity(16, text.as_bytes());
        let mut records = Records { reader, max_bytes: 40, given, is_settled };
        let mut found = Vec::new();
        while let Some(record) = records.next().unwrap() {
            let lines = String::from_utf8(record.lines.clone()).unwrap();
            found.push((lines, record.length, record.is_doubtful, record.is_cut));
        }
        found
    }

    #[test]
    fn lines_are_whole() {
        let text = "{\"a\":1}\n\nno json\n{\"b\":2}";
        let whole = |text: &str, is_doubtful| (text.to_owned(), text.len() as u64, is_doubtful, false);
        let first = [whole("{\"a\":1}\n", false), whole("\n", false), whole("no json\n", true)];
        assert_eq!(records(text, Given::Lines, false), first);
        // Where nothing more comes, a document is whole without its end; half of one is not.
        assert_eq!(records(text, Given::Lines, true), [&first[..], &[whole("{\"b\":2}", false)]].concat());
        assert_eq!(records(&text[..text.len() - 1], Given::Lines, true), first);
    }

    #[test]
    fn the_rest_of_a_long_line_is_no_line() {
        let long = format!("{{\"a\":\"{}\"}}\n", "x".repeat(100));
        let text = format!("{long}{{\"b\":2}}\n");
        let found = records(&text, Given::Lines, false);
        assert_eq!(found[0], (long[..41].to_owned(), long.len() as u64, true, true));
        assert_eq!(found[1].0, "{\"b\":2}\n");
        // It may still grow.
        assert!(records(long.trim_end(), Given::Lines, false).is_empty());
        assert_eq!(records(long.trim_end(), Given::Lines, true).len(), 1);
    }

    #[test]
    fn halves_are_sent_as_the_whole_would_be() {
        let text = "{\"index\":{}}\n{\"a\":1}\n{\"delete\":{}}\n{\"create\":{}}\n{\"b\":2}\n";
        let reader = BufReader::new(text.as_bytes());
        let mut records = Records { reader, max_bytes: 40, given: Given::Bulk, is_settled: true };
        let mut block = records.next().unwrap().unwrap();
        while let Some(record) = records.next().unwrap() {
            block.add(&record);
        }
        let (first, second) = block.halves();
        assert_eq!((first.lines.len() as u64, second.lines.len() as u64), (first.length, second.length));
        assert_eq!([&first.lines[..], &second.lines].concat(), text.as_bytes());
        assert_eq!((first.parts.len(), &*first.document()), (1, "{\"a\":1}"));
        let (delete, last) = second.halves();
        assert_eq!((delete.document(), last.document()), ("{\"delete\":{}}".to_owned(), "{\"b\":2}".to_owned()));
        assert_eq!((delete.parts, last.parts), (vec![(0, 0)], vec![(0, 14)]));
    }

    #[test]
    fn only_what_could_be_looked_at_counts_as_gone() {
        let seen = |path: &str, gone| (path.to_owned(), Seen { path: path.to_owned(), gone, ..Seen::default() });
        let long_ago = Some(0);
        let mut files = BTreeMap::from([
            seen("in/there", Some(5)),
            seen("in/away", None),
            seen("in/forgotten", long_ago),
            seen("in/locked/one", None),
        ]);
        let (there, unread) = (BTreeSet::from(["in/there"]), [PathBuf::from("in/locked")]);
        assert!(forget(&mut files, &there, &unread, REMEMBERED));
        let left: Vec<_> = files.iter().map(|(key, seen)| (&**key, seen.gone)).collect();
        assert_eq!(left, [("in/away", Some(REMEMBERED)), ("in/locked/one", None), ("in/there", None)]);
        assert!(!forget(&mut files, &there, &unread, REMEMBERED));
    }

    #[test]
    fn another_file_under_the_same_name_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "one").unwrap();
        let metadata = fs::metadata(&path).unwrap();
        let found = Found { key: key_of(&path, &metadata), stamp: stamp(&metadata), path };
        assert!(found.open().unwrap().is_some());
        fs::rename(&found.path, folder.path().join("log.1")).unwrap();
        fs::write(&found.path, "two").unwrap();
        assert_eq!(found.open().unwrap().is_none(), cfg!(unix));
    }

    #[test]
    fn actions_stay_with_their_documents() {
        let text = "{\"index\":{}}\n{\"a\":1}\n{\"delete\":{\"_id\":\"x\"}}\n{\"create\":{}}\n";
        let lines = |text| records(text, Given::Bulk, true).into_iter().map(|(lines, ..)| lines).collect::<Vec<_>>();
        assert_eq!(lines(text), ["{\"index\":{}}\n{\"a\":1}\n", "{\"delete\":{\"_id\":\"x\"}}\n"]);
    }
}
