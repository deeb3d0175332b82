//! From inputs to batches: threads that read and unpack hand small units over a bounded channel to threads that decode,
//! each into a batch of its own. Memory is bounded by the number of threads, whatever the size of the inputs.

mod feed;
mod pool;
mod queue;
mod reader;
mod report;
mod worker;

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use eqlipse_batch::{EventBatch, Schema};
use thiserror::Error;

use crate::Discovery;
use crate::format::{Format, detect};
use crate::json::{Action, Operation};
use crate::parquet::ParquetFile;
use crate::reserved::Reserved;
pub(crate) use pool::{Pool, Pooled};
pub(crate) use queue::{Queue, Task};
pub(crate) use reader::{LeafReport, Reader, Status};
pub use report::{Input, MAX_LISTED, ReadReport, SkippedRecord};
pub(crate) use report::{Tallies, summarise};
pub(crate) use worker::{Worker, write_evtx_hit};

/// The longest line of NDJSON, and the longest document in an array or indented text, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 16 << 20;
/// How much of a JSON text is decoded as one unit, in bytes.
pub const UNIT_BYTES: usize = 1 << 20;
/// Rows in a batch unless [`ReadOptions::batch_rows`] says otherwise.
pub const DEFAULT_BATCH_ROWS: usize = 16_384;
/// A batch is handed over early when the documents behind it take so many bytes.
pub const MAX_BATCH_BYTES: usize = 24 << 20;

/// What orders the events of Windows event logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderBy {
    /// The log's own order: when the record was written, then its record id.
    #[default]
    Log,
    /// `@timestamp` as Winlogbeat sets it, which for Sysmon is the event's own `UtcTime`, then the record id.
    Timestamp,
}

/// A span of time; a missing end is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The earliest time in it, in nanoseconds since the Unix epoch.
    pub from: Option<i64>,
    /// The latest time in it.
    pub to: Option<i64>,
}

impl Window {
    /// Whether a time lies in it. What has no time lies only in the window that is open at both ends.
    pub fn contains(&self, time: Option<i64>) -> bool {
        self.from.is_none_or(|from| time.is_some_and(|time| time >= from))
            && self.to.is_none_or(|to| time.is_some_and(|time| time <= to))
    }
}

/// How to read.
#[derive(Clone, Copy, Debug)]
pub struct ReadOptions<'a> {
    /// Threads that decode.
    pub jobs: NonZeroUsize,
    /// Rows in a batch. A row group of a Parquet file is one batch, whatever its size.
    pub batch_rows: usize,
    /// What orders the events of Windows event logs; JSON events are always ordered by `@timestamp`.
    pub order_by: OrderBy,
    /// Events of other times, by what orders them, are counted and left out.
    pub window: Window,
    /// Compute the SHA-256 of every input.
    pub hash: bool,
    /// The longest line or document, at most 1 GiB.
    pub max_document_bytes: usize,
    /// The most memory that unpacking an input may take: for a dictionary or window, and for an archive that is inside
    /// another one or in memory. Above what is always the most, it means nothing.
    pub max_unpack_bytes: u64,
    /// How all inputs are written, where that is known: it is not looked for.
    pub given: Option<Given>,
    /// Set by somebody else to stop early.
    pub cancel: Option<&'a AtomicBool>,
}

/// A way to write a log that cannot be told from a piece of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// One JSON document a line; lines that are none are skipped.
    Lines,
    /// As in a bulk request: a line with an action, then one with its document.
    Bulk,
}

impl Given {
    /// How a log is written whose first line is this one, if it is one of these ways.
    pub fn of_line(line: &[u8]) -> Option<Self> {
        match detect(line, true, true)? {
            Format::Lines => Some(Self::Lines),
            Format::Bulk => Some(Self::Bulk),
            Format::Evtx { .. } | Format::Parquet | Format::Documents { .. } => None,
        }
    }

    /// Whether the line behind this one belongs to it.
    pub fn is_open(self, line: &[u8]) -> bool {
        self == Self::Bulk && Action::parse(line).is_some_and(|action| action.operation != Operation::Delete)
    }

    pub(crate) fn format(self) -> Format {
        match self {
            Self::Lines => Format::Lines,
            Self::Bulk => Format::Bulk,
        }
    }
}

impl Default for ReadOptions<'_> {
    fn default() -> Self {
        Self {
            jobs: thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            batch_rows: DEFAULT_BATCH_ROWS,
            order_by: OrderBy::default(),
            window: Window::default(),
            hash: false,
            max_document_bytes: MAX_DOCUMENT_BYTES,
            max_unpack_bytes: u64::MAX,
            given: None,
            cancel: None,
        }
    }
}

impl ReadOptions<'_> {
    pub(crate) fn max_document(&self) -> usize {
        // Places in a chunk are 32 bits wide.
        self.max_document_bytes.min(1 << 30)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_some_and(|cancel| cancel.load(Ordering::Relaxed))
    }
}

/// How far a run is, to be looked at from another thread.
#[derive(Debug, Default)]
pub struct Progress {
    total_bytes: AtomicU64,
    bytes: AtomicU64,
    events: AtomicU64,
    alerts: AtomicU64,
}

impl Progress {
    /// Size of all inputs on disk.
    pub fn total_bytes(&self) -> u64 {
        self.total_bytes.load(Ordering::Relaxed)
    }

