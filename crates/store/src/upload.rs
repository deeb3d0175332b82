//! The work beside the flush, where segments are kept in an object store: puts there what is here only, removes what
//! nobody needs any more, and keeps the copies here within their limit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::StoreError;
use crate::catalogue::BEGUN;
use crate::index_name::index_of;
use crate::objects::{Missing, Objects};
use crate::part::Part;
use crate::segment::SegmentPart;
use crate::store::Inner;

/// How often it looks around.
const PERIOD: Duration = Duration::from_millis(500);
/// How long it waits at most after something failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long the end of the service may take for it.
const LAST_ROUND: Duration = Duration::from_secs(20);

/// Runs until the store is closed.
pub(crate) fn maintain(inner: &Inner) {
    let mut pause = PERIOD;
    let mut next = Instant::now();
    while !inner.is_closing() {
        inner.files.rest(PERIOD);
        let is_time = Instant::now() >= next;
        let done = guarded(|| {
            let snapshot = inner.snapshot();
            inner.readers.alone(|| inner.files.shrink(&snapshot.parts));
            // Who drops the last of a segment removes its files.
            drop(snapshot);
            if is_time { round(inner, &|| inner.is_closing()) } else { Ok(()) }
        });
        // What was wrong before is known until it is tried again.
        if !is_time && done.is_ok() {
            continue;
        }
        pause = if done.is_ok() { PERIOD } else { (pause * 2).min(LONGEST_PAUSE) };
        next = Instant::now() + if done.is_ok() { Duration::ZERO } else { pause };
        inner.files.set_problem(done.err().map(|error| error.to_string()));
    }
}

/// Puts there what the end of the service has left, as long as that works. What is left is here, for the next start.
pub(crate) fn finish(inner: &Inner) {
    let end = Instant::now() + LAST_ROUND;
    let done = guarded(|| round(inner, &|| Instant::now() > end));
    inner.files.set_problem(done.err().map(|error| error.to_string()));
}

/// Does something that may panic: the thread must not end with it, and nobody know.
fn guarded(work: impl FnOnce() -> Result<(), StoreError>) -> Result<(), StoreError> {
    let panicked = |_| Err(StoreError::Rules("the work on the object store panicked".to_owned()));
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(panicked)
}

/// Everything that is to be done now, until something fails.
fn round(inner: &Inner, is_over: &dyn Fn() -> bool) -> Result<(), StoreError> {
    let snapshot = inner.snapshot();
    let waiting: Vec<&Arc<Part>> = snapshot.parts.iter().filter(|part| is_waiting(part)).collect();
    let gone = inner.files.gone();
    // Whether the object store can be used is said at the start, and not when it is needed.
    if waiting.is_empty() && gone.is_empty() && inner.files.is_claimed() {
        return Ok(());
    }
    // It may be there again: whoever reads is told so too.
    inner.files.try_again();
    let Some(objects) = inner.files.objects()? else { return Ok(()) };
    let mut problem = None;
    for part in waiting {
        match (part.as_segment(), is_over()) {
            (Some(segment), false) => match upload(inner, objects, segment) {
                // One file that cannot be read does not keep the others here.
                Err(Missing::Local(error)) => {
                    segment.suspect(&error);
                    problem = Some(error);
                }
                done => done?,
            },
            _ => break,
        }
    }
    // Who begins to read now finds them nowhere.
    let is_read = inner.readers.alone(|| ()).is_none();
    for name in gone {
        if !is_read && !is_over() {
            let rows = crate::segment::rows_path(name.as_ref());
            objects.remove(&name)?;
            objects.remove(&rows.to_string_lossy())?;
            inner.catalogue.forget_removed(&name)?;
            inner.files.forget(&name);
        }
    }
    problem.map_or(Ok(()), Err)
}

fn is_waiting(part: &Part) -> bool {
    part.as_segment().is_some_and(|segment| !segment.is_uploaded() && !segment.is_damaged())
}

/// Puts a segment's files there. Its file of rows may become another meanwhile: then it is put there again.
fn upload(inner: &Inner, objects: &Objects, segment: &SegmentPart) -> Result<(), Missing> {
    // A version is counted before it is written: in between, it is not the one that lies here.
    let before = segment.file(true).while_settled(|| segment.versions());
    // From now on, whatever happens, the objects are removed with the segment. Nobody would remove those of one that has
    // gone already.
    if !before.has_objects() && !segment.set_uploaded(BEGUN, &inner.catalogue).map_err(Missing::Away)? {
        return Ok(());
    }
    if !before.has_parquet() {
        objects.put(&segment.path, &segment.file(false).name, |_, checksum| checksum == segment.entry.checksum)?;
    }
    // A file of rows has checksums in itself.
    objects.put(&segment.file(true).path, &segment.file(true).name, |_, _| true)?;
    // One that went meanwhile has left a note about them.
    segment.set_uploaded(before.rows, &inner.catalogue).map(drop).map_err(Missing::Away)
}

