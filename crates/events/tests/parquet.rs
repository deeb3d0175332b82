//! Parquet files hold what the events were converted from, and damaged ones break nothing.

mod common;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use common::{FIELDS, Row, options, read_rows, schema, skipped};
use eqlipse_batch::{Arrival, EventBatch, OrderKey, RowMeta, Schema};
use eqlipse_ecs::FieldType;
use eqlipse_events::{
    AgainError, DecodedPart, DecodedRows, DiscoverOptions, Discovery, DocumentPage, DocumentReader, Effort, Identity,
    IncomingEvent, InputProblem, Intake, OrderBy, Progress, ReadOptions, ReadReport, SegmentColumns, SegmentContent,
    SegmentEvent, SegmentWriter, Window, convert_to_parquet, discover, put_document, read, reserve,
};
use eqlipse_testkit::generate;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

/// A row group is one batch.
const ROWS: usize = 1 << 20;

fn file(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, content).unwrap();
    path
}

fn found(path: &Path) -> Discovery {
    discover(&[path], DiscoverOptions::default())
}

/// The content as a Parquet file.
fn converted(path: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    convert_to_parquet(&found(path), &ReadOptions::default(), &Progress::default(), &mut out).unwrap();
    out
}

/// What a batch says of an event; values of a field in any order.
#[derive(Clone, Debug, PartialEq)]
struct Facts {
    meta: RowMeta,
    values: Vec<Vec<String>>,
    hit: String,
}

/// All events of a file, in their order in it.
fn facts(path: &Path, schema: &Arc<Schema>, options: &ReadOptions<'_>) -> (Vec<Facts>, ReadReport) {
    let all = Mutex::new(Vec::new());
    let take = |batch: &EventBatch| {
        for (row, meta) in batch.rows().iter().enumerate() {
            let mut hit = Vec::new();
            batch.write_source(row as u32, &mut hit);
            let ids = schema.fields().iter().map(|field| schema.lookup(&field.name).unwrap());
            let values = ids.map(|id| {
                let mut values: Vec<String> =
                    batch.column(id).values_of(row as u32).map(|value| format!("{value:?}")).collect();
                values.sort();
                values
            });
            let facts = Facts { meta: *meta, values: values.collect(), hit: String::from_utf8(hit).unwrap() };
            all.lock().unwrap().push(facts);
        }
    };
    let report = read(&found(path), schema, options, &Progress::default(), |_| take).unwrap();
    let mut all = all.into_inner().unwrap();
    all.sort_by_key(|facts| facts.meta.order.arrival);
    // The place within the file is the byte in one and the row in the other.
    for (row, facts) in all.iter_mut().enumerate() {
        facts.meta.order.arrival.position = row as u64;
    }
    (all, report)
}

/// Checks that the Parquet file of these lines gives the same rows as the lines.
fn check(lines: &str, schema: &Arc<Schema>) {
    let folder = tempfile::tempdir().unwrap();
    let json = file(folder.path(), "events.ndjson", lines);
    let parquet = file(folder.path(), "events.parquet", converted(&json));
    let (expected, _) = facts(&json, schema, &options(1, ROWS));
    let (rows, report) = facts(&parquet, schema, &options(1, ROWS));
    assert_eq!(report.inputs[0].first_skipped, []);
    assert_same(&rows, &expected);
    check_segments(&expected, schema);
}

