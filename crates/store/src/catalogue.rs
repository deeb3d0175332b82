//! Which segments there are: the one place that says so. A segment counts from the moment at which the catalogue names
//! it, and until then its events are in the log.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Row, params};

use crate::StoreError;
use crate::part::Span;
use crate::segment::SegmentEntry;

const VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE segments (
    path TEXT PRIMARY KEY, data_stream TEXT NOT NULL, event_rows INTEGER NOT NULL, bytes INTEGER NOT NULL,
    checksum BLOB NOT NULL, first_sequence INTEGER NOT NULL, last_sequence INTEGER NOT NULL,
    first_time INTEGER, last_time INTEGER, first_ingested INTEGER, last_ingested INTEGER
) STRICT;
CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
";

/// The sequence number below which every event is in a segment, or was in one.
const FLUSHED: &str = "flushed_below";

/// How often reading without locks is tried.
const READ_TRIES: usize = 20;
/// How long a reader waits for a service that is just opening or closing the catalogue.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The catalogue.
#[derive(Debug)]
pub(crate) struct Catalogue(Mutex<Connection>);

impl Catalogue {
    /// Opens the catalogue, or begins one.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        // A flush deletes the log behind it: what the catalogue was told must be on disk then.
        connection.pragma_update(None, "synchronous", "FULL")?;
        let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == 0 {
            connection.execute_batch(SCHEMA)?;
            connection.pragma_update(None, "user_version", VERSION)?;
        } else {
            check_version(path, version)?;
        }
        Ok(Self(Mutex::new(connection)))
    }

    /// Reads the catalogue of a store that another process may have open, and changes nothing: all segments, and the
    /// sequence number below which every event is in one, or was.
    pub(crate) fn read(path: &Path) -> Result<(Vec<SegmentEntry>, u64), StoreError> {
        let mut before = OnDisk::of(path)?;
        // Only a service that starts or stops in these very moments makes another try necessary.
        for _ in 0..READ_TRIES {
            let read = read_once(path, before.is_whole());
            let after = OnDisk::of(path)?;
            if !before.is_whole() || after == before {
                return read;
            }
            before = after;
        }
        let reason = "it changes faster than it can be read".to_owned();
        Err(StoreError::Segment { path: path.to_owned(), reason })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All segments, by sequence number.
    pub(crate) fn segments(&self) -> Result<Vec<SegmentEntry>, StoreError> {
        segments(&self.lock())
    }

    /// The sequence number below which every event is in a segment, or was in one.
    pub(crate) fn flushed_below(&self) -> Result<u64, StoreError> {
        flushed_below(&self.lock())
    }

    /// Replaces some segments by others, at once. `flushed_below` moves on if it is given.
    pub(crate) fn replace(
        &self,
        gone: &[&str],
        come: &[SegmentEntry],
        flushed_below: Option<u64>,
    ) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let transaction = connection.transaction()?;
        for path in gone {
            transaction.execute("DELETE FROM segments WHERE path = ?1", [path])?;
        }
        for segment in come {
            transaction.execute(
                "INSERT INTO segments VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                params![
                    segment.path,
                    segment.index,
                    segment.rows,
                    segment.bytes as i64,
                    segment.checksum.to_le_bytes(),
                    segment.first_sequence as i64,
                    segment.last_sequence as i64,
                    segment.times.first,
                    segment.times.last,
                    segment.ingested.first,
                    segment.ingested.last,
                ],
            )?;
        }
        if let Some(sequence) = flushed_below {
            transaction.execute("INSERT OR REPLACE INTO state VALUES (?1, ?2)", params![FLUSHED, sequence as i64])?;
        }
        Ok(transaction.commit()?)
    }
}

fn check_version(path: &Path, version: i64) -> Result<(), StoreError> {
    if version == VERSION {
        return Ok(());
    }
    let reason = format!("written by another version of eqlipse (layout {version}, this one has {VERSION})");
    Err(StoreError::Segment { path: path.to_owned(), reason })
}

fn segments(connection: &Connection) -> Result<Vec<SegmentEntry>, StoreError> {
    let mut statement = connection.prepare("SELECT * FROM segments ORDER BY first_sequence, path")?;
    let entries = statement.query_map([], entry)?;
    Ok(entries.collect::<Result<_, _>>()?)
}

fn flushed_below(connection: &Connection) -> Result<u64, StoreError> {
    let mut statement = connection.prepare("SELECT value FROM state WHERE name = ?1")?;
    let mut rows = statement.query([FLUSHED])?;
    match rows.next()? {
        Some(row) => Ok(row.get::<_, i64>(0)? as u64),
        None => Ok(0),
    }
}

/// What the system says of the catalogue's files.
#[derive(PartialEq, Eq)]
struct OnDisk {
    length: u64,
    modified: Option<SystemTime>,
    /// Of SQLite's own log beside it.
    log_length: u64,
}

impl OnDisk {
    fn of(path: &Path) -> Result<Self, StoreError> {
        let metadata = fs::metadata(path).map_err(StoreError::io(path))?;
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let log_length = fs::metadata(PathBuf::from(log)).map_or(0, |metadata| metadata.len());
        Ok(Self { length: metadata.len(), modified: metadata.modified().ok(), log_length })
    }

