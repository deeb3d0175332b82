//! Reads the given inputs and says how long it took: `cargo run --release --example timing -- FIELDS PATH…`, where FIELDS
//! is a file with a field name a line.

use std::process::ExitCode;
use std::time::Instant;

use eqlipse_batch::{EventBatch, Schema};
use eqlipse_events::{DiscoverOptions, Progress, ReadOptions, discover, read, reserve};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(fields) = arguments.next() else {
        eprintln!("usage: timing FIELDS PATH…");
        return ExitCode::FAILURE;
    };
    let fields = match std::fs::read_to_string(&fields) {
        Ok(fields) => fields,
        Err(error) => {
            eprintln!("{fields}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut schema = Schema::builder();
    fields.lines().for_each(|field| _ = schema.add(field));
    reserve(&mut schema);
    let schema = schema.build();
    let paths: Vec<String> = arguments.collect();
    let start = Instant::now();
    let discovery = discover(&paths, DiscoverOptions::default());
    let found = start.elapsed();
    let options = ReadOptions::default();
    let progress = Progress::default();
    let report =
        read(&discovery, &schema, &options, &progress, |_| |batch: &EventBatch| _ = std::hint::black_box(batch.len()));
    let elapsed = start.elapsed();
    match report {
        Ok(report) => {
            let rate = report.bytes as f64 / elapsed.as_secs_f64() / 1e6;
            let skipped: u64 = report.inputs.iter().map(|input| input.skipped).sum();
            println!(
                "{} inputs, {} events, {skipped} skipped, {} other files, {} bytes in {elapsed:.2?} ({found:.2?} to find them): {rate:.0} MB/s",
                report.inputs.len(),
                report.events,
                report.not_logs,
                report.bytes,
            );
            report.problems.iter().for_each(|problem| println!("{problem}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