/// Checks that a segment of these events gives them back, whatever other events its columns were learnt from.
fn check_segments(events: &[Facts], schema: &Arc<Schema>) {
    let folder = tempfile::tempdir().unwrap();
    let sources: Vec<Box<RawValue>> = events.iter().map(|event| source(&event.hit)).collect();
    let hit = |(row, source): (usize, &RawValue)| {
        format!("{{\"_index\":\"logs-x-default\",\"_id\":\"{row}\",\"_source\":{source}}}\n")
    };
    let hits: String = sources.iter().map(|source| &**source).enumerate().map(hit).collect();
    let (expected, _) = facts(&file(folder.path(), "hits.ndjson", hits), schema, &options(1, ROWS));
    // What is no event as a hit is none in a store.
    if expected.len() < sources.len() || sources.is_empty() {
        return;
    }
    let ids: Vec<String> = (0..sources.len()).map(|row| row.to_string()).collect();
    let event = |row: usize| SegmentEvent {
        index: "logs-x-default",
        id: &ids[row],
        document: sources[row].get(),
        meta: expected[row].meta,
    };
    let (mut writer, mut columns) = (SegmentWriter::default(), SegmentColumns::default());
    check_concat(&event, sources.len(), schema, &expected, folder.path());
    for learnt in [1, sources.len() / 2, sources.len()] {
        check_decoded(&event, learnt, schema, &expected, folder.path());
    }
    for learnt in [0..sources.len() / 3, sources.len() / 2..sources.len(), 0..sources.len()] {
        let rows = learnt.clone();
        let written = writer.write(&mut columns, rows.map(event), Effort::Little, || Ok(Vec::new())).unwrap();
        let (rows, report) = facts(&file(folder.path(), "segment.parquet", written), schema, &options(1, ROWS));
        if learnt.len() == sources.len() {
            assert_eq!(report.inputs[0].first_skipped, []);
            assert_same(&rows, &expected);
        }
    }
}

/// Checks that a segment of every other event, written of what was decoded before, gives them back. The fields that were
/// decoded are those of so many events.
fn check_decoded<'a>(
    event: &dyn Fn(usize) -> SegmentEvent<'a>,
    learnt: usize,
    schema: &Arc<Schema>,
    expected: &[Facts],
    folder: &Path,
) {
    let (mut writer, mut columns) = (SegmentWriter::default(), SegmentColumns::default());
    writer.write(&mut columns, (0..learnt).map(event), Effort::Little, || Ok(Vec::new())).unwrap();
    let mut known = self::schema(&FIELDS).extend();
    columns.fields().for_each(|field| _ = known.add(field));
    let mut intake = Intake::new(&known.build()).unwrap();
    let (mut batches, mut rows) = (Vec::new(), Vec::new());
    for batch in (0..expected.len()).collect::<Vec<_>>().chunks(expected.len().div_ceil(3)) {
        let mut own = 0..0;
        for parity in [1, 0, 1] {
            own.start = if parity == 0 { intake.len() as u32 } else { own.start };
            for row in batch.iter().copied().filter(|row| row % 2 == parity) {
                let index = if parity == 0 { event(row).index } else { "logs-other-default" };
                let (identity, arrival) = (Identity::Known(None), Arrival::default());
                let incoming = IncomingEvent { document: event(row).document, index, id: None, identity, arrival };
                // What looks like a hit is none as a document.
                if intake.add(&incoming).is_ok() && parity == 0 {
                    rows.push(row);
                }
            }
            own.end = if parity == 0 { intake.len() as u32 } else { own.end };
        }
        // Some documents are packed already.
        let packed = if batches.len() == 1 { &rows[rows.len() - own.len()..] } else { &[] };
        let mut content = Vec::new();
        packed.iter().for_each(|row| put_document(event(*row).document, &mut content));
        let unpacked = content.len() as u32;
        let bytes = zstd::bulk::compress(&content, 1).unwrap().into();
        let page = DocumentPage { rows: packed.len() as u32, unpacked, packed: bytes };
        let streams = [0..own.start, own.clone(), own.end..intake.len() as u32];
        let decoded = intake.decoded(&streams);
        assert_eq!(decoded.as_ref().map(DecodedRows::len), Some(intake.len()).filter(|count| *count > 0));
        batches.push((decoded, own, vec![page]));
        intake.clear();
    }
    let events: Vec<SegmentEvent<'_>> = rows.iter().map(|row| event(*row)).collect();
    // A data stream's rows may be those of two parts, if their documents are not packed.
    let parts = batches.iter().flat_map(|(decoded, rows, pages)| {
        let middle = if pages[0].rows == 0 { rows.start + rows.len() as u32 / 3 } else { rows.start };
        let part = |rows| DecodedPart { decoded: decoded.as_ref(), stream: 1, rows, pages };
        [part(rows.start..middle), part(middle..rows.end)]
    });
    let parts: Vec<_> = parts.filter(|part| !part.rows.is_empty()).collect();
    let written = writer.write_decoded(&mut columns, &events, &parts, Effort::Little, || Ok(Vec::new())).unwrap();
    let (read, report) = facts(&file(folder, "decoded.parquet", written), schema, &options(1, ROWS));
    let mut expected: Vec<Facts> = rows.iter().map(|row| expected[*row].clone()).collect();
    expected.iter_mut().zip(0..).for_each(|(facts, row)| facts.meta.order.arrival.position = row);
    assert_same(&read, &expected);
    assert!(rows.is_empty() || report.inputs[0].first_skipped.is_empty());
}

