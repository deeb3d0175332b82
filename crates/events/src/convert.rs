//! Any input as ECS documents, one a line; and the reading of inputs for whatever else they become.

use std::cell::RefCell;
use std::io::{self, Write};
use std::ops::ControlFlow;

use eqlipse_batch::{EventBatch, FieldId, Schema};
use thiserror::Error;

use crate::Discovery;
use crate::json::write_source;
use crate::pipeline::{Pool, Progress, Queue, ReadOptions, ReadReport, Reader, Worker, summarise};
use crate::reserved::{Reserved, reserve};

/// Why a conversion failed as a whole.
#[derive(Debug, Error)]
pub enum ConvertError {
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Write(#[from] io::Error),
}

/// Writes every event of the inputs to `out` as one line of JSON, in the order of the inputs and in their own order:
/// documents as they are, without the hit around them, and Windows events normalised. One thread does it, and nothing
/// is held back but a batch.
pub fn convert(
    discovery: &Discovery,
    options: &ReadOptions<'_>,
    progress: &Progress,
    out: &mut dyn Write,
) -> Result<ReadReport, ConvertError> {
    let mut line = Vec::new();
    convert_hits(discovery, options, progress, &mut |hit| {
        line.clear();
        write_source(hit, &mut line);
        line.push(b'\n');
        out.write_all(&line)
    })
    .and_then(|report| {
        out.flush()?;
        Ok(report)
    })
}

/// Gives every event of the inputs to `take` as a hit without line breaks, with `_index` and `_id` where they are known;
/// otherwise as [`convert`]. An error ends it.
pub fn convert_hits(
    discovery: &Discovery,
    options: &ReadOptions<'_>,
    progress: &Progress,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<ReadReport, ConvertError> {
    let mut hit = Vec::new();
    for_each_batch(discovery, options, progress, &mut |batch, _| {
        (0..batch.len()).try_for_each(|row| {
            hit.clear();
            batch.write_source(row as u32, &mut hit);
            take(&hit)
        })
    })
}

/// Takes a batch of the reserved fields, whose index stands in this one. An error ends the run.
pub(crate) type TakeBatch<'t> = &'t mut dyn FnMut(&EventBatch, FieldId) -> io::Result<()>;

/// Reads all inputs on this thread, in their order.
pub(crate) fn for_each_batch(
    discovery: &Discovery,
    options: &ReadOptions<'_>,
    progress: &Progress,
    take: TakeBatch<'_>,
) -> Result<ReadReport, ConvertError> {
    let mut schema = Schema::builder();
    reserve(&mut schema);
    let schema = schema.build();
    let reserved = Reserved::find(&schema).map_err(io::Error::other)?;
    progress.start(discovery);
    let index = reserved.index;
    let failure = RefCell::new(None);
    let hand_over = |batch: &EventBatch| {
        if failure.borrow().is_none()
            && let Err(error) = take(batch, index)
        {
            failure.replace(Some(error));
        }
    };
    let mut worker = Worker::new(&schema, reserved, options, progress, hand_over);
    let mut reader = Reader::new(discovery, &schema, options, progress, Pool::default());
    let queue = Queue::new(discovery.sources.len());
    while let Some(task) = queue.take() {
        let guard = queue.guard();
        let read = reader.read(task, &mut |members| queue.add(members), &mut |unit| {
            worker.decode(&unit);
            if failure.borrow().is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        drop(guard);
        if read.is_break() {
            break;
        }
    }
    let tallies = worker.finish();
    match failure.take() {
        Some(error) => Err(error.into()),
        None => Ok(summarise(discovery, reader.into_reports(), vec![tallies], progress.bytes())),
    }
}
