//! The events of requests that are taken in together.
//!
//! They are decoded data stream by data stream: those of one have the same fields in the same order, and many of the same
//! values, so that each is decoded faster than in between others, and what goes into one segment lies together. All else is in
//! the order in which they came: sequence numbers, places in the chunk, answers.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use eqlipse_events::ArrivalTime;

use crate::chunk::ChunkBuilder;
use crate::error::Refused;
use crate::ids::{EventId, Reserved, Taken, id_hash};
use crate::index_name::check_index_name;
use crate::matching::Worker;
use crate::record::Record;
use crate::store::{Inner, NewDocument, Stored};

/// The events of requests that are taken in together.
pub(crate) struct GroupIntake<'a, 'w> {
    inner: &'a Inner,
    worker: &'w mut Worker,
    time: ArrivalTime,
    ids: Reserved<'a>,
    /// Data streams of the events so far.
    streams: HashSet<Box<str>>,
    /// There are as many data streams as may be.
    is_full: bool,
    chunk: ChunkBuilder,
}

/// What is made of them.
pub(crate) struct Made<'a> {
    /// By document.
    pub(crate) results: Vec<Result<Stored, Refused>>,
    pub(crate) chunk: ChunkBuilder,
    pub(crate) ids: Reserved<'a>,
    pub(crate) streams: HashSet<Box<str>>,
    /// By row of the worker's batch: that of the chunk.
    pub(crate) rows: Vec<u32>,
    /// By data stream of the frame: the rows of the worker's batch.
    pub(crate) stream_rows: Vec<Range<u32>>,
}

/// A document that is an event.
struct Admitted {
    id: EventId,
    /// Hash of the id, if its sender gave it.
    own_id: Option<u64>,
    /// In the chunk's texts.
    document: Range<u32>,
    stream: StreamNumbers,
    /// In the worker's batch.
    row: u32,
}

/// The numbers of a data stream in the frame and in the chunk.
#[derive(Clone, Copy)]
struct StreamNumbers {
    frame: u32,
    chunk: u32,
}

impl<'a, 'w> GroupIntake<'a, 'w> {
    pub(crate) fn new(inner: &'a Inner, worker: &'w mut Worker, ingested: i64) -> Self {
        worker.scratch.frame.clear();
        let (time, ids) = (ArrivalTime::new(ingested), Reserved::of(&inner.ids));
        Self { inner, worker, time, ids, streams: HashSet::new(), is_full: false, chunk: ChunkBuilder::default() }
    }

    /// Takes the documents, with sequence numbers from `first` on.
    pub(crate) fn take(mut self, documents: &[&NewDocument], first: u64) -> Made<'a> {
        let bytes = documents.iter().map(|new| new.document.len()).sum();
        self.chunk = ChunkBuilder::with_room(documents.len(), bytes);
        let mut stream_rows = Vec::new();
        let mut admitted: Vec<Option<Result<Admitted, Refused>>> = documents.iter().map(|_| None).collect();
        for (index, places) in by_stream(documents) {
            let (refused, first) = (self.refuses(index), self.worker.len() as u32);
            // A data stream none of whose documents is an event is none of the frame.
            let mut stream = None;
            for place in places {
                let refused = refused.clone().map_or(Ok(()), Err);
                admitted[place] = Some(refused.and_then(|()| self.add(documents[place], &mut stream)));
            }
            stream_rows.extend(stream.map(|_| first..self.worker.len() as u32));
        }
        let mut rows = vec![0; self.worker.len()];
        let numbered = documents.iter().zip(admitted.into_iter().flatten());
        let results = numbered.map(|(new, admitted)| {
            let admitted = admitted?;
            let row = self.chunk.len();
            rows[admitted.row as usize] = row;
            Ok(self.number(new, admitted, first + u64::from(row)))
        });
        let results = results.collect();
        self.worker.number(first, &rows);
        let Self { chunk, ids, streams, .. } = self;
        Made { results, chunk, ids, streams, rows, stream_rows }
    }

    /// Why all documents of a data stream are refused.
    fn refuses(&mut self, index: &str) -> Option<Refused> {
        if let Err(invalid) = check_index_name(index) {
            return Some(invalid.into());
        }
        let (known, limit) = (&self.inner.streams, self.inner.options.max_data_streams);
        if known.has(index) {
            return None;
        }
        // Once there is no room for one, there is none for others, and nobody needs to count.
        self.is_full = self.is_full || !known.may_have(index, &self.streams, limit);
        self.is_full.then(|| Refused::TooManyStreams { index: index.to_owned(), limit })
    }

    /// Decodes a document, and adds it to the frame's pages.
    fn add(&mut self, new: &NewDocument, stream: &mut Option<StreamNumbers>) -> Result<Admitted, Refused> {
        let limit = self.inner.options.max_document_bytes;
        if new.document.len() > limit {
            return Err(Refused::TooLarge { bytes: new.document.len(), limit });
        }
        let own = new.id.as_deref();
        let own_id = own.map(|id| id_hash(&new.index, id));
        if let (Some(hash), Some(id)) = (own_id, own) {
            let id = || id.to_owned();
            self.ids.add(hash).map_err(|taken| match taken {
                Taken::Stored => Refused::Conflict { id: id() },
                Taken::UnderWay => Refused::UnderWay { id: id() },
            })?;
        }
        let (row, start) = (self.worker.len() as u32, self.chunk.bytes());
        self.worker.add_arriving(new, &self.time, self.chunk.texts()).map_err(|error| {
            own_id.into_iter().for_each(|hash| self.ids.give_back(hash));
            Refused::NotAnEvent(error.to_string())
        })?;
        let frame = &mut self.worker.scratch.frame;
        let stream = *stream.get_or_insert_with(|| {
            self.streams.insert((&*new.index).into());
            StreamNumbers { frame: frame.add_stream(&new.index), chunk: self.chunk.number(&new.index) }
        });
        let document = start as u32..self.chunk.bytes() as u32;
        frame.add_document(stream.frame, self.chunk.text(&document));
        let id = new.id.clone().map_or_else(|| self.worker.scratch.ids.next(), EventId::from);
        Ok(Admitted { id, own_id, document, stream, row })
    }

    /// Gives an event its place among the others.
    fn number(&mut self, new: &NewDocument, admitted: Admitted, sequence: u64) -> Stored {
        let Admitted { id, own_id, document, stream, row } = admitted;
        let mut meta = self.worker.metas()[row as usize];
        meta.order.arrival.position = sequence;
        self.chunk.add_written(document, stream.chunk, &id, meta, own_id);
        let record = Record {
            index: Cow::Borrowed(&new.index),
            id: Cow::Borrowed(&id),
            is_own_id: own_id.is_some(),
            identity: meta.identity,
            document: Cow::Borrowed(""),
        };
        self.worker.scratch.frame.add_head(&record, stream.frame);
        Stored { id, sequence }
    }
}

/// The places of the documents of each data stream, in the order in which their first ones came.
fn by_stream<'d>(documents: &[&'d NewDocument]) -> Vec<(&'d str, Vec<usize>)> {
    let mut streams: Vec<(&str, Vec<usize>)> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut last = 0;
    for (place, NewDocument { index, .. }) in documents.iter().enumerate() {
        if streams.get(last).is_none_or(|(name, _)| *name != &**index) {
            last = *known.entry(index).or_insert(streams.len());
            if last == streams.len() {
                streams.push((index, Vec::new()));
            }
        }
        streams[last].1.push(place);
    }
    streams
}
