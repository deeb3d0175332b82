//! Events of a store as a file, and its documents by row.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use eqlipse_batch::RowMeta;
use thiserror::Error;

use super::census::Census;
use super::write::{Effort, FileWriter, WriterMemory};
use super::{GroupDocuments, ParquetError, ParquetFile};
use crate::decoded::DecodedPart;

/// An event to be written.
#[derive(Clone, Copy, Debug)]
pub struct SegmentEvent<'a> {
    /// The index or data stream it belongs to.
    pub index: &'a str,
    /// Its id there.
    pub id: &'a str,
    /// The document, a sound JSON object without line breaks.
    pub document: &'a str,
    /// Its place in time, and its identity.
    pub meta: RowMeta,
}

impl SegmentEvent<'_> {
    /// Appends it as a hit.
    pub fn write_hit(&self, out: &mut Vec<u8>) {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        out.extend_from_slice(b"{\"_index\":");
        out.extend_from_slice(text(self.index).as_bytes());
        out.extend_from_slice(b",\"_id\":");
        out.extend_from_slice(text(self.id).as_bytes());
        out.extend_from_slice(b",\"_source\":");
        out.extend_from_slice(self.document.as_bytes());
        out.push(b'}');
    }
}

/// So many of a data stream's first events are looked at for columns before any is written, and of the others one in so
/// many.
const SAMPLE: usize = 100;

/// Where more than one in so many events must be decoded again, all are: for one alone, all columns are gone through.
const MAX_ODD: usize = 16;

/// Where so few events came in together, on average, all are better decoded again.
const MIN_PART: usize = 2;

/// The columns of a data stream's segments, learnt from one to the next: the columns must be known before the first row is
/// written, and with these an event is gone through but once.
#[derive(Default)]
pub struct SegmentColumns(Census);

/// Writes segments, keeping its memory from one to the next.
#[derive(Default)]
pub struct SegmentWriter(WriterMemory);

impl SegmentWriter {
    /// Writes events of a data stream with these columns to a Parquet file, row by row in this order. `open` gives the
    /// file, and gives it anew where the events turn out to need other columns than those before had.
    ///
    /// # Errors
    /// If the file cannot be opened or written.
    pub fn write<'a, W: Write>(
        &mut self,
        columns: &mut SegmentColumns,
        events: impl Iterator<Item = SegmentEvent<'a>> + Clone,
        effort: Effort,
        mut open: impl FnMut() -> io::Result<W>,
    ) -> io::Result<W> {
        let census = &mut columns.0;
        if census.is_empty() {
            // Most fields stand in the first events, and some here and there.
            let sample = events.clone().enumerate().filter(|(row, _)| *row < SAMPLE || row % SAMPLE == 0);
            sample.for_each(|(_, event)| _ = census.add(event.document));
        }
        loop {
            let mut out = open()?;
            let mut file = FileWriter::new(census.layout(), effort, std::mem::take(&mut self.0), &mut out)?;
            if census.add_all(&mut file, events.clone())? {
                let (columns, is_used) = file.finish_groups()?;
                census.note_use(columns, is_used);
                self.0 = file.finish()?;
                return Ok(out);
            }
            self.0 = file.into_memory();
        }
    }

    /// As [`Self::write`], of events that were decoded before: `parts` has their columns, in the order of the events.
    ///
    /// # Errors
    /// See there.
    pub fn write_decoded<W: Write>(
        &mut self,
        columns: &mut SegmentColumns,
        events: &[SegmentEvent<'_>],
        parts: &[DecodedPart<'_>],
        effort: Effort,
        mut open: impl FnMut() -> io::Result<W>,
    ) -> io::Result<W> {
        let census = &mut columns.0;
        let odd: usize = parts.iter().map(|part| part.odd().count()).sum();
        let pays = !census.is_empty() && odd <= events.len() / MAX_ODD && parts.len() <= events.len() / MIN_PART;
        if !pays {
            return self.write(columns, events.iter().copied(), effort, open);
        }
        let mut rest = events;
        let parts = parts.iter().map(|part| {
            let own = rest.split_off(..part.rows.len()).ok_or_else(|| io::Error::other("rows without events"))?;
            Ok((part, own))
        });
        let parts = parts.collect::<io::Result<Vec<_>>>()?;
        parts.iter().for_each(|(part, own)| census.learn(part, own));
        let mut out = open()?;
        let mut file = FileWriter::new(census.layout(), effort, std::mem::take(&mut self.0), &mut out)?;
        file.reserve(parts.iter().flat_map(|(part, _)| part.pages));
        for (part, own) in parts {
            file.make_room(own)?;
            file.add_decoded(part, own)?;
        }
        let (columns, is_used) = file.finish_groups()?;
        census.note_use(columns, is_used);
        self.0 = file.finish()?;
        Ok(out)
    }
}

impl SegmentColumns {
    /// The fields that are known. All have columns, if there are not too many.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.names()
    }
}

