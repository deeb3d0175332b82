//! The connections, the layout, and what all tables share.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::{AuditEntry, ControlError};

/// The steps from one layout to the next.
const MIGRATIONS: [&str; 1] = ["
CREATE TABLE rules (
    id TEXT PRIMARY KEY, rule_id TEXT NOT NULL UNIQUE, enabled INTEGER NOT NULL, document TEXT NOT NULL,
    created_at INTEGER NOT NULL, created_by TEXT NOT NULL, updated_at INTEGER NOT NULL, updated_by TEXT NOT NULL
) STRICT;
CREATE TABLE alerts (
    id TEXT PRIMARY KEY, rule TEXT NOT NULL, rule_id TEXT NOT NULL, time INTEGER NOT NULL, status TEXT NOT NULL,
    block_of TEXT, document TEXT NOT NULL
) STRICT;
CREATE INDEX alerts_by_time ON alerts (time, id);
CREATE INDEX alerts_by_rule ON alerts (rule, time);
CREATE INDEX alerts_by_shell ON alerts (block_of) WHERE block_of IS NOT NULL;
CREATE TABLE executions (
    number INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, rule TEXT NOT NULL, rule_id TEXT NOT NULL,
    window_from INTEGER NOT NULL, window_to INTEGER NOT NULL, kind TEXT NOT NULL, scheduled INTEGER NOT NULL,
    started INTEGER NOT NULL, finished INTEGER NOT NULL, status TEXT NOT NULL, matches INTEGER NOT NULL,
    new_alerts INTEGER NOT NULL, known_alerts INTEGER NOT NULL, capped INTEGER NOT NULL,
    late_events INTEGER NOT NULL, missed_events INTEGER NOT NULL, message TEXT NOT NULL
) STRICT;
CREATE INDEX executions_by_rule ON executions (rule, number);
CREATE INDEX executions_by_time ON executions (finished);
CREATE TABLE windows (rule TEXT PRIMARY KEY, last INTEGER NOT NULL) STRICT;
CREATE TABLE users (
    name TEXT PRIMARY KEY, password TEXT NOT NULL, roles TEXT NOT NULL, created_at INTEGER NOT NULL
) STRICT;
CREATE TABLE api_keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, hash BLOB NOT NULL, owner TEXT NOT NULL, roles TEXT NOT NULL,
    created_at INTEGER NOT NULL, expires INTEGER, invalidated INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE audit (
    number INTEGER PRIMARY KEY, time INTEGER NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL, object TEXT NOT NULL,
    detail TEXT NOT NULL
) STRICT;
"];

/// Connections for reading that are kept open while nobody reads.
const IDLE_READERS: usize = 4;

/// The control database. Clones are the same database.
#[derive(Clone, Debug)]
pub struct Control(pub(crate) Arc<Database>);

#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    pub(crate) rules_generation: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    /// Opens the database, or begins one.
    ///
    /// # Errors
    /// If the file cannot be used, or a newer eqlipse wrote it.
    pub fn open(path: &Path) -> Result<Self, ControlError> {
        let mut writer = Connection::open(path)?;
        writer.pragma_update(None, "journal_mode", "WAL")?;
        // What was told to somebody is on disk.
        writer.pragma_update(None, "synchronous", "FULL")?;
        writer.busy_timeout(std::time::Duration::from_secs(10))?;
        migrate(&mut writer)?;
        Ok(Self(Arc::new(Database {
            path: path.to_owned(),
            writer: Mutex::new(writer),
            readers: Mutex::default(),
            rules_generation: AtomicU64::new(1),
        })))
    }

    /// A number that grows with every change of a rule.
    pub fn rules_generation(&self) -> u64 {
        self.0.rules_generation.load(Ordering::SeqCst)
    }

    /// Reads with a connection of its own: writers do not wait for it, nor it for them.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, ControlError>) -> Result<T, ControlError> {
        let idle = lock(&self.0.readers).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let connection = Connection::open_with_flags(&self.0.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
                connection.busy_timeout(std::time::Duration::from_secs(10))?;
                connection
            }
        };
        let done = work(&connection);
        let mut readers = lock(&self.0.readers);
        if readers.len() < IDLE_READERS {
            readers.push(connection);
        }
        done
    }

    /// Changes something: all of it, or on an error nothing.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        let mut writer = lock(&self.0.writer);
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }

    /// Notes something that was done.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn audit(&self, entry: &AuditEntry) -> Result<(), ControlError> {
        self.write(|transaction| add_audit(transaction, entry))
    }

    /// What was done last, newest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn audit_log(&self, limit: usize) -> Result<Vec<AuditEntry>, ControlError> {
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT time, who, action, object, detail FROM audit ORDER BY number DESC LIMIT ?1")?;
            let rows = statement.query_map([limit as i64], |row| {
                let (time, who, action) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(AuditEntry { time, who, action, object: row.get(3)?, detail: row.get(4)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

fn migrate(connection: &mut Connection) -> Result<(), ControlError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(ControlError::Version { found, known });
    }
    for (step, version) in MIGRATIONS.iter().zip(1..).skip(found as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

pub(crate) fn add_audit(transaction: &Transaction<'_>, entry: &AuditEntry) -> Result<(), ControlError> {
    let mut statement = transaction
        .prepare_cached("INSERT INTO audit (time, who, action, object, detail) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    statement.execute((entry.time, &entry.who, &entry.action, &entry.object, &entry.detail))?;
    Ok(())
}

/// A time as documents have it.
pub(crate) fn time_text(nanos: i64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{time:.3}")
}

/// So many random characters out of `A-Za-z0-9_-`, six bits each.
pub(crate) fn random_text(length: usize) -> Result<String, ControlError> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = vec![0; length];
    getrandom::fill(&mut bytes).map_err(|error| ControlError::Crypto(format!("no random bytes: {error}")))?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte & 63)])).collect())
}
