//! What came in together, as it stands in the log.
//!
//! A frame is `magic (4) | length of the rest (4) | crc32 of the rest (4) | first sequence number (8) | arrival (8) |
//! events (4) | length of the heads (4) | heads, zstd | pages`. The heads are the names of the data streams and all of an
//! event but its document. A page is `data stream (4) | documents (4) | length unpacked (4) | length (4) | documents, zstd`
//! and has documents of one data stream: it becomes one of its segment as it is.

use std::borrow::Cow;
use std::io;

use bytes::Bytes;
use eqlipse_events::{DocumentPage, page_compressor, put_document, take_document};
use zstd::bulk::Compressor;
use zstd::zstd_safe::compress_bound;

use crate::record::{Record, put_bytes, put_u32, take_array, take_bytes, take_u32};

/// What a frame begins with.
const MAGIC: &[u8; 4] = b"eqL2";
/// And before: all records stood in one piece behind the number of events.
const OLD_MAGIC: &[u8; 4] = b"eqL1";
/// Magic, length, checksum.
const PREFIX: usize = 12;
/// Behind the prefix: first sequence number, arrival, number of events, length of the heads.
const HEADER: usize = 24;
/// Zstd's fast levels are below zero: the heads are read at most once more.
const HEADS_LEVEL: i32 = -5;
/// A page is packed when its documents take so many bytes.
const PAGE_BYTES: usize = 192 << 10;
/// Pages of a data stream that has fewer bytes of documents are packed again for its segment, with others.
const MIN_KEPT_BYTES: u64 = 64 << 10;
/// The most that the records of a frame become when they are read.
const MAX_FRAME_BYTES: usize = 1 << 30;
/// Bytes for a page that a request may leave behind for the next, and how many of those.
const MAX_SPARE: usize = 1 << 20;
const MAX_SPARES: usize = 16;

/// Events that came in together.
#[derive(Debug)]
pub(crate) struct Frame {
    /// The sequence number of the first event.
    pub(crate) first: u64,
    /// When they arrived.
    pub(crate) ingested: i64,
    pub(crate) count: u32,
    /// Their records, one after the other.
    pub(crate) records: Vec<u8>,
}

impl Frame {
    /// The records, if the frame is sound.
    pub(crate) fn records(&self) -> Option<Vec<Record<'_>>> {
        let mut bytes = &self.records[..];
        let records: Vec<Record<'_>> = (0..self.count).map(|_| Record::take(&mut bytes)).collect::<Option<_>>()?;
        bytes.is_empty().then_some(records)
    }

    /// The frame at the beginning of these bytes, and its length; `None` if none is there whole and sound.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let rest = &mut &bytes[..];
        let magic = take_array(rest)?;
        if magic != *MAGIC && magic != *OLD_MAGIC {
            return None;
        }
        let length = take_u32(rest)? as usize;
        let checksum = take_u32(rest)?;
        let body = rest.get(..length)?;
        if crc32fast::hash(body) != checksum {
            return None;
        }
        let body = &mut &body[..];
        let first = u64::from_le_bytes(take_array(body)?);
        let ingested = i64::from_le_bytes(take_array(body)?);
        let count = take_u32(body)?;
        let unpack = |packed: &[u8]| {
            let unpacked = zstd::stream::decode_all(packed).ok();
            unpacked.filter(|unpacked| unpacked.len() <= MAX_FRAME_BYTES)
        };
        let records = match magic == *OLD_MAGIC {
            true => unpack(body)?,
            false => join(&unpack(take_bytes(body)?)?, count, body)?,
        };
        Some((Self { first, ingested, count, records }, PREFIX + length))
    }
}

/// How far it is to where a frame may begin, beyond the first byte.
pub(crate) fn next_frame(bytes: &[u8]) -> usize {
    let rest = bytes.get(1..).unwrap_or_default();
    let mut windows = rest.array_windows();
    windows.position(|window| window == MAGIC || window == OLD_MAGIC).map_or(bytes.len(), |place| place + 1)
}

