//! Watched folders (`[[input.folder]]`): files that are dropped in are read, and files that grow are read on.
//!
//! What was read of each file is in `inputs.json` in the data folder. Events get ids made of file and place, so that
//! what was read twice, because the process ended between reading and noting, is there once.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::UNIX_EPOCH;

use eqlipse_events::{DiscoverOptions, Progress, ReadOptions, discover};
use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use crate::config::FolderConfig;
use crate::portions::{Portions, Target};
use crate::state::App;

/// What was read of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    /// What tells the file from another one of its name: a hash of how it begins.
    beginning: String,
    /// How many bytes of it that hash is of.
    hashed: u64,
    /// How far it was read, where it is read line by line.
    offset: u64,
    /// And how many events that were: the next one's number, and part of its id.
    #[serde(default)]
    events: u64,
    /// Size and time of change when it was read as a whole.
    whole: Option<(u64, u64)>,
}

/// How much of a file tells it from another.
const BEGINNING: u64 = 1024;

/// Begins to watch a folder.
///
/// # Errors
/// If its patterns are none, or no thread can be had.
pub(crate) fn start(app: &App, config: FolderConfig, number: usize) -> io::Result<JoinHandle<()>> {
    let mut include = GlobSetBuilder::new();
    for pattern in &config.include {
        include.add(Glob::new(pattern).map_err(io::Error::other)?);
    }
    let include = include.build().map_err(io::Error::other)?;
    let state = app.config.server.data.join(format!("inputs-{number}.json"));
    let seen = match fs::read(&state) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(error),
    };
    let watch = Watch { app: app.clone(), config, include, state, seen, sizes: BTreeMap::new() };
    thread::Builder::new().name("eqlipse-folder".to_owned()).spawn(move || watch.run())
}

struct Watch {
    app: App,
    config: FolderConfig,
    include: GlobSet,
    /// Where what was read is noted.
    state: PathBuf,
    seen: BTreeMap<PathBuf, Seen>,
    /// Files as they were the last time: one that still grows is not read as a whole.
    sizes: BTreeMap<PathBuf, (u64, u64)>,
}

impl Watch {
    fn run(mut self) {
        while !self.app.stopping.load(Ordering::Relaxed) {
            for path in self.files() {
                if self.app.stopping.load(Ordering::Relaxed) {
                    return;
                }
                if let Err(error) = self.look(&path) {
                    tracing::warn!(path = %path.display(), %error, "a file could not be read and is tried again");
                }
            }
            thread::sleep(self.config.poll.0);
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = WalkDir::new(&self.config.path).sort_by_file_name().into_iter().flatten();
        let files = entries.filter(|entry| entry.file_type().is_file());
        let is_wanted = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default();
            self.include.is_empty() || self.include.is_match(name) || self.include.is_match(path)
        };
        files.map(walkdir::DirEntry::into_path).filter(is_wanted).collect()
    }

    /// Reads what is new in a file.
    fn look(&mut self, path: &Path) -> io::Result<()> {
        let metadata = fs::metadata(path)?;
        let now = stamp(&metadata);
        let before = self.sizes.insert(path.to_owned(), now);
        let known = self.seen.get(path).cloned().unwrap_or_default();
        if known.whole == Some(now) || known.whole.is_none() && known.offset == metadata.len() && known.offset > 0 {
            return Ok(());
        }
        let mut file = File::open(path)?;
        let known = match beginning(&mut file, known.hashed)? == known.beginning {
            true => known,
            // Another file has come to this name.
            false => Seen::default(),
        };
        let hashed = metadata.len().min(BEGINNING);
        let fresh = Seen { beginning: beginning(&mut file, hashed)?, hashed, ..known.clone() };
        match first_document(&mut file)? {
            Some(first) => self.read_lines(path, file, &first, fresh, before == Some(now)),
            // It may still be on its way.
            None if before == Some(now) => self.read_whole(path, Seen { whole: Some(now), ..fresh }),
            None => Ok(()),
        }
    }

