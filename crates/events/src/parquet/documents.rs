//! The documents of rows, read when somebody asks for them.

use std::cell::RefCell;
use std::sync::Arc;

use eqlipse_batch::{DocumentPart, DocumentPlace, RowSource};

use super::column::{Cells, ColumnReader, read_plain};
use super::file::{ChunkPlace, column_error};
use super::layout::{ID, INDEX, Kind, SOURCE};
use super::page::{PageHeader, PageKind, PagePlace, Unpacker, ValueEncoding, take};
use super::value::Stored;
use super::{Damage, ParquetError, ParquetFile};

/// The documents of one row group.
pub(crate) struct GroupDocuments {
    file: Arc<ParquetFile>,
    index: Cells<Box<str>>,
    id: Cells<Box<str>>,
    /// Of the documents' column.
    place: ChunkPlace,
    pages: Vec<PagePlace>,
    unpacker: Unpacker,
    /// The page that was read last, and where its documents stand in it.
    open: Option<usize>,
    packed: Vec<u8>,
    page: Vec<u8>,
    ends: Vec<(usize, usize)>,
}

fn text(value: Stored<'_>) -> Option<Box<str>> {
    match value {
        Stored::Text(text) => Some(text.into()),
        _ => None,
    }
}

impl GroupDocuments {
    /// Prepares to read documents of a row group.
    pub(crate) fn open(file: &Arc<ParquetFile>, group: usize) -> Result<Self, ParquetError> {
        let rows = file.rows(group)?;
        let mut reader = ColumnReader::new().map_err(|damage| column_error(INDEX, damage))?;
        let mut cells = |name: &str| -> Result<Cells<Box<str>>, ParquetError> {
            let mut cells = Cells::new(rows, text);
            reader.read(file, group, file.column(name)?, rows, &mut cells)?;
            Ok(cells)
        };
        let (index, id) = (cells(INDEX)?, cells(ID)?);
        let place = file.place(group, file.column(SOURCE)?)?;
        let pages = file.pages(group, file.column(SOURCE)?).map_err(|damage| column_error(SOURCE, damage))?;
        Ok(Self {
            file: file.clone(),
            index,
            id,
            place,
            pages,
            unpacker: Unpacker::new().map_err(|damage| column_error(SOURCE, damage))?,
            open: None,
            packed: Vec::new(),
            page: Vec::new(),
            ends: Vec::new(),
        })
    }

    /// Appends the document of a row as a hit.
    pub(crate) fn write_hit(&mut self, row: usize, out: &mut Vec<u8>) -> Result<(), ParquetError> {
        self.load(row).map_err(|damage| column_error(SOURCE, damage))?;
        out.push(b'{');
        for (name, cells) in [(INDEX, &self.index), (ID, &self.id)] {
            if let Some(value) = cells.get(row) {
                let value = serde_json::Value::from(&**value);
                out.extend_from_slice(format!("\"{name}\":{value},").as_bytes());
            }
        }
        out.extend_from_slice(b"\"_source\":");
        out.extend_from_slice(self.document(row).unwrap_or_default());
        out.push(b'}');
        Ok(())
    }

    fn document(&self, row: usize) -> Option<&[u8]> {
        let place = &self.pages[self.open?];
        let (start, end) = *self.ends.get(row.checked_sub(place.first_row)?)?;
        self.page.get(start..end)
    }

    /// Reads the page with this row, unless it is there.
    fn load(&mut self, row: usize) -> Result<(), Damage> {
        let number = self.pages.partition_point(|place| place.first_row <= row).checked_sub(1).ok_or(Damage::Rows)?;
        if self.open == Some(number) {
            return Ok(());
        }
        self.open = None;
        self.file.read_page(&self.place, &self.pages[number], &mut self.packed)?;
        let mut packed = &self.packed[..];
        let header = PageHeader::parse(packed)?;
        if header.kind != PageKind::Data || header.encoding != ValueEncoding::Plain {
            return Err(Damage::Encoding);
        }
        take(&mut packed, header.length)?;
        let packed = take(&mut packed, header.packed)?;
        self.unpacker.unpack(self.place.compression, &header, packed, &mut self.page)?;
        self.ends.clear();
        let (ends, mut at) = (&mut self.ends, 0);
        read_plain(&self.page, Kind::Text, header.values, &mut |value| {
            if let Stored::Text(text) = value {
                // A length of four bytes stands in front.
                ends.push((at + 4, at + 4 + text.len()));
                at += 4 + text.len();
            }
        })?;
        if self.ends.len() <= row - self.pages[number].first_row {
            return Err(Damage::Rows);
        }
        self.open = Some(number);
        Ok(())
    }
}

/// A run of rows out of a row group.
pub(crate) struct GroupRows {
    pub(crate) file: Arc<ParquetFile>,
    pub(crate) group: usize,
    /// The source, if the file lies on disk as it is.
    pub(crate) source: Option<u32>,
    /// The number in the row group of each row, unless they are all of the row group's.
    pub(crate) rows: Option<Vec<u32>>,
    pub(crate) documents: RefCell<Option<Box<GroupDocuments>>>,
}

impl GroupRows {
    fn number(&self, row: u32) -> u32 {
        self.rows.as_ref().map_or(row, |rows| rows.get(row as usize).copied().unwrap_or(u32::MAX))
    }

    fn write(&self, row: u32, out: &mut Vec<u8>) -> Result<(), ParquetError> {
        let mut documents = self.documents.borrow_mut();
        let documents = match &mut *documents {
            Some(documents) => documents,
            none => none.insert(Box::new(GroupDocuments::open(&self.file, self.group)?)),
        };
        documents.write_hit(self.number(row) as usize, out)
    }
}

impl RowSource for GroupRows {
    fn write_json(&self, row: u32, out: &mut Vec<u8>) {
        let start = out.len();
        if let Err(error) = self.write(row, out) {
            // The event is there and matched; only its document is lost.
            out.truncate(start);
            let message = format!("row {} of row group {}: {error}", self.number(row), self.group);
            let message = serde_json::Value::from(message);
            out.extend_from_slice(format!("{{\"_source\":{{\"error\":{{\"message\":{message}}}}}}}").as_bytes());
        }
    }

    fn place(&self, row: u32) -> Option<DocumentPlace> {
        self.source.map(|source| DocumentPlace {
            source,
            offset: self.group as u64,
            length: 0,
            part: DocumentPart::Row(self.number(row)),
            digest: self.file.digest(),
        })
    }
}