    /// Bytes read from disk so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Events decoded so far.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Alerts known so far; sequences only come at the end.
    pub fn alerts(&self) -> u64 {
        self.alerts.load(Ordering::Relaxed)
    }

    /// Counts alerts, for those who take the events.
    pub fn add_alerts(&self, count: u64) {
        self.alerts.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn start(&self, discovery: &Discovery) {
        self.total_bytes.store(discovery.total_bytes(), Ordering::Relaxed);
    }

    pub(crate) fn add_bytes(&self, count: u64) {
        self.bytes.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn add_events(&self, count: u64) {
        self.events.fetch_add(count, Ordering::Relaxed);
    }
}

/// Why a run failed as a whole.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The schema was built without [`reserve`](crate::reserve).
    #[error("the schema has no field {0}: it was built without events::reserve")]
    Schema(&'static str),
    /// A bug: a thread panicked. The other threads went on to the end.
    #[error("internal error, please report it: {0}")]
    Panic(String),
}

/// The number of an input within its source, for archives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct InputKey {
    pub(crate) source: u32,
    pub(crate) member: u64,
}

/// A stretch of an input.
pub(crate) struct Chunk {
    pub(crate) bytes: Pooled,
    pub(crate) input: InputKey,
    /// The arrival position of the first byte.
    pub(crate) position: u64,
    /// The offset of the first byte in the unpacked input.
    pub(crate) offset: u64,
    /// The number of the first line, from 1.
    pub(crate) line: u64,
    /// The input is a file that lies on disk as it is, so that `offset` is a place in it.
    pub(crate) on_disk: bool,
}

/// What a chunk holds.
pub(crate) enum Content {
    /// Whole lines, one document each.
    Lines,
    /// Whole lines, beginning with a bulk action.
    Bulk,
    /// Documents at these places.
    Documents(Vec<Range<usize>>),
    /// The chunk of this number of an event log.
    EvtxChunk(u64),
    /// The row group of this number; the chunk has no bytes.
    RowGroup(Arc<ParquetFile>, usize),
}

/// What is decoded in one go.
pub(crate) struct Unit {
    pub(crate) chunk: Arc<Chunk>,
    pub(crate) content: Content,
}

/// Reads all inputs, handing batches to closures that `new_worker` makes, one a thread. The closures see every event
/// once; which of them sees which, and in what company, differs from run to run.
pub fn read<W, F>(
    discovery: &Discovery,
    schema: &Arc<Schema>,
    options: &ReadOptions<'_>,
    progress: &Progress,
    new_worker: F,
) -> Result<ReadReport, ReadError>
where
    F: Fn(usize) -> W + Sync,
    W: FnMut(&EventBatch),
{
    let reserved = Reserved::find(schema).map_err(ReadError::Schema)?;
    progress.start(discovery);
    let jobs = options.jobs.get();
    let queue = Queue::new(discovery.sources.len());
    let (sender, receiver) = bounded(2 * jobs);
    let pool = Pool::default();
    let (leaves, tallies) = thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|number| {
                let (receiver, reserved, new_worker) = (receiver.clone(), reserved.clone(), &new_worker);
                scope.spawn(move || {
                    let worker = Worker::new(schema, reserved, options, progress, new_worker(number));
                    work(worker, &receiver)
                })
            })
            .collect();
        let readers: Vec<_> = (0..jobs)
            .map(|_| {
                let (sender, queue, pool) = (sender.clone(), &queue, pool.clone());
                scope.spawn(move || read_all(Reader::new(discovery, schema, options, progress, pool), queue, &sender))
            })
            .collect();
        drop((sender, receiver));
        let leaves: Vec<_> = readers.into_iter().map(|thread| thread.join().map_err(panic_text)).collect();
        let tallies: Vec<_> = workers.into_iter().map(|thread| thread.join().map_err(panic_text).flatten()).collect();
        (leaves, tallies)
    });
    let leaves = leaves.into_iter().collect::<Result<Vec<_>, _>>().map_err(ReadError::Panic)?.concat();
    let tallies = tallies.into_iter().collect::<Result<Vec<_>, _>>().map_err(ReadError::Panic)?;
    Ok(summarise(discovery, leaves, tallies, progress.bytes()))
}

fn read_all(mut reader: Reader<'_>, queue: &Queue, sender: &Sender<Unit>) -> Vec<LeafReport> {
    let mut send = |unit| match sender.send(unit) {
        Ok(()) => ControlFlow::Continue(()),
        // No worker is left: their panic is reported.
        Err(_) => ControlFlow::Break(()),
    };
    while let Some(task) = queue.take() {
        let guard = queue.guard();
        if reader.read(task, &mut |members| queue.add(members), &mut send).is_break() {
            queue.stop();
        }
        drop(guard);
    }
    reader.into_reports()
}

fn work<W: FnMut(&EventBatch)>(mut worker: Worker<'_, W>, receiver: &Receiver<Unit>) -> Result<Tallies, String> {
    for unit in receiver {
        let decoded = catch_unwind(AssertUnwindSafe(|| worker.decode(&unit)));
        if let Err(panic) = decoded {
            // A bug in a decoder costs the unit, not the run; one in the matcher would give wrong results.
            if worker.is_handing_over() {
                return Err(panic_text(panic));
            }
            worker.give_up(&unit, &panic_text(panic));
        }
    }
    Ok(worker.finish())
}

fn panic_text(panic: Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a thread panicked".to_owned())
}
