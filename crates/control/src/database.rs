//! The connections, the layout, and what all tables share.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use crate::ControlError;
use crate::gate::Gate;
use crate::users::HASHES_AT_ONCE;

/// The steps from one layout to the next. What was released once stays as it is; a change is a new step.
const MIGRATIONS: [&str; 7] = [
    include_str!("layout/1.sql"),
    include_str!("layout/2.sql"),
    include_str!("layout/3.sql"),
    include_str!("layout/4.sql"),
    include_str!("layout/5.sql"),
    include_str!("layout/6.sql"),
    include_str!("layout/7.sql"),
];

/// How long a connection waits for another process that has the file locked.
const BUSY_WAIT: Duration = Duration::from_secs(10);

/// Bytes that the write-ahead log keeps on disk when it has been taken over into the database.
const LOG_KEPT: i64 = 64 << 20;

/// Rows that pruning removes in one transaction, so that nobody waits long for it.
const PRUNED_AT_ONCE: i64 = 5_000;

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
    /// Hashes of passwords that are computed now.
    pub(crate) hashing: Gate,
}

/// A thread that panicked left nothing half done behind: its transaction was rolled back.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Control {
    /// Opens the database, or begins one, for its owner alone.
    ///
    /// # Errors
    /// If the file cannot be used, or a newer eqlipse wrote it.
    pub fn open(path: &Path) -> Result<Self, ControlError> {
        create_private(path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut writer = connect(path, flags)?;
        // Has an effect on a new file only: pages that pruning frees go back to the system.
        writer.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        writer.pragma_update(None, "journal_mode", "WAL")?;
        // What was told to somebody is on disk.
        writer.pragma_update(None, "synchronous", "FULL")?;
        writer.pragma_update(None, "journal_size_limit", LOG_KEPT)?;
        migrate(&mut writer)?;
        Ok(Self(Arc::new(Database {
            path: path.to_owned(),
            writer: Mutex::new(writer),
            readers: Mutex::default(),
            rules_generation: AtomicU64::new(1),
            hashing: Gate::new(HASHES_AT_ONCE),
        })))
    }

    /// A number that grows with every change of a rule.
    pub fn rules_generation(&self) -> u64 {
        self.0.rules_generation.load(Ordering::SeqCst)
    }

    /// What is wrong with the file: nothing, if all is well. Reads all of it.
    ///
    /// # Errors
    /// If the file cannot be read at all.
    pub fn check(&self) -> Result<Vec<String>, ControlError> {
        self.read(|connection| {
            let mut statement = connection.prepare("PRAGMA integrity_check(100)")?;
            let found = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            Ok(found.into_iter().filter(|line| line != "ok").collect())
        })
    }

    /// Reads with a connection of its own: writers do not wait for it, nor it for them.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, ControlError>) -> Result<T, ControlError> {
        let idle = lock(&self.0.readers).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.0.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        let done = work(&connection)?;
        // After an error the connection is not trusted any more.
        let mut readers = lock(&self.0.readers);
        if readers.len() < IDLE_READERS {
            readers.push(connection);
        }
        Ok(done)
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

    /// Removes rows of a table that are older than a time, some at a time, and gives their space back to the system;
    /// `also` is done in the transaction of each step with the number of rows. `table` and `column` are ours, never
    /// somebody's text.
    pub(crate) fn prune(
        &self,
        table: &str,
        column: &str,
        before: i64,
        also: impl Fn(&Transaction<'_>, usize) -> Result<(), ControlError>,
    ) -> Result<u64, ControlError> {
        let sql = format!(
            "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE {column} < ?1 LIMIT {PRUNED_AT_ONCE})"
        );
        let mut removed = 0;
        loop {
            let step = self.write(|transaction| {
                let step = transaction.execute(&sql, [before])?;
                also(transaction, step)?;
                Ok(step)
            })?;
            removed += step as u64;
            if (step as i64) < PRUNED_AT_ONCE {
                break;
            }
        }
        if removed > 0 {
            self.shrink()?;
        }
        Ok(removed)
    }

    fn shrink(&self) -> Result<(), ControlError> {
        let writer = lock(&self.0.writer);
        let mut statement = writer.prepare("PRAGMA incremental_vacuum")?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, ControlError> {
    // A connection is used by one thread at a time: SQLite need not lock it. Paths are paths, never URIs.
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_WAIT)?;
    Ok(connection)
}

/// Creates the file for its owner alone, as hashes of passwords are in it; SQLite gives the files beside it the same
/// rights. What goes wrong here is said when the file is opened.
fn create_private(path: &Path) {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    drop(options.open(path));
}

fn migrate(connection: &mut Connection) -> Result<(), ControlError> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(ControlError::Version { found, known });
    }
    for (step, version) in MIGRATIONS.iter().zip(1..).skip(found.max(0) as usize) {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AlertQuery, WorkflowStatus};
    use std::ops::ControlFlow;

    fn file() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sqlite");
        (folder, path)
    }

    #[test]
    fn an_older_layout_is_brought_up() {
        let (_folder, path) = file();
        let old = Connection::open(&path).unwrap();
        old.execute_batch(MIGRATIONS[0]).unwrap();
        let document = r#"{"kibana.alert.workflow_status":"closed","kibana.alert.severity":"high"}"#;
        for (id, block_of) in [("a", None), ("b", Some("a"))] {
            let sql = "INSERT INTO alerts VALUES (?1, 'r', 'x', 5, 'closed', ?2, ?3)";
            old.execute(sql, (id, block_of, document)).unwrap();
        }
        old.execute("INSERT INTO users VALUES ('ann', 'a hash', 'admin', 7)", ()).unwrap();
        // Windows that ended before they were due: the end stood where the time belongs at which they were.
        for (number, kind, end) in [(1, "on_time", 5), (2, "on_time", 10), (3, "manual", 90), (4, "backfill", 95)] {
            let sql = "INSERT INTO executions VALUES (?1, ?1, 'r', 'x', 0, ?3, ?2, ?3 + 7, 0, 0, 'succeeded', 0, 0, 0, 0, 0, 0, '')";
            old.execute(sql, (number, kind, end)).unwrap();
        }
        old.execute("INSERT INTO windows VALUES ('r', 10), ('pruned', 20)", ()).unwrap();
        old.pragma_update(None, "user_version", 1).unwrap();
        drop(old);
        let control = Control::open(&path).unwrap();
        let last = |rule: &str| control.last_windows(rule).unwrap();
        assert_eq!((last("r"), last("pruned")), (Some((17, 17)), Some((20, 20))));
        let bases = control.ledger("r", 9).unwrap().iter().map(|run| run.basis).collect::<Vec<_>>();
        let by_own_time = Some(crate::TimeBasis::Timestamp);
        assert_eq!(bases, [by_own_time, by_own_time, None, None]);
        assert!(control.users().unwrap().iter().any(|user| user.name == "ann" && user.enabled));
        let query = AlertQuery {
            statuses: vec![WorkflowStatus::Closed],
            severities: vec!["high".to_owned()],
            ..AlertQuery::default()
        };
        let mut found = Vec::new();
        let take = &mut |id: &str, _| {
            found.push(id.to_owned());
            ControlFlow::Continue(())
        };
        control.for_each_alert(&query, take).unwrap();
        assert_eq!(found, ["a"]);
        assert_eq!(control.check().unwrap(), Vec::<String>::new());
        drop(control);
        Control::open(&path).unwrap();
    }

    #[test]
    fn a_newer_layout_is_refused() {
        let (_folder, path) = file();
        drop(Control::open(&path).unwrap());
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
        let error = Control::open(&path).unwrap_err();
        assert!(matches!(error, ControlError::Version { found: 99, .. }), "{error}");
    }

    #[test]
    fn what_is_no_database_is_an_error() {
        let (folder, path) = file();
        assert!(Control::open(folder.path()).is_err());
        std::fs::write(&path, "something else, and long enough to be looked at. ".repeat(100)).unwrap();
        assert!(matches!(Control::open(&path), Err(ControlError::Database(_))));
    }

    #[cfg(unix)]
    #[test]
    fn the_files_are_for_their_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, path) = file();
        let _control = Control::open(&path).unwrap();
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        }
    }

    #[test]
    fn a_change_that_does_not_fit_on_the_disk_leaves_nothing_and_goes_through_later() {
        let (_folder, path) = file();
        let control = Control::open(&path).unwrap();
        let pages: i64 = lock(&control.0.writer).pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        let allow = |pages: i64| {
            let writer = lock(&control.0.writer);
            writer.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
        };
        allow(pages + 2);
        let detail = "y".repeat(100_000);
        let entry = crate::AuditEntry { detail, ..crate::AuditEntry::new(1, "ann", "test", "x", "") };
        let error = control.audit(&entry).unwrap_err();
        assert!(error.is_full(), "{error}");
        assert!(control.audit_log(9).unwrap().is_empty());
        allow(1 << 20);
        control.audit(&entry).unwrap();
        assert_eq!(control.audit_log(9).unwrap(), [entry]);
    }

    #[test]
    fn pruning_gives_space_back() {
        let (_folder, path) = file();
        let control = Control::open(&path).unwrap();
        let pages =
            || -> i64 { lock(&control.0.writer).pragma_query_value(None, "page_count", |row| row.get(0)).unwrap() };
        let entries = PRUNED_AT_ONCE + 10;
        control
            .write(|transaction| {
                (0..entries).try_for_each(|time| {
                    let entry = crate::AuditEntry::new(time, "ann", "test", "x", "y".repeat(100));
                    crate::audit::add(transaction, &entry)
                })
            })
            .unwrap();
        let before = pages();
        assert_eq!(control.prune_audit(entries - 1).unwrap(), entries as u64 - 1);
        assert!(pages() < before / 4, "{} of {before}", pages());
        let left = control.audit_log(9).unwrap();
        assert_eq!(left.iter().map(|entry| entry.time).collect::<Vec<_>>(), [entries - 1]);
    }
}
