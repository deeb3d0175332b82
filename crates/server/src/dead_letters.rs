//! Documents that were refused, with the reason, one a line in `dead-letter/YYYY-MM-DD.ndjson` of the data folder.
//!
//! A line is an object: `time` (when it was refused), `index`, `id` (if its sender gave one), `operation` (if it was none
//! that adds an event), `reason`, `letter` (its own id), and `document`, the text as it came.
//!
//! [`DeadLetters::replay`] offers them to the store again. A file is first set aside as `YYYY-MM-DD.N.ndjson`, so that what
//! is refused meanwhile goes to another; when all of it was offered, what was refused again takes its place, in one step.
//! Broken off before, the file is offered again from its beginning: an event's id is its sender's or comes of the letter's
//! own, so that the store knows those it has, as long as they are among the latest ids.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use bytestring::ByteString;
use eqlipse_store::{IngestError, NewDocument, Refused, Stored};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

use crate::config::DeadLettersConfig;
use crate::elastic::MAX_ID_BYTES;
use crate::search::MAX_RESPONSE_BYTES;

/// A portion of a replay, in bytes of documents.
const PORTION_BYTES: usize = 4 << 20;
/// And in documents.
const PORTION_DOCUMENTS: usize = 5_000;

/// The folder of dead-letter files.
#[derive(Debug)]
pub struct DeadLetters {
    folder: PathBuf,
    limits: DeadLettersConfig,
    today: Mutex<Option<Today>>,
    /// Held by who replays.
    replaying: Mutex<()>,
}

/// The file that is written now.
#[derive(Debug)]
struct Today {
    date: Date,
    file: File,
    /// Of the file.
    length: u64,
    /// Of all files of the day.
    bytes: u64,
}

/// A refused document.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLetter<'a> {
    /// When, ISO 8601.
    pub time: &'a str,
    /// Where it was to go.
    pub index: &'a str,
    /// The id that its sender gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
    /// What was to be done with it, where that was not to add an event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<&'a str>,
    /// Why it was refused.
    pub reason: &'a str,
    /// The text as it came.
    pub document: &'a str,
}

/// A dead letter as it stands in its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Letter {
    /// When it was refused, ISO 8601; the first time if it was refused again.
    pub time: String,
    /// Where it was to go.
    pub index: String,
    /// The id that its sender gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What was to be done with it, where that was not to add an event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Why it was refused, the last time.
    pub reason: String,
    /// Its own id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letter: Option<String>,
    /// The text as it came.
    pub document: String,
}

/// What a line of a file begins with: `letter`, then the rest.
#[derive(Serialize)]
struct Line<'a> {
    letter: String,
    #[serde(flatten)]
    content: &'a DeadLetter<'a>,
}

/// What became of dead letters that were offered again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replayed {
    /// They are events now.
    pub stored: u64,
    /// They were events already: sent again by their sender, or replayed before.
    pub already_there: u64,
    /// They were refused again, and stay.
    pub refused: u64,
    /// Lines that are no dead letter. They stay.
    pub unreadable: u64,
    /// Whether all were offered. If not, there was no time for it: ask again.
    pub complete: bool,
}

/// Why dead letters could not be replayed.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// Somebody else is at it.
    #[error("dead letters are being replayed already")]
    Busy,
    /// The store takes nothing now.
    #[error(transparent)]
    Store(#[from] IngestError),
    /// A file.
    #[error("{path}: {error}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// The system's words.
        error: io::Error,
    },
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> ReplayError {
    move |error| ReplayError::Io { path: path.to_owned(), error }
}

/// What takes the documents of a replay.
pub type Offer<'a> = dyn FnMut(&[NewDocument]) -> Result<Vec<Result<Stored, Refused>>, IngestError> + 'a;

impl DeadLetters {
    /// The folder is made when the first document is refused.
    pub fn new(folder: PathBuf, limits: DeadLettersConfig) -> Self {
        Self { folder, limits, today: Mutex::default(), replaying: Mutex::default() }
    }

    /// Where they are in a data folder.
    pub fn folder_of(data: &Path) -> PathBuf {
        data.join("dead-letter")
    }

