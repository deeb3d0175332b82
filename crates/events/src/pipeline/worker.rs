//! The decoding side: units into the rows of batches.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::ops::Range;
use std::sync::Arc;

use eqlipse_batch::{
    Arrival, BatchBuilder, DocumentPart, DocumentPlace, EventBatch, FieldId, OrderKey, PathNode, RawValue, RowMeta,
    RowSource, Schema, ValueRef,
};

use super::report::{Tallies, Tally};
use super::{Chunk, Content, MAX_BATCH_BYTES, OrderBy, Progress, ReadOptions, Unit};
use crate::document::{Document, Value};
use crate::evtx::{ChunkDecoder, ChunkReport, Record};
use crate::json::{Action, Decoded, Decoder, JsonRow, JsonRows, Operation, Refusal, Span, Split, Splitter};
use crate::parquet::{DROPPED, Group, GroupDocuments, GroupReader, GroupRows, ParquetError, ParquetFile};
use crate::reserved::Reserved;
use crate::winlog;

/// Decodes units into batches and hands these over.
pub(crate) struct Worker<'a, W> {
    chunks: ChunkDecoder,
    json: Decoder,
    /// Made for the first row group.
    groups: Option<GroupReader>,
    rows: Rows<'a, W>,
}

impl<'a, W: FnMut(&EventBatch)> Worker<'a, W> {
    pub(crate) fn new(
        schema: &Arc<Schema>,
        reserved: Reserved,
        options: &'a ReadOptions<'a>,
        progress: &'a Progress,
        hand_over: W,
    ) -> Self {
        let rows = Rows {
            builder: BatchBuilder::new(schema.clone()),
            schema: schema.clone(),
            reserved: reserved.clone(),
            options,
            progress,
            hand_over,
            handing_over: false,
            run: Run::Empty,
            run_start: 0,
            bytes_held: 0,
            tallies: Tallies::new(),
        };
        Self { chunks: ChunkDecoder::new(), json: Decoder::new(schema.clone(), reserved), groups: None, rows }
    }

    pub(crate) fn decode(&mut self, unit: &Unit) {
        let chunk = &unit.chunk;
        let events = self.rows.events(chunk);
        match &unit.content {
            Content::Lines => self.lines(chunk),
            Content::Bulk => self.bulk(chunk),
            Content::Documents(ranges) => self.documents(chunk, ranges),
            Content::EvtxChunk(number) => self.evtx_chunk(chunk, *number),
            Content::RowGroup(file, number) => self.row_group(chunk, file, *number),
        }
        self.rows.progress.add_events(self.rows.events(chunk) - events);
        self.rows.end_unit(chunk);
    }

    /// Whether it was the closure that panicked.
    pub(crate) fn is_handing_over(&self) -> bool {
        self.rows.handing_over
    }

    /// Takes note of a unit whose decoding panicked; the rows it gave until then stay.
    pub(crate) fn give_up(&mut self, unit: &Unit, panic: &str) {
        let chunk = &unit.chunk;
        match unit.content {
            // Its columns were filled one by one, so that they are not all there.
            Content::RowGroup(..) => self.rows.builder.clear(),
            _ => self.rows.builder.abort_row(),
        }
        self.rows.end_run();
        let place = match &unit.content {
            Content::EvtxChunk(number) => format!("chunk {number}"),
            Content::RowGroup(_, number) => format!("row group {number}"),
            _ => format!("byte {}", chunk.offset),
        };
        let reason = format!("internal error, please report it: {panic}");
        self.rows.tally(chunk).skipped.add(chunk.position, || place, reason);
    }

    pub(crate) fn finish(mut self) -> Tallies {
        self.rows.flush();
        self.rows.tallies
    }

    fn lines(&mut self, chunk: &Arc<Chunk>) {
        let text = std::str::from_utf8(&chunk.bytes).ok();
        for (number, line) in line_ranges(&chunk.bytes).enumerate() {
            if !line.is_empty() {
                self.line(chunk, text, line, chunk.line + number as u64, None);
            }
        }
    }

