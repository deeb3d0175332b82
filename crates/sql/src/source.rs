//! What a query can read: segments, recent events, files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use eqlipse_events::{Effort, SegmentColumns, SegmentEvent, SegmentWriter};
use eqlipse_store::{Part, Snapshot, TimeRange};

use crate::SqlError;
use crate::file::{FileShape, Names, Place, stream_of};
use crate::table::TableFile;

/// How many files' columns are remembered at most.
const MAX_KNOWN_FILES: usize = 50_000;

/// What is remembered from one query to the next.
#[derive(Debug, Default)]
pub(crate) struct Known {
    files: Mutex<KnownFiles>,
    /// Recent events as files, by the address of their part, which is theirs while it can be upgraded.
    recent: Mutex<HashMap<usize, RecentPart>>,
}

#[derive(Debug, Default)]
struct KnownFiles {
    names: Names,
    /// By path and size.
    shapes: HashMap<(PathBuf, u64), Arc<FileShape>>,
}

#[derive(Debug)]
struct RecentPart {
    part: Weak<Part>,
    /// By data stream.
    files: Arc<BTreeMap<String, Bytes>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Known {
    /// What a file has.
    fn shape(&self, place: &Place, path: Option<&PathBuf>, bytes: u64) -> Result<Arc<FileShape>, SqlError> {
        let key = path.map(|path| (path.clone(), bytes));
        if let Some(known) = key.as_ref().and_then(|key| lock(&self.files).shapes.get(key).cloned()) {
            return Ok(known);
        }
        let metadata = place.metadata()?;
        let mut files = lock(&self.files);
        let shape = FileShape::of(&metadata, &mut files.names).map_err(|reason| match path {
            Some(path) => SqlError::Read { path: path.clone(), reason },
            None => SqlError::Recent(reason),
        })?;
        let shape = Arc::new(shape);
        if let Some(key) = key {
            if files.shapes.len() >= MAX_KNOWN_FILES {
                files.shapes.clear();
            }
            files.shapes.insert(key, shape.clone());
        }
        Ok(shape)
    }

    /// Recent events as files, one a data stream. A part stays as it is, so this is done once.
    fn recent(&self, part: &Arc<Part>) -> Result<Arc<BTreeMap<String, Bytes>>, SqlError> {
        let key = Arc::as_ptr(part) as usize;
        if let Some(known) = lock(&self.recent).get(&key)
            && known.part.upgrade().is_some_and(|known| Arc::ptr_eq(&known, part))
        {
            return Ok(known.files.clone());
        }
        let mut files = BTreeMap::new();
        let streams: BTreeSet<&str> = part.recent_events().map(|event| event.index).collect();
        for stream in streams {
            let events = part.recent_events().filter(|event: &SegmentEvent<'_>| event.index == stream);
            let columns = &mut SegmentColumns::default();
            let bytes = SegmentWriter::default().write(columns, events, Effort::Little, || Ok(Vec::new()));
            let bytes = bytes.map_err(|error| SqlError::Recent(error.to_string()))?;
            files.insert(stream.to_owned(), Bytes::from(bytes));
        }
        let files = Arc::new(files);
        let mut recent = lock(&self.recent);
        recent.retain(|_, known| known.part.strong_count() > 0);
        recent.insert(key, RecentPart { part: Arc::downgrade(part), files: files.clone() });
        Ok(files)
    }
}

/// Where the events of a query come from.
#[derive(Clone, Debug)]
pub struct Events {
    sources: Vec<Source>,
    /// The files of its segments stay while it is there.
    _snapshot: Option<Arc<Snapshot>>,
}

#[derive(Clone, Debug)]
enum Source {
    /// Part of a store.
    Part(Arc<Part>),
    /// A file with the data streams that its rows name.
    File { path: PathBuf, bytes: u64, streams: BTreeMap<String, BTreeSet<String>> },
}

/// The events of some data streams.
pub(crate) struct Chosen {
    pub(crate) files: Vec<TableFile>,
    /// Where files have rows of other data streams too: the indices of those that are meant.
    pub(crate) only_indices: Option<BTreeSet<String>>,
}

impl Events {
    /// All events of a store at one moment.
    pub fn of_snapshot(snapshot: &Arc<Snapshot>) -> Self {
        let sources = snapshot.parts(&TimeRange::default()).cloned().map(Source::Part).collect();
        Self { sources, _snapshot: Some(snapshot.clone()) }
    }

    /// The events of Parquet files that eqlipse wrote.
    ///
    /// # Errors
    /// If a file cannot be read, or is none of eqlipse's.
    pub fn of_files(paths: impl IntoIterator<Item = PathBuf>) -> Result<Self, SqlError> {
        let mut sources = Vec::new();
        for path in paths {
            let place = Place::Path { path: path.clone(), part: None };
            FileShape::of(&place.metadata()?, &mut Names::new())
                .map_err(|reason| SqlError::Read { path: path.clone(), reason })?;
            let mut streams: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for index in place.indices()? {
                streams.entry(stream_of(&index).to_owned()).or_default().insert(index);
            }
            let bytes = std::fs::metadata(&path).map(|metadata| metadata.len());
            let bytes = bytes.map_err(|error| SqlError::Read { path: path.clone(), reason: error.to_string() })?;
            sources.push(Source::File { path, bytes, streams });
        }
        Ok(Self { sources, _snapshot: None })
    }

    /// The data streams that there are. Events without one are in none.
    pub fn data_streams(&self) -> BTreeSet<String> {
        let mut streams = BTreeSet::new();
        for source in &self.sources {
            match source {
                Source::Part(part) => match part.data_stream() {
                    Some(stream) => _ = streams.insert(stream.to_owned()),
                    None => streams.extend(part.recent_events().map(|event| event.index.to_owned())),
                },
                Source::File { streams: of_file, .. } => streams.extend(of_file.keys().cloned()),
            }
        }
        streams.remove("");
        streams
    }

    /// The files with events of the data streams that `wants` says yes to.
    pub(crate) fn choose(&self, known: &Known, wants: impl Fn(&str) -> bool) -> Result<Chosen, SqlError> {
        let mut files = Vec::new();
        let mut only = BTreeSet::new();
        let mut has_others = false;
        for source in &self.sources {
            match source {
                Source::Part(part) => add_part(part, known, &wants, &mut files)?,
                Source::File { path, bytes, streams } => {
                    let wanted = || streams.iter().filter(|(stream, _)| wants(stream));
                    only.extend(wanted().flat_map(|(_, indices)| indices.iter().cloned()));
                    has_others |= wanted().count() < streams.len();
                    if wanted().next().is_some() {
                        files.push(file(path.clone(), *bytes, None, known)?);
                    }
                }
            }
        }
        Ok(Chosen { files, only_indices: has_others.then_some(only) })
    }
}

fn add_part(
    part: &Arc<Part>,
    known: &Known,
    wants: &dyn Fn(&str) -> bool,
    files: &mut Vec<TableFile>,
) -> Result<(), SqlError> {
    if let Some((path, bytes)) = part.place() {
        if part.data_stream().is_some_and(wants) {
            files.push(file(path.to_owned(), bytes, Some(part.clone()), known)?);
        }
        return Ok(());
    }
    for (stream, bytes) in known.recent(part)?.iter().filter(|(stream, _)| wants(stream)) {
        let place = Place::Memory(bytes.clone());
        let size = bytes.len() as u64;
        let shape = known.shape(&place, None, size)?;
        files.push(TableFile { name: format!("recent {stream}"), place, bytes: size, shape });
    }
    Ok(())
}

fn file(path: PathBuf, bytes: u64, part: Option<Arc<Part>>, known: &Known) -> Result<TableFile, SqlError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let place = Place::Path { path: path.clone(), part };
    let shape = known.shape(&place, Some(&path), bytes)?;
    Ok(TableFile { name, place, bytes, shape })
}