    fn today(&self) -> MutexGuard<'_, Option<Today>> {
        self.today.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps documents that were refused `now` (nanoseconds since the Unix epoch). Returns how many were kept: none that
    /// would make the day's files longer than `dead_letters.bytes_per_day`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn keep(&self, letters: &[DeadLetter<'_>], now: i64) -> io::Result<u64> {
        let date = date_of(now);
        let mut today = self.today();
        // A clock that was set back goes on with the file that is open.
        if today.as_ref().is_none_or(|today| today.date < date) {
            *today = Some(self.open(date)?);
            self.remove_old(date);
        }
        let Some(today) = today.as_mut() else { return Ok(0) };
        let (mut lines, mut kept) = (Vec::new(), 0);
        for letter in letters {
            let start = lines.len();
            serde_json::to_writer(&mut lines, &Line { letter: Uuid::new_v4().to_string(), content: letter })?;
            lines.push(b'\n');
            if today.bytes + lines.len() as u64 > self.limits.bytes_per_day.0 {
                lines.truncate(start);
                continue;
            }
            kept += 1;
        }
        if lines.is_empty() {
            return Ok(0);
        }
        // Who is told that a document was refused forgets it.
        if let Err(error) = today.file.write_all(&lines).and_then(|()| today.file.sync_data()) {
            // Half a line must not be what the next one is glued to.
            _ = today.file.set_len(today.length);
            return Err(error);
        }
        today.length += lines.len() as u64;
        today.bytes += lines.len() as u64;
        Ok(kept)
    }

    fn open(&self, date: Date) -> io::Result<Today> {
        fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(format!("{date}.ndjson"));
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let length = whole_lines(&mut file)?;
        file.set_len(length)?;
        let of_day = files(&self.folder)?.into_iter().filter(|path| file_date(path) == Some(date));
        let bytes = of_day.filter_map(|path| Some(fs::metadata(path).ok()?.len())).sum();
        Ok(Today { date, file, length, bytes })
    }

    /// What cannot be removed stays until the next day's try.
    fn remove_old(&self, date: Date) {
        for path in files(&self.folder).unwrap_or_default() {
            let age = file_date(&path).and_then(|of| date.since(of).ok()).map(|span| span.get_days());
            if age.is_some_and(|days| days > 0 && days.unsigned_abs() > self.limits.days) {
                _ = fs::remove_file(path);
            }
        }
    }

    /// The latest dead letters, newest first, at most so many, and no more than [`MAX_RESPONSE_BYTES`] of them.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn latest(&self, limit: usize) -> Result<Vec<Letter>, ReplayError> {
        self.latest_within(limit, MAX_RESPONSE_BYTES)
    }

    fn latest_within(&self, limit: usize, mut bytes: usize) -> Result<Vec<Letter>, ReplayError> {
        let mut latest = Vec::new();
        for path in files(&self.folder).map_err(failed(&self.folder))?.iter().rev() {
            let wanted = limit - latest.len();
            if wanted == 0 {
                break;
            }
            let mut lines = match Lines::open(path) {
                // A replay was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened.map_err(failed(path))?,
            };
            let mut of_file = Newest::default();
            while let Some(line) = lines.next().map_err(failed(path))? {
                if let Ok(letter) = serde_json::from_slice(line) {
                    of_file.push(letter, line.len(), wanted, bytes);
                }
            }
            bytes -= of_file.bytes;
            latest.extend(of_file.letters.into_iter().rev().map(|(letter, _)| letter));
            if of_file.is_cut {
                break;
            }
        }
        Ok(latest)
    }

    /// Offers all dead letters to the store again. Those that it takes leave the folder; those that it refuses stay, with
    /// the reason. When `goes_on` says no, the rest stays as it is.
    ///
    /// # Errors
    /// If the store takes nothing now, or a file cannot be read or written. Nothing is lost, and nothing stored twice when
    /// it is tried again.
    pub fn replay(&self, offer: &mut Offer<'_>, goes_on: &dyn Fn() -> bool) -> Result<Replayed, ReplayError> {
        let _replaying = match self.replaying.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(error)) => error.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(ReplayError::Busy),
        };
        let done = self.replay_files(offer, goes_on);
        // What went counts for its day no longer.
        *self.today() = None;
        done
    }

    fn replay_files(&self, offer: &mut Offer<'_>, goes_on: &dyn Fn() -> bool) -> Result<Replayed, ReplayError> {
        let mut done = Replayed { complete: true, ..Replayed::default() };
        // Those that are refused from now on are for the next time.
        for path in self.set_aside().map_err(failed(&self.folder))? {
            if !goes_on() {
                done.complete = false;
                break;
            }
            replay_file(&path, offer, goes_on, &mut done)?;
        }
        Ok(done)
    }

    /// Closes the files that may be written to, under names of their own. Returns all files there are then.
    fn set_aside(&self) -> io::Result<Vec<PathBuf>> {
        let mut today = self.today();
        // First, so that nothing is written to a file that was renamed, whatever fails below.
        *today = None;
        let known = files(&self.folder)?;
        let mut names: BTreeSet<PathBuf> = known.iter().cloned().collect();
        for path in known {
            let Some(date) = file_date(&path).filter(|date| path.ends_with(format!("{date}.ndjson"))) else { continue };
            let aside = (1u32..).map(|number| self.folder.join(format!("{date}.{number}.ndjson")));
            let aside = aside.into_iter().find(|path| !names.contains(path)).unwrap_or_else(|| path.clone());
            fs::rename(&path, &aside)?;
            names.remove(&path);
            names.insert(aside);
        }
        Ok(names.into_iter().collect())
    }
}