    fn bulk(&mut self, chunk: &Arc<Chunk>) {
        let text = std::str::from_utf8(&chunk.bytes).ok();
        let mut pending: Option<(Action, Range<usize>)> = None;
        for (number, line) in line_ranges(&chunk.bytes).enumerate() {
            let number = chunk.line + number as u64;
            if let Some((action, span)) = pending.take() {
                if action.operation == Operation::Document && !line.is_empty() {
                    self.line(chunk, text, line, number, Some((&action, span)));
                }
                continue;
            }
            match Action::parse(&chunk.bytes[line.clone()]) {
                Some(action) if action.operation == Operation::Delete => {}
                Some(action) => pending = Some((action, line)),
                None if !line.is_empty() => self.line(chunk, text, line, number, None),
                None => {}
            }
        }
        if let Some((_, span)) = pending {
            self.skipped(chunk, span.start, "a bulk action without the document behind it", Place::LineOf(span.start));
        }
    }

    /// Decodes one line, with its bulk action if it has one.
    fn line(
        &mut self,
        chunk: &Arc<Chunk>,
        text: Option<&str>,
        line: Range<usize>,
        number: u64,
        action: Option<(&Action, Range<usize>)>,
    ) {
        match chunk.bytes[line.start] {
            b'[' => self.split(chunk, text, line),
            _ => self.document(chunk, text, line, action, Place::Line(number)),
        }
    }

    fn documents(&mut self, chunk: &Arc<Chunk>, ranges: &[Range<usize>]) {
        let text = std::str::from_utf8(&chunk.bytes).ok();
        for range in ranges {
            self.document(chunk, text, range.clone(), None, Place::Byte);
        }
    }

    /// Decodes the documents in an array or a search response.
    fn split(&mut self, chunk: &Arc<Chunk>, text: Option<&str>, range: Range<usize>) {
        let mut splitter = Splitter::default();
        let bytes = &chunk.bytes[range.clone()];
        while let Some(split) = splitter.next(bytes).or_else(|| splitter.finish()) {
            match split {
                Split::Document(found) => {
                    let found = found.start + range.start..found.end + range.start;
                    if found == range {
                        self.skipped(chunk, found.start, "a search response whose hits cannot be found", Place::Byte);
                    } else {
                        self.document(chunk, text, found, None, Place::Byte);
                    }
                }
                Split::Skipped(at, reason) => self.skipped(chunk, range.start + at, reason, Place::Byte),
            }
        }
    }

    fn document(
        &mut self,
        chunk: &Arc<Chunk>,
        text: Option<&str>,
        range: Range<usize>,
        action: Option<(&Action, Range<usize>)>,
        place: Place,
    ) {
        let (document, lossy) = match text.and_then(|text| text.get(range.clone())) {
            Some(document) => (Cow::Borrowed(document), false),
            None => {
                let document = String::from_utf8_lossy(&chunk.bytes[range.clone()]);
                let lossy = matches!(document, Cow::Owned(_));
                (document, lossy)
            }
        };
        let decoded = self.json.decode(&mut self.rows.builder, &document, action.as_ref().map(|(action, _)| *action));
        let facts = match decoded {
            Ok(Decoded::Event(facts)) => facts,
            Ok(Decoded::SearchResponse) => return self.split(chunk, text, range),
            Err(refusal) => {
                self.rows.tally(chunk).alerts += u64::from(refusal == Refusal::Alert);
                return self.skipped(chunk, range.start, refusal, place);
            }
        };
        let position = chunk.position + range.start as u64;
        if lossy || facts.repaired {
            let reason = if lossy { "bytes that are no UTF-8, read as U+FFFD" } else { "JSON that had to be repaired" };
            self.rows.tally(chunk).damaged.add(position, || place.name(chunk, range.start), reason);
        }
        let order = OrderKey { time: facts.time, tiebreaker: facts.sequence, arrival: arrival(chunk, position) };
        let (digest, identity) = facts.has_identity.then(|| self.json.hashes(&document)).unzip();
        // What is hashed is the text, which a lossy reading is not.
        let digest = digest.filter(|_| !lossy);
        let row = JsonRow { document: span(range), action: action.map(|(_, action)| span(action)), digest };
        self.rows.json_row(chunk, row, RowMeta { order, identity });
    }