    /// Reads the lines that are whole and were not read yet; where the file does not grow, also a last one without its end.
    fn read_lines(
        &mut self,
        path: &Path,
        mut file: File,
        first: &[u8],
        mut seen: Seen,
        is_settled: bool,
    ) -> io::Result<()> {
        file.seek(SeekFrom::Start(seen.offset))?;
        let limit = self.app.config.limits.document_bytes.0;
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let mut line = Vec::new();
        loop {
            line.clear();
            // A line that is too long is cut, and refused for what it is.
            let read = (&mut reader).take(limit + 1).read_until(b'\n', &mut line)? as u64;
            let is_document = || serde_json::from_slice::<serde::de::IgnoredAny>(&line).is_ok();
            if !line.ends_with(b"\n") && read <= limit && !(is_settled && is_document()) {
                return Ok(());
            }
            let mut end = seen.offset + read;
            let mut lines = line.clone();
            // More of them at once, as far as they are there.
            while lines.len() < 1 << 20 && reader.buffer().contains(&b'\n') {
                end += reader.read_until(b'\n', &mut lines)? as u64;
            }
            // An event's id must not depend on how much of the file was there when it was read.
            let ids = id_of(path, first);
            let mut inputs = eqlipse_events::Discovery::default();
            inputs.add_memory(&path.display().to_string(), lines.into());
            seen.events = self.send(path, &inputs, ids, seen.events)?;
            seen.offset = end;
            self.note(path, seen.clone())?;
        }
    }

    fn read_whole(&mut self, path: &Path, seen: Seen) -> io::Result<()> {
        let inputs = discover(&[path], DiscoverOptions::default());
        let (size, changed) = seen.whole.unwrap_or_default();
        self.send(path, &inputs, format!("{}-{size}-{changed}", id_of(path, seen.beginning.as_bytes())), 0)?;
        self.note(path, seen)
    }

    /// Sends the events of an input, the first of which has this number, and returns the number of the next one.
    fn send(&self, path: &Path, inputs: &eqlipse_events::Discovery, ids: String, number: u64) -> io::Result<u64> {
        let options = ReadOptions {
            jobs: std::num::NonZeroUsize::MIN,
            max_document_bytes: self.app.config.limits.document_bytes.as_usize(),
            cancel: Some(&self.app.stopping),
            ..ReadOptions::default()
        };
        let target = Target { index: None, fallback: self.config.index.clone(), ids: Some(ids) };
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
        if self.app.stopping.load(Ordering::Relaxed) {
            return Err(io::Error::other("the service is stopping"));
        }
        for input in &report.inputs {
            for record in &input.first_skipped {
                tracing::warn!(path = %path.display(), place = record.place, reason = record.reason, "not an event");
            }
        }
        for problem in &report.problems {
            tracing::warn!(path = %path.display(), %problem, "not read");
        }
        Ok(next)
    }

    /// Notes what was read, so that it is not read again.
    fn note(&mut self, path: &Path, seen: Seen) -> io::Result<()> {
        self.seen.insert(path.to_owned(), seen);
        let unfinished = self.state.with_extension("tmp");
        let mut file = File::create(&unfinished)?;
        file.write_all(&serde_json::to_vec(&self.seen)?)?;
        file.sync_all()?;
        fs::rename(unfinished, &self.state)
    }
}

/// Size, and time of change in nanoseconds.
fn stamp(metadata: &Metadata) -> (u64, u64) {
    let changed = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    (metadata.len(), changed.map_or(0, |time| time.as_nanos() as u64))
}

/// A hash of how a file begins.
fn beginning(file: &mut File, bytes: u64) -> io::Result<String> {
    let mut read = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(bytes).read_to_end(&mut read)?;
    Ok(format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&read)))
}

/// The first line of a file that is one document a line.
fn first_document(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    file.seek(SeekFrom::Start(0))?;
    let mut first = Vec::new();
    BufReader::new(file.take(1 << 20)).read_until(b'\n', &mut first)?;
    let is_document =
        first.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<serde::de::IgnoredAny>(&first).is_ok();
    Ok(is_document.then_some(first))
}

/// What the ids of a file's events begin with.
fn id_of(path: &Path, beginning: &[u8]) -> String {
    let name = path.display().to_string();
    format!("{:016x}{:016x}", xxhash_rust::xxh3::xxh3_64(name.as_bytes()), xxhash_rust::xxh3::xxh3_64(beginning))
}
