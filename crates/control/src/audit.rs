//! Who did what, and when.

use rusqlite::Transaction;

use crate::{Control, ControlError};

/// So much of a text stands in the audit log.
const MAX_CHARS: usize = 1_000;

/// Something that somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, in nanoseconds since the Unix epoch.
    pub time: i64,
    /// Who: a user's name.
    pub who: String,
    /// What: `rule_create`, `user_create` and the like.
    pub action: String,
    /// To what: an id or a name.
    pub object: String,
    /// More about it; never a password or a key.
    pub detail: String,
}

impl AuditEntry {
    /// Something that somebody did then. Of long texts, the beginning stands in the log.
    pub fn new(time: i64, who: &str, action: &str, object: &str, detail: impl Into<String>) -> Self {
        let [who, action, object, detail] =
            [who, action, object, &detail.into()].map(|text| text.chars().take(MAX_CHARS).collect());
        Self { time, who, action, object, detail }
    }
}

/// Notes something in the transaction that does it.
pub(crate) fn add(transaction: &Transaction<'_>, entry: &AuditEntry) -> Result<(), ControlError> {
    let mut statement = transaction
        .prepare_cached("INSERT INTO audit (time, who, action, object, detail) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    statement.execute((entry.time, &entry.who, &entry.action, &entry.object, &entry.detail))?;
    Ok(())
}

impl Control {
    /// Notes something that was done elsewhere.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn audit(&self, entry: &AuditEntry) -> Result<(), ControlError> {
        self.write(|transaction| add(transaction, entry))
    }

    /// What was done last, newest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn audit_log(&self, limit: usize) -> Result<Vec<AuditEntry>, ControlError> {
        self.read(|connection| {
            let mut statement = connection
                .prepare_cached("SELECT time, who, action, object, detail FROM audit ORDER BY number DESC LIMIT ?1")?;
            let rows = statement.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
                let (time, who, action) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(AuditEntry { time, who, action, object: row.get(3)?, detail: row.get(4)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Removes entries from before a time. Returns how many.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn prune_audit(&self, before: i64) -> Result<u64, ControlError> {
        self.prune("audit", "time", before, |_, _| Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_long_texts_the_beginning_is_kept() {
        let entry = AuditEntry::new(1, "ann", "test", &"ä".repeat(5_000), "y".repeat(5_000));
        assert_eq!((entry.object, entry.detail), ("ä".repeat(1_000), "y".repeat(1_000)));
    }
}
