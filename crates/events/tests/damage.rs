//! Damaged and hostile inputs: what is good is used, what is not is said with its place, and nothing panics.

mod common;

use std::io::{Cursor, Read, Write};
use std::sync::atomic::AtomicBool;

use common::{FIELDS, Row, damaged, options, read_file, read_rows, schema, skipped};
use eqlipse_batch::EventBatch;
use eqlipse_events::{
    AgainError, DiscoverOptions, DocumentReader, InputProblem, MAX_DOCUMENT_BYTES, Progress, ReadError, ReadOptions,
    ReadReport, discover, read,
};
use eqlipse_testkit::evtx_writer::{EvtxEvent, write_evtx};

fn names(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| row.field("process.name").concat()).collect()
}

fn one(text: impl AsRef<[u8]>) -> (Vec<Row>, ReadReport) {
    read_file("log.json", text.as_ref(), &options(2, 100))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzEncoder::new(bytes, flate2::Compression::fast()).read_to_end(&mut out).unwrap();
    out
}

fn event(name: &str) -> String {
    format!("{{\"process\":{{\"name\":\"{name}\"}}}}\n")
}

fn many(count: usize) -> String {
    (0..count).map(|number| event(&format!("p{number}"))).collect()
}

#[test]
fn broken_lines_are_named_and_passed_over() {
    let text = [
        &event("a"),
        "{\"process\":{\"name\":\"lost\"\n",
        "plain text\n",
        "[1,{\"process\":{\"name\":\"b\"}},2\n",
        "\"x\"\n",
        "{\"a\":1} {\"b\":2}\n",
        "{\"process\":{\"name\":\"x\u{1}\"}}\n",
        &event("c"),
    ]
    .concat();
    let (rows, report) = one(&text);
    assert_eq!(names(&rows), ["a", "b", "c"]);
    let input = &report.inputs[0];
    assert_eq!(input.skipped, 8);
    assert_eq!(
        skipped(input),
        [
            "line 2: EOF while parsing an object at column 25",
            "line 3: not a JSON object",
            "byte 63: expected a JSON object",
            "byte 90: expected a JSON object",
            "byte 91: the text ends inside a list of documents",
            "line 5: not a JSON object",
            "line 6: trailing characters at column 9",
            "line 7: control character (\\u0000-\\u001F) found while parsing a string at column 22",
        ]
    );
}

#[test]
fn only_the_first_are_listed() {
    let (rows, report) = one(format!("{}{}", event("a"), "{\n".repeat(200_000)));
    assert_eq!(rows.len(), 1);
    assert_eq!(report.inputs[0].skipped, 200_000);
    assert_eq!(report.inputs[0].first_skipped.len(), 10);
    assert_eq!(report.inputs[0].first_skipped[9].place, "line 11");
}

#[test]
fn a_failed_document_leaves_no_trace() {
    let (rows, _) = one("{\"a\":1}\n{\"process\":{\"name\":\"ghost\",\"pid\":1}\n{\"process\":{\"pid\":2}}\n");
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| !row.values.iter().any(|value| value.contains("ghost"))));
    assert_eq!(rows[1].field("process.pid"), ["2"]);
}

#[test]
fn invalid_utf8_is_read_lossily_and_said() {
    let text =
        [event("a").as_bytes(), b"{\"process\":{\"name\":\"b\xff\xfe!\"}}\n", event("c").as_bytes(), b"{\"\xff\n"]
            .concat();
    let (rows, report) = one(&text);
    assert_eq!(names(&rows), ["a", "b\u{fffd}\u{fffd}!", "c"]);
    assert_eq!(rows[1].source()["process"]["name"], "b\u{fffd}\u{fffd}!");
    assert_eq!(damaged(&report.inputs[0]), ["line 2: bytes that are no UTF-8, read as U+FFFD"]);
    assert_eq!(report.inputs[0].skipped, 1);
}

