//! The reading side: opens inputs, unpacks them and cuts them into units.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use eqlipse_batch::Schema;
use zip::ZipArchive;

use super::feed::Feed;
use super::pool::Buffer;
use super::report::Tally;
use super::{Chunk, Content, InputKey, Pool, Progress, ReadOptions, Task, UNIT_BYTES, Unit};
use crate::Discovery;
use crate::container::{
    Budget, LazyFile, MAX_LAYERS, MAX_MEMBERS, MAX_NESTED_ZIP, PACKING_PREFIX, Packing, Peek, Raw, decompress, describe,
};
use crate::evtx::{CHUNK_SIZE, FILE_HEADER_SIZE, FileHeader};
use crate::format::{FORMAT_PREFIX, Format, detect, mark_length};
use crate::inputs::Source;
use crate::json::{Action, Operation, Split, Splitter};
use crate::parquet::{GroupReader, MAX_NESTED_PARQUET, ParquetFile};

/// Bits of an arrival position that lie within one member of a zip archive.
const MEMBER_BITS: u32 = 40;

/// What became of one input as far as reading goes.
#[derive(Clone, Debug)]
pub(crate) struct LeafReport {
    pub(crate) key: InputKey,
    pub(crate) name: String,
    pub(crate) explicit: bool,
    pub(crate) format: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: Option<String>,
    pub(crate) status: Status,
    pub(crate) tally: Tally,
}

/// What an input is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Log,
    /// An archive, whose members have reports of their own.
    Archive,
    /// What it is instead.
    NotALog(String),
    Empty,
    /// The system's words.
    Unreadable(String),
}

/// Takes units; a break ends the run.
pub(crate) type Sink<'s> = &'s mut dyn FnMut(Unit) -> ControlFlow<()>;
/// Takes tasks that others can do.
pub(crate) type More<'s> = &'s mut dyn FnMut(Vec<Task>);

/// Reads one task after another.
pub(crate) struct Reader<'a> {
    discovery: &'a Discovery,
    schema: &'a Schema,
    options: &'a ReadOptions<'a>,
    progress: &'a Progress,
    pool: Pool,
    reports: Vec<LeafReport>,
    /// The source and the next free place in it, of the task under way.
    source: u32,
    member: u64,
    position: u64,
}

/// The input under way.
#[derive(Clone)]
struct Leaf {
    name: String,
    explicit: bool,
    /// Outermost first.
    layers: Vec<Packing>,
}

impl Leaf {
    fn member(&self, name: &str) -> Self {
        Self { name: format!("{}!{name}", self.name), explicit: false, layers: self.layers.clone() }
    }

    fn format(&self, name: &str) -> String {
        let layers = self.layers.iter().rev().filter(|layer| !matches!(layer, Packing::Zip | Packing::Tar));
        std::iter::once(name).chain(layers.map(|layer| layer.name())).collect::<Vec<_>>().join("+")
    }
}

const GO_ON: ControlFlow<()> = ControlFlow::Continue(());

impl<'a> Reader<'a> {
    pub(crate) fn new(
        discovery: &'a Discovery,
        schema: &'a Schema,
        options: &'a ReadOptions<'a>,
        progress: &'a Progress,
        pool: Pool,
    ) -> Self {
        Self { discovery, schema, options, progress, pool, reports: Vec::new(), source: 0, member: 0, position: 0 }
    }

    pub(crate) fn into_reports(self) -> Vec<LeafReport> {
        self.reports
    }

    /// Reads a source or a member. What cannot be read is noted in the reports; a break says that the run is to end.
    pub(crate) fn read(&mut self, task: Task, more: More<'_>, sink: Sink<'_>) -> ControlFlow<()> {
        let read = match task {
            Task::Source(number) => {
                self.source = number as u32;
                self.member = 0;
                self.position = 0;
                self.read_source(number, more, sink)
            }
            Task::Member { source, archive, index } => {
                self.source = source as u32;
                self.member = (index as u64 + 1) << 20;
                self.position = (index as u64) << MEMBER_BITS;
                self.read_member(source, &archive, index, sink)
            }
        };
        if self.options.is_cancelled() { ControlFlow::Break(()) } else { read }
    }

