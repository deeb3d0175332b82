//! `cargo run -p xtask -- bench`: builds in release, makes its inputs, runs each case several times in turn with the
//! others, and prints medians and the ratios that count.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use eqlipse_testkit::corpus;
use eqlipse_testkit::stream::Stream;

/// Events of the generated stream where nothing is said.
const DEFAULT_EVENTS: u64 = 100_000;
/// How often each case runs where nothing is said.
const DEFAULT_RUNS: usize = 5;
/// Hosts of the generated stream.
const HOSTS: usize = 400;
/// Rules that are made of the bundled ones where there is no corpus.
const MADE_RULES: usize = 1_000;
/// How often the memory of a running case is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// What is compared with what, and the most that it may be.
const RATIOS: [(&str, &str, &str); 6] = [
    ("hunt-all", "parse", "at most 2.0"),
    ("hunt-all", "hunt-1", "at most 1.5"),
    ("hunt-100", "hunt-1", ""),
    ("hunt-evtx", "evtx-parse", "at most 1.6"),
    ("hunt-all-1-job", "hunt-all", "threads"),
    ("hunt-all-10x", "hunt-all", "10 is linear"),
];

/// A command to measure.
struct Case {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    /// Bytes that it reads.
    bytes: u64,
    runs: Vec<Run>,
}

#[derive(Clone, Copy)]
struct Run {
    time: Duration,
    /// Peak of the resident set, where the system tells.
    memory: Option<u64>,
}

/// Runs the cases that the arguments name, or all: `[NAME…] [--events N] [--runs N]`.
///
/// # Errors
/// If something cannot be built, made or run, or the hunt does not find what was planted.
pub fn run(root: &Path, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let (mut events, mut runs, mut names) = (DEFAULT_EVENTS, DEFAULT_RUNS, Vec::new());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().ok_or(format!("{argument} needs a number"));
        match *argument {
            "--events" => events = number()?.parse()?,
            "--runs" => runs = number()?.parse()?,
            name => names.push(name),
        }
    }
    let mut cases = cases(&Bench::prepare(root, events)?)?;
    cases.retain(|case| names.is_empty() || names.contains(&case.name));
    if cases.is_empty() {
        return Err(format!("there is no case {}", names.join(", ")).into());
    }
    for round in 0..runs.max(1) {
        for case in &mut cases {
            eprintln!("round {} of {runs}: {}", round + 1, case.name);
            let run = measure(&case.program, &case.arguments)?;
            case.runs.push(run);
        }
    }
    print(&cases, events, runs);
    Ok(())
}

/// What was built and made.
struct Bench {
    eqlipse: PathBuf,
    limits: PathBuf,
    /// One rule, a hundred, and all.
    rules: [PathBuf; 3],
    stream: PathBuf,
    long_stream: PathBuf,
    logs: PathBuf,
    jobs: usize,
}

impl Bench {
    fn prepare(root: &Path, events: u64) -> Result<Self, Box<dyn Error>> {
        let build = |arguments: &[&str]| {
            let status =
                Command::new("cargo").current_dir(root).args(["build", "--release"]).args(arguments).status()?;
            if status.success() { Ok(()) } else { Err(Box::<dyn Error>::from("cargo build failed")) }
        };
        build(&["-p", "eqlipse-cli"])?;
        build(&["-p", "eqlipse-events", "--example", "limits"])?;
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        let made = target.join("bench");
        fs::create_dir_all(&made)?;
        let prebuilt = corpus("prebuilt rules", "rules/elastic-detection-rules");
        let all = match prebuilt {
            Some(folder) => folder,
            None => many_rules(root, &made.join("rules"))?,
        };
        let logs = corpus("event logs", "data/evtx-attack-samples").unwrap_or_else(|| root.join("examples"));
        let bench = Self {
            eqlipse: target.join("release/eqlipse"),
            limits: target.join("release/examples/limits"),
            rules: [
                root.join("rules/windows/defense_evasion_mshta_network_connection.toml"),
                some_rules(&all, &made.join("rules-100"), 100)?,
                all,
            ],
            stream: write_stream(&made, events)?,
            long_stream: write_stream(&made, events * 10)?,
            logs,
            jobs: std::thread::available_parallelism()?.get(),
        };
        bench.check(events)?;
        Ok(bench)
    }

