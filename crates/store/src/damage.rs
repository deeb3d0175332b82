//! Damaged segments: whoever reads one says so, and here it is looked at. What can be made whole is: a copy is fetched
//! again, a file of rows is made anew from the events. What cannot goes to `quarantine/`, and the catalogue forgets it, so
//! that everything else goes on.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use walkdir::WalkDir;

use crate::StoreError;
use crate::catalogue::BEGUN;
use crate::flush;
use crate::ids::id_hash;
use crate::part::Part;
use crate::rows::Rows;
use crate::segment::{SegmentEntry, SegmentPart, rows_path};
use crate::store::{Inner, lock};

/// What became of a segment that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its files are as they were written.
    Sound,
    /// They are again.
    Mended,
    /// It is in quarantine.
    Lost,
}

/// What was found.
enum Found {
    Sound,
    Mended(String),
    Lost(StoreError),
}

/// Looks at the segments of which somebody could not read something.
pub(crate) fn look_at_suspects(inner: &Inner) -> Result<(), StoreError> {
    let is_suspect = |part: &&Arc<Part>| part.as_segment().is_some_and(SegmentPart::is_suspect);
    let snapshot = inner.snapshot();
    if !snapshot.parts.iter().any(|part| is_suspect(&part)) {
        return Ok(());
    }
    let _flushing = lock(&inner.flushing);
    // Those that went meanwhile are no longer of interest.
    let snapshot = inner.snapshot();
    // One that cannot be looked at now does not keep the others waiting.
    let mut problem = None;
    for part in snapshot.parts.iter().filter(is_suspect) {
        problem = look_at(inner, part).err().or(problem);
    }
    problem.map_or(Ok(()), Err)
}

/// Looks at a segment. Whoever calls holds `flushing`.
pub(crate) fn look_at(inner: &Inner, part: &Arc<Part>) -> Result<Outcome, StoreError> {
    let Some(segment) = part.as_segment() else { return Ok(Outcome::Sound) };
    // Before it is looked at, so that what somebody misses meanwhile is not forgotten. What cannot be known now is looked
    // at again when somebody misses it again.
    segment.clear_suspect();
    let found = examine(inner, segment)?;
    conclude(inner, part, segment, found)
}

/// Does what follows from what was found. Marks that somebody set since then stay.
fn conclude(inner: &Inner, part: &Arc<Part>, segment: &SegmentPart, found: Found) -> Result<Outcome, StoreError> {
    match found {
        Found::Sound => {
            // What somebody saw was not the file's fault.
            segment.set_damaged(false);
            Ok(Outcome::Sound)
        }
        Found::Mended(how) => {
            segment.set_damaged(false);
            let path = segment.path.display();
            tracing::warn!(%path, events = segment.entry.rows, "a damaged segment was mended: {how}");
            Ok(Outcome::Mended)
        }
        Found::Lost(reason) => quarantine(inner, part, segment, &reason).map(|()| Outcome::Lost),
    }
}

fn examine(inner: &Inner, segment: &SegmentPart) -> Result<Found, StoreError> {
    let mut mended = None;
    // What is found to be sound here does not go before all is known: what is there may not be.
    let _kept = [false, true].map(|is_rows| segment.file(is_rows).keep());
    if let Err(error) = parquet(segment) {
        if !is_damage(&error) {
            return Err(error);
        }
        keep_copy(inner, segment, false);
        match segment.fetch_again(false) {
            Ok(true) => mended = Some("its Parquet file was fetched from the object store again".to_owned()),
            Ok(false) => return Ok(Found::Lost(error)),
            // What the object store has is no better.
            Err(error) if is_damage(&error) => return Ok(Found::Lost(error)),
            Err(error) => return Err(error),
        }
    }
    if let Err(error) = rows(segment) {
        if !can_be_made_anew(&error) {
            return Err(error);
        }
        mended = Some(match fetch_rows_again(inner, segment)? {
            Some(_) => "its file of rows was fetched from the object store again".to_owned(),
            None => match rows_of_events(inner, segment) {
                Ok(rows) => write_again(inner, segment, rows)?,
                Err(error) if is_damage(&error) => return Ok(Found::Lost(error)),
                Err(error) => return Err(error),
            },
        });
    }
    if segment.has_bad_objects() {
        // What is here is sound: it takes the place of what is there.
        segment.set_uploaded(BEGUN, &inner.catalogue)?;
        // Only now: until then, what is here might go.
        segment.clear_bad_objects();
        inner.files.wake();
        mended = Some("its objects are put into the object store again".to_owned());
    }
    Ok(mended.map_or(Found::Sound, Found::Mended))
}