    fn read_source(&mut self, number: usize, more: More<'_>, sink: Sink<'_>) -> ControlFlow<()> {
        let discovery = self.discovery;
        let source = &discovery.sources[number];
        let leaf = Leaf { name: source.name.clone(), explicit: source.explicit, layers: Vec::new() };
        let open = || -> io::Result<(_, Box<dyn Read>)> {
            let held = source.hold()?;
            let file: Box<dyn Read> = match (&source.path, &source.memory) {
                (_, Some(memory)) => Box::new(memory.bytes()),
                (Some(path), None) => Box::new(File::open(path)?),
                (None, None) => Box::new(io::stdin().lock()),
            };
            Ok((held, file))
        };
        let (_held, file) = match open() {
            Ok(opened) => opened,
            Err(error) => {
                self.report(&leaf, "unknown", source.bytes, Status::Unreadable(error.to_string()));
                return GO_ON;
            }
        };
        let mut raw = Raw::new(file, self.options.hash);
        let budget = Budget::new(raw.clone(), source.bytes);
        let mut stream = Peek::new(Box::new(raw.clone()));
        let is_zip = self.options.given.is_none() && Packing::of(stream.peek(PACKING_PREFIX)) == Some(Packing::Zip);
        // One in memory is read as one inside another archive is.
        if is_zip && source.bytes > 0 && source.path.is_some() {
            let sha256 = raw.finish();
            return self.expand_zip(number, source, &leaf, sha256, more);
        }
        raw.count(self.progress);
        self.finish_leaf(&leaf, stream, &mut raw, &budget, source.bytes, sink)
    }

