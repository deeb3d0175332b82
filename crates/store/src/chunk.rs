//! Recent events, in memory.

use std::ops::Range;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use eqlipse_batch::RowMeta;
use eqlipse_engine::{ListCounts, MatchList};
use eqlipse_events::{DecodedRows, DocumentPage, SegmentEvent};

use crate::frame::StreamPages;
use crate::segment::arrival;

/// Events that came in together, or after each other.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The sequence number of the first event.
    pub(crate) first: u64,
    /// From which row on, events arrived when.
    pub(crate) arrivals: Vec<(u32, i64)>,
    /// Indices, ids and documents.
    texts: String,
    pub(crate) events: Vec<ChunkEvent>,
    /// What was made of so many events, one after the other.
    pub(crate) decoded: Vec<(u32, Option<Arc<Decoded>>)>,
    /// Bytes of those.
    decoded_bytes: usize,
    /// What matched, with rows as handles.
    lists: RwLock<Vec<Listed>>,
    /// The documents as NDJSON hits, made when a query asks.
    hits: OnceLock<Arc<[u8]>>,
}

/// What was made of events on their way in, and goes into their segments.
#[derive(Debug)]
pub(crate) struct Decoded {
    pub(crate) rows: DecodedRows,
    /// The documents of data streams that have enough for pages of their own.
    pub(crate) pages: Vec<StreamPages>,
}

impl Decoded {
    /// The pages of a data stream's documents; none where they are to be packed anew.
    pub(crate) fn pages_of(&self, index: &str) -> &[DocumentPage] {
        self.pages.iter().find(|stream| &*stream.index == index).map_or(&[], |stream| &stream.pages)
    }

    fn memory(&self) -> usize {
        self.rows.memory() + self.pages.iter().map(StreamPages::memory).sum::<usize>()
    }
}

/// What the rules of one generation matched.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    /// Lists of one generation are of the same rules, so that they can be joined.
    pub(crate) generation: u64,
    pub(crate) list: Arc<MatchList>,
    /// Of the list's rows.
    pub(crate) counts: ListCounts,
}

impl Listed {
    pub(crate) fn new(generation: u64, list: MatchList) -> Self {
        Self { generation, counts: list.counts(), list: Arc::new(list) }
    }
}

/// Where an event stands in its chunk.
#[derive(Clone, Debug)]
pub(crate) struct ChunkEvent {
    index: Range<u32>,
    id: Range<u32>,
    document: Range<u32>,
    pub(crate) meta: RowMeta,
    /// Hash of an id that its sender gave it.
    pub(crate) own_id: Option<u64>,
}

/// What an event takes beside its document: index, id, and what is stamped on it.
const EVENT_BYTES: usize = 160;

/// Puts events together.
#[derive(Debug, Default)]
pub(crate) struct ChunkBuilder {
    texts: String,
    events: Vec<ChunkEvent>,
}

impl ChunkBuilder {
    /// With room for so many events, whose documents are about so long together.
    pub(crate) fn with_room(events: usize, bytes: usize) -> Self {
        Self { texts: String::with_capacity(bytes + events * EVENT_BYTES), events: Vec::with_capacity(events) }
    }

    pub(crate) fn add(&mut self, index: &str, id: &str, document: &str, meta: RowMeta, own_id: Option<u64>) {
        let [index, id, document] = [index, id, document].map(|text| {
            let start = self.texts.len() as u32;
            self.texts.push_str(text);
            start..self.texts.len() as u32
        });
        self.events.push(ChunkEvent { index, id, document, meta, own_id });
    }

    /// The sequence number of the first event.
    pub(crate) fn first_sequence(&self) -> Option<u64> {
        self.events.first().map(|event| event.meta.order.arrival.position)
    }

    /// Bytes of text so far.
    pub(crate) fn bytes(&self) -> usize {
        self.texts.len()
    }

    pub(crate) fn finish(
        self,
        first: u64,
        arrivals: Vec<(u32, i64)>,
        lists: Vec<Listed>,
        decoded: Option<Decoded>,
    ) -> Chunk {
        debug_assert!(decoded.as_ref().is_none_or(|decoded| decoded.rows.len() == self.events.len()));
        let decoded = vec![(self.events.len() as u32, decoded.map(Arc::new))];
        self.finish_with(first, arrivals, lists, decoded)
    }

    fn finish_with(
        mut self,
        first: u64,
        arrivals: Vec<(u32, i64)>,
        lists: Vec<Listed>,
        decoded: Vec<(u32, Option<Arc<Decoded>>)>,
    ) -> Chunk {
        // Giving little back costs more than it brings.
        if self.texts.capacity() > self.texts.len() / 4 * 5 {
            self.texts.shrink_to_fit();
        }
        let (lists, hits) = (RwLock::new(lists), OnceLock::new());
        let decoded_bytes = decoded.iter().filter_map(|(_, decoded)| Some(decoded.as_ref()?.memory())).sum();
        Chunk { first, arrivals, texts: self.texts, events: self.events, decoded, decoded_bytes, lists, hits }
    }
}

