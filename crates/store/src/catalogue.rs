//! Which segments there are: the one place that says so. A segment counts from the moment at which the catalogue names
//! it, and until then its events are in the log.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use crate::StoreError;
use crate::part::Span;
use crate::segment::SegmentEntry;

/// The third has nothing of its own: files of rows and the log's frames are such as those before cannot read.
const VERSION: i64 = 3;
/// With this one came object stores.
const OBJECTS_VERSION: i64 = 2;

const SCHEMA: &str = "
CREATE TABLE segments (
    path TEXT PRIMARY KEY, data_stream TEXT NOT NULL, event_rows INTEGER NOT NULL, bytes INTEGER NOT NULL,
    checksum BLOB NOT NULL, first_sequence INTEGER NOT NULL, last_sequence INTEGER NOT NULL,
    first_time INTEGER, last_time INTEGER, first_ingested INTEGER, last_ingested INTEGER
) STRICT;
CREATE TABLE state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
";

/// What came with object stores: of the files of rows, which version is here and which is there; who the store is; and
/// the segments that are no more while their objects still are.
const SECOND_SCHEMA: &str = "
ALTER TABLE segments ADD COLUMN rows_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE segments ADD COLUMN uploaded_version INTEGER;
CREATE TABLE store (id TEXT NOT NULL) STRICT;
CREATE TABLE removed (path TEXT PRIMARY KEY) STRICT;
";

/// As the version of a file of rows in the object store: nothing may be there yet, or a part.
pub(crate) const BEGUN: i64 = -1;

/// What of a segment is in the object store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Versions {
    /// Of the file of rows here; it counts changes.
    pub(crate) rows: i64,
    /// Of the file of rows there; `None` if nothing is there.
    pub(crate) uploaded: Option<i64>,
}

impl Versions {
    /// Something may be there.
    pub(crate) fn has_objects(self) -> bool {
        self.uploaded.is_some()
    }

    /// The Parquet file is there.
    pub(crate) fn has_parquet(self) -> bool {
        self.uploaded.is_some_and(|uploaded| uploaded != BEGUN)
    }

    /// All that is here is there too.
    pub(crate) fn is_uploaded(self) -> bool {
        self.uploaded == Some(self.rows)
    }
}

/// The sequence number below which every event is in a segment, or was in one.
const FLUSHED: &str = "flushed_below";