    /// Reads a top-level input or a member through, and completes its report with size and hash.
    fn finish_leaf<'s>(
        &mut self,
        leaf: &Leaf,
        stream: Peek<'s>,
        raw: &mut Raw<'s>,
        budget: &Budget<'s>,
        size: u64,
        sink: Sink<'_>,
    ) -> ControlFlow<()> {
        let first = self.reports.len();
        let read = self.read_stream(leaf, stream, budget, sink);
        let sha256 = raw.finish();
        // The first report is that of the input itself; those of members in it follow.
        if let Some(report) = self.reports.get_mut(first) {
            report.bytes = if size > 0 { size } else { raw.read_so_far() };
            report.sha256 = sha256;
        }
        read
    }

    /// Makes each member of a zip archive a task.
    fn expand_zip(
        &mut self,
        number: usize,
        source: &Source,
        leaf: &Leaf,
        sha256: Option<String>,
        more: More<'_>,
    ) -> ControlFlow<()> {
        let Some(path) = &source.path else { return GO_ON };
        let archive = match ZipArchive::new(LazyFile::new(path)) {
            Ok(archive) => archive,
            Err(error) => {
                let status = Status::Unreadable(format!("damaged zip archive: {error}"));
                self.report(leaf, "zip", source.bytes, status);
                return GO_ON;
            }
        };
        let status = archive_status(archive.len());
        let count = if status == Status::Archive { archive.len() } else { 0 };
        let report = self.report(leaf, "zip", source.bytes, status);
        report.sha256 = sha256;
        // What lies between the members counts now, each member when it is read.
        let packed = (0..count).filter_map(|index| Some(archive.by_index_data(index).ok()?.compressed_size()));
        self.progress.add_bytes(source.bytes.saturating_sub(packed.fold(0, u64::saturating_add)));
        let archive = Arc::new(archive);
        more((0..count).map(|index| Task::Member { source: number, archive: archive.clone(), index }).collect());
        GO_ON
    }

    fn read_member(
        &mut self,
        number: usize,
        archive: &ZipArchive<LazyFile>,
        index: usize,
        sink: Sink<'_>,
    ) -> ControlFlow<()> {
        let source = &self.discovery.sources[number];
        let leaf = Leaf { name: source.name.clone(), explicit: source.explicit, layers: vec![Packing::Zip] };
        if let Ok(member) = archive.by_index_data(index) {
            self.progress.add_bytes(member.compressed_size());
        }
        self.read_zip_member(&leaf, &mut archive.clone(), index, source.bytes, sink)
    }

    fn read_zip_member<R: Read + Seek>(
        &mut self,
        leaf: &Leaf,
        archive: &mut ZipArchive<R>,
        index: usize,
        archive_size: u64,
        sink: Sink<'_>,
    ) -> ControlFlow<()> {
        let name = archive.name_for_index(index).and_then(Result::ok).map(|name| name.into_owned());
        let leaf = leaf.member(&name.unwrap_or_else(|| format!("member {}", index + 1)));
        let member = match archive.by_index(index) {
            Ok(member) => member,
            Err(error) => {
                self.report(&leaf, "unknown", 0, Status::Unreadable(error.to_string()));
                return GO_ON;
            }
        };
        if !member.is_file() {
            return GO_ON;
        }
        let (size, packed) = (member.size(), member.compressed_size());
        let mut raw = Raw::new(Box::new(member), self.options.hash);
        // Members that overlap could each claim the whole archive: each is held to its own packed size.
        let budget = Budget::new(raw.clone(), packed.min(archive_size));
        let stream = Peek::new(budget.limit(Box::new(raw.clone())));
        self.finish_leaf(&leaf, stream, &mut raw, &budget, size, sink)
    }

    /// Unpacks a stream layer by layer and reads what is in it.
    fn read_stream<'s>(
        &mut self,
        leaf: &Leaf,
        mut stream: Peek<'s>,
        budget: &Budget<'s>,
        sink: Sink<'_>,
    ) -> ControlFlow<()> {
        if let Some(given) = self.options.given {
            return self.read_log(leaf, given.format(), 0, &mut stream, sink);
        }
        let mut leaf = leaf.clone();
        while let Some(packing) = Packing::of(stream.peek(PACKING_PREFIX)) {
            if leaf.layers.len() == MAX_LAYERS {
                let reason = format!("packed in more than {MAX_LAYERS} layers");
                self.report(&leaf, "unknown", 0, Status::Unreadable(reason));
                return GO_ON;
            }
            leaf.layers.push(packing);
            match packing {
                Packing::Tar => return self.read_tar(&leaf, stream, sink),
                Packing::Zip => return self.read_nested_zip(&leaf, stream, sink),
                _ => match decompress(packing, stream, self.options.max_unpack_bytes) {
                    Ok(unpacked) => stream = Peek::new(budget.limit(unpacked)),
                    Err(error) => {
                        self.report(&leaf, "unknown", 0, Status::Unreadable(stream_error(&leaf, &error)));
                        return GO_ON;
                    }
                },
            }
        }
        let mark = mark_length(stream.peek(FORMAT_PREFIX));
        stream.skip(mark);
        let whole = stream.ends_within(FORMAT_PREFIX);
        let prefix = stream.peek(FORMAT_PREFIX);
        match detect(prefix, whole, leaf.explicit) {
            Some(Format::Parquet) => self.read_parquet(&leaf, stream, sink),
            Some(format) => self.read_log(&leaf, format, mark as u64, &mut stream, sink),
            None => {
                let status = match (prefix.is_empty(), describe(prefix)) {
                    (true, _) => Status::Empty,
                    (false, what) => Status::NotALog(what.to_owned()),
                };
                let status = match stream.error() {
                    Some(error) => Status::Unreadable(stream_error(&leaf, error)),
                    None => status,
                };
                self.report(&leaf, "unknown", 0, status);
                GO_ON
            }
        }
    }

    fn read_tar(&mut self, leaf: &Leaf, stream: Peek<'_>, sink: Sink<'_>) -> ControlFlow<()> {
        let place = self.reports.len();
        self.report(leaf, &leaf.format("tar"), 0, Status::Archive);
        let mut archive = tar::Archive::new(stream);
        self.read_tar_members(leaf, &mut archive, sink).unwrap_or_else(|error| {
            let reason = stream_error(leaf, &error);
            self.reports[place].tally.skipped.add(0, || "archive".to_owned(), reason);
            GO_ON
        })
    }

    fn read_tar_members(
        &mut self,
        leaf: &Leaf,
        archive: &mut tar::Archive<Peek<'_>>,
        sink: Sink<'_>,
    ) -> io::Result<ControlFlow<()>> {
        for (number, entry) in archive.entries()?.enumerate() {
            if number == MAX_MEMBERS {
                return Err(io::Error::other(format!("more than {MAX_MEMBERS} members; the rest is not read")));
            }
            let entry = entry?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let leaf = leaf.member(&String::from_utf8_lossy(&entry.path_bytes()));
            let size = entry.size();
            let mut raw = Raw::new(Box::new(entry), self.options.hash);
            let budget = Budget::new(raw.clone(), size);
            let stream = Peek::new(Box::new(raw.clone()));
            if self.finish_leaf(&leaf, stream, &mut raw, &budget, size, sink).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(GO_ON)
    }

    fn read_nested_zip(&mut self, leaf: &Leaf, stream: Peek<'_>, sink: Sink<'_>) -> ControlFlow<()> {
        let mut bytes = Vec::new();
        let most = MAX_NESTED_ZIP.min(self.options.max_unpack_bytes);
        let read = stream.take(most + 1).read_to_end(&mut bytes);
        let archive = match read {
            Ok(count) if count as u64 > most => Err(format!(
                "a zip archive of more than {most} bytes on standard input or inside another archive; \
                 unpack it to a file first"
            )),
            Ok(_) => ZipArchive::new(io::Cursor::new(bytes)).map_err(|error| format!("damaged zip archive: {error}")),
            Err(error) => Err(stream_error(leaf, &error)),
        };
        let mut archive = match archive {
            Ok(archive) => archive,
            Err(reason) => {
                self.report(leaf, "zip", 0, Status::Unreadable(reason));
                return GO_ON;
            }
        };
        let status = archive_status(archive.len());
        let count = if status == Status::Archive { archive.len() } else { 0 };
        self.report(leaf, "zip", 0, status);
        for index in 0..count {
            self.read_zip_member(leaf, &mut archive, index, MAX_NESTED_ZIP, sink)?;
        }
        GO_ON
    }

    fn report(&mut self, leaf: &Leaf, format: &str, bytes: u64, status: Status) -> &mut LeafReport {
        self.reports.push(LeafReport {
            key: InputKey { source: self.source, member: self.member },
            name: leaf.name.clone(),
            explicit: leaf.explicit,
            format: format.to_owned(),
            bytes,
            sha256: None,
            status,
            tally: Tally::default(),
        });
        self.member += 1;
        let last = self.reports.len() - 1;
        &mut self.reports[last]
    }

    /// Makes each row group of a Parquet file a unit.
    fn read_parquet(&mut self, leaf: &Leaf, stream: Peek<'_>, sink: Sink<'_>) -> ControlFlow<()> {
        let source = &self.discovery.sources[self.source as usize];
        let path = source.path.as_deref().filter(|path| leaf.layers.is_empty() && path.is_file());
        let opened = match path {
            Some(path) => ParquetFile::open(path).map_err(|error| error.to_string()),
            None => held_parquet(leaf, stream, MAX_NESTED_PARQUET.min(self.options.max_unpack_bytes)),
        };
        let file = match opened {
            Ok(file) => Arc::new(file),
            Err(reason) => {
                self.report(leaf, &leaf.format(Format::Parquet.name()), 0, Status::Unreadable(reason));
                return GO_ON;
            }
        };
        let report = self.report(leaf, &leaf.format(Format::Parquet.name()), 0, Status::Log);
        let (input, on_disk) = (report.key, path.is_some());
        let mut offset = 0;
        for group in 0..file.groups() {
            let position = self.position + offset;
            offset += file.rows(group).unwrap_or(1) as u64;
            let chunk = Chunk {
                bytes: self.pool.hold(Buffer::default()),
                input,
                position,
                offset: group as u64,
                line: 0,
                on_disk,
            };
            // Hashing counts what it reads itself.
            if on_disk && !self.options.hash {
                self.progress.add_bytes(file.packed_bytes(group));
            }
            GroupReader::expect(&file, group, self.schema);
            sink(Unit { chunk: Arc::new(chunk), content: Content::RowGroup(file.clone(), group) })?;
            if self.options.is_cancelled() {
                return ControlFlow::Break(());
            }
        }
        self.position += offset + 1;
        GO_ON
    }

    fn read_log(
        &mut self,
        leaf: &Leaf,
        format: Format,
        mark: u64,
        stream: &mut dyn Read,
        sink: Sink<'_>,
    ) -> ControlFlow<()> {
        self.report(leaf, &leaf.format(format.name()), 0, Status::Log);
        let report = self.reports.len() - 1;
        let source = &self.discovery.sources[self.source as usize];
        let mut feed = Feed::new(stream, self.pool.clone());
        feed.offset = mark;
        let mut cutter = Cutter {
            feed,
            input: self.reports[report].key,
            position: self.position,
            options: self.options,
            on_disk: leaf.layers.is_empty() && source.path.as_deref().is_some_and(Path::is_file),
            tally: &mut self.reports[report].tally,
            sink,
        };
        let cut = match format {
            Format::Lines => cutter.lines(false),
            Format::Bulk => cutter.lines(true),
            Format::Documents { .. } => cutter.documents(),
            Format::Evtx { first_chunk } => cutter.evtx(first_chunk),
            Format::Parquet => GO_ON,
        };
        let Cutter { feed, .. } = cutter;
        let end = feed.offset + feed.bytes.len() as u64;
        if let Some(error) = &feed.error {
            let reason = stream_error(leaf, error);
            // Position 0, so that it is listed however many records are: what is behind the break is lost as well.
            self.reports[report].tally.skipped.add(0, || format!("byte {end}"), reason);
        }
        self.position += end + 1;
        cut
    }
}

