//! Documents that were refused, with the reason, one a line in `dead-letter/YYYY-MM-DD.ndjson` of the data folder.
//!
//! A line is an object: `time` (when it was refused), `index`, `id` (if its sender gave one), `reason`, and `document`,
//! the text as it came. To replay, send the documents to their indices again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::config::DeadLettersConfig;

/// The folder of dead-letter files.
#[derive(Debug)]
pub struct DeadLetters {
    folder: PathBuf,
    limits: DeadLettersConfig,
    today: Mutex<Option<Today>>,
}

/// The file that is written now.
#[derive(Debug)]
struct Today {
    date: Date,
    file: File,
    bytes: u64,
}

/// A refused document.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLetter<'a> {
    /// When, ISO 8601.
    pub time: &'a str,
    /// Where it was to go.
    pub index: &'a str,
    /// The id that its sender gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
    /// Why it was refused.
    pub reason: &'a str,
    /// The text as it came.
    pub document: &'a str,
}

impl DeadLetters {
    /// The folder is made when the first document is refused.
    pub fn new(folder: PathBuf, limits: DeadLettersConfig) -> Self {
        Self { folder, limits, today: Mutex::default() }
    }

    /// Keeps documents that were refused `now` (nanoseconds since the Unix epoch). Returns how many were kept: none that
    /// would make the day's file longer than `dead_letters.bytes_per_day`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn keep(&self, letters: &[DeadLetter<'_>], now: i64) -> io::Result<u64> {
        let date = date_of(now);
        let mut today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back goes on with the file that is open.
        if today.as_ref().is_none_or(|today| today.date < date) {
            *today = Some(self.open(date)?);
            self.remove_old(date);
        }
        let Some(today) = today.as_mut() else { return Ok(0) };
        let (mut lines, mut kept) = (Vec::new(), 0);
        for letter in letters {
            let start = lines.len();
            serde_json::to_writer(&mut lines, letter)?;
            lines.push(b'\n');
            if today.bytes + lines.len() as u64 > self.limits.bytes_per_day.0 {
                lines.truncate(start);
                continue;
            }
            kept += 1;
        }
        if let Err(error) = today.file.write_all(&lines) {
            // Half a line must not be what the next one is glued to.
            _ = today.file.set_len(today.bytes);
            return Err(error);
        }
        today.bytes += lines.len() as u64;
        Ok(kept)
    }

    fn open(&self, date: Date) -> io::Result<Today> {
        fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(format!("{date}.ndjson"));
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Today { date, file, bytes })
    }

    /// What cannot be removed stays until the next day's try.
    fn remove_old(&self, date: Date) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let age = file_date(&path).and_then(|of| date.since(of).ok()).map(|span| span.get_days());
            if age.is_some_and(|days| days > 0 && days.unsigned_abs() > self.limits.days) {
                _ = fs::remove_file(path);
            }
        }
    }
}

fn file_date(path: &Path) -> Option<Date> {
    path.extension().filter(|extension| *extension == "ndjson")?;
    path.file_stem()?.to_str()?.parse().ok()
}

fn date_of(nanos: i64) -> Date {
    let time = Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH);
    TimeZone::UTC.to_datetime(time).date()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Size;

    const DAY: i64 = 86_400_000_000_000;

    fn letter(document: &str) -> DeadLetter<'_> {
        DeadLetter { time: "1970-01-01T00:00:00Z", index: "logs-x", id: None, reason: "no \"event\"", document }
    }

    #[test]
    fn documents_are_kept_up_to_the_bound_of_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let limits = DeadLettersConfig { bytes_per_day: Size(250), days: 2 };
        let letters = DeadLetters::new(folder.path().join("dead-letter"), limits.clone());
        assert_eq!(letters.keep(&[letter("{broken"), letter(&"x".repeat(500)), letter("{}")], 0).unwrap(), 2);
        assert_eq!(letters.keep(&[letter("12345678901234567890")], 0).unwrap(), 0);
        let text = fs::read_to_string(folder.path().join("dead-letter/1970-01-01.ndjson")).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines[0]["document"], "{broken");
        assert_eq!(lines[1]["reason"], "no \"event\"");
        // After a restart, the bound still holds, and the next day begins anew.
        let letters = DeadLetters::new(folder.path().join("dead-letter"), limits);
        assert_eq!(letters.keep(&[letter("12345678901234567890")], 0).unwrap(), 0);
        assert_eq!(letters.keep(&[letter("{}")], DAY).unwrap(), 1);
        assert_eq!(letters.keep(&[letter("{}")], 4 * DAY).unwrap(), 1);
        let mut names: Vec<_> =
            fs::read_dir(folder.path().join("dead-letter")).unwrap().flatten().map(|e| e.file_name()).collect();
        names.sort();
        assert_eq!(names, ["1970-01-05.ndjson"]);
    }
}