/// The length of a file without half a line at its end, as it has after the machine lost its power.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    const STEP: u64 = 64 << 10;
    let mut end = file.metadata()?.len();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        let mut bytes = vec![0; (end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut bytes)?;
        if let Some(last) = memchr::memrchr(b'\n', &bytes) {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The dead-letter files, oldest first.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| file_date(path).is_some()).collect();
    files.sort();
    Ok(files)
}

/// The date of `YYYY-MM-DD.ndjson` and `YYYY-MM-DD.N.ndjson`.
fn file_date(path: &Path) -> Option<Date> {
    path.extension().filter(|extension| *extension == "ndjson")?;
    let stem = path.file_stem()?.to_str()?;
    let (date, number) = stem.split_once('.').map_or((stem, None), |(date, number)| (date, Some(number)));
    number.is_none_or(|number| number.parse::<u32>().is_ok()).then(|| date.parse().ok())?
}

fn date_of(nanos: i64) -> Date {
    let time = Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH);
    TimeZone::UTC.to_datetime(time).date()
}

/// The newest letters of a file, oldest first, each with the length of its line.
#[derive(Default)]
struct Newest {
    letters: VecDeque<(Letter, usize)>,
    bytes: usize,
    /// Whether some were left out for their length: nothing older follows then.
    is_cut: bool,
}

impl Newest {
    /// Adds a letter; the oldest go where there are more than `most`, or they are longer than `room` together.
    fn push(&mut self, letter: Letter, length: usize, most: usize, room: usize) {
        self.letters.push_back((letter, length));
        self.bytes += length;
        while self.letters.len() > most || self.bytes > room {
            self.is_cut |= self.bytes > room;
            self.bytes -= self.letters.pop_front().map_or(self.bytes, |(_, length)| length);
        }
    }
}

/// The lines of a file, one at a time.
struct Lines {
    file: BufReader<File>,
    line: Vec<u8>,
}

impl Lines {
    fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufReader::new(File::open(path)?), line: Vec::new() })
    }

    /// The next line that is not empty, without its end.
    fn next(&mut self) -> io::Result<Option<&[u8]>> {
        loop {
            self.line.clear();
            if self.file.read_until(b'\n', &mut self.line)? == 0 {
                return Ok(None);
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(self.line.trim_ascii_end()));
            }
        }
    }
}

/// Offers the letters of a file, and leaves those in it that are not taken.
fn replay_file(
    path: &Path,
    offer: &mut Offer<'_>,
    goes_on: &dyn Fn() -> bool,
    done: &mut Replayed,
) -> Result<(), ReplayError> {
    let unfinished = path.with_extension("tmp");
    let write = || -> io::Result<_> { Ok(BufWriter::new(File::create(&unfinished)?)) };
    let mut left = Left { file: write().map_err(failed(&unfinished))?, lines: 0 };
    let offered = offer_file(path, &mut left, offer, goes_on, done);
    let written = match &offered {
        // A file that could not be read or written is left as it was.
        Err(error @ ReplayError::Io { .. }) => Err(io::Error::other(error.to_string())),
        _ => left.finish(),
    };
    let replaced = written.and_then(|lines| match lines {
        0 => fs::remove_file(path),
        _ => fs::rename(&unfinished, path),
    });
    // It is there no more where it took the file's place.
    _ = fs::remove_file(&unfinished);
    offered?;
    replaced.map_err(failed(path))
}

