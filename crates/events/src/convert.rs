//! Any input as ECS documents, one a line.

use std::cell::RefCell;
use std::io::{self, Write};
use std::ops::ControlFlow;

use eqlipse_batch::{EventBatch, Schema};
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
    let mut schema = Schema::builder();
    reserve(&mut schema);
    let schema = schema.build();
    let reserved = Reserved::find(&schema).map_err(io::Error::other)?;
    progress.start(discovery);
    let failure = RefCell::new(None);
    let (mut hit, mut line) = (Vec::new(), Vec::new());
    let write = |batch: &EventBatch| {
        let written = (0..batch.len()).try_for_each(|row| {
            hit.clear();
            line.clear();
            batch.write_source(row as u32, &mut hit);
            write_source(&hit, &mut line);
            line.push(b'\n');
            out.write_all(&line)
        });
        if let Err(error) = written {
            failure.borrow_mut().get_or_insert(error);
        }
    };
    let mut worker = Worker::new(&schema, reserved, options, progress, write);
    let mut reader = Reader::new(discovery, options, progress, Pool::default());
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
        None => {
            out.flush()?;
            Ok(summarise(discovery, reader.into_reports(), vec![tallies], progress.bytes()))
        }
    }
}