    /// Whether the planted attacks are found, all of them and nothing else.
    fn check(&self, events: u64) -> Result<(), Box<dyn Error>> {
        let arguments = hunt(&self.rules[0], &self.stream, self.jobs, "-");
        let found = Command::new(&self.eqlipse).args(arguments).stderr(Stdio::null()).output()?;
        // A sequence's alert stands beside those of its events, which are its building blocks.
        let lines = String::from_utf8(found.stdout)?;
        let alerts = lines.lines().filter(|line| !line.contains("building_block_type")).count() as u64;
        match alerts == Stream::attacks_in(events) {
            true => Ok(()),
            false => Err(format!("{alerts} alerts of {} planted attacks", Stream::attacks_in(events)).into()),
        }
    }
}

fn hunt(rules: &Path, input: &Path, jobs: usize, output: &str) -> Vec<String> {
    let path = |path: &Path| path.display().to_string();
    let mut arguments = vec!["hunt".to_owned(), "--rules".to_owned(), path(rules), path(input)];
    arguments
        .extend(["--format", "ndjson", "--output", output, "--quiet", "--no-progress", "--jobs"].map(str::to_owned));
    arguments.push(jobs.to_string());
    arguments
}

fn cases(bench: &Bench) -> Result<Vec<Case>, Box<dyn Error>> {
    let Bench { eqlipse, limits, rules: [one, hundred, all], stream, long_stream, logs, jobs } = bench;
    let case = |name, program: &PathBuf, arguments: Vec<String>, input: &Path| {
        let bytes = size(input)?;
        Ok::<_, Box<dyn Error>>(Case { name, program: program.clone(), arguments, bytes, runs: Vec::new() })
    };
    let hunt = |rules: &Path, input: &Path, jobs: usize| hunt(rules, input, jobs, "/dev/null");
    let limit = |mode: &str, input: &Path| vec![mode.to_owned(), jobs.to_string(), input.display().to_string()];
    Ok(vec![
        case("parse", limits, limit("json", stream), stream)?,
        case("hunt-1", eqlipse, hunt(one, stream, *jobs), stream)?,
        case("hunt-100", eqlipse, hunt(hundred, stream, *jobs), stream)?,
        case("hunt-all", eqlipse, hunt(all, stream, *jobs), stream)?,
        case("hunt-all-1-job", eqlipse, hunt(all, stream, 1), stream)?,
        case("hunt-all-10x", eqlipse, hunt(all, long_stream, *jobs), long_stream)?,
        case("evtx-parse", limits, limit("evtx", logs), logs)?,
        case("hunt-evtx", eqlipse, hunt(all, logs, *jobs), logs)?,
        case(
            "rules-all",
            eqlipse,
            vec!["rules".into(), "check".into(), "--quiet".into(), all.display().to_string()],
            all,
        )?,
    ])
}

fn size(path: &Path) -> Result<u64, Box<dyn Error>> {
    if !path.is_dir() {
        return Ok(fs::metadata(path)?.len());
    }
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        bytes += size(&entry?.path())?;
    }
    Ok(bytes)
}

/// The stream's events in a file, which is written once.
fn write_stream(made: &Path, events: u64) -> Result<PathBuf, Box<dyn Error>> {
    let path = made.join(format!("events-{events}.ndjson"));
    if path.exists() {
        return Ok(path);
    }
    eprintln!("writing {}", path.display());
    let partial = path.with_extension("partial");
    let mut out = BufWriter::new(File::create(&partial)?);
    for line in Stream::new(1, HOSTS).take(events as usize) {
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")?;
    }
    out.into_inner()?.sync_all()?;
    fs::rename(partial, &path)?;
    Ok(path)
}