    fn skipped(&mut self, chunk: &Chunk, at: usize, reason: impl ToString, place: Place) {
        let position = chunk.position + at as u64;
        self.rows.tally(chunk).skipped.add(position, || place.name(chunk, at), reason);
    }

    fn evtx_chunk(&mut self, chunk: &Arc<Chunk>, number: u64) {
        let rows = &mut self.rows;
        let mut bad = Vec::new();
        let report = self.chunks.decode(&chunk.bytes, number, |record| match record {
            Ok(record) => rows.evtx_row(chunk, number, &record),
            Err(error) => bad.push(error),
        });
        let tally = rows.tally(chunk);
        for error in bad {
            let position = chunk.position + u64::from(error.position.offset);
            tally.skipped.add(position, || error.position.to_string(), error.problem);
        }
        note_damage(tally, chunk, &report);
    }
}

impl<W: FnMut(&EventBatch)> Worker<'_, W> {
    /// Decodes a row group into a batch of its own.
    fn row_group(&mut self, chunk: &Arc<Chunk>, file: &Arc<ParquetFile>, number: usize) {
        self.rows.flush();
        if let Err(error) = self.fill_row_group(chunk, file, number) {
            self.rows.builder.clear();
            let place = || format!("row group {number}");
            self.rows.tally(chunk).skipped.add(chunk.position, place, error);
        }
        self.rows.flush();
    }

    fn fill_row_group(&mut self, chunk: &Chunk, file: &Arc<ParquetFile>, number: usize) -> Result<(), ParquetError> {
        let groups = match &mut self.groups {
            Some(groups) => groups,
            none => none.insert(GroupReader::new()?),
        };
        let group = groups.read(file, number)?;
        let rows = &mut self.rows;
        let times = rows.row_times(file, number, &group, groups)?;
        let kept = rows.kept_rows(&times);
        if GroupReader::has_types(file, &rows.schema) {
            groups.fill(file, number, &group, kept.as_ref().map(|(kept, _)| &kept[..]), &mut rows.builder)?;
            let metas = (0..group.rows).filter(|row| is_kept(kept.as_ref(), *row));
            rows.builder.end_rows(metas.map(|row| row_meta(chunk, &group, row, times[row])));
        } else {
            let names = groups.index_names(file, number, group.rows)?;
            let mut documents = GroupDocuments::open(file, number)?;
            for row in (0..group.rows).filter(|row| is_kept(kept.as_ref(), *row)) {
                rows.decode_row(&mut documents, row, &mut self.json)?;
                rows.add_index_names(&names, row);
                rows.builder.end_row(row_meta(chunk, &group, row, times[row]));
            }
        }
        let tally = rows.tally(chunk);
        tally.events += group.rows as u64;
        tally.outside += kept.as_ref().map_or(0, |(kept, rows)| kept.len() - rows.len()) as u64;
        rows.run = Run::Parquet(GroupRows {
            file: file.clone(),
            group: number,
            source: chunk.on_disk.then_some(chunk.input.source),
            rows: kept.map(|(_, rows)| rows),
            documents: RefCell::default(),
        });
        Ok(())
    }
}

/// Whether a row of a row group gets into the batch; see [`Rows::kept_rows`].
fn is_kept(kept: Option<&(Vec<u32>, Vec<u32>)>, row: usize) -> bool {
    kept.is_none_or(|(kept, _)| kept[row] != DROPPED)
}

fn row_meta(chunk: &Chunk, group: &Group, row: usize, time: Option<i64>) -> RowMeta {
    let arrival = arrival(chunk, chunk.position + row as u64);
    RowMeta { order: OrderKey { time, tiebreaker: group.sequence(row), arrival }, identity: group.identity(row) }
}

/// Takes note of what is wrong with a chunk as a whole.
fn note_damage(tally: &mut Tally, chunk: &Chunk, report: &ChunkReport) {
    use crate::evtx::ChunkDamage;
    let Some(damage) = report.damage else { return };
    let place = || format!("chunk {}", report.chunk);
    match damage {
        // Its records are counted one by one.
        ChunkDamage::Records => {}
        ChunkDamage::Truncated(_) | ChunkDamage::Magic => tally.skipped.add(chunk.position, place, damage),
        ChunkDamage::HeaderChecksum | ChunkDamage::RecordsChecksum => tally.damaged.add(chunk.position, place, damage),
    }
}

