//! What the writer writes, the `evtx` crate reads back.

use eqlipse_testkit::evtx_writer::{
    CHUNK_SIZE, EvtxEvent, EvtxWriteError, FILE_HEADER_SIZE, Guid, Payload, Value, write_evtx,
};
use evtx::{EvtxParser, ParserSettings};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn read(bytes: Vec<u8>) -> Vec<(u64, String, Json)> {
    let settings = ParserSettings::default().validate_checksums(true);
    let mut parser = EvtxParser::from_buffer(bytes).unwrap().with_configuration(settings);
    parser
        .records_json_value()
        .map(|record| record.expect("a whole record"))
        .map(|record| (record.event_record_id, record.timestamp.to_string(), record.data))
        .collect()
}

fn event(record_id: u64, payload: Payload) -> EvtxEvent {
    EvtxEvent {
        provider: "Microsoft-Windows-Sysmon".into(),
        provider_guid: Some("{5770385F-C22A-43E0-BF4C-06F5698FFBD9}".parse().unwrap()),
        channel: "Microsoft-Windows-Sysmon/Operational".into(),
        computer: "ws01.example.test".into(),
        event_id: 1,
        version: 5,
        level: 4,
        task: 1,
        keywords: 0x8000_0000_0000_0000,
        record_id,
        time: "2026-03-03T08:01:02.3456789Z".parse().unwrap(),
        process_id: 2440,
        thread_id: 3112,
        user_sid: Some("S-1-5-18".parse().unwrap()),
        payload,
        ..EvtxEvent::default()
    }
}

fn data(fields: &[(&str, Value)]) -> Payload {
    Payload::EventData(fields.iter().map(|(name, value)| (name.to_string(), value.clone())).collect())
}

#[test]
fn the_system_part_comes_back_whole() {
    let full = EvtxEvent {
        qualifiers: Some(16384),
        opcode: 2,
        activity_id: Some("6A1D2F30-0000-4000-8000-00000000ABCD".parse().unwrap()),
        ..event(77, Payload::None)
    };
    let bare = EvtxEvent { provider_guid: None, user_sid: None, ..event(78, Payload::None) };
    let records = read(write_evtx(&[full, bare]).unwrap());
    assert_eq!(records[0].0, 77);
    assert_eq!(records[0].1, "2026-03-03T08:01:02.3456789Z");
    let system = &records[0].2["Event"]["System"];
    let expected = json!({
        "Provider": {"#attributes": {
            "Name": "Microsoft-Windows-Sysmon", "Guid": "{5770385f-c22a-43e0-bf4c-06f5698ffbd9}"
        }},
        "EventID": {"#attributes": {"Qualifiers": 16384}, "#text": 1},
        "Version": 5, "Level": 4, "Task": 1, "Opcode": 2, "Keywords": "0x8000000000000000",
        "TimeCreated": {"#attributes": {"SystemTime": system["TimeCreated"]["#attributes"]["SystemTime"]}},
        "EventRecordID": 77,
        "Correlation": {"#attributes": {"ActivityID": "{6a1d2f30-0000-4000-8000-00000000abcd}"}},
        "Execution": {"#attributes": {"ProcessID": 2440, "ThreadID": 3112}},
        "Channel": "Microsoft-Windows-Sysmon/Operational",
        "Computer": "ws01.example.test",
        "Security": {"#attributes": {"UserID": "S-1-5-18"}},
    });
    assert_eq!(system, &expected);
    let system = &records[1].2["Event"]["System"];
    assert_eq!(system["Provider"], json!({"#attributes": {"Name": "Microsoft-Windows-Sysmon"}}));
    assert_eq!((&system["EventID"], &system["Security"]), (&json!(1), &Json::Null));
}

#[test]
fn every_type_comes_back() {
    let payload = data(&[
        ("Text", "mshta.exe \"http://198.51.100.7/a?b=c&d\" <ü€𝄞>".into()),
        ("Empty", "".into()),
        ("Null", Value::Null),
        ("Int32", Value::Int32(-7)),
        ("UInt8", Value::UInt8(200)),
        ("UInt16", Value::UInt16(60_000)),
        ("UInt32", Value::UInt32(4_000_000_000)),
        ("UInt64", Value::UInt64(u64::MAX)),
        ("Bool", Value::Bool(true)),
        ("Binary", Value::Binary(vec![0, 1, 0xab])),
        ("Guid", Value::Guid(Guid(0x6a1d2f30_0000_4000_8000_00000000abcd))),
        ("Sid", Value::Sid("S-1-5-21-100-200-300-1105".parse().unwrap())),
        ("Hex32", Value::Hex32(0x1410)),
        ("Hex64", Value::Hex64(0x3e7)),
    ]);
    let records = read(write_evtx(&[event(1, payload)]).unwrap());
    let expected = json!({
        "Text": "mshta.exe \"http://198.51.100.7/a?b=c&d\" <ü€𝄞>", "Empty": "", "Null": "", "Int32": -7, "UInt8": 200,
        "UInt16": 60000, "UInt32": 4000000000u32, "UInt64": u64::MAX, "Bool": true, "Binary": "0001AB",
        "Guid": "{6a1d2f30-0000-4000-8000-00000000abcd}", "Sid": "S-1-5-21-100-200-300-1105", "Hex32": "0x1410",
        "Hex64": "0x3e7",
    });
    assert_eq!(records[0].2["Event"]["EventData"], expected);
}

