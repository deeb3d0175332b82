//! A 64 KiB chunk: its header, its tables, its records.

use std::collections::HashMap;

use super::binxml::{BINXML_TYPE, Content, Element, Instance, SlotValue, event_instance};
use super::value::filetime;
use super::{CHUNK_HEADER_SIZE, CHUNK_SIZE, EvtxEvent, EvtxWriteError};

const RECORD_MAGIC: [u8; 4] = [0x2a, 0x2a, 0, 0];
const NAME_BUCKETS: usize = 64;
const TEMPLATE_BUCKETS: usize = 32;

/// BinXML tokens. `MORE` is set in an element's token where it has attributes, and in an attribute's token where
/// another follows.
mod token {
    pub(super) const END: u8 = 0x00;
    pub(super) const OPEN_ELEMENT: u8 = 0x01;
    pub(super) const CLOSE_START: u8 = 0x02;
    pub(super) const CLOSE_EMPTY: u8 = 0x03;
    pub(super) const CLOSE_ELEMENT: u8 = 0x04;
    pub(super) const VALUE: u8 = 0x05;
    pub(super) const ATTRIBUTE: u8 = 0x06;
    pub(super) const TEMPLATE_INSTANCE: u8 = 0x0c;
    pub(super) const OPTIONAL_SLOT: u8 = 0x0e;
    pub(super) const FRAGMENT: [u8; 4] = [0x0f, 1, 1, 0];
    pub(super) const MORE: u8 = 0x40;
}

/// Where each name and template of the chunk stands, and the heads of the chains that the header points at.
#[derive(Clone)]
struct Tables {
    names: HashMap<String, u32>,
    templates: HashMap<[u8; 16], u32>,
    name_buckets: [u32; NAME_BUCKETS],
    template_buckets: [u32; TEMPLATE_BUCKETS],
}

/// A chunk being filled.
pub(super) struct ChunkWriter {
    data: Vec<u8>,
    tables: Tables,
    /// The numbers of the first and the last record, and how many there are.
    records: Option<(u64, u64, u64)>,
    last_record_offset: usize,
    rejected_size: usize,
}

impl ChunkWriter {
    pub(super) fn new() -> Self {
        Self {
            data: vec![0; CHUNK_HEADER_SIZE],
            tables: Tables {
                names: HashMap::new(),
                templates: HashMap::new(),
                name_buckets: [0; NAME_BUCKETS],
                template_buckets: [0; TEMPLATE_BUCKETS],
            },
            records: None,
            last_record_offset: 0,
            rejected_size: 0,
        }
    }

    /// Appends a record. `false`, with the chunk as it was, where it does not fit.
    pub(super) fn try_push(&mut self, event: &EvtxEvent) -> Result<bool, EvtxWriteError> {
        let (start, tables) = (self.data.len(), self.tables.clone());
        self.write_record(event)?;
        if self.data.len() > CHUNK_SIZE {
            self.rejected_size = self.data.len() - start;
            self.data.truncate(start);
            self.tables = tables;
            return Ok(false);
        }
        self.last_record_offset = start;
        let (first, _, count) = self.records.unwrap_or((event.record_id, event.record_id, 0));
        self.records = Some((first, event.record_id, count + 1));
        Ok(true)
    }

    /// The size of the record that [`Self::try_push`] refused last.
    pub(super) fn rejected_size(&self) -> usize {
        self.rejected_size
    }

