//! What the tests of the reader share.
#![allow(dead_code)]

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use eqlipse_batch::{EventBatch, OrderKey, Schema, ValueRef};
use eqlipse_events::{
    DiscoverOptions, Discovery, DocumentReader, Input, Progress, ReadOptions, ReadReport, discover, read, reserve,
};

/// An event as a batch gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub order: OrderKey,
    pub identity: Option<u128>,
    /// `field=value`, in field order.
    pub values: Vec<String>,
    /// The document as a hit.
    pub hit: String,
}

impl Row {
    /// The values of one field.
    pub fn field(&self, name: &str) -> Vec<&str> {
        self.values.iter().filter_map(|value| value.strip_prefix(name)?.strip_prefix('=')).collect()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.hit).unwrap_or_else(|error| panic!("{error} in {}", self.hit))
    }

    pub fn source(&self) -> serde_json::Value {
        self.json()["_source"].clone()
    }
}

pub fn schema(fields: &[&str]) -> Arc<Schema> {
    let mut schema = Schema::builder();
    fields.iter().for_each(|field| _ = schema.add(field));
    reserve(&mut schema);
    schema.build()
}

pub const FIELDS: [&str; 6] =
    ["process.name", "process.pid", "process.args", "event.category", "winlog.event_data.Payload", "user.name"];

pub fn options(jobs: usize, batch_rows: usize) -> ReadOptions<'static> {
    ReadOptions { jobs: NonZeroUsize::new(jobs).unwrap(), batch_rows, ..ReadOptions::default() }
}

/// Reads everything, giving the rows in event order.
pub fn read_rows(discovery: &Discovery, schema: &Arc<Schema>, options: &ReadOptions<'_>) -> (Vec<Row>, ReadReport) {
    let rows = Mutex::new(Vec::new());
    let progress = Progress::default();
    let report = read(discovery, schema, options, &progress, |_| {
        |batch: &EventBatch| {
            assert!(batch.len() <= options.batch_rows.max(1));
            let mut again = DocumentReader::new(discovery);
            let checked = (0..batch.len()).map(|row| {
                let found = row_of(batch, row);
                // What can be read again from disk is the same.
                if let Some(place) = batch.place(row as u32) {
                    assert_eq!(again.read(&place).unwrap(), found.hit.as_bytes());
                }
                found
            });
            rows.lock().unwrap().extend(checked);
        }
    });
    let report = report.unwrap();
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|row| row.order);
    assert_eq!(report.events - report.outside, rows.len() as u64);
    assert_eq!(report.events, progress.events());
    assert_eq!(report.inputs.iter().map(|input| input.events).sum::<u64>(), report.events);
    (rows, report)
}

fn row_of(batch: &EventBatch, row: usize) -> Row {
    let meta = batch.rows()[row];
    let mut hit = Vec::new();
    batch.write_source(row as u32, &mut hit);
    let hit = String::from_utf8(hit).unwrap();
    Row { order: meta.order, identity: meta.identity, values: values(batch, row), hit }
}

/// `field=value` for each value of a row, in field order.
pub fn values(batch: &EventBatch, row: usize) -> Vec<String> {
    let mut values = Vec::new();
    for field in batch.schema().fields() {
        let id = batch.schema().lookup(&field.name).unwrap();
        for value in batch.column(id).values_of(row as u32) {
            values.push(format!("{}={}", field.name, show(value)));
        }
    }
    values
}

fn show(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Str(text) => text.to_owned(),
        ValueRef::Int(number) => number.to_string(),
        ValueRef::UInt(number) => number.to_string(),
        ValueRef::Double(number) => format!("{number:?}"),
        ValueRef::Bool(truth) => truth.to_string(),
        ValueRef::Date(nanoseconds) => format!("@{nanoseconds}"),
        ValueRef::Ip(address) => address.to_string(),
    }
}

/// Writes the content to a file of this name and reads that.
pub fn read_file(name: &str, content: &[u8], options: &ReadOptions<'_>) -> (Vec<Row>, ReadReport) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    let discovery = discover(&[path], DiscoverOptions::default());
    read_rows(&discovery, &schema(&FIELDS), options)
}

/// The places and reasons of all skipped records.
pub fn skipped(input: &Input) -> Vec<String> {
    input.first_skipped.iter().map(|record| format!("{}: {}", record.place, record.reason)).collect()
}

pub fn damaged(input: &Input) -> Vec<String> {
    input.first_damaged.iter().map(|record| format!("{}: {}", record.place, record.reason)).collect()
}