/// What is wrong with the Parquet file; one that is not here is fetched.
fn parquet(segment: &SegmentPart) -> Result<(), StoreError> {
    let _held = segment.hold()?;
    segment.check_parquet()
}

fn rows(segment: &SegmentPart) -> Result<(), StoreError> {
    segment.rows_as_they_are().map(drop)
}

/// Fetches a damaged file of rows again. If there is no sound one, it can be made anew; an object store that does not answer
/// may answer later, and has what no event says.
fn fetch_rows_again(inner: &Inner, segment: &SegmentPart) -> Result<Option<Rows>, StoreError> {
    keep_copy(inner, segment, true);
    let is_fetched = segment.fetch_again(true);
    match is_fetched.and_then(|is_fetched| is_fetched.then(|| segment.rows_as_they_are()).transpose()) {
        Err(error) if can_be_made_anew(&error) => Ok(None),
        done => done,
    }
}

/// As [`is_damage`], of a file of rows: nothing is lost by making it anew.
fn can_be_made_anew(error: &StoreError) -> bool {
    let is_gone = match error {
        StoreError::Io { error, .. } => error.kind() == std::io::ErrorKind::NotFound,
        other => matches!(other, StoreError::Gone { .. }),
    };
    is_gone || is_damage(error)
}

/// Whether an error says something of the file, and not of the disk or the way to it. A file that is not there is not
/// damaged: its disk may be away, and all others with it.
fn is_damage(error: &StoreError) -> bool {
    matches!(error, StoreError::Segment { .. })
}

/// Takes a segment out of the catalogue, and its files out of the way. What the object store has of it stays there, as an
/// object that no segment has.
fn quarantine(inner: &Inner, part: &Arc<Part>, segment: &SegmentPart, reason: &StoreError) -> Result<(), StoreError> {
    let kept = keep_copy(inner, segment, false);
    keep_copy(inner, segment, true);
    let SegmentEntry { rows, index, .. } = &segment.entry;
    let note = format!("{reason}\n{rows} events of {index} that arrived {}\n", arrived(&segment.entry));
    let noted =
        fs::create_dir_all(kept.parent().unwrap_or(&kept)).and_then(|()| fs::write(kept.with_extension("txt"), note));
    noted.map_err(StoreError::io(&kept))?;
    inner.catalogue.forget(&segment.entry.path)?;
    tracing::error!(
        reason = reason.to_string(),
        path = %kept.display(),
        events = rows,
        index,
        "a damaged segment was put into quarantine: its events are not looked at any more"
    );
    inner.change(|parts| parts.retain(|other| !Arc::ptr_eq(part, other)));
    segment.leave_objects();
    segment.doom(&inner.readers);
    flush::forget_streams(inner, std::iter::once(&**index));
    inner.quarantined.store(quarantined(&inner.folder).len() as u64, Ordering::Relaxed);
    Ok(())
}

fn arrived(entry: &SegmentEntry) -> String {
    let text = |time: Option<i64>| {
        time.and_then(|time| Timestamp::from_nanosecond(i128::from(time)).ok())
            .map_or_else(|| "at no known time".to_owned(), |time| format!("{time:.3}"))
    };
    format!("from {} to {}", text(entry.ingested.first), text(entry.ingested.last))
}

/// Puts a file as it is, if it is here, into quarantine. The segment's own goes with its last reader.
fn keep_copy(inner: &Inner, segment: &SegmentPart, is_rows: bool) -> PathBuf {
    let file = segment.file(is_rows);
    let target = inner.folder.join("quarantine").join(&file.name);
    let copy = || {
        fs::create_dir_all(target.parent().unwrap_or(&target))?;
        // A second name costs nothing, where the folders are on one disk.
        _ = fs::remove_file(&target);
        fs::hard_link(&file.path, &target).or_else(|_| fs::copy(&file.path, &target).map(drop))
    };
    if file.path.exists()
        && let Err(error) = copy()
    {
        tracing::error!(path = %target.display(), %error, "no copy of a damaged file could be kept");
    }
    target
}