/// Events and their documents as records.
fn join(mut heads: &[u8], count: u32, mut pages: &[u8]) -> Option<Vec<u8>> {
    let names: Vec<&str> =
        (0..take_u32(&mut heads)?).map(|_| std::str::from_utf8(take_bytes(&mut heads)?).ok()).collect::<Option<_>>()?;
    let mut documents: Vec<Vec<u8>> = vec![Vec::new(); names.len()];
    let mut room = MAX_FRAME_BYTES;
    while !pages.is_empty() {
        let (stream, _rows, unpacked) = (take_u32(&mut pages)?, take_u32(&mut pages)?, take_u32(&mut pages)? as usize);
        room = room.checked_sub(unpacked)?;
        let unpacked = zstd::bulk::decompress(take_bytes(&mut pages)?, unpacked).ok()?;
        documents.get_mut(stream as usize)?.extend_from_slice(&unpacked);
    }
    let mut documents: Vec<&[u8]> = documents.iter().map(Vec::as_slice).collect();
    let mut records = Vec::new();
    for _ in 0..count {
        let head = Record::take_head(&mut heads)?;
        let (name, documents) = (names.get(head.stream as usize)?, documents.get_mut(head.stream as usize)?);
        let document = Cow::Borrowed(take_document(documents)?);
        Record { index: Cow::Borrowed(name), document, ..head.record }.write(&mut records);
    }
    (heads.is_empty() && documents.iter().all(|rest| rest.is_empty())).then_some(records)
}

/// Makes frames, keeping its memory from one to the next.
#[derive(Default)]
pub(crate) struct FrameBuilder {
    packers: Option<Packers>,
    heads: Vec<u8>,
    count: u32,
    streams: Vec<Stream>,
    /// Memory for pages.
    spare: Vec<Vec<u8>>,
    failed: Option<io::Error>,
}

struct Packers {
    heads: Compressor<'static>,
    pages: Compressor<'static>,
    packed: Vec<u8>,
}

/// A data stream's documents.
struct Stream {
    pages: StreamPages,
    /// Of the page to be.
    page: Vec<u8>,
    rows: u32,
}

/// The documents of a data stream in a frame.
#[derive(Debug)]
pub(crate) struct StreamPages {
    pub(crate) index: Box<str>,
    /// None where they are to be packed again with others.
    pub(crate) pages: Vec<DocumentPage>,
}

impl StreamPages {
    /// Leaves the pages that can become pages of a segment.
    fn kept(mut self) -> Self {
        if self.pages.iter().map(|page| u64::from(page.unpacked)).sum::<u64>() < MIN_KEPT_BYTES {
            self.pages.clear();
        }
        self
    }

    pub(crate) fn memory(&self) -> usize {
        let pages = self.pages.iter().map(|page| page.packed.len() + size_of::<DocumentPage>());
        size_of::<Self>() + self.index.len() + pages.sum::<usize>()
    }
}

impl FrameBuilder {
    /// Begins a frame.
    pub(crate) fn clear(&mut self) {
        self.heads.clear();
        self.heads.shrink_to(MAX_SPARE);
        if let Some(packers) = &mut self.packers {
            packers.packed.clear();
            packers.packed.shrink_to(MAX_SPARE);
        }
        self.count = 0;
        self.failed = None;
        self.streams.clear();
    }

    /// Adds a document to those of a data stream.
    pub(crate) fn add_document(&mut self, number: u32, document: &str) {
        let stream = &mut self.streams[number as usize];
        put_document(document, &mut stream.page);
        stream.rows += 1;
        if stream.page.len() >= PAGE_BYTES {
            self.pack(number);
        }
    }

    /// Adds what else there is of an event, whose document is the next of its data stream.
    pub(crate) fn add_head(&mut self, record: &Record<'_>, stream: u32) {
        record.write_head(stream, &mut self.heads);
        self.count += 1;
    }