#[test]
fn half_surrogate_pairs_do_not_hide_an_event() {
    let (rows, report) =
        one("{\"process\":{\"name\":\"x\\ud800y\",\"pid\":1e999},\"z\":\"\\udfff\"}\n{\"z\":\"\\udfff\"}\n");
    assert_eq!(names(&rows), ["x\u{fffd}y", ""]);
    assert_eq!(rows[0].field("process.pid"), [] as [&str; 0]);
    assert_eq!(rows[0].field("process.name").len(), 1);
    assert_eq!(damaged(&report.inputs[0]), ["line 1: JSON that had to be repaired"]);
    assert_eq!(rows[1].source()["z"], "\u{fffd}");
}

#[test]
fn deep_json_is_skipped_wherever_it_is() {
    for depth in [10_000, 1_000_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            for key in ["process", "unneeded"] {
                let text = format!("{}{{\"{key}\":{deep}}}\n{}", event("a"), event("b"));
                let (rows, report) = one(&text);
                assert_eq!(names(&rows), ["a", "b"]);
                assert_eq!(skipped(&report.inputs[0]), ["line 2: objects and arrays nest deeper than 100 levels"]);
            }
            let (rows, report) = one(format!("[{},{deep},{}]", event("a"), event("b")));
            assert_eq!(names(&rows), ["a", "b"]);
            assert_eq!(report.inputs[0].skipped, 1);
        }
    }
}

#[test]
fn a_line_of_100_mb_is_skipped_in_bounded_memory() {
    struct Long {
        left: usize,
    }
    impl Read for Long {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = buffer.len().min(self.left);
            buffer[..count].fill(b'x');
            self.left -= count;
            Ok(count)
        }
    }
    let head = format!("{}{{\"process\":{{\"name\":\"", event("a"));
    let tail = format!("\"}}}}\n{}", event("b"));
    let text = || head.as_bytes().chain(Long { left: 100 << 20 }).chain(tail.as_bytes());
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain.json");
    std::io::copy(&mut text(), &mut std::fs::File::create(&plain).unwrap()).unwrap();
    let packed = folder.path().join("packed.json.gz");
    let mut encoder = flate2::read::GzEncoder::new(text(), flate2::Compression::fast());
    std::io::copy(&mut encoder, &mut std::fs::File::create(&packed).unwrap()).unwrap();
    for path in [plain, packed] {
        let discovery = discover(&[path], DiscoverOptions::default());
        let (rows, report) = read_rows(&discovery, &schema(&FIELDS), &options(1, 100));
        assert_eq!(names(&rows), ["a", "b"]);
        assert_eq!(skipped(&report.inputs[0]), [format!("line 2: longer than {MAX_DOCUMENT_BYTES} bytes")]);
    }
}

#[test]
fn long_documents_in_all_formats() {
    let long = "x".repeat(3 << 20);
    let options = ReadOptions { max_document_bytes: 2 << 20, ..options(1, 100) };
    let (a, b, lost) = (event("a"), event("b"), event(&long));
    for text in [
        format!("{a}{lost}{b}"),
        format!("{a}{lost}"),
        format!("[{a},{lost},{b}]"),
        format!("[{a},{lost}]"),
        format!("{{\"hits\":{{\"hits\":[{a},{lost},{b}]}}}}"),
        format!("{{\"index\":{{}}}}\n{a}{{\"index\":{{}}}}\n{lost}{{\"index\":{{}}}}\n{b}"),
        format!("{{\n\"process\":{{\"name\":\"a\"}}}}\n{lost}{b}"),
    ] {
        let (rows, report) = read_file("log", text.as_bytes(), &options);
        assert_eq!(names(&rows)[0], "a");
        assert_eq!(names(&rows).len(), if text.contains("\"b\"") { 2 } else { 1 });
        assert_eq!(report.inputs[0].skipped, 1, "{:?}", report.inputs[0].first_skipped);
        assert!(skipped(&report.inputs[0])[0].ends_with("longer than 2097152 bytes"));
    }
}

