//! What came of the inputs.

use std::collections::{BTreeMap, HashMap};

use super::{InputKey, LeafReport, Status};
use crate::{Discovery, InputProblem};

/// How many skipped records are listed of each input.
pub const MAX_LISTED: usize = 10;

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// The logs in their order, with the archives that they lie in and what could not be read of what was given by name.
    pub inputs: Vec<Input>,
    /// Inputs that gave no events, other than those of [`Discovery::problems`].
    pub problems: Vec<InputProblem>,
    /// Files found in folders and archives that are no logs.
    pub not_logs: u64,
    /// Events decoded.
    pub events: u64,
    /// Of those, the events outside [`ReadOptions::window`](super::ReadOptions::window), which were left out.
    pub outside: u64,
    /// Bytes read from disk.
    pub bytes: u64,
}

/// One input: a file, a member of an archive, or standard input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// Path as given, with `!member` for a member of an archive; `-` for standard input.
    pub name: String,
    /// What the content was found to be: `evtx`, `ndjson`, `bulk`, `json`, with `+gzip` and the like; `zip` for an
    /// archive whose members stand on their own; `unknown` if it is no log.
    pub format: String,
    /// Size on disk in bytes, of the unpacked member within an archive.
    pub bytes: u64,
    /// SHA-256 of the content as it lies on disk or in the archive, in lower-case hex, where it was asked for.
    pub sha256: Option<String>,
    /// Events decoded.
    pub events: u64,
    /// Records, lines or chunks that could not be read.
    pub skipped: u64,
    /// The first of them, with their places.
    pub first_skipped: Vec<SkippedRecord>,
    /// Records, lines or chunks that were read although something is wrong with them: bytes that are no UTF-8 (read as
    /// U+FFFD), half surrogate pairs, wrong checksums.
    pub damaged: u64,
    /// The first of them, with their places.
    pub first_damaged: Vec<SkippedRecord>,
}

/// A record that could not be read, or not without repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedRecord {
    /// `line 17`, `chunk 3`, `byte 8192`.
    pub place: String,
    /// Why.
    pub reason: String,
}

/// What one thread saw of one input.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) events: u64,
    pub(crate) outside: u64,
    pub(crate) alerts: u64,
    pub(crate) skipped: Listed,
    pub(crate) damaged: Listed,
}

impl Tally {
    fn merge(&mut self, other: Self) {
        self.events += other.events;
        self.outside += other.outside;
        self.alerts += other.alerts;
        self.skipped.merge(other.skipped);
        self.damaged.merge(other.damaged);
    }
}

/// Records counted, and the first of them listed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listed {
    count: u64,
    /// With their positions.
    first: Vec<(u64, SkippedRecord)>,
}

impl Listed {
    /// Adds a record. Each thread meets the records of an input in ascending order.
    pub(crate) fn add(&mut self, position: u64, place: impl FnOnce() -> String, reason: impl ToString) {
        self.count += 1;
        if self.first.len() < MAX_LISTED {
            self.first.push((position, SkippedRecord { place: place(), reason: reason.to_string() }));
        }
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.first.extend(other.first);
        self.first.sort_by_key(|(position, _)| *position);
        self.first.truncate(MAX_LISTED);
    }

    fn into_records(self) -> Vec<SkippedRecord> {
        self.first.into_iter().map(|(_, record)| record).collect()
    }
}

/// What one thread saw of all inputs.
pub(crate) type Tallies = HashMap<InputKey, Tally>;

/// Puts together what all threads saw.
pub(crate) fn summarise(
    discovery: &Discovery,
    leaves: Vec<LeafReport>,
    tallies: Vec<Tallies>,
    bytes: u64,
) -> ReadReport {
    let mut merged: HashMap<InputKey, Tally> = HashMap::new();
    for (key, tally) in tallies.into_iter().flatten() {
        merged.entry(key).or_default().merge(tally);
    }
    let leaves: BTreeMap<InputKey, LeafReport> = leaves.into_iter().map(|leaf| (leaf.key, leaf)).collect();
    let mut report = ReadReport { bytes, ..ReadReport::default() };
    let mut holds_log = vec![false; discovery.sources.len()];
    let mut has_problem = holds_log.clone();
    for (key, mut leaf) in leaves {
        let source = key.source as usize;
        if let Some(tally) = merged.remove(&key) {
            leaf.tally.merge(tally);
        }
        holds_log[source] |= leaf.status == Status::Log;
        if let Some(problem) = problem_of(&leaf) {
            has_problem[source] = true;
            report.problems.push(problem);
        }
        report.events += leaf.tally.events;
        report.outside += leaf.tally.outside;
        match leaf.status {
            Status::NotALog(_) | Status::Empty if !leaf.explicit => report.not_logs += 1,
            _ => report.inputs.push(input_of(leaf)),
        }
    }
    for (source, (holds_log, has_problem)) in discovery.sources.iter().zip(holds_log.iter().zip(&has_problem)) {
        if source.explicit && !holds_log && !has_problem {
            let (name, found) = (source.name.clone(), "an archive without logs".to_owned());
            report.problems.push(InputProblem::NotALog { name, found });
        }
    }
    report.problems.extend(folder_problems(discovery, &holds_log));
    report
}

fn problem_of(leaf: &LeafReport) -> Option<InputProblem> {
    let name = leaf.name.clone();
    match &leaf.status {
        Status::Unreadable(reason) => Some(InputProblem::Unreadable { path: name, reason: reason.clone() }),
        Status::NotALog(found) if leaf.explicit => Some(InputProblem::NotALog { name, found: found.clone() }),
        Status::Empty if leaf.explicit => Some(InputProblem::Empty { name }),
        Status::Log if leaf.tally.alerts > 0 => Some(InputProblem::Alerts { name, alerts: leaf.tally.alerts }),
        _ => None,
    }
}

fn input_of(leaf: LeafReport) -> Input {
    Input {
        name: leaf.name,
        format: leaf.format,
        bytes: leaf.bytes,
        sha256: leaf.sha256,
        events: leaf.tally.events,
        skipped: leaf.tally.skipped.count,
        first_skipped: leaf.tally.skipped.into_records(),
        damaged: leaf.tally.damaged.count,
        first_damaged: leaf.tally.damaged.into_records(),
    }
}

fn folder_problems(discovery: &Discovery, holds_log: &[bool]) -> Vec<InputProblem> {
    let mut files = vec![0; discovery.folders.len()];
    let mut any = vec![false; discovery.folders.len()];
    for (source, holds_log) in discovery.sources.iter().zip(holds_log) {
        for &folder in &source.folders {
            files[folder] += 1;
            any[folder] |= holds_log;
        }
    }
    let without = discovery.folders.iter().zip(files.iter().zip(&any)).filter(|(_, (_, any))| !**any);
    without
        .map(|(folder, (files, _))| InputProblem::NoLogs { folder: folder.display().to_string(), files: *files })
        .collect()
}
