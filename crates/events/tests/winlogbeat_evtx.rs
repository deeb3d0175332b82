//! EVTX files: real attack samples against the `evtx` crate's reading of them, and damaged ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use eqlipse_events::evtx::{
    CHUNK_SIZE, ChunkDamage, ChunkDecoder, ChunkReport, FILE_HEADER_SIZE, FileHeader, RawEvent, chunk_count,
    first_chunk_offset,
};
use eqlipse_events::winlog;
use eqlipse_testkit::corpus;
use evtx::{EvtxChunkData, ParserSettings};
use serde_json::Value;

/// The attack samples, or nothing (with a note) where there is no corpus.
fn samples() -> Vec<PathBuf> {
    let Some(folder) = corpus("EVTX attack samples", "data/evtx-attack-samples") else { return Vec::new() };
    let mut found: Vec<PathBuf> = walkdir::WalkDir::new(&folder)
        .into_iter()
        .flatten()
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("evtx")))
        .collect();
    found.sort();
    found
}

fn chunks(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let first = first_chunk_offset(bytes).unwrap_or(FILE_HEADER_SIZE) as usize;
    let chunks = bytes.get(first..).unwrap_or_default().chunks(CHUNK_SIZE as usize);
    chunks.enumerate().map(|(number, chunk)| (number as u64, chunk))
}

#[test]
fn attack_samples_decode() {
    let samples = samples();
    let (mut records, mut bad_records, mut damaged, mut unused) = (0, 0, 0, 0);
    let mut decoder = ChunkDecoder::new();
    for path in &samples {
        let bytes = fs::read(path).unwrap();
        let header = FileHeader::parse(&bytes).unwrap();
        assert!(header.chunk_count > 0, "{}", path.display());
        assert_eq!(chunks(&bytes).count() as u64, chunk_count(bytes.len() as u64, FILE_HEADER_SIZE));
        for (number, chunk) in chunks(&bytes) {
            let report = decoder.decode(chunk, number, |record| match record {
                Ok(record) => assert!(!winlog::normalise(&record.event).is_empty()),
                Err(error) => eprintln!("{}: {error}", path.display()),
            });
            records += report.records;
            bad_records += report.bad_records;
            unused += u32::from(report.unused);
            if let Some(damage) = report.damage {
                damaged += 1;
                eprintln!("{}: chunk {number}: {damage}", path.display());
            }
        }
    }
    eprintln!(
        "{} files: {records} records, {bad_records} bad records, {damaged} damaged chunks, {unused} unused chunks",
        samples.len()
    );
}

#[test]
fn attack_samples_read_as_the_evtx_crate_reads_them() {
    let (mut compared, mut values) = (0, 0);
    let mut decoder = ChunkDecoder::new();
    for path in samples() {
        let bytes = fs::read(&path).unwrap();
        for (number, chunk) in chunks(&bytes) {
            let expected = read_with_crate(chunk);
            let mut expected = expected.iter();
            decoder.decode(chunk, number, |record| {
                let Ok(record) = record else { return };
                let Some(document) = expected.next() else { return };
                values += compare(&record.event, document, &path);
                compared += 1;
            });
            assert_eq!(expected.next(), None, "{}: a record is missing", path.display());
        }
    }
    eprintln!("{compared} records compared with the evtx crate, {values} values");
}

fn read_with_crate(chunk: &[u8]) -> Vec<Value> {
    let Ok(mut data) = EvtxChunkData::new(chunk.to_vec(), false) else { return Vec::new() };
    let Ok(mut chunk) = data.parse(Arc::new(ParserSettings::default().indent(false))) else { return Vec::new() };
    chunk.iter().flatten().map(|record| record.into_json_value().unwrap().data).collect()
}