/// Checks that two files with the same columns give the same as one, and that others are not put together.
fn check_concat<'a>(
    event: &dyn Fn(usize) -> SegmentEvent<'a>,
    count: usize,
    schema: &Arc<Schema>,
    expected: &[Facts],
    folder: &Path,
) {
    let (mut writer, mut columns) = (SegmentWriter::default(), SegmentColumns::default());
    let mut write = |rows: std::ops::Range<usize>| {
        let bytes = writer.write(&mut columns, rows.clone().map(event), Effort::Little, || Ok(Vec::new())).unwrap();
        file(folder, &format!("{}-{}.parquet", rows.start, rows.end), bytes)
    };
    // The first one may lack columns that all others have.
    let all = write(0..count);
    let parts = [write(0..count / 2), write(count / 2..count)];
    // What most values of a field are may be another thing in all events than in half of them.
    let twice = concat(&[&all, &all]).unwrap();
    assert_eq!(facts(&file(folder, "twice.parquet", twice), schema, &options(1, ROWS)).0.len(), 2 * expected.len());
    let Some(joined) = concat(&[&parts[0], &parts[1]]) else { return };
    let (rows, report) = facts(&file(folder, "joined.parquet", joined), schema, &options(1, ROWS));
    assert_eq!(report.inputs[0].first_skipped, []);
    assert_same(&rows, expected);
}

/// The document in a hit, or the text itself.
fn source(hit: &str) -> Box<RawValue> {
    #[derive(serde::Deserialize)]
    struct Hit {
        #[serde(rename = "_source")]
        source: Box<RawValue>,
    }
    serde_json::from_str::<Hit>(hit).map_or_else(|_| serde_json::from_str(hit).unwrap(), |hit| hit.source)
}

#[track_caller]
fn assert_same(rows: &[Facts], expected: &[Facts]) {
    for (row, expected) in rows.iter().zip(expected) {
        assert_eq!(row, expected);
    }
    assert_eq!(rows.len(), expected.len());
}

fn every_field() -> Arc<Schema> {
    let mut schema = Schema::builder();
    generate::FIELDS.iter().for_each(|(name, ty)| _ = schema.add_typed(name, *ty));
    FIELDS.iter().for_each(|name| _ = schema.add(name));
    ["custom.never", "labels.a", "labels.b", "process.args_count", "_time", "_other", "x", "x.y"]
        .iter()
        .for_each(|name| _ = schema.add(name));
    reserve(&mut schema);
    schema.build()
}

const ODD: &str = r#"{"labels":{"a":1,"b":[1,2.5,"x",true,18446744073709551615]},"process":{"pid":[1,18446744073709551615,"7",4.9]}}
{"labels":{"a":"x"},"source":{"ip":["10.0.0.1","::ffff:10.0.0.1","2001:DB8::1","-",5]},"_time":"mine","_other":[1,"x"]}
{"labels":{"a":[true,null,[],{}]},"event":{"created":["2024-01-01","no date",1700000000000],"risk_score":[1,2.5,"3",1e300]}}
{"_index":".ds-logs-x-default-2024.05.01-000003","_id":"7","_source":{"x":{"y":1},"_id":"no","_index":"inner","process.name":["a","\u00e4\"\n"]}}
{"_id":"7","_source":{"x":[[1],[2,[3]]],"x.y":2}}
{"index":{"_index":"i"}}
{"@timestamp":["no","2024-01-01T00:00:00.123456789Z","2025-01-01"],"event":{"id":"e","sequence":5},"dll":{"code_signature":{"exists":["true",false,"no"]}}}
{"data_stream":{"type":"logs","dataset":"d"},"process":{"name":"","args_count":-0.0}}
{"a":"bad \ud800 half","n":1e999}
{}
"#;