fn rule_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            rule_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "toml")
            && !path.to_string_lossy().ends_with(".test.toml")
        {
            found.push(path);
        }
    }
    Ok(())
}

/// A folder with every so manieth of the EQL rules in another.
fn some_rules(all: &Path, made: &Path, count: usize) -> Result<PathBuf, Box<dyn Error>> {
    let mut files = Vec::new();
    rule_files(all, &mut files)?;
    let mut rules = Vec::new();
    for path in files {
        let text = fs::read_to_string(path)?;
        rules.extend(text.contains("type = \"eql\"").then_some(text));
    }
    write_rules(made, rules.iter().step_by((rules.len() / count).max(1)).take(count))
}

/// The bundled rules many times over, each time with other texts in their queries and another id.
fn many_rules(root: &Path, made: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let mut files = Vec::new();
    rule_files(&root.join("rules"), &mut files)?;
    let bundled = files.iter().map(fs::read_to_string).collect::<Result<Vec<_>, _>>()?;
    let changed = (0..MADE_RULES).map(|number| {
        let (copy, text) = (number / bundled.len(), &bundled[number % bundled.len()]);
        match copy {
            0 => text.clone(),
            _ => text
                .replace(".exe\"", &format!("{copy}.exe\""))
                .replace("rule_id = \"", &format!("rule_id = \"{copy:04x}")),
        }
    });
    write_rules(made, changed.collect::<Vec<_>>().iter())
}

fn write_rules<'a>(folder: &Path, rules: impl Iterator<Item = &'a String>) -> Result<PathBuf, Box<dyn Error>> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    for (number, text) in rules.enumerate() {
        fs::write(folder.join(format!("{number:04}.toml")), text)?;
    }
    Ok(folder.to_owned())
}

fn measure(program: &Path, arguments: &[String]) -> Result<Run, Box<dyn Error>> {
    let start = Instant::now();
    let mut child = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut memory = None;
    let status = loop {
        memory = peak(child.id()).max(memory);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(LOOK);
    };
    let time = start.elapsed();
    // A hunt that finds alerts, and a check of rules with warnings, are no failures.
    match status.code() {
        Some(0 | 1) => Ok(Run { time, memory }),
        _ => Err(format!("{} {}: {status}", program.display(), arguments.join(" ")).into()),
    }
}

/// The most memory that a process had, in bytes; Linux tells.
fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

impl Case {
    fn median(&self) -> Duration {
        let mut times: Vec<Duration> = self.runs.iter().map(|run| run.time).collect();
        times.sort_unstable();
        times[times.len() / 2]
    }

    fn memory(&self) -> Option<u64> {
        self.runs.iter().filter_map(|run| run.memory).max()
    }
}

fn print(cases: &[Case], events: u64, runs: usize) {
    println!("{events} generated events, median of {runs} runs\n");
    println!("| case | seconds | MB/s | peak MiB |\n|---|---|---|---|");
    for case in cases {
        let seconds = case.median().as_secs_f64();
        let memory = case.memory().map_or_else(|| "?".to_owned(), |bytes| (bytes >> 20).to_string());
        println!("| {} | {seconds:.3} | {:.0} | {memory} |", case.name, case.bytes as f64 / seconds / 1e6);
    }
    let medians: BTreeMap<&str, f64> = cases.iter().map(|case| (case.name, case.median().as_secs_f64())).collect();
    println!("\n| ratio | | bar |\n|---|---|---|");
    for (above, below, bar) in RATIOS {
        if let (Some(above_time), Some(below_time)) = (medians.get(above), medians.get(below)) {
            println!("| {above} / {below} | {:.2} | {bar} |", above_time / below_time);
        }
    }
}