fn compare(event: &RawEvent<'_>, document: &Value, path: &Path) -> usize {
    let system = &document["Event"]["System"];
    let text = |value: &Value| value.get("#text").map_or_else(|| plain(value), plain);
    assert_eq!(text(&system["EventID"]), event.event_id.to_string(), "{}", path.display());
    // Samples cut from longer logs keep their first ids here, and get new ones in the record's header.
    assert_eq!(text(&system["EventRecordID"]), event.record_id.to_string());
    assert_eq!(text(&system["Channel"]), event.channel);
    assert_eq!(text(&system["Computer"]), event.computer);
    assert_eq!(text(&system["Provider"]["#attributes"]["Name"]), event.provider);
    assert_eq!(text(&system["Task"]), event.task.to_string());
    assert_eq!(text(&system["Level"]), event.level.to_string());
    let keywords = text(&system["Keywords"]);
    assert_eq!(u64::from_str_radix(keywords.trim_start_matches("0x"), 16).ok(), Some(event.keywords), "{keywords}");
    let created = text(&system["TimeCreated"]["#attributes"]["SystemTime"]);
    let created: jiff::Timestamp = created.parse().unwrap();
    // The crate writes microseconds.
    assert_eq!(created.as_microsecond(), event.time_created / 1000);
    let user = &system["Security"]["#attributes"]["UserID"];
    assert_eq!(user.as_str().filter(|sid| !sid.is_empty()), event.user_sid);
    let data = &document["Event"]["EventData"];
    let mut values = 0;
    for pair in &event.event_data {
        let name = pair.path.strip_prefix("winlog.event_data.").unwrap();
        if let Some(expected) = data.get(name) {
            assert_eq!(alike(&plain(expected)), alike(pair.value), "{}: {name}", path.display());
            values += 1;
        }
    }
    let named = data.as_object().into_iter().flatten();
    for (name, value) in named.filter(|(name, _)| !matches!(name.as_str(), "Data" | "#attributes" | "Binary")) {
        let value = plain(value);
        let found = event.event_data.iter().any(|pair| pair.path.strip_prefix("winlog.event_data.") == Some(name));
        // A name that comes twice gets a number from the crate.
        let repeated = name.rsplit_once('_').is_some_and(|(_, number)| number.parse::<u32>().is_ok());
        assert!(found || value.trim().is_empty() || repeated, "{}: {name} = {value} is missing", path.display());
    }
    values
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Texts without what the two may write in different ways: letter case of hexadecimal digits, line breaks, digits of
/// times.
fn alike(text: &str) -> String {
    let text = text.replace("\r\n", "\n").trim_end_matches('\n').to_lowercase();
    match text.get(10..11) {
        Some("t") if text.ends_with('z') => text[..19].to_owned(),
        _ => text,
    }
}

/// A small generator of the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below.max(1) as u64) as usize
    }
}

fn mutate(chunk: &mut Vec<u8>, random: &mut Random) {
    match random.next(8) {
        0 => chunk.truncate(random.next(chunk.len())),
        1 => {
            let start = random.next(chunk.len());
            let end = chunk.len().min(start + random.next(4096));
            chunk[start..end].fill(0);
        }
        2 => {
            let start = random.next(chunk.len());
            let end = chunk.len().min(start + random.next(64));
            for byte in &mut chunk[start..end] {
                *byte = random.next(256) as u8;
            }
        }
        3 => {
            let (from, to, length) = (random.next(chunk.len()), random.next(chunk.len()), random.next(512));
            let length = length.min(chunk.len() - from.max(to));
            chunk.copy_within(from..from + length, to);
        }
        _ => {
            for _ in 0..1 + random.next(16) {
                let at = random.next(chunk.len());
                chunk[at] = [0, 0xff, 0x7f, 1, 0x0c, 0x21, random.next(256) as u8][random.next(7)];
            }
        }
    }
}

fn decode_all(decoder: &mut ChunkDecoder, chunk: &[u8]) -> (ChunkReport, Duration) {
    let start = Instant::now();
    let mut json = Vec::new();
    let report = decoder.decode(chunk, 0, |record| {
        if let Ok(record) = record {
            json.clear();
            winlog::normalise(&record.event).write_json(&mut json);
            assert!(std::str::from_utf8(&json).is_ok());
        }
    });
    (report, start.elapsed())
}

