//! What rules and queries look at as one: a recent chunk or a segment.

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::Arc;

use eqlipse_engine::{ListCounts, MatchList};
use eqlipse_events::{Fetch, Segment, SegmentEvent, Window};

use crate::StoreError;
use crate::chunk::Chunk;
use crate::files::Held;
use crate::rows::Rows;
use crate::segment::{SegmentPart, Summary};

/// The span of some times, in nanoseconds since the Unix epoch; `None` where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: Option<i64>,
    pub(crate) last: Option<i64>,
}

impl Span {
    pub(crate) fn add(&mut self, time: Option<i64>) {
        if let Some(time) = time {
            self.first = Some(self.first.map_or(time, |first| first.min(time)));
            self.last = Some(self.last.map_or(time, |last| last.max(time)));
        }
    }

    fn meets(&self, window: &Window) -> bool {
        match (self.first, self.last) {
            (Some(first), Some(last)) => {
                window.to.is_none_or(|to| first <= to) && window.from.is_none_or(|from| last >= from)
            }
            // Events without a time lie in the window that is open at both ends only.
            _ => window.from.is_none() && window.to.is_none(),
        }
    }

    fn is_within(&self, window: &Window) -> bool {
        window.from.is_none_or(|from| self.first >= Some(from))
            && window.to.is_none_or(|to| self.last.is_some_and(|last| last <= to))
    }
}

/// Which events are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeRange {
    /// By `@timestamp`.
    pub timestamp: Window,
    /// By `event.ingested`, which every event of the store has.
    pub ingested: Window,
}

/// When the events of a part arrived.
#[derive(Debug)]
pub struct Arrivals<'p>(ArrivalsOf<'p>);

#[derive(Debug)]
enum ArrivalsOf<'p> {
    Recent(&'p Chunk),
    Segment(Arc<Summary>),
}

impl Arrivals<'_> {
    /// When the event of a row arrived, in nanoseconds since the Unix epoch.
    pub fn of(&self, row: u32) -> i64 {
        match &self.0 {
            ArrivalsOf::Recent(chunk) => chunk.ingested(row),
            ArrivalsOf::Segment(summary) => summary.ingested(row),
        }
    }
}

/// The sequence numbers of a part's events, which an event keeps whatever part it comes to stand in.
#[derive(Debug)]
pub struct Sequences<'p>(SequencesOf<'p>);

#[derive(Debug)]
enum SequencesOf<'p> {
    Recent(&'p Chunk),
    Segment(Arc<Rows>),
}

impl Sequences<'_> {
    /// The number of a row's event; none if there is no such row.
    pub fn of(&self, row: u32) -> Option<u64> {
        match &self.0 {
            SequencesOf::Recent(chunk) => chunk.events.get(row as usize).map(|event| event.meta.order.arrival.position),
            SequencesOf::Segment(rows) => rows.sequences.get(row as usize).copied(),
        }
    }
}

/// Reads the documents of a part.
pub struct PartReader<'p>(ReaderOf<'p>);

enum ReaderOf<'p> {
    Recent(&'p Chunk),
    Segment(&'p SegmentPart, Segment),
}

impl PartReader<'_> {
    /// Appends the document of a row as a hit: `_index`, `_id`, `_source`.
    ///
    /// # Errors
    /// If there is no such row, or the segment cannot be read.
    pub fn write_hit(&mut self, row: u32, out: &mut Vec<u8>) -> Result<(), StoreError> {
        match &mut self.0 {
            ReaderOf::Recent(chunk) => match chunk.event(row) {
                Some(event) => event.write_hit(out),
                None => return Err(StoreError::Rules(format!("no row {row} in a recent chunk"))),
            },
            ReaderOf::Segment(part, segment) => {
                segment.write_hit(row as usize, out).map_err(|reason| part.unreadable(&reason))?;
            }
        }
        Ok(())
    }
}