/// How often reading without locks is tried.
const READ_TRIES: usize = 20;
/// How long a reader waits for a service that is just opening or closing the catalogue.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// What a catalogue says at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// All segments, by sequence number.
    pub(crate) segments: Vec<SegmentEntry>,
    /// The sequence number below which every event is in one, or was.
    pub(crate) flushed_below: u64,
    /// What of each segment is in the object store.
    pub(crate) versions: HashMap<String, Versions>,
    /// The store's id, if it has one.
    pub(crate) id: Option<String>,
}

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
        let steps = match version {
            0 => &[SCHEMA, SECOND_SCHEMA][..],
            1 => &[SECOND_SCHEMA],
            _ => &[],
        };
        if version != 0 {
            check_version(path, version)?;
        }
        if version != VERSION {
            let step = format!("BEGIN;{}PRAGMA user_version = {VERSION};COMMIT;", steps.concat());
            connection.execute_batch(&step)?;
        }
        Ok(Self(Mutex::new(connection)))
    }

    /// Reads the catalogue of a store that another process may have open, and changes nothing.
    pub(crate) fn read(path: &Path) -> Result<Read, StoreError> {
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

    /// The store's id, which is made when it is first asked for.
    pub(crate) fn id(&self) -> Result<String, StoreError> {
        let connection = self.lock();
        if let Some(id) = id(&connection)? {
            return Ok(id);
        }
        let id: String = connection.query_row("SELECT lower(hex(randomblob(16)))", [], |row| row.get(0))?;
        connection.execute("INSERT INTO store VALUES (?1)", [&id])?;
        Ok(id)
    }

    /// What of each segment is in the object store.
    pub(crate) fn versions(&self) -> Result<HashMap<String, Versions>, StoreError> {
        versions(&self.lock())
    }

    /// A segment's file of rows is becoming another.
    pub(crate) fn set_rows(&self, path: &str, version: i64) -> Result<(), StoreError> {
        self.lock().execute("UPDATE segments SET rows_version = ?2 WHERE path = ?1", params![path, version])?;
        Ok(())
    }

    /// This version of a segment's file of rows is in the object store, and its Parquet file is, or [`BEGUN`]. Says whether
    /// there is such a segment.
    pub(crate) fn set_uploaded(&self, path: &str, version: i64) -> Result<bool, StoreError> {
        let change = "UPDATE segments SET uploaded_version = ?2 WHERE path = ?1";
        Ok(self.lock().execute(change, params![path, version])? > 0)
    }

    /// A segment is no more; its objects stay where they are.
    pub(crate) fn forget(&self, path: &str) -> Result<(), StoreError> {
        self.lock().execute("DELETE FROM segments WHERE path = ?1", [path])?;
        Ok(())
    }

    /// Segments that are no more, and whose objects may still be there.
    pub(crate) fn removed(&self) -> Result<Vec<String>, StoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare("SELECT path FROM removed")?;
        let paths = statement.query_map([], |row| row.get(0))?;
        Ok(paths.collect::<Result<_, _>>()?)
    }

    /// The objects of such a segment are gone.
    pub(crate) fn forget_removed(&self, path: &str) -> Result<(), StoreError> {
        self.lock().execute("DELETE FROM removed WHERE path = ?1", [path])?;
        Ok(())
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
            transaction.execute(
                "INSERT OR IGNORE INTO removed
                 SELECT path FROM segments WHERE path = ?1 AND uploaded_version IS NOT NULL",
                [path],
            )?;
            transaction.execute("DELETE FROM segments WHERE path = ?1", [path])?;
        }
        for segment in come {
            transaction.execute(
                "INSERT INTO segments (
                     path, data_stream, event_rows, bytes, checksum, first_sequence, last_sequence,
                     first_time, last_time, first_ingested, last_ingested
                 ) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
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
    if (1..=VERSION).contains(&version) {
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

fn id(connection: &Connection) -> Result<Option<String>, StoreError> {
    Ok(connection.query_row("SELECT id FROM store", [], |row| row.get(0)).optional()?)
}

fn versions(connection: &Connection) -> Result<HashMap<String, Versions>, StoreError> {
    let mut statement = connection.prepare("SELECT path, rows_version, uploaded_version FROM segments")?;
    let versions =
        statement.query_map([], |row| Ok((row.get(0)?, Versions { rows: row.get(1)?, uploaded: row.get(2)? })))?;
    Ok(versions.collect::<Result<_, _>>()?)
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
fn read_once(path: &Path, is_whole: bool) -> Result<Read, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = match is_whole {
        true => Connection::open_with_flags(immutable_uri(path)?, flags | OpenFlags::SQLITE_OPEN_URI)?,
        false => Connection::open_with_flags(path, flags)?,
    };
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // Tidying up is for the service.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let transaction = connection.transaction()?;
    let version = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    check_version(path, version)?;
    // One of the first layout is changed over by the service.
    let (versions, id) =
        if version < OBJECTS_VERSION { Default::default() } else { (versions(&transaction)?, id(&transaction)?) };
    Ok(Read { segments: segments(&transaction)?, flushed_below: flushed_below(&transaction)?, versions, id })
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

    fn segment(path: &str, first_sequence: u64) -> SegmentEntry {
        SegmentEntry {
            path: path.to_owned(),
            index: "logs-x".to_owned(),
            rows: 3,
            bytes: 5,
            checksum: u128::MAX - 1,
            first_sequence,
            last_sequence: first_sequence + 2,
            times: Span { first: Some(-1), last: Some(1) },
            ingested: Span::default(),
        }
    }

    #[test]
    fn a_catalogue_of_the_first_layout_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalogue.sqlite");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(&format!("{SCHEMA}PRAGMA user_version = 1;")).unwrap();
        let values = "('a', 'logs-x', 3, 5, x'feffffffffffffffffffffffffffffff', 3, 5, -1, 1, NULL, NULL)";
        old.execute_batch(&format!("INSERT INTO segments VALUES {values}")).unwrap();
        drop(old);
        // Who only looks leaves it as it is.
        let read = Catalogue::read(&path).unwrap();
        assert_eq!((read.segments, read.versions.len(), read.id), (vec![segment("a", 3)], 0, None));
        let catalogue = Catalogue::open(&path).unwrap();
        assert_eq!(catalogue.segments().unwrap(), [segment("a", 3)]);
        assert_eq!(catalogue.versions().unwrap()["a"], Versions::default());
        drop(catalogue);
        let set = |version: i64| {
            let connection = Connection::open(&path).unwrap();
            connection.execute_batch(&format!("PRAGMA user_version = {version}")).unwrap();
        };
        set(OBJECTS_VERSION);
        let catalogue = Catalogue::open(&path).unwrap();
        assert_eq!(catalogue.segments().unwrap(), [segment("a", 3)]);
        drop(catalogue);
        set(VERSION + 1);
        assert!(Catalogue::open(&path).unwrap_err().to_string().contains("layout 4"));
    }

    #[test]
    fn what_is_in_the_object_store_is_known_until_it_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalogue.sqlite");
        let catalogue = Catalogue::open(&path).unwrap();
        catalogue.replace(&[], &[segment("a", 3), segment("b", 7)], Some(10)).unwrap();
        let id = catalogue.id().unwrap();
        assert_eq!(id.len(), 32);
        assert!(!catalogue.set_uploaded("of another time", 0).unwrap());
        assert!(catalogue.set_uploaded("a", BEGUN).unwrap());
        assert!(catalogue.versions().unwrap()["a"].has_objects() && !catalogue.versions().unwrap()["a"].has_parquet());
        assert!(catalogue.set_uploaded("a", 0).unwrap());
        assert!(catalogue.versions().unwrap()["a"].is_uploaded());
        catalogue.set_rows("a", 1).unwrap();
        assert!(!catalogue.versions().unwrap()["a"].is_uploaded() && catalogue.versions().unwrap()["a"].has_parquet());
        catalogue.replace(&["a", "b"], &[segment("c", 3)], None).unwrap();
        drop(catalogue);
        let catalogue = Catalogue::open(&path).unwrap();
        // Of the other, nothing was ever there.
        assert_eq!((catalogue.removed().unwrap(), catalogue.id().unwrap()), (vec!["a".to_owned()], id.clone()));
        assert_eq!(Catalogue::read(&path).unwrap().id, Some(id));
        catalogue.forget_removed("a").unwrap();
        assert!(catalogue.removed().unwrap().is_empty());
    }

    #[test]
    fn segments_come_and_go_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalogue.sqlite");
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
        let empty = || Read { segments: vec![], flushed_below: 10, versions: HashMap::new(), id: None };
        let catalogue = Catalogue::open(&path).unwrap();
        catalogue.replace(&[], &[], Some(10)).unwrap();
        // What was written last is in SQLite's log only.
        assert!(!OnDisk::of(&path).unwrap().is_whole());
        assert_eq!(Catalogue::read(&path).unwrap(), empty());
        // As a killed process leaves it.
        let killed = folder.path().join("killed");
        fs::create_dir(&killed).unwrap();
        for (name, bytes) in files(&odd) {
            fs::write(killed.join(name), bytes).unwrap();
        }
        let data = |(name, _): &(std::ffi::OsString, Vec<u8>)| !name.to_string_lossy().ends_with("-shm");
        let before: Vec<_> = files(&killed).into_iter().filter(data).collect();
        assert_eq!(Catalogue::read(&killed.join("catalogue.sqlite")).unwrap(), empty());
        assert_eq!(files(&killed).into_iter().filter(data).collect::<Vec<_>>(), before);
        drop(catalogue);
        let before = files(&odd);
        assert_eq!(before.len(), 1);
        assert_eq!(Catalogue::read(&path).unwrap(), empty());
        assert_eq!(files(&odd), before);
    }
}