#[test]
fn user_data_comes_back() {
    let payload = Payload::UserData {
        element: "LogFileCleared".into(),
        namespace: "http://manifests.microsoft.com/win/2004/08/windows/eventlog".into(),
        fields: vec![("SubjectUserName".into(), "j.doe".into()), ("SubjectLogonId".into(), Value::Hex64(0x3e7))],
    };
    let records = read(write_evtx(&[event(1, payload)]).unwrap());
    let cleared = &records[0].2["Event"]["UserData"]["LogFileCleared"];
    assert_eq!((&cleared["SubjectUserName"], &cleared["SubjectLogonId"]), (&json!("j.doe"), &json!("0x3e7")));
}

#[test]
fn unnamed_data_comes_back() {
    let records = read(write_evtx(&[event(1, data(&[("", "Started".into())]))]).unwrap());
    let text = records[0].2["Event"]["EventData"]["Data"].to_string();
    assert!(text.contains("Started"), "{text}");
}

#[test]
fn many_chunks_come_back_in_order() {
    let events: Vec<EvtxEvent> = (1..=2000)
        .map(|id| event(id, data(&[("Number", Value::UInt64(id)), ("CommandLine", "x".repeat(300).into())])))
        .collect();
    let bytes = write_evtx(&events).unwrap();
    assert_eq!((bytes.len() - FILE_HEADER_SIZE) % CHUNK_SIZE, 0);
    assert!(bytes.len() > 10 * CHUNK_SIZE);
    assert_eq!(bytes, write_evtx(&events).unwrap());
    let records = read(bytes);
    assert_eq!(records.len(), 2000);
    for (index, (id, _, record)) in records.iter().enumerate() {
        assert_eq!(*id, index as u64 + 1);
        assert_eq!(record["Event"]["EventData"]["Number"], json!(id));
    }
}

#[test]
fn no_events_give_an_empty_log() {
    assert!(read(write_evtx(&[]).unwrap()).is_empty());
}

#[test]
fn what_does_not_fit_is_an_error_that_says_so() {
    let long = |length| data(&[("Long", "x".repeat(length).into())]);
    let too_long = write_evtx(&[event(9, long(40_000))]).unwrap_err();
    assert_eq!(too_long, EvtxWriteError::ValueTooLong { record_id: 9, field: "Long".into(), size: 80_000 });
    // Each value fits, but the fragment that holds both does not.
    let two = data(&[("A", "x".repeat(20_000).into()), ("B", "x".repeat(20_000).into())]);
    assert!(matches!(write_evtx(&[event(9, two)]), Err(EvtxWriteError::ValueTooLong { record_id: 9, .. })));
    assert!(matches!(write_evtx(&[event(9, long(32_500))]), Err(EvtxWriteError::RecordTooLarge { record_id: 9, .. })));
    assert_eq!(read(write_evtx(&[event(9, long(31_000)), event(10, long(31_000))]).unwrap()).len(), 2);
    let early = EvtxEvent { time: "1600-01-01T00:00:00Z".parse().unwrap(), ..event(9, Payload::None) };
    assert!(matches!(write_evtx(&[early]), Err(EvtxWriteError::TimeOutOfRange { record_id: 9, .. })));
    let name = Payload::UserData { element: "a b".into(), namespace: String::new(), fields: vec![] };
    assert!(matches!(write_evtx(&[event(9, name)]), Err(EvtxWriteError::InvalidElementName { record_id: 9, .. })));
}

/// Text of characters that XML can hold; a NUL would end a BinXML string.
fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>().prop_filter("NUL", |c| *c != '\0'), 0..60)
        .prop_map(|chars| chars.into_iter().collect())
}

fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::btree_map("[A-Za-z][A-Za-z0-9 _-]{0,20}", text(), 0..8).prop_map(|map| map.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_comes_back(records in prop::collection::vec(fields(), 0..12), computer in "[a-z0-9.]{1,40}") {
        let events: Vec<EvtxEvent> = records
            .iter()
            .zip(1..)
            .map(|(fields, id)| {
                let fields = fields.iter().map(|(name, text)| (name.clone(), Value::text(text))).collect();
                EvtxEvent { computer: computer.clone(), ..event(id, Payload::EventData(fields)) }
            })
            .collect();
        let back = read(write_evtx(&events).unwrap());
        prop_assert_eq!(back.len(), records.len());
        for ((id, _, json), (number, fields)) in back.iter().zip((1u64..).zip(&records)) {
            prop_assert_eq!(*id, number);
            prop_assert_eq!(&json["Event"]["System"]["Computer"], &json!(computer));
            for (name, text) in fields {
                prop_assert_eq!(&json["Event"]["EventData"][name], &json!(text), "{}", name);
            }
        }
    }
}