    /// Adds a data stream that the frame has not yet. Returns its number.
    pub(crate) fn add_stream(&mut self, index: &str) -> u32 {
        let number = self.streams.len() as u32;
        let mut page = self.spare.pop().unwrap_or_default();
        page.clear();
        self.streams.push(Stream { pages: StreamPages { index: index.into(), pages: Vec::new() }, page, rows: 0 });
        number
    }

    fn packers(&mut self) -> io::Result<&mut Packers> {
        Ok(match &mut self.packers {
            Some(packers) => packers,
            none => none.insert(Packers {
                heads: Compressor::new(HEADS_LEVEL)?,
                pages: page_compressor()?,
                packed: Vec::new(),
            }),
        })
    }

    /// Closes the page under way of a data stream. What goes wrong is said at the end.
    fn pack(&mut self, number: u32) {
        let stream = &mut self.streams[number as usize];
        let (page, rows) = (std::mem::take(&mut stream.page), std::mem::take(&mut stream.rows));
        let pack = |Packers { pages, packed, .. }: &mut Packers| {
            packed.clear();
            packed.reserve(compress_bound(page.len()));
            pages.compress_to_buffer(&page, packed)?;
            Ok(Bytes::copy_from_slice(packed))
        };
        match self.packers().and_then(pack) {
            Ok(packed) => {
                let page = DocumentPage { rows, unpacked: page.len() as u32, packed };
                self.streams[number as usize].pages.pages.push(page);
            }
            Err(error) => self.failed = Some(error),
        }
        let stream = &mut self.streams[number as usize];
        stream.page = page;
        stream.page.clear();
    }