/// What stays of a file.
struct Left {
    file: BufWriter<File>,
    lines: u64,
}

impl Left {
    fn keep(&mut self, line: &[u8]) -> io::Result<()> {
        self.lines += 1;
        self.file.write_all(line)?;
        self.file.write_all(b"\n")
    }

    /// Returns how many lines there are, when they are on disk.
    fn finish(self) -> io::Result<u64> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(self.lines)
    }
}

/// Offers the letters of a file portion by portion. What is not taken goes to `left`; after an error of the store, that is
/// the rest of the file.
fn offer_file(
    path: &Path,
    left: &mut Left,
    offer: &mut Offer<'_>,
    goes_on: &dyn Fn() -> bool,
    done: &mut Replayed,
) -> Result<(), ReplayError> {
    let mut lines = Lines::open(path).map_err(failed(path))?;
    let (mut portion, mut bytes) = (Vec::new(), 0);
    let mut problem = None;
    loop {
        let line = lines.next().map_err(failed(path))?;
        let is_end = line.is_none();
        if let Some(line) = line {
            match serde_json::from_slice::<Letter>(line) {
                Ok(letter) if problem.is_none() => {
                    bytes += letter.document.len();
                    portion.push(letter);
                }
                // Lines behind an error, and those that are no letter.
                read => {
                    done.unreadable += u64::from(read.is_err());
                    left.keep(line).map_err(failed(path))?;
                }
            }
        }
        if is_end || bytes >= PORTION_BYTES || portion.len() >= PORTION_DOCUMENTS {
            if problem.is_none() && !portion.is_empty() && !goes_on() {
                done.complete = false;
                problem = Some(None);
            }
            let letters = std::mem::take(&mut portion);
            bytes = 0;
            if problem.is_some() {
                keep_all(left, &letters).map_err(failed(path))?;
            } else if let Err(error) = offer_letters(letters, left, offer, done).map_err(failed(path))? {
                problem = Some(Some(error));
            }
        }
        if is_end {
            return problem.flatten().map_or(Ok(()), |error| Err(error.into()));
        }
    }
}

fn keep_all(left: &mut Left, letters: &[Letter]) -> io::Result<()> {
    letters.iter().try_for_each(|letter| left.keep(&serde_json::to_vec(letter)?))
}

/// Offers letters; those that are refused are kept with the new reason, and after an error of the store all of them as
/// they were.
fn offer_letters(
    letters: Vec<Letter>,
    left: &mut Left,
    offer: &mut Offer<'_>,
    done: &mut Replayed,
) -> io::Result<Result<(), IngestError>> {
    // What was no event to be added is none now.
    let is_offered = |letter: &Letter| letter.operation.is_none() && !has_long_id(letter);
    let documents: Vec<NewDocument> = letters
        .iter()
        .filter(|letter| is_offered(letter))
        .map(|letter| NewDocument {
            index: (&*letter.index).into(),
            id: Some(letter.id.as_deref().map_or_else(|| own_id(letter).into(), ByteString::from)),
            document: (&*letter.document).into(),
        })
        .collect();
    let results = if documents.is_empty() { Ok(Vec::new()) } else { offer(&documents) };
    drop(documents);
    let mut results = match results {
        Ok(results) => results.into_iter(),
        Err(error) => {
            keep_all(left, &letters)?;
            return Ok(Err(error));
        }
    };
    for mut letter in letters {
        let result = if is_offered(&letter) { results.next() } else { None };
        match result {
            Some(Ok(_)) => done.stored += 1,
            Some(Err(Refused::Conflict { .. })) => done.already_there += 1,
            refused => {
                done.refused += 1;
                if let Some(Err(reason)) = refused {
                    letter.reason = reason.to_string();
                }
                left.keep(&serde_json::to_vec(&letter)?)?;
            }
        }
    }
    Ok(Ok(()))
}

fn has_long_id(letter: &Letter) -> bool {
    letter.id.as_ref().is_some_and(|id| id.len() > MAX_ID_BYTES)
}