#[test]
fn odd_values_come_back() {
    check(ODD, &every_field());
    check("", &every_field());
    check("{}\n", &every_field());
    let deep = format!("{{\"x\":{{\"y\":1}},\"d\":{}1{}}}\n", "{\"a\":".repeat(99), "}".repeat(99));
    check(&deep, &every_field());
    // More fields than there are columns.
    let many: Vec<String> = (0..3_000).map(|number| format!("\"f{number:04}\":[{number},\"x\"]")).collect();
    let lines = format!("{{{}}}\n{{\"x\":1}}\n{{{}}}\n", many.join(","), many.join(","));
    check(&lines, &schema(&["f0001", "f2999", "x"]));
    let bulk = "{\"index\":{\"_index\":\"logs-x\",\"_id\":\"9\"}}\n{\"x\":1}\n{\"create\":{}}\n{\"x\":2}\n";
    check(bulk, &every_field());
}

#[test]
fn a_field_of_another_type_is_read_from_the_documents() {
    let mut schema = Schema::builder();
    schema.add_typed("process.pid", FieldType::Keyword);
    schema.add_typed("labels.a", FieldType::Long);
    schema.add_typed("event.created", FieldType::Dynamic);
    reserve(&mut schema);
    check(ODD, &schema.build());
}

/// A segment of these documents.
fn segment(folder: &Path, name: &str, documents: &[&str]) -> PathBuf {
    let events = documents.iter().map(|document| SegmentEvent {
        index: "logs-x-default",
        id: "1",
        document,
        meta: RowMeta { order: OrderKey { time: None, tiebreaker: None, arrival: Arrival::default() }, identity: None },
    });
    let columns = &mut SegmentColumns::default();
    let written = SegmentWriter::default().write(columns, events, Effort::Usual, || Ok(Vec::new())).unwrap();
    file(folder, name, written)
}

fn contents(paths: &[&Path]) -> Vec<SegmentContent> {
    paths.iter().map(|path| SegmentContent::Bytes(std::fs::read(path).unwrap().into())).collect()
}

fn concat(paths: &[&Path]) -> Option<Vec<u8>> {
    eqlipse_events::concat_segments(&contents(paths), || Ok(Vec::new())).unwrap()
}

