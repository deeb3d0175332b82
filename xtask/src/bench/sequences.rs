//! The worst case of sequences: every start and end of a process is a stage, and no key can be dropped, as each process
//! has both; but nearly all end too late.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// One process in so many ends in time.
pub const FOUND_EVERY: u64 = 10_000;
/// Processes that run at a time.
const ALIVE: u64 = 5_000;
/// 2026-03-02T08:00:00Z in milliseconds.
const START: i64 = 1_772_438_400_000;

const RULE: &str = r#"[rule]
rule_id = "6f1c0a52-0d57-4d7c-9a52-6f1f6b0f3a11"
name = "Process That Ends at Once"
description = "A process ends within a second of its start."
severity = "low"
risk_score = 21
type = "eql"
language = "eql"
index = ["logs-*"]
query = """
sequence by process.entity_id with maxspan=1s
  [process where event.type == "start"]
  [process where event.type == "end"]
"""
"#;

/// The rule, in a file.
pub fn rule(made: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let path = made.join("sequences.toml");
    fs::write(&path, RULE)?;
    Ok(path)
}

/// The starts and ends of so many processes, in a file which is written once.
pub fn events(made: &Path, processes: u64) -> Result<PathBuf, Box<dyn Error>> {
    let path = made.join(format!("sequences-{processes}.ndjson"));
    if path.exists() {
        return Ok(path);
    }
    eprintln!("writing {}", path.display());
    let partial = path.with_extension("partial");
    let mut out = BufWriter::new(File::create(&partial)?);
    for process in 0..processes + ALIVE {
        if process < processes {
            write_event(&mut out, process, "start", process)?;
            if process.is_multiple_of(FOUND_EVERY) {
                write_event(&mut out, process, "end", process + 500)?;
            }
        }
        if let Some(ended) = process.checked_sub(ALIVE).filter(|ended| !ended.is_multiple_of(FOUND_EVERY)) {
            write_event(&mut out, ended, "end", process)?;
        }
    }
    out.into_inner()?.sync_all()?;
    fs::rename(partial, &path)?;
    Ok(path)
}

fn write_event(out: &mut impl Write, process: u64, kind: &str, millis: u64) -> std::io::Result<()> {
    let id = process.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let time = START + millis as i64;
    writeln!(
        out,
        r#"{{"@timestamp":{time},"event":{{"category":"process","type":"{kind}","id":"{id:016x}{kind}"}},"process":{{"entity_id":"{id:016x}-{process:08x}"}}}}"#
    )
}
