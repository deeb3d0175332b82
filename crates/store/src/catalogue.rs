//! Which segments there are: the one place that says so. A segment counts from the moment at which the catalogue names
//! it, and until then its events are in the log.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, Row, params};

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
        } else if version != VERSION {
            let reason = format!("written by another version of eqlipse (layout {version}, this one has {VERSION})");
            return Err(StoreError::Segment { path: path.to_owned(), reason });
        }
        Ok(Self(Mutex::new(connection)))
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All segments, by sequence number.
    pub(crate) fn segments(&self) -> Result<Vec<SegmentEntry>, StoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare("SELECT * FROM segments ORDER BY first_sequence, path")?;
        let entries = statement.query_map([], entry)?;
        Ok(entries.collect::<Result<_, _>>()?)
    }

    /// The sequence number below which every event is in a segment, or was in one.
    pub(crate) fn flushed_below(&self) -> Result<u64, StoreError> {
        let connection = self.lock();
        let mut statement = connection.prepare("SELECT value FROM state WHERE name = ?1")?;
        let mut rows = statement.query([FLUSHED])?;
        match rows.next()? {
            Some(row) => Ok(row.get::<_, i64>(0)? as u64),
            None => Ok(0),
        }
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
}