/// A Parquet file out of a stream.
fn held_parquet(leaf: &Leaf, stream: Peek<'_>, most: u64) -> Result<ParquetFile, String> {
    let mut bytes = Vec::new();
    match stream.take(most + 1).read_to_end(&mut bytes) {
        Ok(count) if count as u64 > most => Err(format!(
            "a Parquet file of more than {most} bytes on standard input, compressed or inside an \
             archive; unpack it to a file first"
        )),
        Ok(_) => ParquetFile::of_bytes(bytes).map_err(|error| error.to_string()),
        Err(error) => Err(stream_error(leaf, &error)),
    }
}

/// What to do with an archive of so many members.
fn archive_status(members: usize) -> Status {
    match members {
        0..=MAX_MEMBERS => Status::Archive,
        _ => Status::Unreadable(format!("an archive of more than {MAX_MEMBERS} members")),
    }
}

/// What is wrong with a stream, in the words of what it is packed in.
fn stream_error(leaf: &Leaf, error: &io::Error) -> String {
    let compressed =
        leaf.layers.iter().rev().find(|layer| matches!(layer, Packing::Gzip | Packing::Zstd | Packing::Xz));
    match (compressed, error.kind()) {
        (Some(packing), io::ErrorKind::UnexpectedEof) => format!("the {} stream ends early", packing.name()),
        (_, io::ErrorKind::FileTooLarge) => error.to_string(),
        (Some(packing), _) => format!("damaged {} stream: {error}", packing.name()),
        (None, _) => error.to_string(),
    }
}