#[test]
fn large_documents_below_the_limit_are_read() {
    let long = "x".repeat(5 << 20);
    for text in [format!("{}{}", event("a"), event(&long)), format!("[{},\n{}]", event("a"), event(&long))] {
        let (rows, report) = one(&text);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1].field("process.name"), [&long]);
        assert_eq!(report.inputs[0].skipped, 0);
    }
}

#[test]
fn streams_cut_short() {
    let text = many(50_000);
    let packed: [(&str, Vec<u8>); 3] = [
        ("gzip", gzip(text.as_bytes())),
        ("zstd", zstd::encode_all(text.as_bytes(), 1).unwrap()),
        ("xz", {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap()
        }),
    ];
    for (name, bytes) in packed {
        let (rows, report) = one(&bytes[..bytes.len() / 2]);
        assert!(rows.len() > 5_000 && rows.len() < 50_000, "{name}: {}", rows.len());
        assert_eq!(rows.len(), names(&rows).len());
        assert_eq!(report.inputs[0].skipped, 1);
        let said = &skipped(&report.inputs[0])[0];
        assert!(said.starts_with("byte ") && said.ends_with(&format!(": the {name} stream ends early")), "{said}");
        // Nothing but the magic.
        let (rows, report) = one(&bytes[..7]);
        assert!(rows.is_empty());
        assert!(
            matches!(&report.problems[..], [InputProblem::Unreadable { .. } | InputProblem::Empty { .. }]),
            "{name} {report:?}"
        );
    }
}

#[test]
fn damage_within_compressed_streams() {
    let text = many(50_000);
    let mut bytes = gzip(text.as_bytes());
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xff);
    let (rows, report) = one(&bytes);
    assert!(rows.len() > 5_000);
    assert!(report.inputs[0].skipped > 0);
    let trailing = [gzip(text.as_bytes()), b"garbage behind the end".to_vec()].concat();
    let (rows, report) = one(&trailing);
    assert_eq!(rows.len(), 50_000);
    assert_eq!(report.inputs[0].skipped, 1, "{report:?}");
}

