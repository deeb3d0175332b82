//! The file of rows that lies beside a segment's Parquet file.
//!
//! `eqrows01 | checksum | sequence numbers, times of arrival, hashes of ids, lists`, the checksum that of all behind it before
//! that was packed with Zstandard. Where large segments were put together, their files of rows stay as they are, as pieces of
//! one: `eqrows02`, and then each with its length in front. Of small ones, each of which names all rules, one is made. That no
//! piece is missing is known by the number of rows.

use std::io::{self, Cursor};
use std::sync::Arc;

use eqlipse_engine::{KnownRules, MatchList};
use xxhash_rust::xxh3::xxh3_128;
use zstd::bulk::Compressor;
use zstd::zstd_safe::compress_bound;

use crate::record::take_array;

const MAGIC: &[u8; 8] = b"eqrows01";
const PIECES_MAGIC: &[u8; 8] = b"eqrows02";
const COMPRESSION_LEVEL: i32 = 1;
/// Memory that is kept for further files, twice by each who writes segments.
const MAX_KEPT: usize = 16 << 20;
/// What is longer is unpacked piece by piece.
const MAX_TOLD: usize = 256 << 20;

/// What stands in a file of rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    /// By row.
    pub(crate) sequences: Vec<u64>,
    /// By row.
    pub(crate) ingested: Vec<i64>,
    /// Hashes of the ids that senders gave.
    pub(crate) own_ids: Vec<u64>,
    /// What was matched so far, with rows as handles. Several lists of the same rules are each of some of the rows.
    pub(crate) lists: Vec<Arc<MatchList>>,
}

impl Rows {
    pub(crate) fn memory(&self) -> usize {
        (self.sequences.len() + self.ingested.len() + self.own_ids.len()) * 8
            + self.lists.iter().map(|list| list.memory()).sum::<usize>()
    }

    /// Those of several segments, one behind the other.
    pub(crate) fn lined_up(all: impl IntoIterator<Item = Rows>) -> Self {
        let lined_up = all.into_iter().reduce(|mut rows, behind| {
            let before = rows.sequences.len() as u64;
            rows.sequences.extend(behind.sequences);
            rows.ingested.extend(behind.ingested);
            rows.own_ids.extend(behind.own_ids);
            rows.lists.extend(behind.lists.into_iter().map(|list| moved(list, before)));
            rows
        });
        lined_up.unwrap_or_default()
    }

    /// The same with one list of the same rules.
    pub(crate) fn joined(self) -> Self {
        Self { lists: join_all(&self.lists), ..self }
    }

    /// What stands in a file's bytes; `None` if they are damaged.
    pub(crate) fn decode(bytes: &[u8], known: &KnownRules) -> Option<Self> {
        let pieces = pieces(bytes)?.into_iter().map(|piece| Self::decode_piece(piece, known));
        Some(Self::lined_up(pieces.collect::<Option<Vec<_>>>()?))
    }

    fn decode_piece(piece: &[u8], known: &KnownRules) -> Option<Self> {
        let plain = unpack(piece)?;
        let rest = &mut &plain[..];
        let count = u32::from_le_bytes(take_array(rest)?);
        let mut last = 0u64;
        let sequences = (0..count).map(|_| {
            last = last.wrapping_add(u64::from_le_bytes(take_array(rest)?));
            Some(last)
        });
        let sequences = sequences.collect::<Option<_>>()?;
        let mut last = 0i64;
        let ingested = (0..count).map(|_| {
            last = last.wrapping_add(i64::from_le_bytes(take_array(rest)?));
            Some(last)
        });
        let ingested = ingested.collect::<Option<_>>()?;
        let own_ids = (0..u32::from_le_bytes(take_array(rest)?)).map(|_| take_array(rest).map(u64::from_le_bytes));
        let own_ids = own_ids.collect::<Option<_>>()?;
        let mut lists = Vec::new();
        while !rest.is_empty() {
            let length = usize::try_from(u64::from_le_bytes(take_array(rest)?)).ok()?;
            let (list, behind) = rest.split_at_checked(length)?;
            lists.push(Arc::new(MatchList::decode(list, known)?));
            *rest = behind;
        }
        Some(Self { sequences, ingested, own_ids, lists })
    }

