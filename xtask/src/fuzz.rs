//! Runs the fuzz targets, each from seeds that the bundled rules and the example logs give.

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use eqlipse_testkit::generate::{Case, samples};

/// The targets, in the order in which they run, each with the longest input it is given, in bytes.
const TARGETS: [(&str, usize); 7] = [
    ("eql_parse", 4_096),
    ("eql_check", 4_096),
    ("rules_read", 16_384),
    ("rules_cache", 16_384),
    ("json_decode", 8_192),
    ("evtx", 65_536),
    ("sequences", 8_192),
];
/// How long each target runs where nothing is said.
const DEFAULT_SECONDS: u32 = 1_200;
/// An input that takes longer is a finding.
const TIMEOUT_SECONDS: u32 = 20;
/// More memory than this is a finding.
const MEMORY_MIB: u32 = 4_096;

/// Runs the targets that the arguments name, or all: `[TARGET…] [--seconds N]`.
///
/// # Errors
/// If a target finds something, or cannot be built.
pub fn run(root: &Path, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut seconds = DEFAULT_SECONDS;
    let mut names = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match *argument {
            "--seconds" => seconds = arguments.next().ok_or("--seconds needs a number")?.parse()?,
            name if TARGETS.iter().any(|(target, _)| *target == name) => names.push(name),
            other => {
                return Err(format!("there is no target {other}: {}", TARGETS.map(|(name, _)| name).join(", ")).into());
            }
        }
    }
    let mut findings = Vec::new();
    for (target, longest) in TARGETS.iter().filter(|(target, _)| names.is_empty() || names.contains(target)) {
        let corpus = root.join("fuzz/corpus").join(target);
        fs::create_dir_all(&corpus)?;
        for (number, seed) in seeds(root, target)?.iter().enumerate().filter(|(_, seed)| seed.len() <= *longest) {
            fs::write(corpus.join(format!("seed-{number:03}")), seed)?;
        }
        let outcome = fuzz(root, target, *longest, seconds)?;
        println!("{target}: {seconds} s, {}", outcome.text());
        if !outcome.passed {
            findings.push(*target);
        }
    }
    match findings.as_slice() {
        [] => Ok(()),
        findings => Err(format!("findings in {}: see fuzz/artifacts", findings.join(", ")).into()),
    }
}

/// What came of a run.
struct Outcome {
    passed: bool,
    executions: String,
    coverage: String,
}

impl Outcome {
    fn text(&self) -> String {
        let findings = if self.passed { "no finding" } else { "A FINDING" };
        format!("{} executions, {} branches reached, {findings}", self.executions, self.coverage)
    }
}

fn fuzz(root: &Path, target: &str, longest: usize, seconds: u32) -> Result<Outcome, Box<dyn Error>> {
    let mut command = Command::new("cargo");
    command.current_dir(root.join("fuzz")).args(["fuzz", "run", "--sanitizer", "none", target, "--"]);
    command.args([format!("-max_total_time={seconds}"), format!("-max_len={longest}")]);
    command.args([format!("-timeout={TIMEOUT_SECONDS}"), format!("-rss_limit_mb={MEMORY_MIB}")]);
    command.args(["-print_final_stats=1", "-use_value_profile=1"]);
    if target.starts_with("eql_") {
        command.arg("-dict=eql.dict");
    }
    // cargo-fuzz passes flags that only a nightly compiler takes without this.
    let mut child = command.env("RUSTC_BOOTSTRAP", "1").stderr(Stdio::piped()).spawn()?;
    let mut outcome = Outcome { passed: false, executions: "no".into(), coverage: "no".into() };
    for line in BufReader::new(child.stderr.take().ok_or("no standard error")?).lines() {
        let line = line?;
        if let Some((_, rest)) = line.split_once(" cov: ") {
            outcome.coverage = rest.split_whitespace().next().unwrap_or("no").to_owned();
        } else if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            outcome.executions = count.trim().to_owned();
        }
        if !line.starts_with('#') {
            eprintln!("{line}");
        }
    }
    outcome.passed = child.wait()?.success();
    Ok(outcome)
}

