//! What the cases read, made once and kept beside the build.

use std::collections::HashSet;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use eqlipse_fleet::Stream;
use eqlipse_testkit::corpus;

use super::cases::hunt as hunt_arguments;

/// The field of an alert's rule.
pub const RULE_ID: &str = "kibana.alert.rule.rule_id";
/// Hosts of the generated stream.
const HOSTS: usize = 400;
/// Rules that are made of the bundled ones where there is no corpus.
const MADE_RULES: usize = 1_000;

/// What was built and made.
pub struct Inputs {
    pub eqlipse: PathBuf,
    pub limits: PathBuf,
    /// One rule, a hundred, and all.
    pub rules: [PathBuf; 3],
    pub logs: PathBuf,
    pub jobs: usize,
    /// Events of the stream.
    pub events: u64,
    /// The folder for what is made.
    pub made: PathBuf,
}

impl Inputs {
    /// Builds the programs, and makes the rules and the stream.
    ///
    /// # Errors
    /// If one of it fails, or the hunt does not find what was planted in the stream.
    pub fn prepare(root: &Path, events: u64) -> Result<Self, Box<dyn Error>> {
        let build = |arguments: &[&str]| {
            let status = Command::new("cargo")
                .current_dir(root)
                .args(["build", "--profile", "dist"])
                .args(arguments)
                .status()?;
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
        let inputs = Self {
            eqlipse: target.join("dist/eqlipse"),
            limits: target.join("dist/examples/limits"),
            rules: [
                root.join("rules/windows/defense_evasion_mshta_network_connection.toml"),
                some_rules(&all, &made.join("rules-100"), 100)?,
                all,
            ],
            logs,
            jobs: std::thread::available_parallelism()?.get(),
            events,
            made,
        };
        inputs.check(events)?;
        Ok(inputs)
    }

    /// The stream, so many times as long.
    pub fn stream(&self, times: u64) -> Result<PathBuf, Box<dyn Error>> {
        write_stream(&self.made, self.events * times, Stream::new(1, HOSTS))
    }

    /// A stream as long, of hosts that nobody attacks.
    pub fn quiet_stream(&self) -> Result<PathBuf, Box<dyn Error>> {
        let made = self.made.join("quiet");
        fs::create_dir_all(&made)?;
        write_stream(&made, self.events, Stream::new(1, HOSTS).with_attacks(u64::MAX))
    }

    /// Events of other hosts, with an attack.
    pub fn attack(events: usize) -> impl Iterator<Item = String> {
        Stream::new(2, HOSTS).with_attacks(events as u64 / 2).take(events)
    }

    /// The stream as a Parquet file, written anew each time: its layout may have changed.
    pub fn table(&self) -> Result<PathBuf, Box<dyn Error>> {
        let stream = self.stream(1)?;
        let table = stream.with_extension("parquet");
        eprintln!("writing {}", table.display());
        let mut convert = Command::new(&self.eqlipse);
        convert.args(["convert", "--quiet", "--to", "parquet"]).arg(&stream).arg("--output").arg(&table);
        if convert.status()?.success() { Ok(table) } else { Err("eqlipse convert failed".into()) }
    }

    /// The ids of the rules that find something.
    pub fn rules_that_find(&self, rules: &Path, events: &Path) -> Result<HashSet<String>, Box<dyn Error>> {
        let mut hunt = Command::new(&self.eqlipse);
        let found = hunt.args(hunt_arguments(rules, events, self.jobs, "-")).stderr(Stdio::null()).output()?;
        let id = |line: &str| {
            let alert: serde_json::Value = serde_json::from_str(line)?;
            Ok(alert[RULE_ID].as_str().ok_or("an alert without a rule")?.to_owned())
        };
        String::from_utf8(found.stdout)?.lines().map(id).collect()
    }

    /// Where caches of rules go, so that the user's own are left alone.
    pub fn cache(&self) -> PathBuf {
        self.made.join("cache")
    }

    /// Whether the planted attacks are found, all of them and nothing else.
    fn check(&self, events: u64) -> Result<(), Box<dyn Error>> {
        let arguments = hunt_arguments(&self.rules[0], &self.stream(1)?, self.jobs, "-");
        let found =
            Command::new(&self.eqlipse).args(arguments).env("EQLIPSE_NO_CACHE", "1").stderr(Stdio::null()).output()?;
        // A sequence's alert stands beside those of its events, which are its building blocks.
        let lines = String::from_utf8(found.stdout)?;
        let alerts = lines.lines().filter(|line| !line.contains("building_block_type")).count() as u64;
        match alerts == Stream::attacks_in(events) {
            true => Ok(()),
            false => Err(format!("{alerts} alerts of {} planted attacks", Stream::attacks_in(events)).into()),
        }
    }
}

/// Bytes of a file, or of all files of a folder.
pub fn size(path: &Path) -> Result<u64, Box<dyn Error>> {
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
fn write_stream(made: &Path, events: u64, stream: Stream) -> Result<PathBuf, Box<dyn Error>> {
    let path = made.join(format!("events-{events}.ndjson"));
    if path.exists() {
        return Ok(path);
    }
    eprintln!("writing {}", path.display());
    let partial = path.with_extension("partial");
    let mut out = BufWriter::new(File::create(&partial)?);
    for line in stream.take(events as usize) {
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

/// The queries of the EQL rules in a file or folder.
pub fn eql_queries(rules: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut files = vec![rules.to_owned()];
    if rules.is_dir() {
        files.clear();
        rule_files(rules, &mut files)?;
    }
    let mut queries = Vec::new();
    for path in files {
        let document: toml::Table = fs::read_to_string(path)?.parse()?;
        let rule = document.get("rule").and_then(toml::Value::as_table);
        let text = |field: &str| rule.and_then(|rule| rule.get(field)).and_then(toml::Value::as_str);
        queries.extend(text("query").filter(|_| text("type") == Some("eql")).map(str::to_owned));
    }
    Ok(queries)
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