impl Census {
    /// Sees to it that all fields of decoded events are known.
    fn learn(&mut self, part: &DecodedPart<'_>, events: &[SegmentEvent<'_>]) {
        part.odd().for_each(|row| _ = self.add(events[(row - part.rows.start) as usize].document));
        let Some(decoded) = part.decoded else { return };
        for values in part.values(&part.rows) {
            let name = &decoded.schema.field(values.field).name;
            if !self.has(name) {
                self.count(name, values.values());
            }
            if values.has_several() {
                self.note_several(name);
            }
        }
    }

    /// Says whether all events found their columns. If not, it is known now which they need.
    fn add_all<'a>(
        &mut self,
        file: &mut FileWriter<'_>,
        events: impl Iterator<Item = SegmentEvent<'a>>,
    ) -> io::Result<bool> {
        let mut fits = true;
        // Of the row group under way.
        let mut documents = Vec::new();
        let mut events = events.peekable();
        while let Some(event) = events.next() {
            let row = file.open_row(&event);
            if row.has_unasked {
                fits &= !self.add(event.document);
            }
            file.end_event(&event, &row)?;
            documents.push(event.document);
            if !file.is_full() && events.peek().is_some() {
                continue;
            }
            for row in file.uncounted() {
                fits &= !self.add(documents[row as usize]);
            }
            documents.clear();
            for name in file.misfits() {
                fits = false;
                self.note_several(name);
            }
            match fits {
                true => file.write_group()?,
                false => file.forget_group(),
            }
        }
        Ok(fits)
    }
}

/// Writes events to a Parquet file, row by row in this order, with columns for these alone.
///
/// # Errors
/// If the file cannot be written.
pub fn write_segment<'a>(
    events: impl Iterator<Item = SegmentEvent<'a>> + Clone,
    out: &mut dyn Write,
) -> io::Result<()> {
    let columns = &mut SegmentColumns::default();
    let file = SegmentWriter::default().write(columns, events, Effort::Usual, || Ok(Vec::new()))?;
    out.write_all(&file)
}

/// Why a segment cannot be read.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct SegmentError(String);

impl From<ParquetError> for SegmentError {
    fn from(error: ParquetError) -> Self {
        Self(error.to_string())
    }
}

/// Row groups that are kept open at most.
const MAX_OPEN_GROUPS: usize = 16;

/// A file that [`write_segment`] wrote, to read its documents.
pub struct Segment {
    file: Arc<ParquetFile>,
    /// The first row of each row group, and behind them how many rows there are.
    starts: Vec<usize>,
    open: Vec<(usize, GroupDocuments)>,
}

impl Segment {
    /// Opens a file.
    ///
    /// # Errors
    /// If it cannot be read, or eqlipse did not write it.
    pub fn open(path: &Path) -> Result<Self, SegmentError> {
        let file = ParquetFile::open(path)?;
        let mut starts = vec![0];
        for group in 0..file.groups() {
            starts.push(starts[group] + file.rows(group)?);
        }
        Ok(Self { file: Arc::new(file), starts, open: Vec::new() })
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.starts.last().copied().unwrap_or_default()
    }

    /// Appends the document of a row in the shape of a hit, with `_index`, `_id` and `_source`.
    ///
    /// # Errors
    /// If there is no such row, or its page is damaged.
    pub fn write_hit(&mut self, row: usize, out: &mut Vec<u8>) -> Result<(), SegmentError> {
        if row >= self.rows() {
            return Err(SegmentError(format!("no row {row}: there are {}", self.rows())));
        }
        let group = self.starts.partition_point(|start| *start <= row) - 1;
        let place = match self.open.iter().position(|(number, _)| *number == group) {
            Some(place) => place,
            None => {
                if self.open.len() == MAX_OPEN_GROUPS {
                    self.open.remove(0);
                }
                self.open.push((group, GroupDocuments::open(&self.file, group)?));
                self.open.len() - 1
            }
        };
        Ok(self.open[place].1.write_hit(row - self.starts[group], out)?)
    }
}

#[cfg(test)]
mod tests {
    use eqlipse_batch::{Arrival, OrderKey};

    use super::*;

    #[test]
    fn documents_come_back_by_row() {
        let documents: Vec<String> =
            (0..300).map(|row| format!("{{\"n\":{row},\"process\":{{\"pid\":{row}}}}}")).collect();
        let events = documents.iter().zip(0..).map(|(document, row)| SegmentEvent {
            index: "logs-x-default",
            id: "i\"d",
            document,
            meta: RowMeta {
                order: OrderKey { time: Some(row), tiebreaker: None, arrival: Arrival::default() },
                identity: None,
            },
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        write_segment(events, &mut file.as_file()).unwrap();
        let mut segment = Segment::open(file.path()).unwrap();
        assert_eq!(segment.rows(), 300);
        for row in [299, 0, 7] {
            let mut hit = Vec::new();
            segment.write_hit(row, &mut hit).unwrap();
            let expected = format!(r#"{{"_index":"logs-x-default","_id":"i\"d","_source":{}}}"#, documents[row]);
            assert_eq!(String::from_utf8(hit).unwrap(), expected);
        }
        assert!(segment.write_hit(300, &mut Vec::new()).is_err());
        assert!(Segment::open(Path::new("/dev/null")).is_err());
    }
}
