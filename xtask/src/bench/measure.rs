//! Running a command and looking at its time and memory.

use std::error::Error;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often the memory of a running case is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// A command to measure.
pub struct Measured {
    pub program: PathBuf,
    pub arguments: Vec<String>,
    pub clock: Clock,
}

/// Whose clock counts.
pub enum Clock {
    /// Ours, from the start of the process to its end.
    Process,
    /// Its own: it prints `seconds` and `events` as JSON, the start-up left out.
    Reported,
}

/// One run.
#[derive(Clone, Copy)]
pub struct Run {
    pub time: Duration,
    /// Time on all processors, where the system tells; other work on the machine disturbs it least.
    pub cpu: Option<Duration>,
    /// Peak of the resident set, where the system tells.
    pub memory: Option<u64>,
    /// Events that it read, where it says so.
    pub events: Option<u64>,
}

/// Runs the command once; caches of rules go to the folder `cache`.
///
/// # Errors
/// If it cannot be run or fails.
pub fn measure(command: &Measured, cache: &Path) -> Result<Run, Box<dyn Error>> {
    let Measured { program, arguments, clock } = command;
    let out = || if matches!(clock, Clock::Reported) { Stdio::piped() } else { Stdio::null() };
    let mut process = Command::new(program);
    process.args(arguments).env("XDG_CACHE_HOME", cache).env_remove("EQLIPSE_NO_CACHE");
    let start = Instant::now();
    let mut child = process.stdout(out()).stderr(Stdio::null()).spawn()?;
    let (mut memory, mut cpu) = (None, None);
    let status = loop {
        memory = peak(child.id()).max(memory);
        cpu = processor_time(child.id()).max(cpu);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(LOOK);
    };
    let time = start.elapsed();
    // A hunt that finds alerts, and a check of rules with warnings, are no failures.
    let Some(0 | 1) = status.code() else {
        return Err(format!("{} {}: {status}", program.display(), arguments.join(" ")).into());
    };
    match child.stdout.take() {
        None => Ok(Run { time, cpu, memory, events: None }),
        Some(mut out) => {
            let mut text = String::new();
            out.read_to_string(&mut text)?;
            let report: serde_json::Value = serde_json::from_str(&text)?;
            let seconds = report["seconds"].as_f64().ok_or("the case reports no seconds")?;
            Ok(Run { time: Duration::from_secs_f64(seconds), cpu: None, memory, events: report["events"].as_u64() })
        }
    }
}

/// The most memory that a process had, in bytes; Linux tells.
fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// The time that a process has spent on processors; Linux tells, in hundredths of a second.
pub fn processor_time(process: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may hold anything: the state, ten other numbers, then user's and system's time.
    let mut numbers = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || numbers.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks()? + ticks()?) * 10))
}
