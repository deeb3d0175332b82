//! Any input as a Parquet file.

use std::io::{self, Write};

use eqlipse_batch::{EventBatch, ValueRef};

use super::census::Census;
use super::spool::{Entry, EventSpool};
use super::write::{Effort, FileWriter, WriterMemory};
use crate::Discovery;
use crate::convert::{ConvertError, for_each_batch};
use crate::json::Hit;
use crate::pipeline::{Progress, ReadOptions, ReadReport};

/// Writes every event of the inputs to `out` as a Parquet file, in the order of the inputs and in their own order. One
/// thread does it. The events wait in a compressed temporary file until all of them have been seen, so that there is a
/// column for every field that occurs.
///
/// # Errors
/// If the output or the temporary file cannot be written.
pub fn convert_to_parquet(
    discovery: &Discovery,
    options: &ReadOptions<'_>,
    progress: &Progress,
    out: &mut dyn Write,
) -> Result<ReadReport, ConvertError> {
    let mut spool = EventSpool::new()?;
    let mut census = Census::default();
    let mut entry = Entry::default();
    let report = for_each_batch(discovery, options, progress, &mut |batch, index| {
        (0..batch.len() as u32).try_for_each(|row| {
            note(batch, row, index, &mut entry);
            let text = std::str::from_utf8(&entry.hit).map_err(io::Error::other)?;
            _ = census.add(Hit::parse(text).source.unwrap_or(text));
            spool.add(&entry)
        })
    })?;
    let mut file = FileWriter::new(census.layout(), Effort::Usual, WriterMemory::default(), out)?;
    let mut events = spool.read()?;
    while events.next(&mut entry)? {
        file.add(&entry)?;
    }
    file.finish()?;
    Ok(report)
}

/// Puts a row of a batch into `entry`.
fn note(batch: &EventBatch, row: u32, index: eqlipse_batch::FieldId, entry: &mut Entry) {
    entry.hit.clear();
    batch.write_source(row, &mut entry.hit);
    let names = batch.column(index).values_of(row).filter_map(|name| match name {
        ValueRef::Str(name) => Some(name.to_owned()),
        _ => None,
    });
    entry.index_names = names.collect();
    entry.set_meta(&batch.rows()[row as usize]);
}
