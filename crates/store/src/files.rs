//! Where the files of segments are. By default they lie in a folder, and that is all. With an object store, the folder has
//! what is not there yet, and copies of what was read last: a file goes from here only when it is there.
//!
//! ```text
//! flush ──> folder, named by the catalogue ──[`upload`](crate::upload)──> object store
//!             ▲  copies, up to a limit                                        │
//!             └────────────────────────── hold ───────────────────────────────┘
//! ```
//!
//! So nothing that comes in waits for the object store to be taken, and an event is on two disks at most times and on one at
//! all times. Only while segments that are not here are put together, or a damaged one is looked at, no others are written:
//! recent events stay in memory and in the log until then.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use crate::StoreError;
use crate::catalogue::Versions;
use crate::objects::{Missing, Objects};
use crate::part::Part;
use crate::segment::{SegmentPart, rows_path, write_lasting};
use crate::sync::{Bell, lock, try_lock};

/// The files of all segments.
#[derive(Debug)]
pub(crate) struct SegmentFiles {
    folder: PathBuf,
    /// Where files are put that are fetched, if that is not the folder: another process has that.
    aside: Option<TempDir>,
    remote: Option<Remote>,
    /// Counts uses of files.
    clock: AtomicU64,
    /// Segments that nobody reads any more and whose objects are to go.
    gone: Mutex<Vec<String>>,
    bell: Bell,
    problem: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Remote {
    objects: Objects,
    /// The store's id, which is in its marker too.
    id: String,
    /// Something of segments was there before, or may have been.
    is_begun: bool,
    is_claimed: AtomicBool,
}

/// A file of a segment.
#[derive(Debug)]
pub(crate) struct LocalFile {
    /// Where it is, if it is here.
    pub(crate) path: PathBuf,
    /// Below the folder, and below the prefix of the object store.
    pub(crate) name: String,
    used: AtomicU64,
    /// Its length, or [`NOT_HERE`]. Whoever only asks waits for nobody who fetches it.
    length: AtomicU64,
    /// Locked by who fetches, writes or removes it. Whoever has a clone keeps it where it is.
    here: Mutex<Arc<()>>,
}

/// As the length of a file.
const NOT_HERE: u64 = u64::MAX;

/// Keeps a file where it is.
#[derive(Debug)]
pub(crate) struct Held {
    _holder: Arc<()>,
}

impl LocalFile {
    /// The file of this name, which may be here or not.
    fn new(folder: &Path, aside: Option<&Path>, name: &str) -> Self {
        let path = folder.join(name);
        let bytes = fs::metadata(&path).ok().map(|metadata| metadata.len());
        let path = if bytes.is_some() { path } else { aside.unwrap_or(folder).join(name) };
        let length = AtomicU64::new(bytes.unwrap_or(NOT_HERE));
        Self { path, name: name.to_owned(), used: AtomicU64::new(0), length, here: Mutex::default() }
    }

    /// How long it is, if it is here.
    pub(crate) fn bytes(&self) -> Option<u64> {
        Some(self.length.load(Ordering::Relaxed)).filter(|bytes| *bytes != NOT_HERE)
    }

    fn set_bytes(&self, bytes: Option<u64>) {
        self.length.store(bytes.unwrap_or(NOT_HERE), Ordering::Relaxed);
    }

    /// Keeps it, if it is here, until what is returned is dropped.
    pub(crate) fn keep(&self) -> Held {
        Held { _holder: lock(&self.here).clone() }
    }

    /// Looks at something while nobody fetches, writes or removes the file.
    pub(crate) fn while_settled<T>(&self, look: impl FnOnce() -> T) -> T {
        let _here = lock(&self.here);
        look()
    }
}

impl SegmentFiles {
    /// Files in a folder only.
    pub(crate) fn local(folder: PathBuf) -> Self {
        Self {
            folder,
            aside: None,
            remote: None,
            clock: AtomicU64::new(1),
            gone: Mutex::default(),
            bell: Bell::default(),
            problem: Mutex::default(),
        }
    }