/// What is wrong with a segment's objects.
pub(crate) fn check(segment: &SegmentPart) -> Result<(), Missing> {
    let Some(objects) = segment.files().objects()? else { return Ok(()) };
    let (_, checksum) = objects.read(&segment.file(false).name, |_| Ok(()))?;
    let damaged = |is_rows: bool, reason: &str| {
        let path = segment.file(is_rows).path.clone();
        Missing::Gone(StoreError::Segment { path, reason: reason.to_owned() })
    };
    if checksum != segment.entry.checksum {
        return Err(damaged(false, "its checksum is another, in the object store"));
    }
    let mut bytes = Vec::new();
    objects.read(&segment.file(true).name, |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    })?;
    match segment.decode_rows(&bytes) {
        Some(_) => Ok(()),
        None => Err(damaged(true, "its file of rows is damaged, in the object store")),
    }
}

/// Whether an object is one of those that [`upload`] makes.
pub(crate) fn is_ours(name: &str) -> bool {
    let mut parts = name.rsplitn(3, '/');
    let (Some(file), Some(day), Some(folder)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let is_like = |text: &str, pattern: &str| {
        text.len() == pattern.len()
            && text.bytes().zip(pattern.bytes()).all(|(byte, like)| match like {
                b'0' => byte.is_ascii_digit(),
                other => byte == other,
            })
    };
    let Some((stem, "parquet" | "rows")) = file.rsplit_once('.') else { return false };
    let Some((first, rows)) = stem.split_once('-') else { return false };
    let is_number = |text: &str, least: usize| text.len() >= least && text.bytes().all(|byte| byte.is_ascii_digit());
    is_like(day, "0000-00-00") && is_number(first, 16) && is_number(rows, 8) && index_of(folder).is_some()
}

/// Whether a file below the folder of segments is one that has such an object, or was going to be one.
pub(crate) fn is_ours_here(below: &Path) -> bool {
    let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
    let name = parts.join("/");
    match name.strip_suffix(".tmp") {
        Some(name) => is_ours(name) || is_ours(&format!("{name}.rows")),
        None => is_ours(&name),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use object_store::memory::InMemory;

    use super::*;
    use crate::rows::{Rows, RowsEncoder};
    use crate::store::tests::one_segment;
    use crate::{ObjectPlace, SegmentPlace};

    #[test]
    fn a_file_of_rows_is_not_sent_while_it_becomes_another() {
        let place = ObjectPlace::new(Arc::new(InMemory::new()), "", "mem://events").unwrap();
        let (_folder, store) = one_segment(SegmentPlace::Objects(place));
        let (inner, snapshot) = (&*store.0, store.snapshot());
        let segment = snapshot.parts[0].as_segment().unwrap();
        let objects = inner.files.objects().unwrap().unwrap();
        upload(inner, objects, segment).unwrap();

        let before = segment.rows().unwrap();
        let (sequences, ingested) = (before.sequences.clone(), before.ingested.clone());
        let rows = Rows { sequences, ingested, own_ids: vec![7], lists: before.lists.clone() };
        let bytes = RowsEncoder::default().encode(&rows).unwrap().to_vec();
        let (sender, done) = channel();
        std::thread::scope(|scope| {
            let written = inner.files.write(segment.file(true), &bytes, || {
                segment.begin_version(&inner.catalogue)?;
                scope.spawn(move || _ = sender.send(upload(inner, objects, segment).is_ok()));
                assert!(done.recv_timeout(PERIOD).is_err(), "what lies here was sent as what will lie here");
                Ok(())
            });
            written.unwrap();
        });
        assert!(done.recv().unwrap() && segment.is_uploaded());
        let mut there = Vec::new();
        let take = |piece: &[u8]| {
            there.extend_from_slice(piece);
            Ok(())
        };
        objects.read(&segment.file(true).name, take).unwrap();
        assert_eq!(there, bytes);
    }

    #[test]
    fn only_names_of_segments_are_ours() {
        for ours in [
            "logs-a/2026-03-01/0000000000000007-00000003.parquet",
            "x/2026-03-01/0000000000000007-00000003.rows",
            "a!7e/2026-03-01/0000000000000007-00000003.rows",
        ] {
            assert!(is_ours(ours), "{ours}");
        }
        for other in [
            "eqlipse-store",
            "logs-a/2026-03-01/0000000000000007-00000003.parquet.bak",
            "logs-a/2026-03-01/7-3.parquet",
            "logs-a/today/0000000000000007-00000003.parquet",
            "a/logs-a/2026-03-01/0000000000000007-00000003.parquet",
            "logs-a/2026-03-01/0000000000000007.parquet",
            "Logs/2026-03-01/0000000000000007-00000003.parquet",
        ] {
            assert!(!is_ours(other), "{other}");
        }
        let is_here = |name: &str| is_ours_here(Path::new(name));
        for end in ["parquet", "rows", "tmp", "parquet.tmp", "rows.tmp"] {
            assert!(is_here(&format!("logs-a/2026-03-01/0000000000000007-00000003.{end}")), "{end}");
        }
        assert!(!is_here("logs-a/2026-03-01/notes.tmp") && !is_here("export.parquet"));
    }
}