#[test]
fn damaged_archives() {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for name in ["a", "b"] {
        writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(many(1000).as_bytes()).unwrap();
    }
    let good = writer.finish().unwrap().into_inner();
    let (rows, _) = one(&good);
    assert_eq!(rows.len(), 2000);
    let (rows, report) = one(&good[..good.len() / 2]);
    assert!(rows.is_empty());
    assert!(matches!(&report.problems[..], [InputProblem::Unreadable { .. }]), "{report:?}");
    let mut bent = good.clone();
    bent[60..80].fill(0);
    let (rows, report) = one(&bent);
    assert!(rows.len() >= 1000 && rows.len() < 2000, "{}", rows.len());
    assert!(report.inputs.iter().any(|input| input.skipped > 0) || !report.problems.is_empty());

    let mut tar = tar::Builder::new(Vec::new());
    for name in ["a", "b"] {
        let text = many(1000);
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    let good = tar.into_inner().unwrap();
    let (rows, report) = one(&good[..good.len() * 3 / 4]);
    assert!(rows.len() > 1000 && rows.len() < 2000);
    assert!(report.inputs.iter().any(|input| input.skipped > 0), "{report:?}");
}

#[test]
fn layers_are_limited() {
    let mut bytes = event("a").into_bytes();
    for layers in 1..=6 {
        bytes = gzip(&bytes);
        let (rows, report) = one(&bytes);
        assert_eq!(rows.len(), usize::from(layers <= 4));
        assert_eq!(report.problems.is_empty(), layers <= 4);
    }
}

fn evtx(count: u64) -> Vec<u8> {
    let event = |number| EvtxEvent {
        channel: "System".into(),
        provider: "p".into(),
        record_id: number,
        time: "2026-03-03T08:00:00Z".parse().unwrap(),
        ..EvtxEvent::default()
    };
    write_evtx(&(1..=count).map(event).collect::<Vec<_>>()).unwrap()
}

#[test]
fn event_logs_cut_short() {
    let log = evtx(2000);
    let whole = one(&log).0.len();
    assert_eq!(whole, 2000);
    let mut last = 0;
    for length in [0, 7, 8, 100, 4095, 4096, 5000, 70_000, 100_000, log.len()] {
        let (rows, report) = one(&log[..length.min(log.len())]);
        assert!(rows.len() >= last, "{length}");
        last = rows.len();
        if length == 100_000 {
            assert!(last > 100 && last < 2000);
            assert!(
                skipped(&report.inputs[0]).iter().any(|said| said.contains("chunk 1: cut short after")),
                "{report:?}"
            );
        }
        if (8..4096).contains(&length) {
            assert!(skipped(&report.inputs[0])[0].contains("ends inside its header"), "{length}: {report:?}");
        }
    }
    let mut bent = log.clone();
    bent[4096 + 65_536..4096 + 65_536 + 4000].fill(0xa5);
    let (rows, report) = one(&bent);
    assert!(rows.len() > 1000 && rows.len() < 2000);
    assert!(report.inputs[0].skipped > 0);
}

#[test]
fn what_is_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("empty")).unwrap();
    std::fs::create_dir(at("notes")).unwrap();
    for (name, content) in [
        ("zero", b"".as_slice()),
        ("notes/readme.txt", b"# Notes\n"),
        ("notes/zero", b""),
        ("x.xml", b"<Events></Events>"),
        ("x.7z", b"7z\xbc\xaf\x27\x1c.."),
        ("blank.json", b"\n \n"),
        ("bad.zip", b"PK\x03\x04 and nothing"),
    ] {
        std::fs::write(at(name), content).unwrap();
    }
    let names = ["zero", "empty", "notes", "x.xml", "x.7z", "blank.json", "bad.zip", "missing"];
    let discovery = discover(&names.map(at), DiscoverOptions::default());
    let (rows, report) = read_rows(&discovery, &schema(&FIELDS), &options(2, 100));
    assert!(rows.is_empty());
    let root = format!("{}/", folder.path().display());
    let mut said: Vec<_> = discovery
        .problems
        .iter()
        .chain(&report.problems)
        .map(|problem| problem.to_string().replace(&root, ""))
        .collect();
    said.sort();
    assert_eq!(
        said,
        [
            "bad.zip: damaged zip archive: invalid Zip archive: Could not find EOCD",
            "blank.json: not a log that eqlipse reads: text that is neither JSON nor NDJSON",
            "empty: no logs in this folder (0 files looked at)",
            "missing: no such file or folder",
            "notes: no logs in this folder (2 files looked at)",
            "x.7z: not a log that eqlipse reads: a 7-Zip archive (zip, tar, gzip, zstd and xz are read)",
            "x.xml: not a log that eqlipse reads: XML or HTML",
            "zero: empty",
        ]
    );
    assert_eq!(report.not_logs, 2);
    assert_eq!(report.inputs.len(), 5);
}

#[test]
fn alerts_are_no_events() {
    let text = format!(
        "{}{{\"kibana.alert.uuid\":\"1\",\"process.name\":\"x\"}}\n{{\"_source\":{{\"kibana\":{{\"alert\":{{\"uuid\":\"2\"}}}}}}}}\n",
        event("a")
    );
    let (rows, report) = one(&text);
    assert_eq!(names(&rows), ["a"]);
    assert_eq!(report.inputs[0].skipped, 2);
    assert!(matches!(report.problems[..], [InputProblem::Alerts { alerts: 2, .. }]));
}