    /// The frame, and by data stream those of its pages that can become pages of segments.
    pub(crate) fn finish(&mut self, first: u64, ingested: i64) -> io::Result<(Vec<u8>, Vec<StreamPages>)> {
        let open: Vec<u32> =
            (0..self.streams.len() as u32).filter(|number| self.streams[*number as usize].rows > 0).collect();
        open.into_iter().for_each(|number| self.pack(number));
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut names = Vec::new();
        put_u32(self.streams.len() as u32, &mut names);
        self.streams.iter().for_each(|stream| put_bytes(stream.pages.index.as_bytes(), &mut names));
        names.extend_from_slice(&self.heads);
        let heads = self.packers()?.heads.compress(&names)?;
        let pages = || self.streams.iter().flat_map(|stream| &stream.pages.pages);
        if pages().map(|page| page.unpacked as usize).sum::<usize>() > MAX_FRAME_BYTES {
            return Err(io::Error::other("too many events at once for the log"));
        }
        let length = heads.len() + pages().map(|page| page.packed.len() + 16).sum::<usize>();
        let mut bytes = Vec::with_capacity(PREFIX + HEADER + length);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&first.to_le_bytes());
        bytes.extend_from_slice(&ingested.to_le_bytes());
        put_u32(self.count, &mut bytes);
        put_bytes(&heads, &mut bytes);
        for (stream, number) in self.streams.iter().zip(0..) {
            for DocumentPage { rows, unpacked, packed } in &stream.pages.pages {
                [number, *rows, *unpacked].iter().for_each(|number| put_u32(*number, &mut bytes));
                put_bytes(packed, &mut bytes);
            }
        }
        let length = u32::try_from(bytes.len() - PREFIX).map_err(io::Error::other)?;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[PREFIX..]);
        bytes[8..PREFIX].copy_from_slice(&checksum.to_le_bytes());
        let mut kept = Vec::new();
        for Stream { pages, mut page, .. } in self.streams.drain(..) {
            kept.push(pages.kept());
            page.clear();
            if page.capacity() <= MAX_SPARE && self.spare.len() < MAX_SPARES {
                self.spare.push(page);
            }
        }
        self.clear();
        Ok((bytes, kept))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn add(builder: &mut FrameBuilder, record: &Record<'_>) {
        let known = builder.streams.iter().position(|stream| *stream.pages.index == *record.index);
        let stream = known.map_or_else(|| builder.add_stream(&record.index), |number| number as u32);
        builder.add_document(stream, &record.document);
        builder.add_head(record, stream);
    }

    /// A frame with an event for each id.
    pub(crate) fn encoded(first: u64, ids: &[&str]) -> Vec<u8> {
        let mut builder = FrameBuilder::default();
        for id in ids {
            let (index, document) = (Cow::Borrowed("logs-x"), Cow::Owned(format!("{{\"n\":{first}}}")));
            add(&mut builder, &Record { index, id: (*id).into(), is_own_id: true, identity: None, document });
        }
        builder.finish(first, 5).unwrap().0
    }

    proptest! {
        #[test]
        fn frames_come_back(
            events in proptest::collection::vec((0usize..4, ".{0,5}", any::<Option<u128>>(), any::<bool>(), 0usize..90_000), 0..20),
            cut in 1usize..40,
        ) {
            let mut builder = FrameBuilder::default();
            for round in 0..2 {
                let record = |(stream, id, identity, is_own_id, length): &(usize, String, _, _, usize)| Record {
                    index: Cow::Borrowed(["a", "b", "ä", ""][*stream]),
                    id: id.clone().into(),
                    is_own_id: *is_own_id,
                    identity: *identity,
                    document: Cow::Owned("é".repeat(*length / 2)),
                };
                let records: Vec<Record<'_>> = events.iter().map(record).collect();
                builder.clear();
                records.iter().for_each(|record| add(&mut builder, record));
                let (mut bytes, pages) = builder.finish(round, 7).unwrap();
                for StreamPages { index, pages } in &pages {
                    let rows = records.iter().filter(|record| record.index == **index).count();
                    let packed: usize = pages.iter().map(|page| page.rows as usize).sum();
                    prop_assert!(pages.is_empty() || packed == rows);
                }
                let whole = bytes.len();
                bytes.extend_from_slice(b"behind");
                let (frame, length) = Frame::decode(&bytes).unwrap();
                prop_assert_eq!((frame.first, frame.ingested, length), (round, 7, whole));
                prop_assert_eq!(frame.records(), Some(records));
                prop_assert!(Frame::decode(&bytes[..whole - cut.min(whole)]).is_none());
            }
        }

        #[test]
        fn frames_of_before_are_read(document in ".{0,9}", first: u64) {
            let record = Record {
                index: "a".into(), id: "b".into(), is_own_id: true, identity: Some(1), document: document.into(),
            };
            let mut records = Vec::new();
            record.write(&mut records);
            let mut body = [first.to_le_bytes(), 5i64.to_le_bytes()].concat();
            body.extend(1u32.to_le_bytes());
            body.extend(zstd::bulk::compress(&records, 1).unwrap());
            let numbers = [body.len() as u32, crc32fast::hash(&body)].map(u32::to_le_bytes);
            let frame = [OLD_MAGIC, &*numbers.concat(), &body].concat();
            prop_assert_eq!(next_frame(&[b"eqL", &*frame].concat()), 3);
            let (read, length) = Frame::decode(&frame).unwrap();
            prop_assert_eq!((read.first, read.ingested, length), (first, 5, frame.len()));
            prop_assert_eq!(read.records(), Some(vec![record]));
        }

        #[test]
        fn any_bytes_will_do(bytes in proptest::collection::vec(any::<u8>(), 0..200), place in 0usize..200) {
            let mut frame = encoded(3, &["a", "b"]);
            let place = place.min(frame.len());
            frame.splice(place.., bytes);
            let length = (frame.len().saturating_sub(PREFIX)) as u32;
            if frame.len() >= PREFIX {
                frame[4..8].copy_from_slice(&length.to_le_bytes());
                let checksum = crc32fast::hash(&frame[PREFIX..]);
                frame[8..PREFIX].copy_from_slice(&checksum.to_le_bytes());
            }
            if let Some((frame, _)) = Frame::decode(&frame) {
                _ = frame.records();
            }
        }
    }
}