fn arrival(chunk: &Chunk, position: u64) -> Arrival {
    Arrival { source: chunk.input.source, position }
}

/// How a place in a chunk is said.
#[derive(Clone, Copy)]
enum Place {
    /// By this line.
    Line(u64),
    /// By the line in which this byte of the chunk lies.
    LineOf(usize),
    /// By the offset in the unpacked input.
    Byte,
}

impl Place {
    fn name(self, chunk: &Chunk, at: usize) -> String {
        match self {
            Self::Line(number) => format!("line {number}"),
            Self::LineOf(byte) => {
                let lines = memchr::memchr_iter(b'\n', &chunk.bytes[..byte]).count() as u64;
                format!("line {}", chunk.line + lines)
            }
            Self::Byte => format!("byte {}", chunk.offset + at as u64),
        }
    }
}

/// The lines of a chunk without blanks around them; empty ranges for blank lines.
fn line_ranges(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let ends = memchr::memchr_iter(b'\n', bytes).chain((bytes.last() != Some(&b'\n')).then_some(bytes.len()));
    let mut start = 0;
    ends.map(move |end| {
        let line = &bytes[start..end];
        let from = start + (line.len() - line.trim_ascii_start().len());
        let to = from.max(start + line.trim_ascii_end().len());
        start = end + 1;
        from..to
    })
}

/// The rows of the batch under way.
struct Rows<'a, W> {
    builder: BatchBuilder,
    schema: Arc<Schema>,
    reserved: Reserved,
    options: &'a ReadOptions<'a>,
    progress: &'a Progress,
    hand_over: W,
    handing_over: bool,
    /// Rows whose source has not been given to the batch yet.
    run: Run,
    run_start: u32,
    bytes_held: usize,
    tallies: Tallies,
}

/// A run of rows out of one chunk.
enum Run {
    Empty,
    Json(JsonRows),
    Evtx(EvtxRows),
    Parquet(GroupRows),
}