/// The segments in quarantine, as paths below it.
pub(crate) fn quarantined(folder: &Path) -> Vec<PathBuf> {
    let folder = folder.join("quarantine");
    let files = WalkDir::new(&folder).sort_by_file_name().into_iter().flatten();
    let notes = files.filter(|entry| entry.path().extension().is_some_and(|end| end == "txt"));
    notes.filter_map(|entry| Some(entry.path().strip_prefix(&folder).ok()?.with_extension("parquet"))).collect()
}

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_index")]
    index: String,
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_source")]
    source: Value,
}

impl Hit {
    /// When the event arrived, as its document has it.
    fn ingested(&self) -> Option<i64> {
        let text = self.source["event"]["ingested"].as_str().or(self.source["event.ingested"].as_str())?;
        i64::try_from(text.parse::<Timestamp>().ok()?.as_nanosecond()).ok()
    }
}

/// What a file of rows says, as far as the events and the catalogue say it too: arrivals to the millisecond, as they stand
/// in documents; sequence numbers that no other segment has, in the order of the rows; every id as one that its sender gave.
fn rows_of_events(inner: &Inner, segment: &SegmentPart) -> Result<Rows, StoreError> {
    let SegmentEntry { first_sequence, last_sequence, rows: count, ingested: span, .. } = segment.entry;
    let mut rows = Rows { sequences: free_sequences(inner, segment)?, ..Rows::default() };
    let failed = |reason: String| StoreError::Segment { path: segment.path.clone(), reason };
    let mut documents = segment.open_documents()?;
    let mut text = Vec::new();
    for row in 0..count {
        text.clear();
        documents.write_hit(row as usize, &mut text).map_err(|error| failed(error.to_string()))?;
        let hit: Hit = serde_json::from_slice(&text).map_err(|error| failed(error.to_string()))?;
        let (first, last) = (span.first.unwrap_or_default(), span.last.unwrap_or_default());
        rows.ingested.push(hit.ingested().unwrap_or(first).clamp(first, last.max(first)));
        rows.own_ids.push(id_hash(&hit.index, &hit.id));
    }
    match rows.sequences.len() == count as usize && last_sequence >= first_sequence {
        true => Ok(rows),
        false => Err(failed("its file of rows is damaged, and what the catalogue says of it too".to_owned())),
    }
}

/// As many sequence numbers as the segment has rows, of those between its first and its last that no other has.
fn free_sequences(inner: &Inner, segment: &SegmentPart) -> Result<Vec<u64>, StoreError> {
    let snapshot = inner.snapshot();
    let segments = || snapshot.parts.iter().filter_map(|part| part.as_segment());
    let (mut seen, mut taken) = (HashSet::from([segment.entry.path.as_str()]), HashSet::new());
    let mut unknown = vec![&segment.entry];
    let mut next = 0;
    while let Some(entry) = unknown.get(next).copied() {
        for other in segments().filter(|other| overlap(&other.entry, entry)) {
            if !seen.insert(&other.entry.path) {
                continue;
            }
            match sequences(inner, other)? {
                Some(sequences) => taken.extend(sequences),
                // What it had is lost too: it needs room for as many.
                None => unknown.push(&other.entry),
            }
        }
        next += 1;
    }
    Ok(share_sequences(&unknown, &taken))
}

fn overlap(one: &SegmentEntry, other: &SegmentEntry) -> bool {
    one.first_sequence <= other.last_sequence && other.first_sequence <= one.last_sequence
}

/// The sequence numbers of a segment; `None` if nobody knows them any more. What cannot be read now is no reason to give
/// its numbers to another.
fn sequences(inner: &Inner, segment: &SegmentPart) -> Result<Option<Vec<u64>>, StoreError> {
    match segment.rows() {
        Ok(rows) => Ok(Some(rows.sequences.clone())),
        Err(error) if !can_be_made_anew(&error) => Err(error),
        Err(_) => Ok(fetch_rows_again(inner, segment)?.map(|rows| rows.sequences)),
    }
}

