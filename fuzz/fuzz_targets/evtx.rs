//! Windows event logs: the bytes are a chunk, with zeros behind them to its full size. Whatever records come out
//! become ECS documents that are JSON, and reading them one by one gives the same.
#![no_main]

use eqlipse_events::evtx::{CHUNK_SIZE, ChunkDecoder};
use eqlipse_events::winlog;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut chunk = bytes.to_vec();
    chunk.resize(CHUNK_SIZE as usize, 0);
    let mut documents = Vec::new();
    let mut decoder = ChunkDecoder::new();
    decoder.decode(&chunk, 0, |record| {
        let Ok(record) = record else { return };
        let mut json = Vec::new();
        winlog::normalise(&record.event).write_json(&mut json);
        serde_json::from_slice::<serde_json::Value>(&json).expect("a document is JSON");
        documents.push((record.position.index, json));
    });
    for (index, expected) in documents.iter().take(3) {
        decoder.decode_selected(
            &chunk,
            0,
            |other| other == *index,
            |record| {
                let Ok(record) = record else { panic!("record {index} could be read before") };
                let mut json = Vec::new();
                winlog::normalise(&record.event).write_json(&mut json);
                assert!(json == *expected, "record {index} read alone");
            },
        );
    }
});