/// The inputs that a target begins with.
fn seeds(root: &Path, target: &str) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    Ok(match target {
        "eql_parse" | "eql_check" => queries(root)?,
        "rules_read" => rules(root)?,
        "rules_cache" => loads(root)?,
        "json_decode" => documents(root)?,
        "evtx" => chunks(root)?,
        _ => cases(),
    })
}

fn files(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, extension)?);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn rule_texts(root: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let paths = files(&root.join("rules"), "toml")?.into_iter();
    let paths = paths.filter(|path| !path.to_string_lossy().ends_with(".test.toml"));
    Ok(paths.map(fs::read_to_string).collect::<Result<_, _>>()?)
}

/// The queries of the bundled rules.
fn queries(root: &Path) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let texts = rule_texts(root)?;
    let queries = texts.iter().filter_map(|text| text.split("'''").nth(1));
    Ok(queries.map(|query| query.trim().as_bytes().to_vec()).collect())
}

/// The bundled rules; the byte in front chooses the reader.
fn rules(root: &Path) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut seeds: Vec<Vec<u8>> = rule_texts(root)?.iter().map(|text| [b"\0", text.as_bytes()].concat()).collect();
    let rule = br#"{"name":"a","rule_id":"b","description":"c","type":"eql","language":"eql","query":"any where true","severity":"low","risk_score":21,"interval":"5m","from":"now-9m","threat":[{"framework":"MITRE ATT&CK","tactic":{"id":"TA0005","name":"x","reference":"y"}}]}"#;
    for reader in [1, 2, 5] {
        seeds.push([&[reader], rule.as_slice(), b"\n", rule].concat());
    }
    let page = "# A rule\n\n**Rule type**: eql\n\n**Rule indices**:\n\n* logs-*\n\n**Severity**: low\n\n**Risk score**: 21\n\n**Runs every**: 5m\n\n## Rule query\n\n```eql\nany where true\n```\n";
    seeds.push([b"\x04", page.as_bytes()].concat());
    Ok(seeds)
}

/// The bundled rules as a cache keeps them.
fn loads(root: &Path) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let texts = rule_texts(root)?;
    Ok(texts.iter().filter_map(|text| eqlipse_rules::load_bytes("rule.toml", text.as_bytes()).to_bytes()).collect())
}

/// Events of the example logs, alone and in each shape that Elastic's tools write.
fn documents(root: &Path) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut seeds = Vec::new();
    for path in files(&root.join("examples"), "ndjson")? {
        let text = fs::read_to_string(path)?;
        for lines in text.lines().collect::<Vec<_>>().chunks(2).take(12) {
            let list = lines.join(",");
            seeds.push(lines.join("\n").into_bytes());
            seeds.push(format!("[{list}]").into_bytes());
            seeds.push(format!("{{\"index\":{{\"_index\":\"logs-x\"}}}}\n{}\n", lines[0]).into_bytes());
            seeds.push(
                format!("{{\"hits\":{{\"hits\":[{{\"_index\":\"i\",\"_source\":{}}}]}}}}", lines[0]).into_bytes(),
            );
        }
    }
    Ok(seeds)
}

/// Chunks of the example event logs, without the zeros at their end.
fn chunks(root: &Path) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut seeds = Vec::new();
    for path in files(&root.join("examples"), "evtx")? {
        let bytes = fs::read(path)?;
        for chunk in bytes.get(4_096..).unwrap_or_default().chunks(65_536).take(4) {
            let used = chunk.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            seeds.push(chunk[..used].to_vec());
        }
    }
    Ok(seeds)
}

/// Generated queries with events.
fn cases() -> Vec<Vec<u8>> {
    let text = |(number, case): (usize, Case)| {
        let end = case.end.map_or(String::new(), |end| format!(" {}", end / 1_000_000_000));
        let events: Vec<String> = case.events.iter().map(ToString::to_string).collect();
        format!("{}\n{number} {}{end}\n{}\n", case.query, number / 40, events.join("\n")).into_bytes()
    };
    samples(400).into_iter().enumerate().map(text).collect()
}
