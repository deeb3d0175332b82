//! What a load would read, as it is now.

use std::fs::Metadata;
use std::path::Path;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use super::PathOrStdin;
use super::loader::is_hidden;

/// A file that was changed this recently may be changed again without its time saying so.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// What is known of all files that a load would read, without reading them: names, sizes, times, places on disk. While
/// it stays the same, loading gives the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    digest: [u8; 32],
    bytes: u64,
    is_settled: bool,
}

impl Snapshot {
    /// Looks at the paths as they are now. `None` where that does not say what a load would read: standard input, a
    /// pipe, something that cannot be looked at.
    pub fn take(paths: &[PathOrStdin]) -> Option<Snapshot> {
        let mut taker = Taker { hash: Sha256::new(), bytes: 0, newest: SystemTime::UNIX_EPOCH };
        let now = SystemTime::now();
        for path in paths {
            match path {
                PathOrStdin::Path(path) => taker.add(path)?,
                PathOrStdin::Stdin => return None,
            }
        }
        let is_settled = now.duration_since(taker.newest).is_ok_and(|age| age >= SETTLED_AFTER);
        Some(Snapshot { digest: taker.hash.finalize().into(), bytes: taker.bytes, is_settled })
    }

    /// A hash of it all.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Size of all files together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether any later change of a file would make another snapshot. Not so within moments of the last change, as
    /// two changes may get the same time.
    pub fn is_settled(&self) -> bool {
        self.is_settled
    }
}

struct Taker {
    hash: Sha256,
    bytes: u64,
    newest: SystemTime,
}

impl Taker {
    fn add(&mut self, path: &Path) -> Option<()> {
        // The place decides which files are the same one.
        self.text(path)?;
        self.text(&path.canonicalize().ok()?)?;
        let metadata = path.metadata().ok()?;
        match metadata.is_file() {
            true => self.file(&metadata),
            false if metadata.is_dir() => self.folder(path),
            false => None,
        }
    }

    /// Walks as the loader does.
    fn folder(&mut self, folder: &Path) -> Option<()> {
        let mut walk = WalkDir::new(folder).min_depth(1).sort_by_file_name().into_iter();
        while let Some(entry) = walk.next() {
            let entry = entry.ok()?;
            self.text(entry.path())?;
            if is_hidden(&entry) {
                self.hash.update(b"hidden");
                if entry.file_type().is_dir() {
                    walk.skip_current_dir();
                }
            } else if entry.file_type().is_dir() {
                self.hash.update(b"folder");
            } else {
                self.met(entry.path(), entry.path_is_symlink())?;
            }
        }
        Some(())
    }

    /// A file, a link or something else in a folder.
    fn met(&mut self, path: &Path, is_link: bool) -> Option<()> {
        match path.metadata() {
            Ok(metadata) => {
                if is_link {
                    self.text(&path.canonicalize().ok()?)?;
                }
                if metadata.is_file() {
                    return self.file(&metadata);
                }
                self.hash.update(b"other");
            }
            // It leads nowhere, as it will until it is changed or the other end appears.
            Err(_) if is_link => self.hash.update(b"nowhere"),
            Err(_) => return None,
        }
        Some(())
    }

    fn file(&mut self, metadata: &Metadata) -> Option<()> {
        let modified = metadata.modified().ok()?;
        self.newest = self.newest.max(modified);
        self.bytes += metadata.len();
        self.hash.update(metadata.len().to_le_bytes());
        let time = modified.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        self.hash.update(time.as_nanos().to_le_bytes());
        self.hash.update(place(metadata));
        Some(())
    }

    fn text(&mut self, path: &Path) -> Option<()> {
        let path = path.to_str()?;
        self.hash.update((path.len() as u64).to_le_bytes());
        self.hash.update(path.as_bytes());
        Some(())
    }
}

/// Where a file lies on its disk, and when anything of it was last changed: a file that took another's place under its
/// name, size and time is found by these.
#[cfg(unix)]
fn place(metadata: &Metadata) -> Vec<u8> {
    use std::os::unix::fs::MetadataExt;
    let numbers = [metadata.dev(), metadata.ino(), metadata.ctime() as u64, metadata.ctime_nsec() as u64];
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

#[cfg(windows)]
fn place(metadata: &Metadata) -> Vec<u8> {
    use std::os::windows::fs::MetadataExt;
    metadata.creation_time().to_le_bytes().to_vec()
}

#[cfg(not(any(unix, windows)))]
fn place(_: &Metadata) -> Vec<u8> {
    Vec::new()
}