/// The id of an event whose sender gave none: the same whenever the letter is offered.
fn own_id(letter: &Letter) -> String {
    match &letter.letter {
        Some(id) => format!("dead-letter-{id}"),
        None => {
            let text = [&*letter.time, &*letter.index, &*letter.document].join("\0");
            format!("dead-letter-{:032x}", xxh3_128(text.as_bytes()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Size;

    const DAY: i64 = 86_400_000_000_000;

    fn letter(document: &str) -> DeadLetter<'_> {
        DeadLetter {
            time: "1970-01-01T00:00:00Z",
            index: "logs-x",
            id: None,
            operation: None,
            reason: "no \"event\"",
            document,
        }
    }

    #[test]
    fn documents_are_kept_up_to_the_bound_of_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let limits = DeadLettersConfig { bytes_per_day: Size(350), days: 2 };
        let letters = DeadLetters::new(folder.path().join("dead-letter"), limits.clone());
        assert_eq!(letters.keep(&[letter("{broken"), letter(&"x".repeat(500)), letter("{}")], 0).unwrap(), 2);
        assert_eq!(letters.keep(&[letter("12345678901234567890")], 0).unwrap(), 0);
        let text = fs::read_to_string(folder.path().join("dead-letter/1970-01-01.ndjson")).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["document"], "{broken");
        assert_eq!(lines[1]["reason"], "no \"event\"");
        // After a restart, the bound still holds, and the next day begins anew.
        let letters = DeadLetters::new(folder.path().join("dead-letter"), limits);
        assert_eq!(letters.keep(&[letter("12345678901234567890")], 0).unwrap(), 0);
        assert_eq!(letters.keep(&[letter("{}")], DAY).unwrap(), 1);
        assert_eq!(letters.keep(&[letter("{}")], 4 * DAY).unwrap(), 1);
        let mut names: Vec<_> =
            fs::read_dir(folder.path().join("dead-letter")).unwrap().flatten().map(|e| e.file_name()).collect();
        names.sort();
        assert_eq!(names, ["1970-01-05.ndjson"]);
    }

    #[test]
    fn the_latest_are_bounded_by_number_and_length() {
        let folder = tempfile::tempdir().unwrap();
        let letters = DeadLetters::new(folder.path().to_owned(), DeadLettersConfig::default());
        letters.keep(&[letter("1"), letter("2")], 0).unwrap();
        letters.keep(&[letter(&"3".repeat(500)), letter("4"), letter("5")], DAY).unwrap();
        let texts = |limit, bytes| -> Vec<String> {
            let latest = letters.latest_within(limit, bytes).unwrap();
            latest.into_iter().map(|letter| letter.document.chars().take(1).collect()).collect()
        };
        assert_eq!(texts(9, MAX_RESPONSE_BYTES), ["5", "4", "3", "2", "1"]);
        assert_eq!(texts(4, MAX_RESPONSE_BYTES), ["5", "4", "3", "2"]);
        let line = fs::read_to_string(folder.path().join("1970-01-01.ndjson")).unwrap().find('\n').unwrap();
        assert_eq!(texts(9, 5 * line), ["5", "4"], "what is older than one that does not fit stays out as well");
        assert_eq!((texts(9, line), texts(9, line - 1).len()), (vec!["5".to_owned()], 0));
        assert_eq!(texts(9, 4 * line + 499), ["5", "4", "3", "2"]);
    }

    #[test]
    fn what_was_replayed_counts_for_its_day_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let limits = DeadLettersConfig { bytes_per_day: Size(350), days: 2 };
        let letters = DeadLetters::new(folder.path().to_owned(), limits);
        let kept = |document: &str| letters.keep(&[letter(document)], 0).unwrap();
        assert_eq!((kept("1"), kept("2"), kept("3")), (1, 1, 0));
        let mut offer = |documents: &[NewDocument]| {
            // What is refused meanwhile has no room yet.
            assert_eq!(kept("4"), 0);
            Ok(documents.iter().map(|_| Ok(Stored { id: ByteString::new().into(), sequence: 0 })).collect())
        };
        assert_eq!(letters.replay(&mut offer, &|| true).unwrap().stored, 2);
        assert_eq!((kept("5"), kept("6"), kept("7")), (1, 1, 0));
    }

    #[test]
    fn what_is_refused_after_a_replay_that_failed_is_found() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("dead-letter");
        let letters = DeadLetters::new(folder.clone(), DeadLettersConfig::default());
        letters.keep(&[letter("before")], 0).unwrap();
        // The folder cannot be read: something else has its name.
        fs::rename(&folder, parent.path().join("elsewhere")).unwrap();
        fs::write(&folder, "").unwrap();
        let mut offer = |_: &[NewDocument]| -> Result<_, IngestError> { Ok(Vec::new()) };
        assert!(matches!(letters.replay(&mut offer, &|| true), Err(ReplayError::Io { .. })));
        fs::remove_file(&folder).unwrap();
        assert_eq!(letters.keep(&[letter("after")], 0).unwrap(), 1);
        let latest = letters.latest(10).unwrap();
        assert_eq!(latest.iter().map(|letter| &*letter.document).collect::<Vec<_>>(), ["after"]);
    }

    #[test]
    fn half_a_line_hides_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let letters = || DeadLetters::new(folder.path().to_owned(), DeadLettersConfig::default());
        assert_eq!(letters().keep(&[letter("before")], 0).unwrap(), 1);
        let path = folder.path().join("1970-01-01.ndjson");
        let mut text = fs::read(&path).unwrap();
        // Of a line that is longer than what is looked at in one step.
        text.extend_from_slice(format!("{{\"letter\":\"{}", "x".repeat(100_000)).as_bytes());
        fs::write(&path, text).unwrap();
        let again = letters();
        assert_eq!(again.keep(&[letter("after")], 0).unwrap(), 1);
        let latest = again.latest(10).unwrap();
        assert_eq!(latest.iter().map(|letter| &*letter.document).collect::<Vec<_>>(), ["after", "before"]);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_replay_that_is_broken_off_loses_nothing_and_doubles_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let limits = DeadLettersConfig::default();
        let letters = DeadLetters::new(folder.path().to_owned(), limits.clone());
        let texts: Vec<String> = (0..PORTION_DOCUMENTS + 3).map(|number| number.to_string()).collect();
        let of_texts: Vec<DeadLetter<'_>> = texts.iter().map(|text| letter(text)).collect();
        assert_eq!(letters.keep(&of_texts, 0).unwrap(), texts.len() as u64);
        fs::write(folder.path().join("1970-01-02.ndjson"), "no letter\n").unwrap();
        let mut taken: BTreeSet<String> = BTreeSet::new();
        let mut take = |documents: &[NewDocument]| -> Vec<Result<Stored, Refused>> {
            let take = |new: &NewDocument| match (&*new.document, new.id.as_deref().unwrap().to_owned()) {
                ("5", _) => Err(Refused::NotAnEvent("five".to_owned())),
                (_, id) if !taken.insert(id.clone()) => Err(Refused::Conflict { id }),
                (_, id) => Ok(Stored { id: ByteString::from(id).into(), sequence: 0 }),
            };
            documents.iter().map(take).collect()
        };
        // The process ends when the store has taken the first portion: the file is as it was.
        let copy = tempfile::tempdir().unwrap();
        for path in files(folder.path()).unwrap() {
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
        let mut calls = 0;
        let full = letters.replay(
            &mut |documents: &[NewDocument]| {
                calls += 1;
                if calls == 1 { Ok(take(documents)) } else { Err(IngestError::Log("full".to_owned())) }
            },
            &|| true,
        );
        assert!(matches!(full, Err(ReplayError::Store(_))));
        assert_eq!(letters.latest(10_000).unwrap().len(), 1 + 3);
        let killed = DeadLetters::new(copy.path().to_owned(), limits);
        let mut offer = |documents: &[NewDocument]| Ok(take(documents));
        let done = killed.replay(&mut offer, &|| true).unwrap();
        let expected = Replayed {
            stored: 3,
            already_there: PORTION_DOCUMENTS as u64 - 1,
            refused: 1,
            unreadable: 1,
            complete: true,
        };
        assert_eq!(done, expected);
        let left = killed.latest(10).unwrap();
        assert_eq!(left.iter().map(|letter| (&*letter.document, &*letter.reason)).collect::<Vec<_>>(), [("5", "five")]);
        // Where there is no time for it, nothing is touched.
        let done = killed.replay(&mut offer, &|| false).unwrap();
        assert!(!done.complete && killed.latest(10).unwrap() == left);
        assert!(fs::read_dir(copy.path()).unwrap().flatten().all(|entry| file_date(&entry.path()).is_some()));
    }
}