impl<W: FnMut(&EventBatch)> Rows<'_, W> {
    fn tally(&mut self, chunk: &Chunk) -> &mut Tally {
        self.tallies.entry(chunk.input).or_default()
    }

    fn events(&mut self, chunk: &Chunk) -> u64 {
        self.tally(chunk).events
    }

    fn json_row(&mut self, chunk: &Arc<Chunk>, row: JsonRow, meta: RowMeta) {
        if !self.admit(chunk, meta.order.time) {
            return self.builder.abort_row();
        }
        match &mut self.run {
            Run::Json(run) => run.rows.push(row),
            run => *run = Run::Json(JsonRows { chunk: chunk.clone(), rows: vec![row] }),
        }
        self.end_row(meta);
    }

    fn evtx_row(&mut self, chunk: &Arc<Chunk>, number: u64, record: &Record<'_>) {
        let event = &record.event;
        let document = winlog::normalise(event);
        let time = match self.options.order_by {
            OrderBy::Log => Some(event.time_created),
            OrderBy::Timestamp => document.text("@timestamp").and_then(eqlipse_batch::parse_date),
        };
        if !self.admit(chunk, time) {
            return;
        }
        // Many records can share one long text in their chunk, so that the chunk's size says nothing.
        self.bytes_held += push_document(&mut self.builder, &self.schema, &document);
        for index in winlog::index_names(event.channel, event.provider) {
            self.builder.push(self.reserved.index, RawValue::Str(index));
        }
        let position = chunk.position + u64::from(record.position.offset);
        let tiebreaker = i64::try_from(event.record_id).ok();
        let order = OrderKey { time, tiebreaker, arrival: arrival(chunk, position) };
        let (index, identity) = (record.position.index, winlog::identity(event));
        match &mut self.run {
            Run::Evtx(run) => run.push(index, identity),
            run => {
                let mut rows = EvtxRows::new(chunk.clone(), number);
                rows.push(index, identity);
                *run = Run::Evtx(rows);
            }
        }
        self.end_row(RowMeta { order, identity: Some(identity) });
    }

    /// Counts an event, and says whether its time is asked for.
    fn admit(&mut self, chunk: &Chunk, time: Option<i64>) -> bool {
        let inside = self.options.window.contains(time);
        let tally = self.tally(chunk);
        tally.events += 1;
        tally.outside += u64::from(!inside);
        inside
    }

    /// Opens a row with the values of a row group's document.
    fn decode_row(
        &mut self,
        documents: &mut GroupDocuments,
        row: usize,
        json: &mut Decoder,
    ) -> Result<(), ParquetError> {
        let mut hit = Vec::new();
        documents.write_hit(row, &mut hit)?;
        // What could be written was decoded before, so that it is an event.
        _ = json.decode(&mut self.builder, &String::from_utf8_lossy(&hit), None);
        Ok(())
    }

    /// Adds the names of a row's index that are not known from its document.
    fn add_index_names(&mut self, names: &[(u32, Arc<str>)], row: usize) {
        let row = row as u32;
        let first = names.partition_point(|(other, _)| *other < row);
        for (_, name) in names[first..].iter().take_while(|(other, _)| *other == row) {
            if !self.builder.open_values(self.reserved.index).any(|known| known == ValueRef::Str(name)) {
                self.builder.push(self.reserved.index, RawValue::Str(name));
            }
        }
    }

    /// What orders each row of a row group.
    fn row_times(
        &self,
        file: &ParquetFile,
        number: usize,
        group: &Group,
        groups: &mut GroupReader,
    ) -> Result<Vec<Option<i64>>, ParquetError> {
        match self.options.order_by {
            OrderBy::Log => Ok((0..group.rows).map(|row| group.time(row)).collect()),
            OrderBy::Timestamp => groups.timestamps(file, number, group.rows),
        }
    }

    /// Each row's number in the batch, and the other way round, if some row's time is not asked for.
    fn kept_rows(&self, times: &[Option<i64>]) -> Option<(Vec<u32>, Vec<u32>)> {
        let window = &self.options.window;
        if times.iter().all(|time| window.contains(*time)) {
            return None;
        }
        let mut rows = Vec::new();
        let kept = times.iter().enumerate().map(|(row, time)| {
            if !window.contains(*time) {
                return DROPPED;
            }
            rows.push(row as u32);
            rows.len() as u32 - 1
        });
        Some((kept.collect(), rows))
    }

    fn end_row(&mut self, meta: RowMeta) {
        self.builder.end_row(meta);
        if self.builder.len() >= self.options.batch_rows || self.bytes_held >= MAX_BATCH_BYTES {
            self.flush();
        }
    }

    /// Gives the batch the source of the rows since the last time.
    fn end_run(&mut self) {
        let source: Box<dyn RowSource> = match std::mem::replace(&mut self.run, Run::Empty) {
            Run::Empty => return,
            Run::Json(run) => Box::new(run),
            Run::Evtx(run) => Box::new(run),
            Run::Parquet(run) => Box::new(run),
        };
        self.builder.add_source(self.run_start, source);
        self.run_start = self.builder.len() as u32;
    }

    fn end_unit(&mut self, chunk: &Chunk) {
        self.end_run();
        self.bytes_held += chunk.bytes.len();
        if self.bytes_held >= MAX_BATCH_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.end_run();
        if !self.builder.is_empty() {
            self.handing_over = true;
            (self.hand_over)(self.builder.batch());
            self.handing_over = false;
        }
        // Documents that gave no row have left their values in the dictionaries.
        self.builder.clear();
        self.run_start = 0;
        self.bytes_held = 0;
    }
}

fn span(range: Range<usize>) -> Span {
    // A chunk is shorter than 4 GiB: it holds one document of limited length, or UNIT_BYTES.
    Span { start: range.start as u32, end: range.end as u32 }
}

/// Pushes what the schema asks for, and says how many bytes of text that was.
fn push_document(builder: &mut BatchBuilder, schema: &Schema, document: &Document<'_>) -> usize {
    let mut bytes = 0;
    for (path, value) in document.iter() {
        match value {
            Value::Object(_) | Value::List(_) => {
                if let Some(node) = schema.step(schema.root(), path) {
                    bytes += push_value(builder, schema, node, value);
                }
            }
            scalar => bytes += push_scalar(builder, schema.lookup(path), scalar),
        }
    }
    bytes
}

