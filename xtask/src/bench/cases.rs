//! What is measured.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::inputs::{Inputs, size};
use super::measure::{Clock, Measured, Run};
use super::{python_eql, sequences};

/// A case by name.
pub struct Spec {
    pub name: &'static str,
    /// Another name, which it shares with others.
    group: &'static str,
    /// Whether it takes too much time or room to run unasked.
    pub only_by_name: bool,
}

const fn spec(name: &'static str, group: &'static str) -> Spec {
    Spec { name, group, only_by_name: false }
}

const fn large(name: &'static str, group: &'static str) -> Spec {
    Spec { name, group, only_by_name: true }
}

/// All cases, in the order in which they run.
pub const SPECS: &[Spec] = &[
    spec("parse", ""),
    spec("hunt-1", ""),
    spec("hunt-100", ""),
    spec("hunt-all", "scaling"),
    spec("hunt-parquet", ""),
    spec("hunt-all-1-job", "scaling"),
    spec("hunt-all-10x", "scaling"),
    spec("hunt-all-10x-1-job", "scaling"),
    large("hunt-all-100x", "scaling"),
    large("hunt-all-100x-1-job", "scaling"),
    large("sequences", "sequences"),
    large("sequences-in-memory", "sequences"),
    spec("evtx-parse", ""),
    spec("hunt-evtx", ""),
    spec("rules-all", ""),
    spec("start-up-cold", "start-up"),
    spec("start-up-warm", "start-up"),
    spec("python-eql-1", "python-eql"),
    spec("python-eql-all", "python-eql"),
];

impl Spec {
    /// Whether that is its name or its group's.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.group == name
    }
}

/// A case that can run, and its runs so far.
pub struct Case {
    pub name: &'static str,
    pub command: Measured,
    /// Bytes that it reads.
    pub bytes: u64,
    /// Events that it reads, where that is known beforehand.
    events: Option<u64>,
    pub runs: Vec<Run>,
}

impl Case {
    /// `None`, with a line that says why, where the case cannot run here.
    pub fn new(spec: &Spec, inputs: &Inputs) -> Result<Option<Case>, Box<dyn Error>> {
        let [one, hundred, all] = &inputs.rules;
        let (jobs, events) = (inputs.jobs, inputs.events);
        let case = match spec.name {
            "parse" => over(limit(inputs, "json", &inputs.stream(1)?), &inputs.stream(1)?, Some(events))?,
            "hunt-1" => hunts(inputs, one, 1, jobs)?,
            "hunt-100" => hunts(inputs, hundred, 1, jobs)?,
            "hunt-all" => hunts(inputs, all, 1, jobs)?,
            "hunt-parquet" => {
                let table = inputs.table()?;
                over(process(&inputs.eqlipse, hunt(all, &table, jobs, "/dev/null")), &table, Some(events))?
            }
            "hunt-all-1-job" => hunts(inputs, all, 1, 1)?,
            "hunt-all-10x" => hunts(inputs, all, 10, jobs)?,
            "hunt-all-10x-1-job" => hunts(inputs, all, 10, 1)?,
            "hunt-all-100x" => hunts(inputs, all, 100, jobs)?,
            "hunt-all-100x-1-job" => hunts(inputs, all, 100, 1)?,
            "sequences" => sequence(inputs, None)?,
            "sequences-in-memory" => sequence(inputs, Some("1T"))?,
            "evtx-parse" => over(limit(inputs, "evtx", &inputs.logs), &inputs.logs, None)?,
            "hunt-evtx" => {
                let arguments = hunt(all, &inputs.logs, jobs, "/dev/null");
                over(process(&inputs.eqlipse, arguments), &inputs.logs, None)?
            }
            "rules-all" => rules(inputs, &["check", "--quiet", "--no-cache"])?,
            "start-up-cold" => rules(inputs, &["compile", "--no-cache"])?,
            "start-up-warm" => rules(inputs, &["compile"])?,
            "python-eql-1" => match python_eql::over_one_rule(inputs)? {
                Some(command) => over(command, &inputs.stream(1)?, None)?,
                None => return Ok(None),
            },
            "python-eql-all" => match python_eql::over_all_rules(inputs)? {
                Some(command) => over(command, &inputs.stream(1)?, None)?,
                None => return Ok(None),
            },
            other => return Err(format!("the case {other} is not described").into()),
        };
        Ok(Some(Case { name: spec.name, ..case }))
    }

    /// Whether it reads all of its input, so that a rate of bytes means something.
    pub fn reads_all(&self) -> bool {
        matches!(self.command.clock, Clock::Process)
    }

    pub fn median(&self) -> Duration {
        median(self.runs.iter().map(|run| run.time)).unwrap_or_default()
    }

    /// Time on all processors.
    pub fn cpu(&self) -> Option<Duration> {
        median(self.runs.iter().filter_map(|run| run.cpu))
    }

    pub fn memory(&self) -> Option<u64> {
        self.runs.iter().filter_map(|run| run.memory).max()
    }

    /// Events that it read.
    pub fn events(&self) -> Option<u64> {
        self.events.or_else(|| self.runs.first()?.events)
    }
}

fn median(times: impl Iterator<Item = Duration>) -> Option<Duration> {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

/// A case whose command reads all of `input`.
fn over(command: Measured, input: &Path, events: Option<u64>) -> Result<Case, Box<dyn Error>> {
    Ok(Case { name: "", command, bytes: size(input)?, events, runs: Vec::new() })
}

fn hunts(inputs: &Inputs, rules: &Path, times: u64, jobs: usize) -> Result<Case, Box<dyn Error>> {
    let stream = inputs.stream(times)?;
    let command = process(&inputs.eqlipse, hunt(rules, &stream, jobs, "/dev/null"));
    over(command, &stream, Some(inputs.events * times))
}

/// A hundred times as many processes as the stream has events.
fn sequence(inputs: &Inputs, memory_limit: Option<&str>) -> Result<Case, Box<dyn Error>> {
    let processes = inputs.events * 100;
    let (rule, events) = (sequences::rule(&inputs.made)?, sequences::events(&inputs.made, processes)?);
    let mut arguments = hunt(&rule, &events, inputs.jobs, "/dev/null");
    arguments.extend(memory_limit.map(|limit| format!("--memory-limit={limit}")));
    over(process(&inputs.eqlipse, arguments), &events, Some(processes * 2))
}

/// `eqlipse rules` over all rules.
fn rules(inputs: &Inputs, arguments: &[&str]) -> Result<Case, Box<dyn Error>> {
    let all = inputs.rules[2].as_path();
    let mut arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    arguments.insert(0, "rules".to_owned());
    arguments.push(all.display().to_string());
    over(process(&inputs.eqlipse, arguments), all, None)
}

fn limit(inputs: &Inputs, mode: &str, input: &Path) -> Measured {
    process(&inputs.limits, vec![mode.to_owned(), inputs.jobs.to_string(), input.display().to_string()])
}

pub fn process(program: &Path, arguments: Vec<String>) -> Measured {
    Measured { program: PathBuf::from(program), arguments, clock: Clock::Process }
}

/// The arguments of a hunt.
pub fn hunt(rules: &Path, input: &Path, jobs: usize, output: &str) -> Vec<String> {
    let path = |path: &Path| path.display().to_string();
    let mut arguments = vec!["hunt".to_owned(), "--rules".to_owned(), path(rules), path(input)];
    arguments
        .extend(["--format", "ndjson", "--output", output, "--quiet", "--no-progress", "--jobs"].map(str::to_owned));
    arguments.push(jobs.to_string());
    arguments
}