/// A segment's Parquet file, kept where it is.
#[derive(Debug)]
pub struct SegmentFile<'p> {
    /// Where it is.
    pub path: &'p Path,
    _held: Held,
}

impl Fetch for Part {
    fn fetch(&self) -> io::Result<Box<dyn Any + Send>> {
        match self.as_segment() {
            Some(segment) => Ok(Box::new(segment.hold().map_err(io::Error::other)?)),
            None => Ok(Box::new(())),
        }
    }
}

/// Events with what matched of them.
#[derive(Debug)]
pub struct Part {
    pub(crate) kind: PartKind,
    /// The times of its events by `@timestamp`.
    pub(crate) times: Span,
    /// By arrival.
    pub(crate) ingested: Span,
}

#[derive(Debug)]
pub(crate) enum PartKind {
    Recent(Box<Chunk>),
    Segment(Box<SegmentPart>),
}

impl Part {
    pub(crate) fn recent(chunk: Chunk) -> Self {
        let mut times = Span::default();
        chunk.events.iter().for_each(|event| times.add(event.meta.order.time));
        let mut ingested = Span::default();
        chunk.arrivals.iter().for_each(|(_, time)| ingested.add(Some(*time)));
        Self { kind: PartKind::Recent(Box::new(chunk)), times, ingested }
    }

    pub(crate) fn segment(segment: SegmentPart) -> Self {
        let (times, ingested) = (segment.entry.times, segment.entry.ingested);
        Self { kind: PartKind::Segment(Box::new(segment)), times, ingested }
    }

    /// The recent chunk that it is.
    pub(crate) fn chunk(&self) -> Option<&Chunk> {
        match &self.kind {
            PartKind::Recent(chunk) => Some(chunk),
            PartKind::Segment(_) => None,
        }
    }

    /// The segment that it is.
    pub(crate) fn as_segment(&self) -> Option<&SegmentPart> {
        match &self.kind {
            PartKind::Recent(_) => None,
            PartKind::Segment(segment) => Some(segment),
        }
    }

    /// How many events it has.
    pub fn rows(&self) -> u32 {
        match &self.kind {
            PartKind::Recent(chunk) => chunk.events.len() as u32,
            PartKind::Segment(segment) => segment.entry.rows,
        }
    }

    /// The data stream of all its events; `None` where they are of several.
    pub fn data_stream(&self) -> Option<&str> {
        match &self.kind {
            PartKind::Recent(_) => None,
            PartKind::Segment(segment) => Some(&segment.entry.index),
        }
    }

    /// Where the Parquet file of a segment is once it is [fetched](Fetch), and its length; `None` for recent events.
    pub fn place(&self) -> Option<(&Path, u64)> {
        self.as_segment().map(|segment| (&*segment.path, segment.entry.bytes))
    }