    /// Appends all of them but the magic number and the checksum.
    fn put(&self, plain: &mut Vec<u8>) {
        plain.extend((self.sequences.len() as u32).to_le_bytes());
        // Differences are small numbers, of which little is left once they are packed.
        let mut last = 0;
        for sequence in &self.sequences {
            plain.extend(sequence.wrapping_sub(last).to_le_bytes());
            last = *sequence;
        }
        let mut last = 0;
        for time in &self.ingested {
            plain.extend(time.wrapping_sub(last).to_le_bytes());
            last = *time;
        }
        plain.extend((self.own_ids.len() as u32).to_le_bytes());
        plain.extend(self.own_ids.iter().flat_map(|id| id.to_le_bytes()));
        for list in &self.lists {
            let start = plain.len();
            plain.extend([0; 8]);
            list.encode(plain);
            let length = (plain.len() - start - 8) as u64;
            plain[start..start + 8].copy_from_slice(&length.to_le_bytes());
        }
    }
}

/// Those of the same rules together, in the order in which the rules first come.
pub(crate) fn by_rules(lists: &[Arc<MatchList>]) -> Vec<Vec<&MatchList>> {
    let mut all: Vec<Vec<&MatchList>> = Vec::new();
    for list in lists {
        match all.iter_mut().find(|same| same[0].rules() == list.rules()) {
            Some(same) => same.push(list),
            None => all.push(vec![list]),
        }
    }
    all
}

/// One list of those of the same rules.
pub(crate) fn join_all(lists: &[Arc<MatchList>]) -> Vec<Arc<MatchList>> {
    let same = by_rules(lists);
    if same.len() == lists.len() {
        return lists.to_vec();
    }
    let join = |lists: &Vec<&MatchList>| Arc::new(MatchList::join(lists, |_, _, event| Some(event.handle)));
    same.iter().map(join).collect()
}

/// A list whose rows come behind so many others.
fn moved(list: Arc<MatchList>, rows: u64) -> Arc<MatchList> {
    let mut list = Arc::unwrap_or_clone(list);
    list.move_handles(rows);
    Arc::new(list)
}

/// The files of rows of which one is put together, itself mostly; `None` if it is damaged.
fn pieces(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let Some(mut rest) = bytes.strip_prefix(PIECES_MAGIC) else { return Some(vec![bytes]) };
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let length = usize::try_from(u64::from_le_bytes(take_array(&mut rest)?)).ok()?;
        let (piece, behind) = rest.split_at_checked(length)?;
        pieces.push(piece);
        rest = behind;
    }
    Some(pieces)
}

/// How many rows the bytes of a file have, if they are what they were.
pub(crate) fn count_rows(bytes: &[u8]) -> Option<usize> {
    let rows = |piece| Some(u32::from_le_bytes(*unpack(piece)?.first_chunk()?) as usize);
    pieces(bytes)?.into_iter().map(rows).sum()
}

/// What was packed of a piece; `None` if it is damaged.
fn unpack(mut piece: &[u8]) -> Option<Vec<u8>> {
    if take_array(&mut piece)? != *MAGIC {
        return None;
    }
    let checksum = u128::from_le_bytes(take_array(&mut piece)?);
    // It is told in front, and damaged bytes may tell anything.
    let told = zstd::zstd_safe::get_frame_content_size(piece).ok().flatten();
    let plain = match told.and_then(|told| usize::try_from(told).ok()) {
        Some(told) if told <= MAX_TOLD => zstd::bulk::decompress(piece, told).ok()?,
        _ => zstd::stream::decode_all(piece).ok()?,
    };
    (xxh3_128(&plain) == checksum).then_some(plain)
}

/// Makes files of rows, keeping its memory from one to the next: they are large, and the system clears fresh memory first.
#[derive(Default)]
pub(crate) struct RowsEncoder {
    plain: Vec<u8>,
    bytes: Vec<u8>,
}

