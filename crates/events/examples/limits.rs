//! What reading costs at least: `limits json JOBS FILE` parses every line of a file with serde_json and keeps nothing,
//! `limits evtx JOBS PATH…` takes every record of event logs apart with the `evtx` crate. The benchmarks of `xtask`
//! compare with it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;

use evtx::{EvtxParser, ParserSettings};
use serde::de::IgnoredAny;

/// How much a thread takes at a time.
const PIECE: usize = 1 << 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (mode, jobs, paths) = match arguments.as_slice() {
        [mode, jobs, paths @ ..] if !paths.is_empty() => (mode.as_str(), jobs.parse().unwrap_or(1), paths),
        _ => {
            eprintln!("usage: limits json|evtx JOBS PATH…");
            return ExitCode::FAILURE;
        }
    };
    let counted = match mode {
        "json" => json(jobs, &paths[0]),
        _ => evtx(jobs, paths),
    };
    println!("{counted}");
    ExitCode::SUCCESS
}

/// Runs the closure on so many threads and adds up what it gives.
fn on_threads(jobs: usize, work: impl Fn() -> u64 + Sync) -> u64 {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(&work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or(0)).sum()
    })
}

fn json(jobs: usize, path: &str) -> u64 {
    let Ok(file) = File::open(path) else { return 0 };
    let input = Mutex::new(BufReader::with_capacity(PIECE, file));
    on_threads(jobs, || {
        let (mut lines, mut piece) = (0, Vec::new());
        loop {
            piece.clear();
            {
                let Ok(mut input) = input.lock() else { return lines };
                let read = input.by_ref().take(PIECE as u64).read_to_end(&mut piece);
                if read.is_err() || piece.is_empty() || input.read_until(b'\n', &mut piece).is_err() {
                    return lines;
                }
            }
            let whole = piece.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            lines += whole.filter(|line| serde_json::from_slice::<IgnoredAny>(line).is_ok()).count() as u64;
        }
    })
}

fn evtx(jobs: usize, paths: &[String]) -> u64 {
    let files = paths.iter().flat_map(walkdir::WalkDir::new).flatten().map(walkdir::DirEntry::into_path);
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("evtx"));
    let files: Mutex<Vec<PathBuf>> = Mutex::new(files.filter(is_log).collect());
    on_threads(jobs, || {
        let mut records = 0;
        while let Some(path) = files.lock().ok().and_then(|mut files| files.pop()) {
            let Ok(parser) = EvtxParser::from_path(path) else { continue };
            let mut parser = parser.with_configuration(ParserSettings::new().num_threads(1));
            records += parser.serialized_records(|record| record.map(|_| ())).filter(Result::is_ok).count() as u64;
        }
        records
    })
}
