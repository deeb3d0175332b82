//! The store as another process sees it, while a service runs on it or not. Nothing is written, and nobody is kept out.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use eqlipse_engine::{CompileOptions, MatchPlan, RuleSetBuilder};

use crate::catalogue::{Catalogue, Read};
use crate::files::SegmentFiles;
use crate::frame::Frame;
use crate::log::{self, Log};
use crate::matching::{StoreRules, Worker};
use crate::objects::{Objects, SegmentPlace};
use crate::part::Part;
use crate::readers::Reading;
use crate::replay::Replay;
use crate::segment::{RowsCache, SegmentPart};
use crate::{Snapshot, StoreError, StoreOptions, StoreStats};

/// What a store had at one moment.
#[derive(Debug)]
pub struct StoreView {
    /// All events: each that was acknowledged before, once. The files of its segments stay while it is there.
    pub snapshot: Arc<Snapshot>,
    /// Files of the log in which something is damaged, and segments that are named and not there.
    pub damaged: Vec<PathBuf>,
    log_bytes: u64,
}

impl StoreView {
    /// How much there is. What a service counts since its start is zero.
    pub fn stats(&self) -> StoreStats {
        StoreStats { log_bytes: self.log_bytes, ..self.snapshot.stats() }
    }
}

/// The log is read before the catalogue. What a flush writes to segments meanwhile is then in both, and is taken from the
/// segments: sequence numbers say which it is. The other way round, it could be in neither.
pub(crate) fn view(folder: &Path, place: &SegmentPlace) -> Result<StoreView, StoreError> {
    let reading = Reading::begin(folder).map_err(StoreError::io(folder))?;
    let (frames, mut damaged) = log::read(&folder.join("log"))?;
    let mut read = Catalogue::read(&folder.join("catalogue.sqlite"))?;
    let files = Arc::new(open_files(place.folder(folder), place, &read)?);
    let cache = Arc::new(RowsCache::new(StoreOptions::default().cache_bytes));
    let mut parts = Vec::new();
    for entry in read.segments {
        let versions = read.versions.remove(&entry.path).unwrap_or_default();
        let segment = SegmentPart::new(files.clone(), entry, versions, cache.clone());
        match segment.is_there() {
            true => parts.push(Arc::new(Part::segment(segment))),
            false => damaged.push(segment.path.clone()),
        }
    }
    let recent = frames.into_values().filter(|frame| frame.first >= read.flushed_below);
    parts.extend(chunks(recent)?);
    let snapshot = Arc::new(Snapshot { parts, _reading: Some(Arc::new(reading)) });
    Ok(StoreView { snapshot, damaged, log_bytes: Log::bytes(&folder.join("log")) })
}

fn open_files(folder: PathBuf, place: &SegmentPlace, read: &Read) -> Result<SegmentFiles, StoreError> {
    match (place, &read.id) {
        (SegmentPlace::Objects(place), Some(id)) => {
            SegmentFiles::of_another(folder, Objects::new(place.clone())?, id.clone())
        }
        // Without an id, nothing was ever put into an object store.
        _ => SegmentFiles::only_local(folder, &read.versions),
    }
}

fn chunks(frames: impl Iterator<Item = Frame>) -> Result<Vec<Arc<Part>>, StoreError> {
    let mut replay = Replay::new(Worker::new(&no_rules())?, 0);
    let mut chunks = Vec::new();
    for frame in frames {
        chunks.extend(replay.add(&frame, |_| {}, |_| {})?.1);
    }
    chunks.extend(replay.finish()?.0);
    Ok(chunks.into_iter().map(|chunk| Arc::new(Part::recent(chunk))).collect())
}

/// Only what every event is asked for: its place in time.
pub(crate) fn no_rules() -> Arc<StoreRules> {
    let mut builder = RuleSetBuilder::new(CompileOptions::default());
    eqlipse_events::reserve(builder.schema_mut());
    Arc::new(StoreRules::new(Arc::new(MatchPlan::new(Arc::new(builder.build()))), Vec::new()))
}
