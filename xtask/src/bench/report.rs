//! What is printed: a table of the cases, and one of the ratios that count.

use std::collections::BTreeMap;

use super::cases::Case;

/// What of two cases is compared.
#[derive(Clone, Copy)]
enum Of {
    Time,
    /// The time on all processors.
    Cpu,
    /// The time of one event, as the cases read different numbers of them.
    TimePerEvent,
    CpuPerEvent,
    Memory,
}

/// A case, the one that it is compared with, what is compared, and the bar.
const RATIOS: &[(&str, &str, Of, &str)] = &[
    ("hunt-all", "parse", Of::Time, "at most 2.0"),
    ("hunt-all", "hunt-1", Of::Time, "at most 1.5"),
    ("hunt-all", "parse", Of::Cpu, ""),
    ("hunt-all-10x-1-job", "parse", Of::CpuPerEvent, ""),
    ("hunt-all", "hunt-1", Of::Cpu, ""),
    ("hunt-100", "hunt-1", Of::Time, ""),
    ("hunt-evtx", "evtx-parse", Of::Time, "at most 1.6"),
    ("hunt-all", "hunt-parquet", Of::Time, "at least 5"),
    ("hunt-all-1-job", "hunt-all", Of::Time, "threads"),
    ("hunt-all-10x-1-job", "hunt-all-10x", Of::Time, "threads"),
    ("hunt-all-10x", "hunt-all", Of::TimePerEvent, "1 is linear"),
    ("hunt-all-10x-1-job", "hunt-all-1-job", Of::TimePerEvent, "1 is linear"),
    ("hunt-all-100x", "hunt-all-10x", Of::TimePerEvent, "1 is linear"),
    ("hunt-all-100x-1-job", "hunt-all-10x-1-job", Of::TimePerEvent, "1 is linear"),
    ("hunt-all-10x", "hunt-all", Of::Memory, "1 is flat"),
    ("hunt-all-10x-1-job", "hunt-all-1-job", Of::Memory, "1 is flat"),
    ("hunt-all-100x", "hunt-all-10x", Of::Memory, "1 is flat"),
    ("hunt-all-100x-1-job", "hunt-all-10x-1-job", Of::Memory, "1 is flat"),
    ("sequences", "sequences-in-memory", Of::Time, ""),
    ("sequences", "sequences-in-memory", Of::Memory, ""),
    ("start-up-cold", "start-up-warm", Of::Time, ""),
    ("python-eql-1", "hunt-1", Of::TimePerEvent, ""),
    ("python-eql-1", "hunt-all", Of::TimePerEvent, "one rule there, all here"),
    ("python-eql-all", "hunt-all", Of::TimePerEvent, "at least 200"),
    ("python-eql-all", "hunt-all-1-job", Of::TimePerEvent, "one thread each"),
];

/// Cases with a bar of their own, in seconds.
const BARS: [(&str, f64); 2] = [("start-up-cold", 0.5), ("start-up-warm", 0.1)];

/// Prints it all.
pub fn print(cases: &[Case], events: u64, runs: usize) {
    println!("{events} generated events, median of {runs} runs\n");
    println!("| case | seconds | CPU seconds | MB/s | µs/event | peak MiB |\n|---|---|---|---|---|---|");
    for case in cases {
        let seconds = case.median().as_secs_f64();
        let memory = case.memory().map_or_else(|| "?".to_owned(), |bytes| (bytes >> 20).to_string());
        let rate = if case.reads_all() { format!("{:.0}", case.bytes as f64 / seconds / 1e6) } else { String::new() };
        let per_event = value(case, Of::TimePerEvent).map_or_else(String::new, |time| format!("{:.2}", time * 1e6));
        let cpu = value(case, Of::Cpu).map_or_else(String::new, |seconds| format!("{seconds:.2}"));
        println!("| {} | {seconds:.3} | {cpu} | {rate} | {per_event} | {memory} |", case.name);
    }
    let cases: BTreeMap<&str, &Case> = cases.iter().map(|case| (case.name, case)).collect();
    println!("\n| ratio | | bar |\n|---|---|---|");
    for (above, below, of, bar) in RATIOS.iter().copied() {
        let (Some(above_case), Some(below_case)) = (cases.get(above), cases.get(below)) else { continue };
        if let (Some(above_value), Some(below_value)) = (value(above_case, of), value(below_case, of)) {
            println!("| {above} / {below}{} | {:.2} | {bar} |", of.suffix(), above_value / below_value);
        }
    }
    for (name, bar) in BARS {
        if let Some(seconds) = cases.get(name).and_then(|case| value(case, Of::Time)) {
            println!("| {name}, seconds | {seconds:.3} | at most {bar} |");
        }
    }
}

fn value(case: &Case, of: Of) -> Option<f64> {
    let seconds = case.median().as_secs_f64();
    match of {
        Of::Time => Some(seconds),
        Of::Cpu => case.cpu().map(|cpu| cpu.as_secs_f64()),
        Of::TimePerEvent => case.events().map(|events| seconds / events as f64),
        Of::CpuPerEvent => Some(value(case, Of::Cpu)? / case.events()? as f64),
        Of::Memory => case.memory().map(|bytes| bytes as f64),
    }
}

impl Of {
    fn suffix(self) -> &'static str {
        match self {
            Of::Time => "",
            Of::Cpu => ", CPU",
            Of::TimePerEvent => ", per event",
            Of::CpuPerEvent => ", CPU per event",
            Of::Memory => ", memory",
        }
    }
}