/// Cuts one log into units.
struct Cutter<'c, 'a> {
    feed: Feed<'c>,
    input: InputKey,
    /// Arrival position of the log's first byte.
    position: u64,
    options: &'a ReadOptions<'a>,
    /// See [`Chunk::on_disk`].
    on_disk: bool,
    tally: &'c mut Tally,
    sink: Sink<'c>,
}

impl Cutter<'_, '_> {
    /// Hands over the first `count` bytes.
    fn send(&mut self, count: usize, content: Content) -> ControlFlow<()> {
        let (offset, line) = (self.feed.offset, self.feed.line);
        let bytes = self.feed.take(count);
        let chunk =
            Chunk { bytes, input: self.input, position: self.position + offset, offset, line, on_disk: self.on_disk };
        (self.sink)(Unit { chunk: Arc::new(chunk), content })?;
        if self.options.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn skipped(&mut self, offset: u64, place: String, reason: impl ToString) {
        self.tally.skipped.add(self.position + offset, || place, reason);
    }

    fn lines(&mut self, bulk: bool) -> ControlFlow<()> {
        let content = || if bulk { Content::Bulk } else { Content::Lines };
        let mut wanted = UNIT_BYTES;
        loop {
            self.feed.fill(wanted);
            let cut = if bulk { bulk_end(&self.feed.bytes) } else { lines_end(&self.feed.bytes) };
            let length = self.feed.bytes.len();
            if cut > 0 {
                self.send(cut, content())?;
                wanted = UNIT_BYTES;
            } else if self.feed.ended {
                // A line that a broken stream cut off is no record of its own: the break is said.
                let rest = if self.feed.error.is_some() { 0 } else { length };
                return if rest > 0 { self.send(rest, content()) } else { ControlFlow::Continue(()) };
            } else if length > self.options.max_document() {
                self.pass_over_long_line(bulk);
                wanted = UNIT_BYTES;
            } else {
                wanted = (length * 2).min(self.options.max_document() + 1);
            }
        }
    }

    fn pass_over_long_line(&mut self, bulk: bool) {
        // In a bulk body the action in front of the long line goes with it.
        if bulk && memchr::memchr(b'\n', &self.feed.bytes).is_some() {
            self.feed.skip_line(UNIT_BYTES);
        }
        let (offset, line) = (self.feed.offset, self.feed.line);
        self.feed.skip_line(UNIT_BYTES);
        let reason = format!("longer than {} bytes", self.options.max_document());
        self.skipped(offset, format!("line {line}"), reason);
    }

    fn documents(&mut self) -> ControlFlow<()> {
        let mut splitter = Splitter::default();
        let mut documents = Vec::new();
        let mut wanted = UNIT_BYTES;
        loop {
            self.feed.fill(wanted);
            while let Some(split) = splitter.next(&self.feed.bytes) {
                match split {
                    Split::Document(range) if range.len() > self.options.max_document() => self.too_long(range.start),
                    Split::Document(range) => documents.push(range),
                    Split::Skipped(at, reason) => self.lost(at, reason),
                }
            }
            if self.feed.ended
                && self.feed.error.is_none()
                && let Some(Split::Skipped(at, reason)) = splitter.finish()
            {
                self.lost(at, reason);
            }
            let mut keep = splitter.keep_from();
            let open = self.feed.bytes.len() - keep;
            if open > self.options.max_document()
                && let Some(at) = splitter.drop_open()
            {
                self.too_long(at);
                keep = splitter.keep_from();
            }
            let open = self.feed.bytes.len() - keep;
            if documents.is_empty() {
                self.feed.skip(keep);
            } else {
                self.send(keep, Content::Documents(std::mem::take(&mut documents)))?;
            }
            splitter.forget(keep);
            if self.feed.ended {
                return ControlFlow::Continue(());
            }
            wanted = if open < UNIT_BYTES / 2 { UNIT_BYTES } else { (open * 2).min(self.options.max_document() + 1) };
        }
    }

    fn too_long(&mut self, at: usize) {
        self.lost(at, &format!("longer than {} bytes", self.options.max_document()));
    }

    fn lost(&mut self, at: usize, reason: &str) {
        let offset = self.feed.offset + at as u64;
        self.skipped(offset, format!("byte {offset}"), reason);
    }

    fn evtx(&mut self, first_chunk: u64) -> ControlFlow<()> {
        self.feed.fill(first_chunk as usize);
        let header = self.feed.bytes.len();
        if first_chunk > 0
            && let Err(error) = FileHeader::parse(&self.feed.bytes)
        {
            self.tally.damaged.add(self.position, || "header".to_owned(), error);
        }
        if header < first_chunk as usize {
            let reason = format!("the file ends inside its header of {FILE_HEADER_SIZE} bytes");
            self.skipped(0, "header".to_owned(), reason);
        }
        self.feed.skip(header);
        for number in 0.. {
            self.feed.fill(CHUNK_SIZE as usize);
            let length = self.feed.bytes.len();
            if length == 0 {
                break;
            }
            self.send(length, Content::EvtxChunk(number))?;
        }
        ControlFlow::Continue(())
    }
}

/// The end of the last whole line.
fn lines_end(bytes: &[u8]) -> usize {
    memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1)
}

/// The end of the last line that is followed by an action, or would be.
fn bulk_end(bytes: &[u8]) -> usize {
    let mut end = 0;
    let mut in_document = false;
    let mut start = 0;
    for at in memchr::memchr_iter(b'\n', bytes) {
        let line = &bytes[start..at];
        start = at + 1;
        in_document = !in_document && Action::parse(line).is_some_and(|action| action.operation != Operation::Delete);
        if !in_document {
            end = start;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_bodies_are_cut_in_front_of_actions() {
        let body = "{\"index\":{}}\n{\"a\":1}\n{\"delete\":{\"_id\":\"1\"}}\n{\"create\":{}}\n{\"b\":1}\n";
        let ends: Vec<usize> = (0..=body.len()).map(|length| bulk_end(&body.as_bytes()[..length])).collect();
        let mut seen = ends.clone();
        seen.dedup();
        assert_eq!(seen, [0, 21, 44, 66]);
        assert_eq!(bulk_end(b"{\"a\":1}\n{\"index\":{}}\n"), 8);
        assert_eq!(bulk_end(b"{\"index\":{}}\n{\"index\":{}}\n"), 26);
    }
}
