//! Every format in every container gives the same events.

mod common;

use std::io::{Cursor, Write};

use common::{FIELDS, Row, options, read_file, read_rows, schema};
use eqlipse_events::{DiscoverOptions, Discovery, Given, Progress, ReadOptions, convert, discover};
use eqlipse_testkit::evtx_writer::{EvtxEvent, Payload, Value, write_evtx};
use flate2::Compression;
use flate2::write::GzEncoder;
use zip::write::SimpleFileOptions;

const EVENTS: usize = 5;

fn document(number: usize) -> serde_json::Value {
    serde_json::json!({
        "@timestamp": format!("2026-03-03T08:00:0{number}.000Z"),
        "process": { "name": format!("p{number}.exe"), "pid": 100 + number, "args": ["a", format!("ö😀{number}\n\"x\"")] },
        "event.category": "process",
        "event": { "sequence": number },
        "user": null,
        "labels": { "unneeded": [{ "deep": [1, 2, { "x": "]}" }] }] },
    })
}

fn documents() -> Vec<serde_json::Value> {
    (0..EVENTS).map(document).collect()
}

fn hit(number: usize) -> serde_json::Value {
    serde_json::json!({ "_index": ".ds-logs-x-default-2026.03.03-000001", "_id": format!("id{number}"), "_score": null,
        "_source": document(number), "sort": [number] })
}

fn joined(items: impl IntoIterator<Item = String>, separator: &str) -> String {
    items.into_iter().map(|item| item + separator).collect()
}

fn compact(value: &serde_json::Value) -> String {
    value.to_string()
}

fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