#[test]
fn damaged_chunks_never_panic() {
    let mut pool: Vec<Vec<u8>> = Vec::new();
    for path in samples().iter().step_by(9) {
        let bytes = fs::read(path).unwrap();
        pool.extend(chunks(&bytes).next().map(|(_, chunk)| chunk.to_vec()));
    }
    if pool.is_empty() {
        return;
    }
    let cases = std::env::var("EQLIPSE_MUTATIONS").ok().and_then(|cases| cases.parse().ok()).unwrap_or(3000);
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut decoder = ChunkDecoder::new();
    let (mut records, mut bad, mut slowest) = (0_u64, 0_u64, Duration::ZERO);
    for _ in 0..cases {
        let mut chunk = pool[random.next(pool.len())].clone();
        for _ in 0..1 + random.next(3) {
            if !chunk.is_empty() {
                mutate(&mut chunk, &mut random);
            }
        }
        let (report, time) = decode_all(&mut decoder, &chunk);
        records += u64::from(report.records);
        bad += u64::from(report.bad_records);
        slowest = slowest.max(time);
    }
    eprintln!("{cases} damaged chunks: {records} good records, {bad} bad ones, slowest {slowest:?}");
    assert!(records > bad, "most records of a damaged chunk are good");
}

#[test]
fn good_records_of_damaged_chunks_are_used() {
    let Some(path) = samples().into_iter().find(|path| path.metadata().is_ok_and(|file| file.len() > 1 << 20)) else {
        return;
    };
    let bytes = fs::read(path).unwrap();
    let (_, whole) = chunks(&bytes).next().unwrap();
    let mut decoder = ChunkDecoder::new();
    let decode = |decoder: &mut ChunkDecoder, chunk: &[u8]| decode_all(decoder, chunk).0;
    let good = decode(&mut decoder, whole);
    assert!(good.records > 10 && good.damage.is_none());

    let cut = decode(&mut decoder, &whole[..whole.len() / 2]);
    assert_eq!(cut.damage, Some(ChunkDamage::Truncated(whole.len() / 2)));
    assert!(cut.records > 2 && cut.records < good.records);

    let mut flipped = whole.to_vec();
    flipped[52] ^= 1;
    let report = decode(&mut decoder, &flipped);
    assert_eq!((report.damage, report.records), (Some(ChunkDamage::HeaderChecksum), good.records));

    let mut no_magic = whole.to_vec();
    no_magic[..8].fill(0);
    let report = decode(&mut decoder, &no_magic);
    assert_eq!((report.damage, report.records), (Some(ChunkDamage::Magic), good.records));

    let mut hole = whole.to_vec();
    let second = 512 + u32::from_le_bytes(whole[516..520].try_into().unwrap()) as usize;
    hole[second..second + 8].fill(0);
    let report = decode(&mut decoder, &hole);
    assert_eq!((report.records, report.bad_records), (good.records - 1, 1));

    let report = decode(&mut decoder, &vec![0; whole.len()]);
    assert!(report.unused && report.damage.is_none() && report.records == 0);
    assert_eq!(decode(&mut decoder, &[]).records, 0);
}

#[test]
fn a_stale_header_does_not_hide_records() {
    let Some(path) = samples().into_iter().find(|path| path.metadata().is_ok_and(|file| file.len() > 1 << 20)) else {
        return;
    };
    let bytes = fs::read(path).unwrap();
    let (_, whole) = chunks(&bytes).next().unwrap();
    let mut decoder = ChunkDecoder::new();
    let good = decode_all(&mut decoder, whole).0;
    // As after the first record: its id is the last, and the free space starts behind it.
    let mut stale = whole.to_vec();
    let first = 512 + u32::from_le_bytes(whole[516..520].try_into().unwrap());
    stale.copy_within(24..32, 32);
    stale[48..52].copy_from_slice(&first.to_le_bytes());
    stale[120] = 4;
    assert_eq!(decode_all(&mut decoder, &stale).0.records, good.records);
}

#[test]
fn selected_records_decode_alone() {
    let Some(path) = samples().into_iter().next() else { return };
    let bytes = fs::read(path).unwrap();
    let (number, chunk) = chunks(&bytes).next().unwrap();
    let mut decoder = ChunkDecoder::new();
    let mut all = Vec::new();
    decoder.decode(chunk, number, |record| {
        let record = record.unwrap();
        all.push((record.position, winlog::identity(&record.event), format!("{:?}", winlog::normalise(&record.event))));
    });
    for (position, identity, document) in &all {
        let mut found = 0;
        decoder.decode_selected(
            chunk,
            number,
            |index| index == position.index,
            |record| {
                let record = record.unwrap();
                found += 1;
                assert_eq!(record.position, *position);
                assert_eq!(winlog::identity(&record.event), *identity);
                assert_eq!(format!("{:?}", winlog::normalise(&record.event)), *document);
            },
        );
        assert_eq!(found, 1);
    }
}
