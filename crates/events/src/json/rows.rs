//! The way back from a row to its document.

use std::sync::Arc;

use eqlipse_batch::{DocumentPart, DocumentPlace, RowSource};
use xxhash_rust::xxh3::xxh3_128;

use super::{Action, write_hit};
use crate::pipeline::Chunk;

/// A stretch of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// A row's document in its chunk.
pub(crate) struct JsonRow {
    pub(crate) document: Span,
    /// The bulk action in front of it.
    pub(crate) action: Option<Span>,
    /// Hash of the text, if it was taken already.
    pub(crate) digest: Option<u128>,
}

/// Where the documents of a run of rows stand in their chunk.
pub(crate) struct JsonRows {
    pub(crate) chunk: Arc<Chunk>,
    pub(crate) rows: Vec<JsonRow>,
}

impl JsonRows {
    fn text(&self, span: Span) -> &[u8] {
        self.chunk.bytes.get(span.start as usize..span.end as usize).unwrap_or_default()
    }
}

impl RowSource for JsonRows {
    fn write_json(&self, row: u32, out: &mut Vec<u8>) {
        let Some(JsonRow { document, action, .. }) = self.rows.get(row as usize) else { return };
        let action = action.and_then(|span| Action::parse(self.text(span)));
        write_hit(self.text(*document), action.as_ref(), out);
    }

    fn place(&self, row: u32) -> Option<DocumentPlace> {
        // What a bulk action says of its document stands elsewhere.
        let JsonRow { document, action: None, digest } = self.rows.get(row as usize)? else { return None };
        self.chunk.on_disk.then(|| DocumentPlace {
            source: self.chunk.input.source,
            offset: self.chunk.offset + u64::from(document.start),
            length: document.end - document.start,
            part: DocumentPart::Whole,
            digest: digest.unwrap_or_else(|| xxh3_128(self.text(*document))),
        })
    }
}
