//! Other processes that look at the store: while there are any, files of segments stay.
//!
//! A reader holds a shared lock on the file `readers`. Who wants to remove files needs it alone for a moment.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::sync::{lock, try_lock};

const NAME: &str = "readers";

/// What keeps the files of segments where they are, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reading(#[expect(dead_code, reason = "the lock goes with the file")] Option<File>);

impl Reading {
    /// Begins to read the store in a folder. Nothing is written.
    pub(crate) fn begin(folder: &Path) -> io::Result<Self> {
        match File::open(folder.join(NAME)) {
            Ok(file) => {
                file.lock_shared()?;
                Ok(Self(Some(file)))
            }
            // No service has opened it since there are readers.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self(None)),
            Err(error) => Err(error),
        }
    }
}

/// The store's side: files that are to go when nobody reads.
#[derive(Debug)]
pub(crate) struct Readers {
    /// The system's lock is the whole process's: among its threads, the mutex decides.
    file: Mutex<File>,
    waiting: Mutex<Vec<PathBuf>>,
}

impl Readers {
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        let file = File::options().write(true).create(true).truncate(false).open(folder.join(NAME))?;
        Ok(Self { file: Mutex::new(file), waiting: Mutex::default() })
    }

    /// Removes files of segments, now or when nobody reads any more. Nothing is ever written to them again. What cannot be
    /// removed is an orphan at the next start.
    pub(crate) fn remove(&self, files: impl IntoIterator<Item = PathBuf>) {
        lock(&self.waiting).extend(files);
        self.remove_waiting();
    }

    /// Removes what waits, if nobody reads now.
    pub(crate) fn remove_waiting(&self) {
        let mut waiting = lock(&self.waiting);
        if !waiting.is_empty() {
            self.alone(|| waiting.drain(..).for_each(|path| _ = fs::remove_file(path)));
        }
    }

    /// Does something if nobody reads and nobody else is alone, and lets nobody begin meanwhile.
    pub(crate) fn alone<T>(&self, act: impl FnOnce() -> T) -> Option<T> {
        // Nobody waits: what is done may let go of a segment, and that comes here again.
        let file = try_lock(&self.file)?;
        // Where the system has no locks, there are no readers that could be waited for.
        if matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)) {
            return None;
        }
        let _unlock = Unlock(&file);
        Some(act())
    }
}

/// Frees a file when it is dropped, by a panic too: else nobody could begin to read any more.
struct Unlock<'f>(&'f File);

impl Drop for Unlock<'_> {
    fn drop(&mut self) {
        _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_while_somebody_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segment");
        fs::write(&path, "events").unwrap();
        // Before a service was there, there is nothing to hold.
        drop(Reading::begin(folder.path()).unwrap());
        let readers = Readers::open(folder.path()).unwrap();
        let (one, two) = (Reading::begin(folder.path()).unwrap(), Reading::begin(folder.path()).unwrap());
        readers.remove([path.clone()]);
        drop(one);
        readers.remove_waiting();
        assert!(path.exists());
        drop(two);
        readers.remove_waiting();
        assert!(!path.exists());
        // It is free again.
        drop(Reading::begin(folder.path()).unwrap());
    }

    #[test]
    fn only_one_is_alone_and_nobody_reads_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segment");
        fs::write(&path, "events").unwrap();
        let readers = Readers::open(folder.path()).unwrap();
        let other = File::open(folder.path().join(NAME)).unwrap();
        let is_alone = readers.alone(|| {
            // Neither this thread once more nor another one.
            assert!(readers.alone(|| ()).is_none());
            readers.remove([path.clone()]);
            assert!(path.exists());
            std::thread::scope(|scope| assert!(scope.spawn(|| readers.alone(|| ())).join().unwrap().is_none()));
            assert!(matches!(other.try_lock_shared(), Err(fs::TryLockError::WouldBlock)));
        });
        assert!(is_alone.is_some());
        let panicked = std::panic::catch_unwind(|| readers.alone(|| panic!("while nobody may begin")));
        assert!(panicked.is_err());
        let reading = Reading::begin(folder.path()).unwrap();
        assert!(readers.alone(|| ()).is_none());
        drop(reading);
        readers.remove_waiting();
        assert!(!path.exists());
        assert!(other.try_lock_shared().is_ok());
    }
}
