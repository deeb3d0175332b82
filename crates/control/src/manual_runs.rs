//! What rules are to be run over because somebody asked, until that is done: a service that stops goes on with it.

use crate::{Control, ControlError};

impl Control {
    /// Keeps what is to be done, in words that the caller understands. Returns the number by which it is known.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn add_manual_run(&self, jobs: &str) -> Result<i64, ControlError> {
        self.write(|transaction| {
            transaction.execute("INSERT INTO manual_runs (jobs) VALUES (?1)", [jobs])?;
            Ok(transaction.last_insert_rowid())
        })
    }

    /// Says what is left to do; `None` if nothing is.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn set_manual_run(&self, number: i64, left: Option<&str>) -> Result<(), ControlError> {
        self.write(|transaction| {
            match left {
                Some(jobs) => {
                    transaction.execute("UPDATE manual_runs SET jobs = ?2 WHERE number = ?1", (number, jobs))?
                }
                None => transaction.execute("DELETE FROM manual_runs WHERE number = ?1", [number])?,
            };
            Ok(())
        })
    }

    /// What is left to do, in the order in which it was asked for.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn manual_runs(&self) -> Result<Vec<(i64, String)>, ControlError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT number, jobs FROM manual_runs ORDER BY number")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sqlite");
        let control = Control::open(&path).unwrap();
        let [first, second] = ["a", "b"].map(|jobs| control.add_manual_run(jobs).unwrap());
        control.set_manual_run(second, Some("c")).unwrap();
        drop(control);
        let control = Control::open(&path).unwrap();
        assert_eq!(control.manual_runs().unwrap(), [(first, "a".to_owned()), (second, "c".to_owned())]);
        control.set_manual_run(first, None).unwrap();
        assert_eq!(control.manual_runs().unwrap(), [(second, "c".to_owned())]);
        // A number is never given twice.
        control.set_manual_run(second, None).unwrap();
        assert!(control.add_manual_run("d").unwrap() > second);
    }
}