impl RowsEncoder {
    /// The file's bytes.
    pub(crate) fn encode(&mut self, rows: &Rows) -> io::Result<&[u8]> {
        let Self { plain, bytes } = self;
        plain.clear();
        bytes.clear();
        rows.put(plain);
        bytes.extend(MAGIC);
        bytes.extend(xxh3_128(plain).to_le_bytes());
        let start = bytes.len();
        bytes.reserve(compress_bound(plain.len()));
        let mut behind = Cursor::new(&mut *bytes);
        behind.set_position(start as u64);
        Compressor::new(COMPRESSION_LEVEL)?.compress_to_buffer(plain, &mut behind)?;
        Ok(bytes)
    }

    /// A file's bytes, of files that are sound, one behind the other.
    pub(crate) fn line_up(&mut self, files: &[Vec<u8>]) -> &[u8] {
        self.bytes.clear();
        self.bytes.extend(PIECES_MAGIC);
        for piece in files.iter().flat_map(|file| pieces(file).unwrap_or_default()) {
            self.bytes.extend((piece.len() as u64).to_le_bytes());
            self.bytes.extend(piece);
        }
        &self.bytes
    }

    /// For the next file, without the memory that only many rows need.
    pub(crate) fn emptied(mut self) -> Self {
        for memory in [&mut self.plain, &mut self.bytes] {
            memory.clear();
            memory.shrink_to(MAX_KEPT);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(first: u64, count: u64) -> Rows {
        Rows {
            sequences: (first..first + count).collect(),
            ingested: vec![-2; count as usize],
            own_ids: vec![u64::MAX - first],
            lists: vec![Arc::default(), Arc::default()],
        }
    }

    fn told(rows: &Rows) -> (&[u64], &[i64], &[u64], usize) {
        (&rows.sequences, &rows.ingested, &rows.own_ids, rows.lists.len())
    }

    #[test]
    fn rows_come_back() {
        let mut encoder = RowsEncoder::default();
        encoder.encode(&rows(1, 1_000)).unwrap();
        let (few, mut encoder) = (rows(3, 9), encoder.emptied());
        let bytes = encoder.encode(&few).unwrap();
        assert_eq!(told(&Rows::decode(bytes, &KnownRules::default()).unwrap()), told(&few));
        no_damage_passes(bytes, &few);
    }

    #[test]
    fn pieces_come_back_one_behind_the_other() {
        let (first, second, third) = (rows(3, 9), rows(40, 1), rows(12, 20));
        let (mut encoder, known) = (RowsEncoder::default(), KnownRules::default());
        let [first_file, second_file, third_file] =
            [&first, &second, &third].map(|rows| encoder.encode(rows).unwrap().to_vec());
        let two = encoder.line_up(&[first_file, second_file]).to_vec();
        let three = encoder.line_up(&[two, third_file]).to_vec();
        let all = Rows::lined_up([first, second, third]);
        let read = Rows::decode(&three, &known).unwrap();
        assert_eq!(told(&read), told(&all));
        assert_eq!((read.lists.len(), read.joined().lists.len()), (6, 1));
        no_damage_passes(&three, &all);
        // Where a piece ends, the file may end, for all that it says: who reads it knows how many rows there are.
        for cut in 8..three.len() {
            let read = Rows::decode(&three[..cut], &known).map(|read| read.sequences.len());
            assert_eq!(read, count_rows(&three[..cut]));
            assert!(read.is_none_or(|read| read < all.sequences.len()), "{cut}");
        }
    }

    fn no_damage_passes(bytes: &[u8], rows: &Rows) {
        assert_eq!(count_rows(bytes), Some(rows.sequences.len()));
        for place in 0..bytes.len() {
            let mut damaged = bytes.to_vec();
            damaged[place] ^= 0x10;
            let read = Rows::decode(&damaged, &KnownRules::default());
            assert_eq!(read.as_ref().map(|read| read.sequences.len()), count_rows(&damaged));
            // Zstd has bits of no meaning.
            assert!(read.is_none_or(|read| read.sequences == rows.sequences), "{place}");
        }
    }
}