#[test]
fn a_run_can_be_cancelled() {
    let cancel = AtomicBool::new(true);
    let options = ReadOptions { cancel: Some(&cancel), ..options(2, 100) };
    let text = many(2_000_000);
    let folder = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        std::fs::write(folder.path().join(name), &text).unwrap();
    }
    let discovery = discover(&[folder.path()], DiscoverOptions::default());
    let report = read(&discovery, &schema(&FIELDS), &options, &Progress::default(), |_| |_: &EventBatch| {}).unwrap();
    assert!(report.bytes < text.len() as u64, "{report:?}");
}

#[test]
fn a_panic_in_a_matcher_is_an_error_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..40 {
        std::fs::write(folder.path().join(format!("{number}")), event("a")).unwrap();
    }
    let discovery = discover(&[folder.path()], DiscoverOptions::default());
    let result = read(&discovery, &schema(&FIELDS), &options(2, 1), &Progress::default(), |number| {
        move |_: &EventBatch| assert!(number > 0, "matcher broke")
    });
    // The first worker may not have had anything to do.
    match result {
        Ok(report) => assert_eq!(report.events, 40),
        Err(ReadError::Panic(text)) => assert_eq!(text, "matcher broke"),
        Err(other) => panic!("{other}"),
    }
    let all = read(&discovery, &schema(&FIELDS), &options(3, 1), &Progress::default(), |_| {
        |_: &EventBatch| panic!("matcher broke")
    });
    assert!(matches!(all, Err(ReadError::Panic(_))));
}

#[test]
fn a_schema_without_the_reserved_fields_is_refused() {
    let schema = eqlipse_batch::Schema::builder().build();
    let discovery = discover::<&str>(&[], DiscoverOptions::default());
    let result = read(&discovery, &schema, &options(1, 1), &Progress::default(), |_| |_: &EventBatch| {});
    assert!(matches!(result, Err(ReadError::Schema("_index"))));
}

#[test]
fn whatever_is_read_can_be_written() {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"a\"",
        "\"\\ud83d\"",
        "\"\\ude00\\ud83d\\ude00\"",
        "1e999",
        "-",
        "12",
        "0.5",
        "true",
        "null",
        "\"\\x\"",
        "\"\\u12\"",
        " ",
        "\t",
        "\"process\"",
        "\"name\"",
        "\"_source\"",
        "\"hits\"",
        "\"\\\\\"",
        "\\",
        "\"",
        "\u{7f}",
        "ö",
    ];
    let mut state = 99u64;
    let mut text = String::new();
    for _ in 0..30_000 {
        text.push_str("{\"a\":");
        for _ in 0..8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(pieces[(state >> 33) as usize % pieces.len()]);
        }
        text.push_str("}\n");
    }
    let (rows, report) = one(&text);
    assert!(rows.len() > 100 && report.inputs[0].skipped > 10_000, "{}", rows.len());
    for row in rows {
        assert!(row.source().is_object());
    }
}

#[test]
fn a_search_response_in_disguise_is_said() {
    let (rows, report) = one("{\"a\":1}\n{\"\\u0068its\":{\"hits\":[{\"_source\":{}}]}}\n");
    assert_eq!(rows.len(), 1);
    assert_eq!(skipped(&report.inputs[0]), ["byte 8: a search response whose hits cannot be found"]);
}