fn utf16(text: &str, big_endian: bool, mark: bool) -> Vec<u8> {
    let units = mark.then_some(0xfeff).into_iter().chain(text.encode_utf16());
    units.flat_map(|unit| if big_endian { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
}

/// JSON texts with the five documents, and the format that each should be found to have.
fn json_formats() -> Vec<(&'static str, Vec<u8>)> {
    let lines = joined(documents().iter().map(compact), "\n");
    let list = serde_json::Value::from(documents());
    let hits = serde_json::json!((0..EVENTS).map(hit).collect::<Vec<_>>());
    let response = serde_json::json!({ "took": 3, "_shards": { "total": 1 }, "hits": {
        "total": { "value": EVENTS }, "max_score": null, "hits": hits }, "aggregations": { "x": { "hits": [{}] } } });
    let pages = joined((0..EVENTS).map(|n| compact(&serde_json::json!({ "hits": { "hits": [hit(n)] } }))), "\n");
    let bulk = joined(
        (0..EVENTS).map(|n| {
            let action = serde_json::json!({ "create": { "_index": "logs-x-default", "_id": format!("id{n}") } });
            format!(
                "{action}\n{}\n{{\"delete\":{{\"_id\":\"{n}\"}}}}\n{{\"update\":{{\"_id\":\"1\"}}}}\n{{\"doc\":{{}}}}",
                document(n)
            )
        }),
        "\n",
    );
    vec![
        ("ndjson", lines.clone().into_bytes()),
        ("ndjson", lines.trim_end().as_bytes().to_vec()),
        ("ndjson", lines.replace('\n', "\r\n").into_bytes()),
        ("ndjson", lines.replace('\n', "\n\n  \n").into_bytes()),
        ("ndjson", format!("\u{feff}{lines}").into_bytes()),
        ("ndjson+utf-16", utf16(&lines, false, true)),
        ("ndjson+utf-16", utf16(&lines, true, true)),
        ("json+utf-16", utf16(&pretty(&list), false, false)),
        ("ndjson", joined((0..EVENTS).map(|n| compact(&hit(n))), "\n").into_bytes()),
        ("ndjson", format!("{}\n{}\n", document(0), serde_json::Value::from(documents()[1..].to_vec())).into_bytes()),
        ("json", compact(&list).into_bytes()),
        ("json", pretty(&list).into_bytes()),
        ("json", compact(&hits).into_bytes()),
        ("json", compact(&response).into_bytes()),
        ("json", pretty(&response).into_bytes()),
        ("json", pages.clone().into_bytes()),
        ("json", joined(documents().iter().map(pretty), "\n").into_bytes()),
        ("json", joined((0..EVENTS).map(|n| pretty(&hit(n))), "\n").into_bytes()),
        ("json", joined((0..EVENTS).map(|n| format!("[{}]", document(n))), "\n").into_bytes()),
        ("bulk", bulk.into_bytes()),
    ]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_directory("logs/", SimpleFileOptions::default()).unwrap();
    for (name, bytes) in members {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The two halves packed each on its own, one behind the other.
fn in_two(bytes: &[u8], pack: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    [pack(head), pack(tail)].concat()
}

fn containers(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let notes = b"read me".as_slice();
    vec![
        ("", bytes.to_vec()),
        ("+gzip", gzip(bytes)),
        ("+gzip", in_two(bytes, gzip)),
        ("+zstd", zstd(bytes)),
        ("+zstd", in_two(bytes, zstd)),
        ("+xz", xz(bytes)),
        ("+xz", in_two(bytes, xz)),
        ("+gzip+gzip", gzip(&gzip(bytes))),
        ("", zip(&[("notes.txt", notes), ("logs/a", bytes)])),
        ("+gzip", zip(&[("logs/a.gz", &gzip(bytes)), ("notes.txt", notes)])),
        ("", zip(&[("b.zip", &zip(&[("a", bytes)]))])),
        ("", tar(&[("notes.txt", notes), ("logs/a", bytes)])),
        ("+gzip", gzip(&tar(&[("a", bytes), ("notes.txt", notes)]))),
        ("+zstd+gzip", gzip(&tar(&[("a.zst", &zstd(bytes))]))),
        ("+gzip", gzip(&zip(&[("a", bytes)]))),
    ]
}

fn check_documents(rows: &[Row], what: &str) {
    assert_eq!(rows.len(), EVENTS, "{what}");
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(row.source(), document(number), "{what}");
        assert_eq!(row.field("process.name"), [format!("p{number}.exe")], "{what}");
        assert_eq!(row.field("process.pid"), [(100 + number).to_string()], "{what}");
        assert_eq!(row.field("process.args"), ["a".to_owned(), format!("ö😀{number}\n\"x\"")], "{what}");
        assert_eq!(row.field("event.category"), ["process"], "{what}");
        assert_eq!(row.field("user.name"), [] as [&str; 0], "{what}");
        assert_eq!(row.order.time, Some(1_772_524_800_000_000_000 + number as i64 * 1_000_000_000), "{what}");
        assert_eq!(row.order.tiebreaker, Some(number as i64), "{what}");
        assert!(!row.hit.contains('\n'), "{what}");
    }
}

#[test]
fn every_format_in_every_container() {
    for (format, bytes) in json_formats() {
        for (layers, packed) in containers(&bytes) {
            let what = format!("{format}{layers}: {}", String::from_utf8_lossy(&bytes[..bytes.len().min(200)]));
            let (rows, report) = read_file("log", &packed, &options(2, 3));
            check_documents(&rows, &what);
            let log = report.inputs.iter().find(|input| input.events > 0).unwrap();
            assert!(report.problems.is_empty(), "{what}: {:?}", report.problems);
            assert_eq!(log.skipped, 0, "{what}: {log:?}");
            assert_eq!(log.damaged, 0, "{what}: {log:?}");
            let (plain, rest) = format.split_once('+').unwrap_or((format, ""));
            let expected = if rest.is_empty() { format!("{plain}{layers}") } else { format!("{plain}+{rest}{layers}") };
            assert_eq!(log.format, expected, "{what}");
        }
    }
}

#[test]
fn indices_and_ids_of_hits_and_actions() {
    for (format, bytes) in json_formats() {
        let text = String::from_utf8_lossy(&bytes).replace('\0', "");
        if !text.contains("_id") {
            continue;
        }
        let (rows, _) = read_file("log", &bytes, &options(1, 100));
        for (number, row) in rows.iter().enumerate() {
            assert_eq!(row.field("_index"), ["logs-x-default"], "{format} {text}");
            assert_eq!(row.json()["_id"], format!("id{number}"));
            assert!(row.json()["_index"].as_str().unwrap().contains("logs-x-default"));
            assert!(row.identity.is_some());
        }
    }
}

#[test]
fn the_index_of_a_data_stream() {
    let text = r#"{"data_stream":{"type":"logs","dataset":"endpoint.events.process"},"data_stream.namespace":"x"}
{"data_stream":{"type":"logs","dataset":"system.auth"}}
{"data_stream":{"type":"logs"}}
{"a":1}
{"_index":"eu:partial-.ds-logs-a-b-2024.05.01-000003","_source":{"data_stream":{"type":"logs","dataset":"y"}}}
"#;
    let (rows, _) = read_file("log", text.as_bytes(), &options(1, 100));
    let indices: Vec<_> = rows.iter().map(|row| row.field("_index").concat()).collect();
    assert_eq!(indices, ["logs-endpoint.events.process-x", "logs-system.auth-default", "", "", "logs-a-b"]);
    assert!(rows.iter().all(|row| row.identity.is_none()));
}

#[test]
fn identities() {
    let text = r#"{"event":{"id":"1"},"process":{"name":"a"}}
{"event":{"id":"1"},"process":{"name":"a"}}
{"event":{"id":"1"},"process":{"name":"b"}}
{"winlog":{"record_id":"7","channel":"Security"},"host":{"name":"h"}}
{"winlog":{"record_id":"7","channel":"Security"}}
{"_id":"a","_source":{"process":{"name":"a"}}}
{"_id":"b","_source":{"process":{"name":"a"}}}
"#;
    let (rows, _) = read_file("log", text.as_bytes(), &options(1, 100));
    let ids: Vec<_> = rows.iter().map(|row| row.identity).collect();
    assert!(ids[0].is_some() && ids[0] == ids[1] && ids[1] != ids[2]);
    assert!(ids[3].is_some() && ids[4].is_none());
    assert!(ids[5].is_some() && ids[5] != ids[6]);
}

fn evtx(count: u64) -> Vec<u8> {
    let events: Vec<EvtxEvent> = (0..count)
        .map(|number| EvtxEvent {
            provider: "Service Control Manager".into(),
            channel: "System".into(),
            computer: "srv.example.test".into(),
            event_id: 7036,
            record_id: number + 1,
            time: "2026-03-03T08:00:00Z".parse().unwrap(),
            payload: Payload::EventData(vec![("Payload".into(), Value::Text(format!("{number} {}", "x".repeat(300))))]),
            ..EvtxEvent::default()
        })
        .collect();
    write_evtx(&events).unwrap()
}

#[test]
fn event_logs_in_every_container() {
    let log = evtx(200);
    assert!(log.len() > 2 * 65_536);
    for (layers, packed) in containers(&log) {
        let (rows, report) = read_file("log", &packed, &options(2, 33));
        let input = report.inputs.iter().find(|input| input.events > 0).unwrap();
        assert_eq!(input.format, format!("evtx{layers}"));
        assert_eq!((input.events, input.skipped, input.damaged), (200, 0, 0), "{input:?}");
        for (number, row) in rows.iter().enumerate() {
            assert_eq!(row.order.tiebreaker, Some(number as i64 + 1));
            assert!(row.field("winlog.event_data.Payload")[0].starts_with(&format!("{number} ")));
            assert_eq!(row.field("_index")[0], "logs-system.system-default");
            assert_eq!(row.source()["winlog"]["record_id"], (number + 1).to_string());
            assert_eq!(row.json()["_index"], "logs-system.system-default");
            assert!(row.identity.is_some());
        }
        assert_ne!(rows[0].identity, rows[1].identity);
    }
}

#[test]
fn jobs_and_batch_sizes_do_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    for (number, (_, bytes)) in json_formats().into_iter().enumerate() {
        write(&format!("{number:02}.json"), &bytes);
    }
    // Lines enough for several units.
    let line = |number: usize| format!("{{\"process\":{{\"name\":\"p{}\",\"pid\":{number}}}}}", number % 97);
    write("long.ndjson", joined((0..50_000).map(line), "\n").as_bytes());
    write("log.evtx", &evtx(300));
    write("all.zip", &zip(&[("a.evtx", &evtx(150)), ("b.json", &json_formats()[0].1), ("c.evtx", &evtx(20))]));
    write(
        "all.tgz",
        &gzip(&tar(&[("a.evtx", &evtx(150)), ("b.json.gz", &gzip(&json_formats()[0].1)), ("c.evtx", &evtx(20))])),
    );
    write("notes.txt", b"notes");
    let discovery = discover(&[folder.path()], DiscoverOptions::default());
    let schema = schema(&FIELDS);
    let (expected, report) = read_rows(&discovery, &schema, &options(1, 16_384));
    assert!(report.problems.is_empty());
    assert_eq!(report.not_logs, 1);
    let keys: std::collections::HashSet<_> = expected.iter().map(|row| row.order).collect();
    assert_eq!(keys.len(), expected.len(), "no two events have one place");
    for jobs in [1, 2, 8] {
        for batch_rows in [1, 7, 16_384] {
            let (rows, again) = read_rows(&discovery, &schema, &options(jobs, batch_rows));
            assert!(rows == expected, "{jobs} jobs, {batch_rows} rows");
            assert_eq!(again, report, "{jobs} jobs, {batch_rows} rows");
        }
    }
}

#[test]
fn hashes_and_sizes_are_those_of_the_content() {
    let text = json_formats()[0].1.clone();
    let packed = [gzip(&text), vec![0; 700]].concat();
    let options = ReadOptions { hash: true, ..options(1, 100) };
    let (_, report) = read_file("log", &text, &options);
    let plain = report.inputs[0].sha256.clone().unwrap();
    assert_eq!(report.inputs[0].bytes, text.len() as u64);
    let (_, report) = read_file("log", &packed, &options);
    assert_eq!(report.inputs[0].bytes, packed.len() as u64);
    assert_eq!(report.bytes, packed.len() as u64);
    let of_packed = report.inputs[0].sha256.clone().unwrap();
    assert_ne!(of_packed, plain);
    let (_, report) = read_file("log", &zip(&[("a", &text), ("b.gz", &packed)]), &options);
    let hashes: Vec<_> = report.inputs.iter().map(|input| input.sha256.clone().unwrap()).collect();
    assert_eq!(hashes[1..], [plain, of_packed]);
    assert_eq!(
        report.inputs.iter().map(|input| input.format.as_str()).collect::<Vec<_>>(),
        ["zip", "ndjson", "ndjson+gzip"]
    );
}

#[test]
fn what_is_in_memory_is_read_as_files_are_and_unpacked_with_so_much_memory() {
    let text = json_formats()[0].1.clone();
    let read = |bytes: Vec<u8>, options: &ReadOptions<'_>| {
        let mut discovery = Discovery::default();
        discovery.add_held("upload", bytes);
        read_rows(&discovery, &schema(&FIELDS), options)
    };
    for (format, packed) in containers(&text) {
        check_documents(&read(packed, &options(1, 100)).0, format);
    }
    let tight = ReadOptions { max_unpack_bytes: 64, ..options(1, 100) };
    for packed in [xz(&text), zip(&[("a", &text)])] {
        let (rows, report) = read(packed, &tight);
        assert!(rows.is_empty() && !report.problems.is_empty());
    }
}

#[test]
fn lines_that_are_known_as_such_are_not_looked_at_for_a_format() {
    let line = document(0).to_string();
    // As a piece of a log may begin.
    let text = format!("[1]\nplain\n{}\n{line}\n", "text\n".repeat(100));
    let given = |given| ReadOptions { given: Some(given), ..options(1, 100) };
    assert_eq!(read_file("x", text.as_bytes(), &options(1, 100)).0.len(), 0);
    let (rows, report) = read_file("x", text.as_bytes(), &given(Given::Lines));
    assert_eq!((rows.len(), report.inputs[0].skipped), (1, 102));
    let bulk = format!("{{\"index\":{{\"_id\":\"a\"}}}}\n{line}\n{{\"delete\":{{}}}}\n");
    assert_eq!(read_file("x", bulk.as_bytes(), &given(Given::Bulk)).0.len(), 1);
    assert_eq!(Given::of_line(line.as_bytes()), Some(Given::Lines));
    assert_eq!(Given::of_line(b"{\"index\":{}}\n"), Some(Given::Bulk));
    assert_eq!(Given::of_line(b"{\"took\":1,\"hits\":{\"hits\":[]}}"), None);
    let opens = ["{\"index\":{}}", "{\"delete\":{}}", &line].map(|line| Given::Bulk.is_open(line.as_bytes()));
    assert_eq!(opens, [true, false, false]);
}

#[test]
fn conversion_gives_documents_a_line() {
    for (format, bytes) in json_formats() {
        for (_, packed) in containers(&bytes) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("log");
            std::fs::write(&path, &packed).unwrap();
            let discovery = discover(&[path], DiscoverOptions::default());
            let mut out = Vec::new();
            let report = convert(&discovery, &options(1, 2), &Progress::default(), &mut out).unwrap();
            assert_eq!(report.events, EVENTS as u64);
            let lines: Vec<serde_json::Value> =
                String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(lines, documents(), "{format}");
        }
    }
}