    /// Recent events, by row; none of a segment.
    pub fn recent_events(&self) -> impl Iterator<Item = SegmentEvent<'_>> + Clone {
        let rows = self.chunk().map_or(0, |chunk| chunk.events.len() as u32);
        (0..rows).filter_map(|row| self.chunk()?.event(row))
    }

    /// When its events arrived.
    ///
    /// # Errors
    /// If the segment's file of rows cannot be read.
    pub fn arrivals(&self) -> Result<Arrivals<'_>, StoreError> {
        match &self.kind {
            PartKind::Recent(chunk) => Ok(Arrivals(ArrivalsOf::Recent(chunk))),
            PartKind::Segment(segment) => Ok(Arrivals(ArrivalsOf::Segment(segment.summary()?))),
        }
    }

    /// The sequence numbers of its events.
    ///
    /// # Errors
    /// If the segment's file of rows cannot be read.
    pub fn sequences(&self) -> Result<Sequences<'_>, StoreError> {
        match &self.kind {
            PartKind::Recent(chunk) => Ok(Sequences(SequencesOf::Recent(chunk))),
            PartKind::Segment(segment) => Ok(Sequences(SequencesOf::Segment(segment.rows()?))),
        }
    }

    /// When the last of its events arrived.
    pub fn last_arrival(&self) -> Option<i64> {
        self.ingested.last
    }

    /// The earliest `@timestamp` of its events.
    pub fn first_time(&self) -> Option<i64> {
        self.times.first
    }

    /// The latest `@timestamp` of its events.
    pub fn last_time(&self) -> Option<i64> {
        self.times.last
    }

    /// What was matched so far, with rows as handles. A rule that no list [has](MatchList::has) was not looked for yet. Lists
    /// that were made with the same rules are each of other rows.
    ///
    /// # Errors
    /// If the segment's file of rows cannot be read.
    pub fn lists(&self) -> Result<Vec<Arc<MatchList>>, StoreError> {
        match &self.kind {
            PartKind::Recent(chunk) => Ok(chunk.lists().into_iter().map(|listed| listed.list).collect()),
            PartKind::Segment(segment) => Ok(segment.rows()?.lists.clone()),
        }
    }

    /// As [`Self::lists`], and only the rows of these rules are certain to be there: of what is old, few rules want rows.
    ///
    /// # Errors
    /// See there.
    pub fn lists_of(&self, fingerprints: &[u128]) -> Result<Vec<Arc<MatchList>>, StoreError> {
        match &self.kind {
            PartKind::Recent(_) => self.lists(),
            PartKind::Segment(segment) => segment.lists_of(fingerprints),
        }
    }

    /// How many rows the lists have of what, those of the same rules together.
    ///
    /// # Errors
    /// If the segment's file of rows cannot be read.
    pub fn counts(&self) -> Result<Arc<[ListCounts]>, StoreError> {
        match &self.kind {
            PartKind::Recent(chunk) => Ok(chunk.lists().into_iter().map(|listed| listed.counts).collect()),
            PartKind::Segment(segment) => Ok(segment.summary()?.counts.clone()),
        }
    }

    /// Whether all of its events lie in a range.
    pub fn is_within(&self, range: &TimeRange) -> bool {
        self.times.is_within(&range.timestamp) && self.ingested.is_within(&range.ingested)
    }

    /// The document of a row as a hit: `_index`, `_id`, `_source`.
    ///
    /// # Errors
    /// If there is no such row, or the segment cannot be read.
    pub fn hit(&self, row: u32) -> Result<Vec<u8>, StoreError> {
        let mut hit = Vec::new();
        match &self.kind {
            PartKind::Recent(chunk) => match chunk.event(row) {
                Some(event) => event.write_hit(&mut hit),
                None => return Err(StoreError::Rules(format!("no row {row} in a recent chunk"))),
            },
            PartKind::Segment(segment) => segment.write_hit(row, &mut hit)?,
        }
        Ok(hit)
    }

    /// Reads many documents, one after the other. It is its holder's alone, and closes what it opened when it is dropped.
    ///
    /// # Errors
    /// If the segment cannot be opened.
    pub fn reader(&self) -> Result<PartReader<'_>, StoreError> {
        match &self.kind {
            PartKind::Recent(chunk) => Ok(PartReader(ReaderOf::Recent(chunk))),
            PartKind::Segment(segment) => Ok(PartReader(ReaderOf::Segment(segment, segment.open_documents()?))),
        }
    }

    /// The Parquet file of a segment, which stays where it is until what is returned is dropped; `None` for a recent
    /// chunk. What is in an object store only is fetched.
    ///
    /// # Errors
    /// If it cannot be had.
    pub fn file(&self) -> Result<Option<SegmentFile<'_>>, StoreError> {
        let Some(segment) = self.as_segment() else { return Ok(None) };
        Ok(Some(SegmentFile { path: &segment.path, _held: segment.hold()? }))
    }

    pub(crate) fn meets(&self, range: &TimeRange) -> bool {
        self.times.meets(&range.timestamp) && self.ingested.meets(&range.ingested)
    }
}