    /// Files in a folder only, if the segments with these versions are there.
    pub(crate) fn only_local(folder: PathBuf, versions: &HashMap<String, Versions>) -> Result<Self, StoreError> {
        let is_there_only =
            |(name, version): (&String, &Versions)| version.has_parquet() && !folder.join(name).exists();
        match versions.iter().any(is_there_only) {
            true => {
                let reason = "segments of this store are in an object store, and the settings do not say in which";
                Err(StoreError::Objects { place: "store.segments".to_owned(), reason: reason.to_owned() })
            }
            false => Ok(Self::local(folder)),
        }
    }

    /// Files in an object store, with what is here of them in a folder. `gone` are the segments whose objects are to go.
    pub(crate) fn remote(folder: PathBuf, objects: Objects, id: String, is_begun: bool, gone: Vec<String>) -> Self {
        let remote = Remote { objects, id, is_begun, is_claimed: AtomicBool::new(false) };
        Self { remote: Some(remote), gone: Mutex::new(gone), ..Self::local(folder) }
    }

    /// The files of another process's store: what is not in its folder is fetched to a folder of its own.
    pub(crate) fn of_another(folder: PathBuf, objects: Objects, id: String) -> Result<Self, StoreError> {
        let aside = Some(tempfile::tempdir().map_err(StoreError::io(std::env::temp_dir()))?);
        Ok(Self { aside, ..Self::remote(folder, objects, id, true, Vec::new()) })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// The Parquet file of a segment and its file of rows.
    pub(crate) fn of_segment(&self, name: &str) -> [LocalFile; 2] {
        let rows = rows_path(Path::new(name)).to_string_lossy().into_owned();
        let aside = self.aside.as_ref().map(TempDir::path);
        [LocalFile::new(&self.folder, aside, name), LocalFile::new(&self.folder, aside, &rows)]
    }

    /// The object store, once it is sure that what lies there is this store's.
    pub(crate) fn objects(&self) -> Result<Option<&Objects>, Missing> {
        let Some(remote) = &self.remote else { return Ok(None) };
        if !remote.is_claimed.load(Ordering::Acquire) {
            remote.objects.claim(&remote.id, remote.is_begun)?;
            remote.is_claimed.store(true, Ordering::Release);
        }
        Ok(Some(&remote.objects))
    }

    /// What lies in the object store is this store's.
    pub(crate) fn is_claimed(&self) -> bool {
        self.remote.as_ref().is_none_or(|remote| remote.is_claimed.load(Ordering::Acquire))
    }

    /// Forgets that the object store was away just now.
    pub(crate) fn try_again(&self) {
        if let Some(remote) = &self.remote {
            remote.objects.try_again();
        }
    }

    /// Sees to it that a file is here until what is returned is dropped. What has to be fetched must be `sound`.
    pub(crate) fn hold(&self, file: &LocalFile, is_sound: impl Fn(u64, u128) -> bool) -> Result<Held, StoreError> {
        file.used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        let here = lock(&file.here);
        let is_here = !self.is_remote() || (file.bytes().is_some() && file.path.exists());
        if !is_here {
            file.set_bytes(Some(self.fetch(file, is_sound)?));
            self.wake();
        }
        Ok(Held { _holder: here.clone() })
    }

    fn fetch(&self, file: &LocalFile, is_sound: impl Fn(u64, u128) -> bool) -> Result<u64, StoreError> {
        let Some(objects) = self.objects()? else { return Err(not_here(file)) };
        let folder = file.path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(StoreError::io(folder))?;
        let unfinished = PathBuf::from(format!("{}.tmp", file.path.display()));
        let fetched = (|| {
            let (bytes, checksum) = objects.fetch(&file.name, &unfinished)?;
            if !is_sound(bytes, checksum) {
                let reason = "its checksum is another, in the object store".to_owned();
                return Err(StoreError::Segment { path: file.path.clone(), reason });
            }
            fs::rename(&unfinished, &file.path).map_err(StoreError::io(&file.path))?;
            Ok(bytes)
        })();
        if fetched.is_err() {
            _ = fs::remove_file(&unfinished);
        }
        fetched
    }

    /// Fetches a file that is an object too in the place of what is here, which stays until then: somebody may hold it, and
    /// the object store may be away.
    pub(crate) fn fetch_again(&self, file: &LocalFile, is_sound: impl Fn(u64, u128) -> bool) -> Result<(), StoreError> {
        let _here = lock(&file.here);
        file.set_bytes(Some(self.fetch(file, is_sound)?));
        self.wake();
        Ok(())
    }

    /// Writes a file anew, after `before` went well. Nobody removes it in the meantime.
    pub(crate) fn write(
        &self,
        file: &LocalFile,
        bytes: &[u8],
        before: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let _here = lock(&file.here);
        before()?;
        let folder = file.path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(StoreError::io(folder))?;
        write_lasting(&file.path, bytes)?;
        file.set_bytes(Some(bytes.len() as u64));
        Ok(())
    }

    /// A segment's objects are to go.
    pub(crate) fn remove_objects(&self, name: &str) {
        if self.is_remote() {
            lock(&self.gone).push(name.to_owned());
            self.wake();
        }
    }

    /// The segments whose objects are to go.
    pub(crate) fn gone(&self) -> Vec<String> {
        lock(&self.gone).clone()
    }

    /// The objects of this one are gone.
    pub(crate) fn forget(&self, name: &str) {
        lock(&self.gone).retain(|gone| gone != name);
    }

    /// Removes copies of what was read longest ago, until the others are within the limit: Parquet files first, as every
    /// rule looks at the files of rows.
    pub(crate) fn shrink(&self, parts: &[Arc<Part>]) {
        let Some(remote) = &self.remote else { return };
        let limit = remote.objects.cache_bytes();
        let segments = || parts.iter().filter_map(|part| part.as_segment());
        let mut total: u64 = segments().map(SegmentPart::local_bytes).sum();
        if total <= limit {
            return;
        }
        let mut files: Vec<(bool, u64, &SegmentPart)> = segments()
            .flat_map(|segment| {
                [false, true].map(|is_rows| (is_rows, segment.file(is_rows).used.load(Ordering::Relaxed), segment))
            })
            .collect();
        files.sort_by_key(|(is_rows, used, _)| (*is_rows, *used));
        for (is_rows, _, segment) in files {
            if total <= limit {
                break;
            }
            total -= remove_copy(segment, segment.file(is_rows));
        }
    }

    pub(crate) fn wake(&self) {
        self.bell.ring();
    }

    /// Waits until somebody wakes, or for so long.
    pub(crate) fn rest(&self, time: Duration) {
        self.bell.rest(time);
    }

    pub(crate) fn set_problem(&self, problem: Option<String>) {
        let mut known = lock(&self.problem);
        match (&*known, &problem) {
            (None, Some(problem)) => tracing::error!(problem, "the object store cannot be used; segments wait here"),
            (Some(_), None) => tracing::info!("the object store can be used again"),
            _ => {}
        }
        *known = problem;
    }

    pub(crate) fn problem(&self) -> Option<String> {
        lock(&self.problem).clone()
    }
}

/// Removes a file that is a sound object too, as far as is known, and that nobody holds. Returns how many bytes that were.
fn remove_copy(segment: &SegmentPart, file: &LocalFile) -> u64 {
    // One that is being fetched is not looked at.
    let Some(here) = try_lock(&file.here) else { return 0 };
    if Arc::strong_count(&here) > 1 || !segment.is_uploaded() || segment.has_bad_objects() {
        return 0;
    }
    let Some(bytes) = file.bytes() else { return 0 };
    match fs::remove_file(&file.path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return 0,
        _ => file.set_bytes(None),
    }
    bytes
}

fn not_here(file: &LocalFile) -> StoreError {
    StoreError::Io { path: file.path.clone(), error: std::io::ErrorKind::NotFound.into() }
}
