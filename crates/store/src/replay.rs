//! From frames of the log back to chunks.

use eqlipse_events::Identity;

use crate::StoreError;
use crate::chunk::{Chunk, ChunkBuilder, Listed};
use crate::frame::Frame;
use crate::ids::id_hash;
use crate::matching::Worker;

/// Texts of a chunk.
const CHUNK_BYTES: usize = 16 << 20;

/// Events out of the log that become chunks.
pub(crate) struct Replay {
    worker: Worker,
    generation: u64,
    chunk: ChunkBuilder,
    arrivals: Vec<(u32, i64)>,
    rows: u32,
}

impl Replay {
    pub(crate) fn new(worker: Worker, generation: u64) -> Self {
        Self { worker, generation, chunk: ChunkBuilder::default(), arrivals: Vec::new(), rows: 0 }
    }

    /// Adds the events of a frame; those before it have lower sequence numbers. `has_index` is told of the data stream of
    /// each, `has_id` of each id that a sender gave. Returns how many there were, and a chunk if there are enough for one.
    pub(crate) fn add(
        &mut self,
        frame: &Frame,
        has_index: impl Fn(&str),
        mut has_id: impl FnMut(u64),
    ) -> Result<(u64, Option<Chunk>), StoreError> {
        let before = self.rows;
        self.arrivals.push((self.rows, frame.ingested));
        for (record, sequence) in frame.records().unwrap_or_default().iter().zip(frame.first..) {
            let (index, id) = (&*record.index, &*record.id);
            let own = record.is_own_id.then_some(id);
            // It was taken once, with these very bytes.
            let identity = Identity::Known(record.identity);
            let Ok(meta) = self.worker.add(&record.document, index, own, identity, sequence) else { continue };
            let hash = own.map(|id| id_hash(index, id));
            has_index(index);
            hash.into_iter().for_each(&mut has_id);
            self.chunk.add(index, id, &record.document, meta, hash);
            self.rows += 1;
        }
        let count = u64::from(self.rows - before);
        let chunk = if self.chunk.bytes() > CHUNK_BYTES { self.take()? } else { None };
        Ok((count, chunk))
    }

    fn take(&mut self) -> Result<Option<Chunk>, StoreError> {
        let (chunk, arrivals) = (std::mem::take(&mut self.chunk), std::mem::take(&mut self.arrivals));
        if std::mem::take(&mut self.rows) == 0 {
            return Ok(None);
        }
        let first = chunk.first_sequence().unwrap_or_default();
        let lists = vec![Listed::new(self.generation, self.worker.matches(u64::from)?)];
        Ok(Some(chunk.finish(first, arrivals, lists, None)))
    }

    /// The rest, and the worker.
    pub(crate) fn finish(mut self) -> Result<(Option<Chunk>, Worker), StoreError> {
        let chunk = self.take()?;
        Ok((chunk, self.worker))
    }
}