    /// The chunk's bytes. The header's checksum leaves out itself and the flags before it; the records' checksum covers
    /// what lies before the free space.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let free_space = self.data.len();
        let records_checksum = crc32fast::hash(&self.data[CHUNK_HEADER_SIZE..]);
        let (first, last, count) = self.records.unwrap_or((0, 0, 0));
        let mut header = Vec::with_capacity(CHUNK_HEADER_SIZE);
        header.extend_from_slice(b"ElfChnk\0");
        // Record numbers count from 1 within the log; here they follow the record ids, as in a log never cleared.
        for number in [first, first.wrapping_add(count.saturating_sub(1)), first, last] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        for number in [128, self.last_record_offset as u32, free_space as u32, records_checksum] {
            header.extend_from_slice(&number.to_le_bytes());
        }
        header.resize(128, 0);
        let buckets = self.tables.name_buckets.iter().chain(&self.tables.template_buckets);
        header.extend(buckets.flat_map(|offset| offset.to_le_bytes()));
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&header[..120]);
        checksum.update(&header[128..]);
        header[124..128].copy_from_slice(&checksum.finalize().to_le_bytes());
        self.data[..CHUNK_HEADER_SIZE].copy_from_slice(&header);
        self.data.resize(CHUNK_SIZE, 0);
        self.data
    }

    fn write_record(&mut self, event: &EvtxEvent) -> Result<(), EvtxWriteError> {
        let (record_id, time) = (event.record_id, event.time);
        let ticks = filetime(time).ok_or(EvtxWriteError::TimeOutOfRange { record_id, time })?;
        let start = self.data.len();
        self.data.extend_from_slice(&RECORD_MAGIC);
        self.u32(0);
        self.data.extend_from_slice(&record_id.to_le_bytes());
        self.data.extend_from_slice(&ticks.to_le_bytes());
        self.write_fragment(record_id, &event_instance(event)?)?;
        // Windows keeps records on 8-byte boundaries; a copy of the size comes last.
        self.data.resize((self.data.len() + 4).next_multiple_of(8) - 4, 0);
        let size = (self.data.len() + 4 - start) as u32;
        self.u32(size);
        self.data[start + 4..start + 8].copy_from_slice(&size.to_le_bytes());
        Ok(())
    }

    /// A fragment with one template instance: the template where it is new, then the sizes and types of the values, then
    /// the values.
    fn write_fragment(&mut self, record_id: u64, instance: &Instance) -> Result<(), EvtxWriteError> {
        self.data.extend_from_slice(&token::FRAGMENT);
        self.data.extend_from_slice(&[token::TEMPLATE_INSTANCE, 1]);
        self.write_template(&instance.root);
        self.u32(instance.slots.len() as u32);
        let descriptors = self.data.len();
        self.data.resize(descriptors + 4 * instance.slots.len(), 0);
        for (index, (name, value)) in instance.slots.iter().enumerate() {
            let start = self.data.len();
            let value_type = self.write_slot(record_id, value)?;
            let size = self.data.len() - start;
            let stored = u16::try_from(size).map_err(|_| EvtxWriteError::ValueTooLong {
                record_id,
                field: name.clone(),
                size,
            })?;
            let descriptor = descriptors + 4 * index;
            self.data[descriptor..descriptor + 2].copy_from_slice(&stored.to_le_bytes());
            self.data[descriptor + 2] = value_type;
        }
        self.data.push(token::END);
        Ok(())
    }

    /// Writes a value and gives its type.
    fn write_slot(&mut self, record_id: u64, value: &SlotValue) -> Result<u8, EvtxWriteError> {
        match value {
            SlotValue::Plain(value) => {
                value.write(&mut self.data).map_err(|time| EvtxWriteError::TimeOutOfRange { record_id, time })?;
                Ok(value.instance_type())
            }
            SlotValue::Fragment(instance) => self.write_fragment(record_id, instance).map(|()| BINXML_TYPE),
        }
    }

    /// A template's id and offset, followed by the template itself where the chunk does not have it yet.
    fn write_template(&mut self, root: &Element) {
        let guid = root.template_guid();
        self.data.extend_from_slice(&guid[..4]);
        let here = self.data.len() as u32 + 4;
        if let Some(offset) = self.tables.templates.get(&guid) {
            return self.u32(*offset);
        }
        self.u32(here);
        let words = guid.as_chunks::<2>().0.iter().map(|bytes| u16::from_le_bytes(*bytes));
        let bucket = hash(words) as usize % TEMPLATE_BUCKETS;
        self.u32(self.tables.template_buckets[bucket]);
        self.tables.template_buckets[bucket] = here;
        self.tables.templates.insert(guid, here);
        self.data.extend_from_slice(&guid);
        let size = self.reserve_size();
        self.data.extend_from_slice(&token::FRAGMENT);
        self.write_element(root);
        self.data.push(token::END);
        self.fill_size(size);
    }

    fn write_element(&mut self, element: &Element) {
        let has_attributes = !element.attributes.is_empty();
        self.data.push(token::OPEN_ELEMENT | if has_attributes { token::MORE } else { 0 });
        // The dependency: the number of the slot without which the element is left out. None here.
        self.data.extend_from_slice(&[0xff, 0xff]);
        let size = self.reserve_size();
        self.write_name(&element.name);
        if has_attributes {
            self.write_attributes(&element.attributes);
        }
        if element.children.is_empty() {
            self.data.push(token::CLOSE_EMPTY);
        } else {
            self.data.push(token::CLOSE_START);
            element.children.iter().for_each(|child| self.write_content(child));
            self.data.push(token::CLOSE_ELEMENT);
        }
        self.fill_size(size);
    }

    fn write_attributes(&mut self, attributes: &[(String, Content)]) {
        let size = self.reserve_size();
        for (index, (name, content)) in attributes.iter().enumerate() {
            let more = if index + 1 < attributes.len() { token::MORE } else { 0 };
            self.data.push(token::ATTRIBUTE | more);
            self.write_name(name);
            self.write_content(content);
        }
        self.fill_size(size);
    }

    fn write_content(&mut self, content: &Content) {
        match content {
            Content::Element(element) => self.write_element(element),
            Content::Slot(index, slot_type) => {
                self.data.push(token::OPTIONAL_SLOT);
                self.data.extend_from_slice(&index.to_le_bytes());
                self.data.push(*slot_type);
            }
            Content::Text(text) => {
                self.data.extend_from_slice(&[token::VALUE, 0x01]);
                self.write_counted_text(text);
            }
        }
    }

    /// A name's offset, followed by the name itself where the chunk does not have it yet.
    fn write_name(&mut self, name: &str) {
        if let Some(offset) = self.tables.names.get(name) {
            return self.u32(*offset);
        }
        let here = self.data.len() as u32 + 4;
        self.u32(here);
        let hash = name_hash(name);
        let bucket = usize::from(hash) % NAME_BUCKETS;
        self.u32(self.tables.name_buckets[bucket]);
        self.tables.name_buckets[bucket] = here;
        self.tables.names.insert(name.to_owned(), here);
        self.data.extend_from_slice(&hash.to_le_bytes());
        self.write_counted_text(name);
        self.data.extend_from_slice(&[0, 0]);
    }

    /// UTF-16 after its number of code units.
    fn write_counted_text(&mut self, text: &str) {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        self.data.extend_from_slice(&((units.len() / 2) as u16).to_le_bytes());
        self.data.extend_from_slice(&units);
    }

    /// A place for the size of what follows, to be given to [`Self::fill_size`] after that.
    fn reserve_size(&mut self) -> usize {
        self.u32(0);
        self.data.len()
    }

    fn fill_size(&mut self, start: usize) {
        let size = (self.data.len() - start) as u32;
        self.data[start - 4..start].copy_from_slice(&size.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.data.extend_from_slice(&value.to_le_bytes());
    }
}

/// The hash that both tables are keyed by: over a name's code units, or a template GUID's 16-bit words.
fn hash(words: impl Iterator<Item = u16>) -> u32 {
    words.fold(0, |hash: u32, word| hash.wrapping_mul(65599).wrapping_add(u32::from(word)))
}

/// The part of a name's hash that is stored with it.
fn name_hash(name: &str) -> u16 {
    hash(name.encode_utf16()) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_hashes_are_those_of_windows() {
        assert_eq!(name_hash("Event"), 0x0cba);
        assert_eq!(name_hash("System"), 0x546f);
    }
}