/// Random damage to every kind of file: whatever comes out, nothing panics and the books balance.
#[test]
fn random_damage() {
    let text = many(300);
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    tar.append_data(&mut header, "a", text.as_bytes()).unwrap();
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("a", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(text.as_bytes()).unwrap();
    let originals = [
        text.clone().into_bytes(),
        format!("[{}]", text.trim_end().replace('\n', ",\n")).into_bytes(),
        format!("{{\"hits\":{{\"hits\":[{}]}}}}", text.trim_end().replace('\n', ",\n")).into_bytes(),
        text.lines().map(|line| format!("{{\"index\":{{\"_id\":\"1\"}}}}\n{line}\n")).collect::<String>().into_bytes(),
        gzip(text.as_bytes()),
        zstd::encode_all(text.as_bytes(), 1).unwrap(),
        zip.finish().unwrap().into_inner(),
        tar.into_inner().unwrap(),
        evtx(300),
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    for original in originals {
        for _ in 0..40 {
            let mut bytes = original.clone();
            for _ in 0..1 + random(8) {
                let at = random(bytes.len());
                match random(4) {
                    0 => bytes.truncate(at),
                    1 => bytes[at..].iter_mut().take(random(64)).for_each(|byte| *byte ^= 0xff),
                    2 => _ = bytes.splice(at..at, *b"\"{[]}\n"),
                    _ => bytes[at] = random(256) as u8,
                }
                if bytes.is_empty() {
                    break;
                }
            }
            let (rows, report) = one(&bytes);
            assert!(rows.len() <= 600, "{}", rows.len());
            for row in &rows {
                row.json();
            }
            assert!(!report.inputs.is_empty());
        }
    }
}

/// A document is never taken from a file that was changed in the meantime.
#[test]
fn files_that_change_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (json, log) = (folder.path().join("a.ndjson"), folder.path().join("b.evtx"));
    let text = many(3);
    std::fs::write(&json, &text).unwrap();
    std::fs::write(&log, evtx(3)).unwrap();
    let found = discover(&[folder.path()], DiscoverOptions::default());
    let places = std::sync::Mutex::new(Vec::new());
    read(&found, &schema(&FIELDS), &options(1, 100), &Progress::default(), |_| {
        |batch: &EventBatch| {
            places.lock().unwrap().extend((0..batch.len() as u32).map(|row| batch.place(row).unwrap()));
        }
    })
    .unwrap();
    let places = places.into_inner().unwrap();
    let readable = || places.iter().filter(|place| DocumentReader::new(&found).read(place).is_ok()).count();
    assert_eq!((places.len(), readable()), (6, 6));
    std::fs::write(&json, text.replace("p", "q")).unwrap();
    assert_eq!(readable(), 3);
    std::fs::write(&log, evtx(2)).unwrap();
    assert_eq!(readable(), 2);
    std::fs::write(&log, b"").unwrap();
    let error = DocumentReader::new(&found).read(places.last().unwrap()).unwrap_err();
    assert!(matches!(error, AgainError::Changed { .. }), "{error}");
    std::fs::remove_file(&json).unwrap();
    assert!(matches!(DocumentReader::new(&found).read(&places[0]), Err(AgainError::Read { .. })));
}

/// What a record costs, and so whether it is read, does not depend on which records were read before it.
#[test]
fn a_record_alone_is_read_as_among_others() {
    use eqlipse_events::evtx::{CHUNK_SIZE, ChunkDecoder, FILE_HEADER_SIZE};
    let mut chunk = evtx(4)[FILE_HEADER_SIZE as usize..][..CHUNK_SIZE as usize].to_vec();
    // The first record holds the definition that all use: let it claim to be as long as can be said.
    let instance = 512 + 24 + 4;
    assert_eq!(chunk[instance], 0x0c);
    let definition = u32::from_le_bytes(chunk[instance + 6..instance + 10].try_into().unwrap()) as usize;
    chunk[definition + 20..definition + 24].fill(0xff);
    let read = |only: Option<u32>| {
        let mut read = Vec::new();
        let wanted = |index| only.is_none_or(|only| only == index);
        ChunkDecoder::new().decode_selected(&chunk, 0, wanted, |record| {
            read.extend(record.ok().map(|record| record.position.index));
        });
        read
    };
    assert_eq!(read(None), [1, 2, 3]);
    for index in 0..4 {
        assert_eq!(read(Some(index)).len(), usize::from(index > 0), "record {index}");
    }
}