fn push_value(builder: &mut BatchBuilder, schema: &Schema, node: PathNode, value: &Value<'_>) -> usize {
    match value {
        Value::List(items) => items.iter().map(|item| push_value(builder, schema, node, item)).sum(),
        Value::Object(members) => {
            let known = members.iter().filter_map(|(name, member)| Some((schema.step(node, name)?, member)));
            known.map(|(node, member)| push_value(builder, schema, node, member)).sum()
        }
        scalar => push_scalar(builder, schema.field_at(node), scalar),
    }
}

fn push_scalar(builder: &mut BatchBuilder, field: Option<FieldId>, value: &Value<'_>) -> usize {
    match (field, raw_value(value)) {
        (Some(field), Some(value)) if builder.push(field, value) => match value {
            RawValue::Str(text) => text.len(),
            _ => 0,
        },
        _ => 0,
    }
}

fn raw_value<'v>(value: &'v Value<'_>) -> Option<RawValue<'v>> {
    Some(match value {
        Value::Str(text) => RawValue::Str(text),
        Value::Int(number) => RawValue::Int(*number),
        Value::UInt(number) => RawValue::UInt(*number),
        Value::Double(number) => RawValue::Double(*number),
        Value::Bool(truth) => RawValue::Bool(*truth),
        Value::List(_) | Value::Object(_) => return None,
    })
}

/// A run of rows out of a chunk of an event log. The chunk is decoded anew, once, when a document is asked for.
struct EvtxRows {
    chunk: Arc<Chunk>,
    number: u64,
    /// The record's number in the chunk, of each row.
    indices: Vec<u32>,
    /// And its identity.
    identities: Vec<u128>,
    documents: OnceCell<Vec<Vec<u8>>>,
}

impl EvtxRows {
    fn new(chunk: Arc<Chunk>, number: u64) -> Self {
        Self { chunk, number, indices: Vec::new(), identities: Vec::new(), documents: OnceCell::new() }
    }

    fn push(&mut self, index: u32, identity: u128) {
        self.indices.push(index);
        self.identities.push(identity);
    }

    fn render(&self) -> Vec<Vec<u8>> {
        let mut documents = vec![Vec::new(); self.indices.len()];
        let wanted = |index| self.indices.binary_search(&index);
        ChunkDecoder::new().decode_selected(
            &self.chunk.bytes,
            self.number,
            |index| wanted(index).is_ok(),
            |record| {
                if let Ok(record) = record
                    && let Ok(row) = wanted(record.position.index)
                {
                    write_evtx_hit(&record, &mut documents[row]);
                }
            },
        );
        documents
    }
}

pub(crate) fn write_evtx_hit(record: &Record<'_>, out: &mut Vec<u8>) {
    let event = &record.event;
    out.push(b'{');
    if let Some(index) = winlog::index_names(event.channel, event.provider).first() {
        out.extend_from_slice(format!("\"_index\":\"{index}\",").as_bytes());
    }
    out.extend_from_slice(b"\"_source\":");
    winlog::normalise(event).write_json(out);
    out.push(b'}');
}

impl RowSource for EvtxRows {
    fn write_json(&self, row: u32, out: &mut Vec<u8>) {
        if let Some(document) = self.documents.get_or_init(|| self.render()).get(row as usize) {
            out.extend_from_slice(document);
        }
    }

    fn place(&self, row: u32) -> Option<DocumentPlace> {
        let (record, digest) = (*self.indices.get(row as usize)?, *self.identities.get(row as usize)?);
        self.chunk.on_disk.then(|| DocumentPlace {
            source: self.chunk.input.source,
            offset: self.chunk.offset,
            length: self.chunk.bytes.len() as u32,
            part: DocumentPart::Record(record),
            digest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_without_blanks_around_them() {
        let lines = |text: &str| line_ranges(text.as_bytes()).map(|line| text[line].to_owned()).collect::<Vec<_>>();
        assert_eq!(lines("a\r\n\n  b c \n"), ["a", "", "b c"]);
        assert_eq!(lines("a"), ["a"]);
        assert_eq!(lines(" \t\r\n"), [""]);
    }
}