#[test]
fn segments_with_different_columns_are_put_together() {
    let folder = tempfile::tempdir().unwrap();
    // Values that no column can hold stand beside the columns.
    let documents: [&[&str]; 3] = [
        &[r#"{"a":{"one":1},"list":["x","y"],"odd":1}"#, r#"{"a":{"one":2},"odd":2,"huge":18446744073709551615}"#],
        &[r#"{"b":true,"process":{"pid":7}}"#],
        &[
            r#"{"a":{"one":3},"c":2.5,"odd":3,"list":["z","z"]}"#,
            r#"{"c":1.5,"odd":"three","list":["x"]}"#,
            r#"{"odd":4}"#,
        ],
    ];
    let files: Vec<PathBuf> = documents
        .iter()
        .zip(0..)
        .map(|(documents, number)| segment(folder.path(), &format!("{number}.parquet"), documents))
        .collect();
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let joined = concat(&paths).unwrap();
    let fields = ["a.one", "list", "odd", "huge", "b", "process.pid", "c", "never"];
    let read = |path: &Path| facts(path, &schema(&fields), &options(1, ROWS));
    let mut expected: Vec<Facts> = paths.iter().flat_map(|path| read(path).0).collect();
    expected.iter_mut().zip(0..).for_each(|(facts, row)| facts.meta.order.arrival.position = row);
    // Each has its index as well.
    assert_eq!(expected.iter().map(|facts| facts.values.concat().len()).sum::<usize>(), 18 + expected.len());
    let joined = file(folder.path(), "joined.parquet", joined);
    let (rows, report) = read(&joined);
    assert_eq!(report.inputs[0].first_skipped, []);
    assert_same(&rows, &expected);
    // And once more, with what was put together before.
    let again = file(folder.path(), "again.parquet", concat(&[&joined, &files[1]]).unwrap());
    assert_eq!(read(&again).0.len(), 7);
    let told = String::from_utf8_lossy(&fs::read(&joined).unwrap()).into_owned();
    assert!(told.contains(r#"{"huge":["unsigned"],"odd":["text"]}"#) && told.contains(r#""b":"dynamic""#));
}

#[test]
fn segments_that_are_better_written_anew_are_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let one = |name: &str, document: &str| segment(folder.path(), name, &[document]);
    let (long, text, list) = (one("1", r#"{"a":1}"#), one("2", r#"{"a":"x"}"#), one("3", r#"{"a":[1,2]}"#));
    assert!(concat(&[&long, &long]).is_some());
    assert!(concat(&[&long, &text]).is_none() && concat(&[&long, &list]).is_none());
    // Many small row groups.
    assert!(concat(&[&*long; 16]).is_some() && concat(&[&*long; 17]).is_none());
    // More fields than there are columns.
    let many = |letter: &str| {
        let fields: Vec<String> = (0..1_500).map(|number| format!("\"{letter}{number}\":1")).collect();
        one(letter, &format!("{{{}}}", fields.join(",")))
    };
    assert!(concat(&[&many("m"), &many("n")]).is_none());
    let broken = file(folder.path(), "broken", "PAR1");
    assert!(eqlipse_events::concat_segments(&contents(&[&long, &broken]), || Ok(Vec::new())).is_err());
}

#[test]
fn a_field_that_cannot_be_counted_has_its_values() {
    let folder = tempfile::tempdir().unwrap();
    // Sound enough for an event whose first field nobody asks for, and not for who counts fields.
    let broken = r#"{"msg_x":"cut\ud83d","url":{"full":"first"}}"#;
    let documents: Vec<String> = (0..100).map(|number| format!("{{\"url\":{{\"full\":\"{number}\"}}}}")).collect();
    let documents: Vec<&str> = std::iter::once(broken).chain(documents.iter().map(String::as_str)).collect();
    let mut intake = Intake::new(&schema(&["process.name", "url.full"])).unwrap();
    let meta = |row| RowMeta {
        order: OrderKey { time: None, tiebreaker: None, arrival: Arrival { source: 0, position: row } },
        identity: None,
    };
    let event = |(document, row)| SegmentEvent { index: "logs-x-default", id: "1", document, meta: meta(row) };
    let events: Vec<SegmentEvent<'_>> = documents.iter().copied().zip(0..).map(event).collect();
    for SegmentEvent { index, document, meta, .. } in &events {
        let (identity, arrival) = (Identity::Known(None), meta.order.arrival);
        intake.add(&IncomingEvent { document, index, id: None, identity, arrival }).unwrap();
    }
    let (mut writer, mut columns) = (SegmentWriter::default(), SegmentColumns::default());
    let known = event((r#"{"process":{"name":"a"}}"#, 0));
    writer.write(&mut columns, [known].into_iter(), Effort::Little, || Ok(Vec::new())).unwrap();
    let rows = 0..events.len() as u32;
    let decoded = intake.decoded(std::slice::from_ref(&rows));
    let part = DecodedPart { decoded: decoded.as_ref(), stream: 0, rows, pages: &[] };
    let written = writer.write_decoded(&mut columns, &events, &[part], Effort::Little, || Ok(Vec::new())).unwrap();
    let written = file(folder.path(), "segment.parquet", written);
    let (rows, _) = facts(&written, &schema(&["url.full"]), &options(1, ROWS));
    let values: Vec<String> = rows.iter().map(|facts| facts.values[0].concat()).collect();
    let expected = documents.iter().map(|document| document.split('"').nth_back(1).unwrap());
    assert_eq!(values, expected.map(|value| format!("Str(\"{value}\")")).collect::<Vec<_>>());
}

#[test]
fn few_odd_events_are_decoded_again() {
    let (plain, odd) = (many_lines(300), ODD.lines().filter(|line| !line.contains("\"_") && line.contains(":")));
    let mut lines: Vec<&str> = plain.lines().collect();
    odd.zip(0..).for_each(|(line, place)| lines.insert(place * 61 % 299, line));
    check(&(lines.join("\n") + "\n"), &every_field());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn generated_documents_come_back(events in generate::events()) {
        let lines: String = events.iter().map(|event: &Value| format!("{event}\n")).collect();
        check(&lines, &every_field());
    }
}

/// So many that most columns have no dictionary any more.
#[test]
fn many_different_values_come_back() {
    let odd = ODD.lines().filter(|line| !line.contains("\"_") && line.contains(":"));
    let mut lines: Vec<String> = many_lines(6_000).lines().map(str::to_owned).collect();
    lines.extend((0..3_000).map(|number| {
        let address = std::net::Ipv4Addr::from_bits(number * 77_777);
        let several = if number % 5 == 0 { format!("[\"{number}\",\"\",{number}]") } else { format!("\"{number}x\"") };
        format!("{{\"source\":{{\"ip\":\"{address}\"}},\"process\":{{\"entity_id\":{several}}},\"odd\":{several}}}")
    }));
    odd.zip(0..).for_each(|(line, place)| lines.insert(place * 761 % 8_999, line.to_owned()));
    check(&(lines.join("\n") + "\n"), &every_field());
}

fn many_lines(count: usize) -> String {
    let line = |number: usize| {
        let time = 1_700_000_000_000 + number as u64;
        let text = "x".repeat(number % 300);
        format!(
            "{{\"@timestamp\":{time},\"process\":{{\"name\":\"p{}\",\"pid\":{number}}},\"t\":\"{text}\"}}\n",
            number % 50
        )
    };
    (0..count).map(line).collect()
}

#[test]
fn row_groups_are_read_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let json = file(folder.path(), "events.ndjson", many_lines(120_000));
    let parquet = file(folder.path(), "events.parquet", converted(&json));
    let schema = schema(&FIELDS);
    let (expected, _) = facts(&json, &schema, &options(2, 1000));
    let (rows, report) = facts(&parquet, &schema, &options(2, 1000));
    assert_eq!(rows.len(), 120_000);
    assert!(rows == expected);
    assert_eq!(report.inputs[0].format, "parquet");
    assert_eq!(report.inputs[0].events, 120_000);
    assert!(fs::metadata(&parquet).unwrap().len() < fs::metadata(&json).unwrap().len() / 5);
}

#[test]
fn a_window_leaves_rows_out() {
    let folder = tempfile::tempdir().unwrap();
    let json = file(folder.path(), "events.ndjson", many_lines(3_000) + ODD);
    let parquet = file(folder.path(), "events.parquet", converted(&json));
    let schema = every_field();
    let from = (1_700_000_000_000 + 100) * 1_000_000;
    let window = Window { from: Some(from), to: Some(from + 50 * 1_000_000) };
    let options = ReadOptions { window, ..options(1, ROWS) };
    let (expected, before) = facts(&json, &schema, &options);
    let (rows, report) = facts(&parquet, &schema, &options);
    assert_eq!(rows.len(), 51);
    assert_same(&rows, &expected);
    assert_eq!((report.events, report.outside), (before.events, before.outside));
    // Documents are read again from the rows of the file, not of the batch.
    let (rows, _) = read_rows(&found(&parquet), &schema, &options);
    assert_eq!(
        rows.iter().map(|row: &Row| row.hit.clone()).collect::<Vec<_>>(),
        expected.iter().map(|row| row.hit.clone()).collect::<Vec<_>>()
    );
}

#[test]
fn windows_events_keep_the_order_of_their_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/story/ws01-sysmon.evtx");
    let parquet = file(folder.path(), "sysmon.parquet", converted(&log));
    let schema = schema(&FIELDS);
    for order_by in [OrderBy::Log, OrderBy::Timestamp] {
        let options = ReadOptions { order_by, ..options(1, ROWS) };
        let (expected, _) = facts(&log, &schema, &options);
        let (rows, _) = facts(&parquet, &schema, &options);
        assert!(!rows.is_empty());
        assert_same(&rows, &expected);
    }
}

#[test]
fn packed_files_are_held_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let json = file(folder.path(), "events.ndjson", ODD);
    let parquet = converted(&json);
    let mut packed = Vec::new();
    flate2::read::GzEncoder::new(&parquet[..], flate2::Compression::fast()).read_to_end(&mut packed).unwrap();
    let packed = file(folder.path(), "events.parquet.gz", packed);
    let schema = every_field();
    let (rows, report) = facts(&packed, &schema, &options(1, ROWS));
    assert_eq!(rows, facts(&json, &schema, &options(1, ROWS)).0);
    assert_eq!(report.inputs[0].format, "parquet+gzip");
}

#[test]
fn a_parquet_file_can_be_converted_again() {
    let folder = tempfile::tempdir().unwrap();
    let json = file(folder.path(), "events.ndjson", ODD);
    let once = file(folder.path(), "once.parquet", converted(&json));
    let twice = file(folder.path(), "twice.parquet", converted(&once));
    assert!(fs::read(&once).unwrap() == fs::read(&twice).unwrap());
}

#[test]
fn a_file_that_was_changed_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let json = file(folder.path(), "events.ndjson", many_lines(10));
    let parquet = file(folder.path(), "events.parquet", converted(&json));
    let other = file(folder.path(), "other.ndjson", many_lines(11));
    let place = Mutex::new(None);
    let inputs = found(&parquet);
    read(&inputs, &schema(&FIELDS), &options(1, ROWS), &Progress::default(), |_| {
        |batch: &EventBatch| *place.lock().unwrap() = batch.place(3)
    })
    .unwrap();
    let place = place.into_inner().unwrap().unwrap();
    assert!(DocumentReader::new(&inputs).read(&place).is_ok());
    fs::write(&parquet, converted(&other)).unwrap();
    assert!(matches!(DocumentReader::new(&inputs).read(&place), Err(AgainError::Changed { .. })));
    fs::write(&parquet, b"PAR1").unwrap();
    assert!(matches!(DocumentReader::new(&inputs).read(&place), Err(AgainError::Parquet { .. })));
}

/// Reads a damaged file in full, and checks that it comes to an end in good order.
fn survive(folder: &Path, bytes: &[u8], schema: &Arc<Schema>) -> ReadReport {
    let path = file(folder, "damaged.parquet", bytes);
    let (_, report) = facts(&path, schema, &options(1, ROWS));
    for input in &report.inputs {
        for line in skipped(input) {
            assert!(!line.contains("internal error"), "{line}");
        }
    }
    report
}

#[test]
fn damaged_files_are_survived() {
    let folder = tempfile::tempdir().unwrap();
    let json = file(folder.path(), "events.ndjson", format!("{ODD}{}", many_lines(200)));
    let whole = converted(&json);
    let schema = every_field();
    assert_eq!(survive(folder.path(), &whole, &schema).inputs[0].skipped, 0);
    for length in (4..whole.len()).step_by(whole.len() / 60) {
        let report = survive(folder.path(), &whole[..length], &schema);
        assert!(
            matches!(&report.problems[..], [InputProblem::Unreadable { reason, .. }] if reason.contains("damaged"))
        );
    }
    let mut state = 7u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for round in 0..3_000 {
        let mut damaged = whole.clone();
        for _ in 0..=round % 3 {
            // The magic stays, so that it is read as Parquet.
            let at = 4 + next(damaged.len() - 4);
            damaged[at] ^= 1 << next(8);
        }
        survive(folder.path(), &damaged, &schema);
    }
}

#[test]
fn files_of_other_tools_are_refused_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let json = file(folder.path(), "events.ndjson", "{}\n");
    let mut bytes = converted(&json);
    let at = bytes.windows(14).rposition(|window| window == b"eqlipse.layout").unwrap();
    bytes[at] = b'x';
    let report = survive(folder.path(), &bytes, &schema(&FIELDS));
    let reason = report.problems[0].to_string();
    assert!(reason.contains("eqlipse did not write") && reason.contains("duckdb"), "{reason}");
}