/// Gives the first of some segments as many of the numbers that nobody has as it needs, so that enough are left for the
/// others: each number to the one that ends first of those that may have it. Its first and its last are a segment's own.
fn share_sequences(segments: &[&SegmentEntry], taken: &HashSet<u64>) -> Vec<u64> {
    let [segment, ..] = segments else { return Vec::new() };
    let own: HashSet<u64> = segments.iter().flat_map(|entry| [entry.first_sequence, entry.last_sequence]).collect();
    let mut shares = vec![Vec::new(); segments.len()];
    let needs = |entry: &SegmentEntry| (entry.rows as usize).saturating_sub(2);
    let start = segments.iter().map(|entry| entry.first_sequence).min().unwrap_or_default();
    for sequence in start..segment.last_sequence {
        if shares[0].len() == needs(segment) {
            break;
        }
        if own.contains(&sequence) || taken.contains(&sequence) {
            continue;
        }
        let may_have = |place: &usize| {
            let entry: &SegmentEntry = segments[*place];
            let is_between = entry.first_sequence < sequence && sequence < entry.last_sequence;
            is_between && shares[*place].len() < needs(entry)
        };
        let which = (0..segments.len()).filter(may_have).min_by_key(|place| segments[*place].last_sequence);
        which.into_iter().for_each(|place| shares[place].push(sequence));
    }
    let mut sequences = std::mem::take(&mut shares[0]);
    if segment.rows > 1 && segment.first_sequence < segment.last_sequence {
        sequences.insert(0, segment.first_sequence);
    }
    sequences.push(segment.last_sequence);
    sequences
}

/// Matches the events again with the rules of now, and writes the file of rows.
fn write_again(inner: &Inner, segment: &SegmentPart, mut rows: Rows) -> Result<String, StoreError> {
    let (_, rules) = inner.rules();
    rows.lists.push(Arc::new(flush::match_rows(segment, &rows, &rules)?));
    let mut ids = lock(&inner.ids);
    rows.own_ids.iter().for_each(|id| _ = ids.insert(*id));
    drop(ids);
    segment.replace_rows(&rows, &inner.catalogue)?;
    let copy = inner.folder.join("quarantine").join(rows_path(segment.entry.path.as_ref()));
    Ok(format!("its file of rows was made anew from its events; the damaged one is {}", copy.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::one_segment;

    fn entry(first_sequence: u64, last_sequence: u64, rows: u32) -> SegmentEntry {
        SegmentEntry {
            path: format!("{first_sequence}-{rows}"),
            index: "logs-x".to_owned(),
            rows,
            bytes: 0,
            checksum: 0,
            first_sequence,
            last_sequence,
            times: Default::default(),
            ingested: Default::default(),
        }
    }

    #[test]
    fn those_that_lost_their_numbers_leave_each_other_enough() {
        let (outer, inner, late) = (entry(1, 20, 4), entry(2, 8, 7), entry(15, 19, 3));
        let taken = HashSet::from([9, 10, 16]);
        let of = |segments: &[&SegmentEntry]| share_sequences(segments, &taken);
        assert_eq!(of(&[&outer, &inner, &late]), [1, 11, 12, 20]);
        assert_eq!(of(&[&inner, &outer, &late]), [2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(of(&[&late, &outer, &inner]), [15, 17, 19]);
        assert_eq!(of(&[&entry(7, 7, 1)]), [7]);
        // As long as it must be, or as there are numbers.
        assert_eq!(of(&[&entry(1, u64::MAX, 3)]), [1, 2, u64::MAX]);
        assert_eq!(of(&[&entry(14, 17, 4)]), [14, 15, 17]);
    }

    #[test]
    fn what_is_missed_while_it_is_looked_at_is_not_forgotten() {
        let (_folder, store) = one_segment(Default::default());
        let _flushing = lock(&store.0.flushing);
        let snapshot = store.snapshot();
        let part = &snapshot.parts[0];
        let segment = part.as_segment().unwrap();
        for mark in [SegmentPart::set_suspect, SegmentPart::set_bad_objects] {
            segment.clear_suspect();
            let found = examine(&store.0, segment).unwrap();
            mark(segment);
            assert_eq!(conclude(&store.0, part, segment, found).unwrap(), Outcome::Sound);
            assert!(segment.is_suspect());
        }
        assert!(segment.has_bad_objects());
        assert_eq!(look_at(&store.0, part).unwrap(), Outcome::Mended);
        assert!(!segment.is_suspect() && !segment.has_bad_objects());
    }

    #[test]
    fn one_that_is_sound_is_not_kept_apart() {
        let (_folder, store) = one_segment(Default::default());
        let snapshot = store.snapshot();
        let segment = snapshot.parts[0].as_segment().unwrap();
        segment.set_damaged(true);
        segment.set_suspect();
        look_at_suspects(&store.0).unwrap();
        assert!(!segment.is_damaged() && !segment.is_suspect());
        // What was left apart, and could not be looked at then, is looked at again.
        segment.set_damaged(true);
        flush::compact(&store.0).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while segment.is_damaged() {
            assert!(std::time::Instant::now() < deadline, "nobody looks at it");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