impl Chunk {
    fn text(&self, range: &Range<u32>) -> &str {
        self.texts.get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    pub(crate) fn event(&self, row: u32) -> Option<SegmentEvent<'_>> {
        let event = self.events.get(row as usize)?;
        let (index, id, document) = (self.text(&event.index), self.text(&event.id), self.text(&event.document));
        Some(SegmentEvent { index, id, document, meta: event.meta })
    }

    /// When the event of a row arrived.
    pub(crate) fn ingested(&self, row: u32) -> i64 {
        arrival(&self.arrivals, row)
    }

    /// The sequence number behind its last event.
    pub(crate) fn end(&self) -> u64 {
        self.events.last().map_or(self.first, |event| event.meta.order.arrival.position + 1)
    }

    /// About how many bytes of memory it takes.
    pub(crate) fn memory(&self) -> usize {
        let hits = self.hits.get().map_or(0, |hits| hits.len());
        let lists = self.lists.read().unwrap_or_else(PoisonError::into_inner);
        let lists = lists.iter().map(|listed| listed.list.memory()).sum::<usize>();
        self.texts.capacity() + self.events.capacity() * size_of::<ChunkEvent>() + self.decoded_bytes + lists + hits
    }

    /// What was matched so far.
    pub(crate) fn lists(&self) -> Vec<Listed> {
        self.lists.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds what was matched later.
    pub(crate) fn add_list(&self, listed: Listed) {
        self.lists.write().unwrap_or_else(PoisonError::into_inner).push(listed);
    }

    /// The generations of its lists.
    pub(crate) fn generations(&self) -> Vec<u64> {
        self.lists().iter().map(|listed| listed.generation).collect()
    }

    /// The events as NDJSON.
    pub(crate) fn hits(&self) -> &Arc<[u8]> {
        self.hits.get_or_init(|| {
            let mut bytes = Vec::with_capacity(self.texts.len() + self.events.len() * 64);
            for row in 0..self.events.len() as u32 {
                if let Some(event) = self.event(row) {
                    event.write_hit(&mut bytes);
                    bytes.push(b'\n');
                }
            }
            bytes.into()
        })
    }

    /// One chunk of several that follow each other and have lists of the same [generations](Self::generations).
    pub(crate) fn join(chunks: &[&Chunk]) -> Chunk {
        let (events, bytes) = chunks
            .iter()
            .fold((0, 0), |(events, bytes), chunk| (events + chunk.events.len(), bytes + chunk.texts.len()));
        let mut joined = ChunkBuilder { texts: String::with_capacity(bytes), events: Vec::with_capacity(events) };
        let (mut arrivals, mut starts) = (Vec::new(), Vec::new());
        for chunk in chunks {
            let start = joined.events.len() as u32;
            starts.push(u64::from(start));
            arrivals.extend(chunk.arrivals.iter().map(|(row, time)| (row + start, *time)));
            for (event, row) in chunk.events.iter().zip(0..) {
                if let Some(SegmentEvent { index, id, document, meta }) = chunk.event(row) {
                    joined.add(index, id, document, meta, event.own_id);
                }
            }
        }
        let lists = split_lists(chunks, 1, |chunk, row| (0, starts[chunk] + row)).pop().unwrap_or_default();
        let decoded = chunks.iter().flat_map(|chunk| chunk.decoded.iter().cloned()).collect();
        joined.finish_with(chunks.first().map_or(0, |chunk| chunk.first), arrivals, lists, decoded)
    }
}

/// The lists of several chunks of the same generations, put together into so many parts. `place` is given the number of a
/// chunk and a row in it, and says in which part it is, and as which row.
pub(crate) fn split_lists(
    chunks: &[&Chunk],
    parts: usize,
    place: impl Fn(usize, u64) -> (u32, u64),
) -> Vec<Vec<Listed>> {
    let all: Vec<Vec<Listed>> = chunks.iter().map(|chunk| chunk.lists()).collect();
    let mut of_parts: Vec<Vec<Listed>> = vec![Vec::new(); parts];
    let generations = all.first().into_iter().flatten().map(|listed| listed.generation);
    for (number, generation) in generations.enumerate() {
        let lists: Vec<&MatchList> = all.iter().map(|lists| &*lists[number].list).collect();
        let split = MatchList::split(&lists, parts, |chunk, _, event| Some(place(chunk, event.handle)));
        for (list, of_part) in split.into_iter().zip(&mut of_parts) {
            of_part.push(Listed::new(generation, list));
        }
    }
    of_parts
}
