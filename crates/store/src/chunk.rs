//! Recent events, in memory.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use eqlipse_batch::RowMeta;
use eqlipse_engine::{ListCounts, MatchList};
use eqlipse_events::{DecodedRows, SegmentEvent};

use crate::frame::StreamPages;
use crate::segment::arrival;

/// Events that came in together, or after each other.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The sequence number of the first event.
    pub(crate) first: u64,
    /// From which row on, events arrived when.
    pub(crate) arrivals: Vec<(u32, i64)>,
    /// Documents.
    texts: String,
    /// Apart: who wants ids does not go through documents.
    ids: String,
    /// Data streams.
    pub(crate) indices: Vec<Box<str>>,
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
    /// The events of one data stream after the other.
    pub(crate) rows: DecodedRows,
    /// In this order.
    pub(crate) streams: Vec<StreamPages>,
}

impl Decoded {
    fn memory(&self) -> usize {
        self.rows.memory() + self.streams.iter().map(StreamPages::memory).sum::<usize>()
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
    /// The number of its data stream in the chunk.
    pub(crate) index: u32,
    id: Range<u32>,
    document: Range<u32>,
    pub(crate) meta: RowMeta,
    /// Hash of an id that its sender gave it.
    pub(crate) own_id: Option<u64>,
}

/// What may be stamped on a document.
const STAMP_BYTES: usize = 112;
/// An id that is not its sender's.
const ID_BYTES: usize = 20;

/// Puts events together.
#[derive(Debug, Default)]
pub(crate) struct ChunkBuilder {
    texts: String,
    ids: String,
    indices: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
    events: Vec<ChunkEvent>,
}

impl ChunkBuilder {
    /// With room for so many events, whose documents are about so long together.
    pub(crate) fn with_room(events: usize, bytes: usize) -> Self {
        Self {
            texts: String::with_capacity(bytes + events * STAMP_BYTES),
            ids: String::with_capacity(events * ID_BYTES),
            events: Vec::with_capacity(events),
            ..Self::default()
        }
    }

    pub(crate) fn add(&mut self, index: &str, id: &str, document: &str, meta: RowMeta, own_id: Option<u64>) {
        let (document, index) = (put(document, &mut self.texts), self.number(index));
        self.add_written(document, index, id, meta, own_id);
    }

    /// Adds an event of a data stream with this [number](Self::number), whose document was written to the
    /// [texts](Self::texts) before.
    pub(crate) fn add_written(
        &mut self,
        document: Range<u32>,
        index: u32,
        id: &str,
        meta: RowMeta,
        own_id: Option<u64>,
    ) {
        let id = put(id, &mut self.ids);
        self.events.push(ChunkEvent { index, id, document, meta, own_id });
    }

    /// For documents to be appended.
    pub(crate) fn texts(&mut self) -> &mut String {
        &mut self.texts
    }

    /// A text that was written there.
    pub(crate) fn text(&self, range: &Range<u32>) -> &str {
        text(&self.texts, range)
    }

    /// The number of a data stream.
    pub(crate) fn number(&mut self, index: &str) -> u32 {
        // What came last comes again, mostly.
        if let Some(last) = self.events.last().filter(|last| *self.indices[last.index as usize] == *index) {
            return last.index;
        }
        if let Some(known) = self.numbers.get(index) {
            return *known;
        }
        let number = self.indices.len() as u32;
        self.indices.push(index.into());
        self.numbers.insert(index.into(), number);
        number
    }

    /// How many events there are.
    pub(crate) fn len(&self) -> u32 {
        self.events.len() as u32
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
        let Self { texts, ids, indices, events, .. } = self;
        Chunk { first, arrivals, texts, ids, indices, events, decoded, decoded_bytes, lists, hits }
    }
}

/// Appends a text, and says where it is.
fn put(text: &str, texts: &mut String) -> Range<u32> {
    let start = texts.len() as u32;
    texts.push_str(text);
    start..texts.len() as u32
}

fn text<'t>(texts: &'t str, range: &Range<u32>) -> &'t str {
    texts.get(range.start as usize..range.end as usize).unwrap_or_default()
}

impl Chunk {
    pub(crate) fn event(&self, row: u32) -> Option<SegmentEvent<'_>> {
        let event = self.events.get(row as usize)?;
        let index = &self.indices[event.index as usize];
        let (id, document) = (text(&self.ids, &event.id), text(&self.texts, &event.document));
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
        self.texts.capacity()
            + self.ids.capacity()
            + self.events.capacity() * size_of::<ChunkEvent>()
            + self.decoded_bytes
            + lists
            + hits
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
        let mut joined = ChunkBuilder {
            texts: String::with_capacity(bytes),
            events: Vec::with_capacity(events),
            ..ChunkBuilder::default()
        };
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