    /// Whether the file alone is the whole catalogue.
    fn is_whole(&self) -> bool {
        self.log_length == 0
    }
}

/// Reads with SQLite's own locks, which also keep the running service's log in place; or, where there is no log, the
/// file as it lies there: with locks, SQLite would make files beside it.
fn read_once(path: &Path, is_whole: bool) -> Result<(Vec<SegmentEntry>, u64), StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = match is_whole {
        true => Connection::open_with_flags(immutable_uri(path)?, flags | OpenFlags::SQLITE_OPEN_URI)?,
        false => Connection::open_with_flags(path, flags)?,
    };
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Tidying up is for the service.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let transaction = connection.transaction()?;
    check_version(path, transaction.pragma_query_value(None, "user_version", |row| row.get(0))?)?;
    Ok((segments(&transaction)?, flushed_below(&transaction)?))
}

fn immutable_uri(path: &Path) -> Result<String, StoreError> {
    let whole = std::path::absolute(path).map_err(StoreError::io(path))?;
    let bytes = whole.as_os_str().as_encoded_bytes();
    let mut uri = "file:".to_owned();
    if !bytes.starts_with(b"/") {
        uri.push('/');
    }
    for byte in bytes {
        match byte {
            b'\\' if cfg!(windows) => uri.push('/'),
            b'/' | b'.' | b'-' | b'_' | b':' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => uri.push(char::from(*byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    Ok(uri)
}

fn entry(row: &Row<'_>) -> rusqlite::Result<SegmentEntry> {
    Ok(SegmentEntry {
        path: row.get(0)?,
        index: row.get(1)?,
        rows: row.get(2)?,
        bytes: row.get::<_, i64>(3)? as u64,
        checksum: u128::from_le_bytes(row.get(4)?),
        first_sequence: row.get::<_, i64>(5)? as u64,
        last_sequence: row.get::<_, i64>(6)? as u64,
        times: Span { first: row.get(7)?, last: row.get(8)? },
        ingested: Span { first: row.get(9)?, last: row.get(10)? },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_come_and_go_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalogue.sqlite");
        let segment = |path: &str, first_sequence| SegmentEntry {
            path: path.to_owned(),
            index: "logs-x".to_owned(),
            rows: 3,
            bytes: 5,
            checksum: u128::MAX - 1,
            first_sequence,
            last_sequence: first_sequence + 2,
            times: Span { first: Some(-1), last: Some(1) },
            ingested: Span::default(),
        };
        let catalogue = Catalogue::open(&path).unwrap();
        assert_eq!(catalogue.flushed_below().unwrap(), 0);
        catalogue.replace(&[], &[segment("b", 7), segment("a", 3)], Some(10)).unwrap();
        assert!(catalogue.replace(&["a"], &[segment("b", 7)], Some(11)).is_err());
        drop(catalogue);
        let catalogue = Catalogue::open(&path).unwrap();
        assert_eq!(catalogue.segments().unwrap(), [segment("a", 3), segment("b", 7)]);
        assert_eq!(catalogue.flushed_below().unwrap(), 10);
        catalogue.replace(&["a", "b"], &[segment("c", 3)], None).unwrap();
        assert_eq!(catalogue.segments().unwrap(), [segment("c", 3)]);
        assert_eq!(catalogue.flushed_below().unwrap(), 10);
    }

    fn files(folder: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
        let entries = fs::read_dir(folder).unwrap().flatten();
        let mut files: Vec<_> = entries.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect();
        files.sort();
        files
    }

    #[test]
    fn it_is_read_whoever_has_it_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("50% of ä?b#c");
        fs::create_dir(&odd).unwrap();
        let path = odd.join("catalogue.sqlite");
        assert!(matches!(Catalogue::read(&path), Err(StoreError::Io { .. })));
        let catalogue = Catalogue::open(&path).unwrap();
        catalogue.replace(&[], &[], Some(10)).unwrap();
        // What was written last is in SQLite's log only.
        assert!(!OnDisk::of(&path).unwrap().is_whole());
        assert_eq!(Catalogue::read(&path).unwrap(), (vec![], 10));
        // As a killed process leaves it.
        let killed = folder.path().join("killed");
        fs::create_dir(&killed).unwrap();
        for (name, bytes) in files(&odd) {
            fs::write(killed.join(name), bytes).unwrap();
        }
        let data = |(name, _): &(std::ffi::OsString, Vec<u8>)| !name.to_string_lossy().ends_with("-shm");
        let before: Vec<_> = files(&killed).into_iter().filter(data).collect();
        assert_eq!(Catalogue::read(&killed.join("catalogue.sqlite")).unwrap(), (vec![], 10));
        assert_eq!(files(&killed).into_iter().filter(data).collect::<Vec<_>>(), before);
        drop(catalogue);
        let before = files(&odd);
        assert_eq!(before.len(), 1);
        assert_eq!(Catalogue::read(&path).unwrap(), (vec![], 10));
        assert_eq!(files(&odd), before);
    }
}
