//! Matched rows in a temporary file, parted by join key.
//!
//! The events of a sequence or sample all have one key, so that rows can be parted by it: each part is then
//! correlated by itself, and all keys never stand in memory together. Rows without a key are one part.

use std::fs::File;
use std::hash::BuildHasher;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;

use eqlipse_batch::{Arrival, OrderKey};
use foldhash::fast::FixedState;

use super::kept::{Kept, MatchedEvent, StageRow};
use super::key::KeyId;
use crate::compile::RuleSet;

/// Into how many parts rows are parted.
pub(super) const PARTS: usize = 256;

/// The rows that one collector has written out, run after run; the parts of a run follow each other.
#[derive(Debug)]
pub(super) struct Spill {
    file: File,
    length: u64,
    /// By run and part: where its bytes lie.
    runs: Vec<Vec<Range<u64>>>,
}

/// A row with all that it is sorted by.
struct Entry {
    part: u8,
    row: StageRow,
    selection: u32,
}

impl Spill {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile()?, length: 0, runs: Vec::new() })
    }

    /// Moves the rows that need not stay in memory to the file.
    pub(super) fn write(&mut self, rules: &RuleSet, kept: &mut Kept) -> io::Result<()> {
        let entries = take_entries(rules, kept);
        if entries.is_empty() {
            return Ok(());
        }
        self.file.seek(SeekFrom::End(0))?;
        let mut out = BufWriter::with_capacity(1 << 20, &self.file);
        let mut run: Vec<Range<u64>> = vec![self.length..self.length; PARTS];
        let mut record = Vec::new();
        for rows in entries.chunk_by(|a, b| (a.part, a.row) == (b.part, b.row)) {
            record.clear();
            let StageRow { event, key } = rows[0].row;
            put_event(&kept.events[event as usize], &mut record);
            put_bytes(kept.keys.bytes_of(key), &mut record);
            put_u32(rows.len() as u32, &mut record);
            rows.iter().for_each(|entry| put_u32(entry.selection, &mut record));
            out.write_all(&record)?;
            let start =
                if run[rows[0].part as usize].is_empty() { self.length } else { run[rows[0].part as usize].start };
            self.length += record.len() as u64;
            run[rows[0].part as usize] = start..self.length;
        }
        out.flush()?;
        drop(out);
        self.runs.push(run);
        forget_moved(kept);
        Ok(())
    }

    /// The rows of a part, as they were collected.
    pub(super) fn read(&mut self, rules: &RuleSet, part: usize) -> io::Result<Kept> {
        let mut kept = Kept::new(rules.selections.all.len());
        let mut bytes = Vec::new();
        for range in self.runs.iter().map(|run| &run[part]) {
            bytes.resize((range.end - range.start) as usize, 0);
            self.file.seek(SeekFrom::Start(range.start))?;
            self.file.read_exact(&mut bytes)?;
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                take_record(&mut rest, &mut kept).ok_or(io::ErrorKind::InvalidData)?;
            }
        }
        Ok(kept)
    }

    /// All parts.
    pub(super) fn read_all(mut self, rules: &RuleSet) -> io::Result<Vec<Kept>> {
        (0..PARTS).map(|part| self.read(rules, part)).collect()
    }
}

/// Takes the rows that may leave memory, an event's rows with the same key together.
fn take_entries(rules: &RuleSet, kept: &mut Kept) -> Vec<Entry> {
    let parts: Vec<u8> = (0..kept.keys.len() as u32).map(|key| part_of(kept.keys.bytes_of(KeyId(key)))).collect();
    let mut entries = Vec::new();
    for ((rows, selection), number) in kept.rows.iter_mut().zip(&rules.selections.all).zip(0..) {
        if !selection.stays {
            let rows = std::mem::take(rows).into_iter();
            entries.extend(rows.map(|row| Entry { part: parts[row.key.0 as usize], row, selection: number }));
        }
    }
    entries.sort_unstable_by_key(|entry| (entry.part, entry.row.event, entry.row.key, entry.selection));
    entries
}

fn part_of(key: &[u8]) -> u8 {
    (FixedState::with_seed(1).hash_one(key) >> 32) as u8
}

/// Drops the events and keys that no row is left of.
fn forget_moved(kept: &mut Kept) {
    let old = std::mem::take(kept);
    let mut places: Vec<Option<u32>> = vec![None; old.events.len()];
    let mut place = |event: u32, events: &mut Vec<MatchedEvent>| {
        *places[event as usize].get_or_insert_with(|| {
            events.push(old.events[event as usize]);
            events.len() as u32 - 1
        })
    };
    kept.rows = old.rows;
    for row in kept.rows.iter_mut().flatten() {
        *row = StageRow { event: place(row.event, &mut kept.events), key: kept.keys.intern_from(&old.keys, row.key) };
    }
    kept.own_orders = old.own_orders;
    kept.own_orders.iter_mut().for_each(|own| own.event = place(own.event, &mut kept.events));
    kept.carried = old.carried;
    kept.carried.iter_mut().for_each(|own| own.event = place(own.event, &mut kept.events));
}

pub(super) const HAS_TIME: u8 = 1;
pub(super) const HAS_TIEBREAKER: u8 = 2;
pub(super) const HAS_IDENTITY: u8 = 4;

/// What an event has.
pub(super) fn flags_of(event: &MatchedEvent) -> u8 {
    let OrderKey { time, tiebreaker, .. } = event.order;
    let flag = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
    flag(time.is_some(), HAS_TIME)
        | flag(tiebreaker.is_some(), HAS_TIEBREAKER)
        | flag(event.identity.is_some(), HAS_IDENTITY)
}

pub(super) fn put_u32(number: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&number.to_le_bytes());
}

pub(super) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_u32(bytes.len() as u32, out);
    out.extend_from_slice(bytes);
}

pub(super) fn put_event(event: &MatchedEvent, out: &mut Vec<u8>) {
    let OrderKey { time, tiebreaker, arrival } = event.order;
    out.push(flags_of(event));
    time.into_iter().chain(tiebreaker).for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    event.identity.into_iter().for_each(|identity| out.extend_from_slice(&identity.to_le_bytes()));
    put_u32(arrival.source, out);
    out.extend_from_slice(&arrival.position.to_le_bytes());
    out.extend_from_slice(&event.handle.to_le_bytes());
}

pub(super) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

pub(super) fn take_event(bytes: &mut &[u8]) -> Option<MatchedEvent> {
    let [flags] = take(bytes)?;
    // What is there is read; what is not costs nothing.
    let mut number = |flag| if flags & flag == 0 { Some(None) } else { take(bytes).map(i64::from_le_bytes).map(Some) };
    let (time, tiebreaker) = (number(HAS_TIME)?, number(HAS_TIEBREAKER)?);
    let identity = if flags & HAS_IDENTITY == 0 { None } else { Some(take(bytes).map(u128::from_le_bytes)?) };
    let source = take(bytes).map(u32::from_le_bytes)?;
    let position = take(bytes).map(u64::from_le_bytes)?;
    let handle = take(bytes).map(u64::from_le_bytes)?;
    Some(MatchedEvent { order: OrderKey { time, tiebreaker, arrival: Arrival { source, position } }, identity, handle })
}

fn take_record(bytes: &mut &[u8], kept: &mut Kept) -> Option<()> {
    let event = take_event(bytes)?;
    let length = take(bytes).map(u32::from_le_bytes)? as usize;
    let (key, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    let key = kept.keys.intern(key);
    // An event's records follow each other.
    if kept.events.last().is_none_or(|last| last.order.arrival != event.order.arrival) {
        kept.events.push(event);
    }
    let row = StageRow { event: kept.events.len() as u32 - 1, key };
    for _ in 0..take(bytes).map(u32::from_le_bytes)? {
        let selection = take(bytes).map(u32::from_le_bytes)?;
        kept.rows.get_mut(selection as usize)?.push(row);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::{CompileOptions, RuleSetBuilder, Scope};

    fn rules() -> RuleSet {
        let mut builder = RuleSetBuilder::new(CompileOptions::default());
        for query in ["sequence by process.pid [any where a == 1] [any where a == 2]", "any where a == 3"] {
            builder.add(&eqlipse_eql::parse(query).unwrap(), &Scope::default()).unwrap();
        }
        builder.build()
    }

    fn event(number: u64) -> MatchedEvent {
        let has = |bit: u64| number & bit != 0;
        let order = OrderKey {
            time: has(1).then_some(-5),
            tiebreaker: has(2).then_some(7),
            arrival: Arrival { source: 3, position: number },
        };
        MatchedEvent { order, identity: has(4).then_some(u128::MAX - 1), handle: number << 40 }
    }

    /// Rows as comparable texts: event, selection, key.
    fn rows(kept: &Kept) -> Vec<String> {
        let mut rows = Vec::new();
        for (selection, of_selection) in kept.rows.iter().enumerate() {
            for row in of_selection {
                let event = &kept.events[row.event as usize];
                rows.push(format!("{event:?} {selection} {:?}", kept.keys.bytes_of(row.key)));
            }
        }
        rows.sort();
        rows
    }

    #[test]
    fn rows_come_back_and_those_that_stay_are_left() {
        let rules = rules();
        let mut kept = Kept::new(rules.selections.all.len());
        kept.events = (0..8).map(event).collect();
        for number in 0..8u32 {
            // Every event has a key of its own, and one that it shares with others.
            for key in [vec![b'k', number as u8], vec![(number % 2) as u8]] {
                let key = kept.keys.intern(&key);
                let stage = usize::from(number % 3 == 0);
                kept.rows[stage].push(StageRow { event: number, key });
            }
        }
        let key = kept.keys.intern(b"");
        kept.rows[2].extend([StageRow { event: 2, key }, StageRow { event: 5, key }]);
        let before = rows(&kept);

        let mut spill = Spill::new().unwrap();
        spill.write(&rules, &mut kept).unwrap();
        assert_eq!((kept.events.len(), kept.keys.len()), (2, 1));
        assert_eq!(kept.rows.iter().map(Vec::len).collect::<Vec<_>>(), [0, 0, 2]);
        let mut after = rows(&kept);
        let parts = spill.read_all(&rules).unwrap();
        assert!(parts.iter().filter(|part| !part.events.is_empty()).count() > 1);
        after.extend(parts.iter().flat_map(rows));
        after.sort();
        assert_eq!(after, before);
    }
}
