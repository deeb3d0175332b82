//! `cargo run -p xtask -- bench-serve`: the service under load, against a hunt over the same events.
//!
//! First as many events as clients can send for some time, in rounds with hunts in between, for which the service is
//! stopped. Then half of the middle rate, with a tick of a second: how long an event takes to its alert, and whether memory
//! stays flat. Then, where `--backtest` says how many events are to be stored in all, one rule over them. All rules are the
//! ones of `hunt-all`.

use std::collections::HashSet;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cases;
use super::inputs::{Inputs, RULE_ID};
use super::measure::{measure, processor_time};

const DEFAULT_EVENTS: u64 = 500_000;
/// How long half of the load, and the full one in each round, are kept up where nothing is said.
const DEFAULT_SECONDS: u64 = 30;
/// Events of a bulk request: as many as Beats send where nobody says otherwise (`bulk_max_size`).
const BULK: usize = 1_600;
/// Connections that send.
const CLIENTS: usize = 4;
/// Machines are not equally fast all the time: so often full load and hunts over the same events take turns, and each load is
/// compared with the hunts right before and right after it.
const ROUNDS: usize = 3;
/// Hunts between two loads. The middle one of those around a load counts.
const HUNTS: usize = 3;
/// After this, the service has put away what it took in.
const SETTLES: Duration = Duration::from_secs(10);
/// How often an attack is among the events.
const ATTACKS: Duration = Duration::from_secs(20);
/// How often memory is looked at.
const SAMPLES: Duration = Duration::from_secs(5);
/// Stored events at most, so that a long run does not fill the disk.
const RETENTION: &str = "8GiB";
const PASSWORD: &str = "only for the bench";

/// What is asked for.
struct Options {
    events: u64,
    seconds: u64,
    half_seconds: Option<u64>,
    backtest: Option<u64>,
}

impl Options {
    fn parse(arguments: &[&str]) -> Result<Self, Box<dyn Error>> {
        let mut options = Self { events: DEFAULT_EVENTS, seconds: DEFAULT_SECONDS, half_seconds: None, backtest: None };
        for pair in arguments.chunks(2) {
            match pair {
                ["--events", number] => options.events = number.parse()?,
                ["--seconds", number] => options.seconds = number.parse()?,
                ["--half-seconds", number] => options.half_seconds = Some(number.parse()?),
                ["--backtest", number] => options.backtest = Some(number.parse()?),
                _ => return Err("bench-serve takes --events N, --seconds N, --half-seconds N and --backtest N".into()),
            }
        }
        Ok(options)
    }
}

/// Runs it: `[--events N] [--seconds N] [--half-seconds N] [--backtest N]`.
///
/// # Errors
/// If something cannot be built, made or run, or the service refuses an event.
pub fn run(root: &Path, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let options = Options::parse(arguments)?;
    let inputs = Inputs::prepare(root, options.events)?;
    let stream = inputs.quiet_stream()?;
    let bodies = Bodies::of(&stream)?;
    let arguments = cases::hunt(&inputs.rules[2], &stream, inputs.jobs, "/dev/null");
    let hunt = cases::process(&inputs.eqlipse, arguments);
    let hunt = || (0..HUNTS).map(|_| measure(&hunt, &inputs.cache())).collect::<Result<Vec<_>, _>>();
    let folder = inputs.made.join("serve");
    _ = std::fs::remove_dir_all(&folder);
    // Before the service is there: a fresh binary's first hunt compiles the rules.
    let mut hunts = hunt()?;
    let service = Service::start(&inputs, &inputs.rules[2], &folder)?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let load = full_load(&service, &bodies, options.seconds)?;
        std::thread::sleep(SETTLES);
        let after = service.stopped_for(hunt)?;
        let around = hunts.iter().chain(&after);
        let round = Round { load, hunt: middle(around.map(|run| (run.time, run.cpu)).collect()) };
        eprintln!("round {} of {ROUNDS}: {:.0} events/s", rounds.len() + 1, round.load.rate);
        rounds.push(round);
        hunts = after;
    }
    println!(
        "{} events in bulks of {BULK} from {CLIENTS} clients, all rules; {ROUNDS} rounds\n\n| | |\n|---|---|",
        options.events
    );
    let rate = report(&rounds, &options);
    println!("| peak memory after {ROUNDS} rounds of full load | {} MiB |", service.memory("VmHWM:") >> 20);
    let load = (rate / 2.0, options.half_seconds.unwrap_or(options.seconds));
    half_load(&service, &bodies, load, &inputs.rules_that_find(&inputs.rules[2], &stream)?)?;
    if let Some(events) = options.backtest {
        backtest(&service, &bodies, events)?;
    }
    service.stop()?;
    _ = std::fs::remove_dir_all(&folder);
    Ok(())
}

/// What full load came to.
struct FullLoad {
    /// Events that were taken in a second.
    rate: f64,
    /// The service's, for an event.
    cpu: Option<Duration>,
    /// How long replies took, ascending.
    replies: Vec<Duration>,
}

/// Full load, and the middle one of the hunts around it: its time, and its processors' time.
struct Round {
    load: FullLoad,
    hunt: (Duration, Option<Duration>),
}

fn full_load(service: &Service, bodies: &Bodies, seconds: u64) -> Result<FullLoad, Box<dyn Error>> {
    let (begun, cpu) = (Instant::now(), processor_time(service.child.id()));
    let load = Load { name: "full", rate: None, time: Duration::from_secs(seconds), requests: usize::MAX };
    let mut replies = send(&service.address, bodies, &load)?;
    let rate = (replies.len() * BULK) as f64 / begun.elapsed().as_secs_f64();
    let cpu = processor_time(service.child.id()).zip(cpu).map(|(now, before)| now.saturating_sub(before));
    replies.sort();
    Ok(FullLoad { rate, cpu, replies })
}

/// Prints the rounds one beside the other. Returns the middle rate.
fn report(rounds: &[Round], options: &Options) -> f64 {
    let line = |name: &str, tell: &dyn Fn(&Round) -> String| {
        println!("| {name} | {} |", rounds.iter().map(tell).collect::<Vec<_>>().join(", "));
    };
    let hunted = |round: &Round| options.events as f64 / round.hunt.0.as_secs_f64();
    let sent = |load: &FullLoad| (load.replies.len() * BULK) as f64;
    let reply = |percent| move |round: &Round| format!("{} ms", at(&round.load.replies, percent).as_millis());
    line("hunt-all, events/s, the middle one of those around a load", &|round| format!("{:.0}", hunted(round)));
    line("hunt-all, processors' time for an event", &|round| micros(round.hunt.1, options.events as f64));
    let seconds = options.seconds;
    line(&format!("serve, events/s for {seconds} s, durable and matched"), &|round| format!("{:.0}", round.load.rate));
    line("serve, processors' time for an event", &|round| micros(round.load.cpu, sent(&round.load)));
    let ratios = rounds.iter().map(|round| round.load.rate / hunted(round)).collect::<Vec<_>>();
    line("serve / hunt-all", &|round| format!("{:.2}", round.load.rate / hunted(round)));
    println!("| serve / hunt-all, the middle one (bar: at least 0.60) | {:.2} |", middle(ratios));
    line("reply time at full load, p50", &reply(50));
    line("reply time at full load, p99", &reply(99));
    middle(rounds.iter().map(|round| round.load.rate).collect())
}

/// The middle one; of an even number, the smaller of the two: a faster hunt makes the bar harder to reach.
fn middle<T: PartialOrd + Copy>(mut all: Vec<T>) -> T {
    all.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
    all[(all.len() - 1) / 2]
}

fn micros(cpu: Option<Duration>, events: f64) -> String {
    cpu.map_or("not told".to_owned(), |cpu| format!("{:.1} µs", cpu.as_secs_f64() * 1e6 / events))
}

/// `noisy` are rules that find something in the events that nobody attacks: by the hundred in an interval, so that most of it
/// waits for a later interval.
fn half_load(
    service: &Service,
    bodies: &Bodies,
    (rate, seconds): (f64, u64),
    noisy: &HashSet<String>,
) -> Result<(), Box<dyn Error>> {
    let time = Duration::from_secs(seconds);
    let load = Load { name: "half", rate: Some(rate), time, requests: usize::MAX };
    let (mut memory, begun) = (Vec::new(), Instant::now());
    let sent = std::thread::scope(|scope| {
        let sent = scope.spawn(|| send(&service.address, bodies, &load).map_err(|error| error.to_string()));
        while begun.elapsed() < time && !sent.is_finished() {
            std::thread::sleep(SAMPLES.min(time.saturating_sub(begun.elapsed())));
            memory.push(service.memory("VmRSS:") >> 20);
        }
        sent.join().map_err(|_| "a client panicked".to_owned())?
    })?;
    // What was sent last gets its alerts with the next tick.
    std::thread::sleep(Duration::from_secs(3));
    let mut latencies = service.latencies(noisy)?;
    latencies.sort_unstable();
    if latencies.is_empty() {
        return Err("no attack came up at half load: it must go on for longer".into());
    }
    println!("| half load, events/s for {seconds} s | {:.0} |", sent.len() as f64 * BULK as f64 / seconds as f64);
    let latency = |percent| latencies.get((latencies.len().max(1) - 1) * percent / 100).copied().unwrap_or_default();
    println!(
        "| event to alert at half load, p50 / p99 (bar: under 3,000 ms), {} alerts | {} ms / {} ms |",
        latencies.len(),
        latency(50),
        latency(99)
    );
    // Highest, of each fifth of the time.
    let fifths =
        memory.chunks(memory.len().div_ceil(5).max(1)).map(|fifth| fifth.iter().max().unwrap_or(&0).to_string());
    println!(
        "| memory at half load, highest in each fifth of the time | {} MiB |",
        fifths.collect::<Vec<_>>().join(", ")
    );
    Ok(())
}

/// One rule over so many stored events, which are sent first.
fn backtest(service: &Service, bodies: &Bodies, events: u64) -> Result<(), Box<dyn Error>> {
    let requests = usize::try_from(events)?.saturating_sub(service.stored()?).div_ceil(BULK);
    send(&service.address, bodies, &Load { name: "past", rate: None, time: Duration::MAX, requests })?;
    // Segments are written behind who sends.
    std::thread::sleep(Duration::from_secs(10));
    let stored = service.stored()?;
    for (name, query) in [
        (
            "a sequence",
            "sequence by process.entity_id [process where event.type == \"start\" and process.name : \"mshta.exe\"] \
          [network where process.name : \"mshta.exe\"]",
        ),
        ("single events", "process where event.type == \"start\" and process.command_line : \"*mimikatz*\""),
    ] {
        let rule = serde_json::json!({ "days": 1, "rule": {
            "name": name, "description": name, "type": "eql", "language": "eql", "query": query, "index": ["logs-*"],
            "severity": "low", "risk_score": 1,
        }});
        let mut client = Client::connect(&service.address)?;
        let begun = Instant::now();
        let (status, answer) = client.request("POST", "/api/backtest", rule.to_string().as_bytes())?;
        let took = begun.elapsed();
        if status != 200 {
            return Err(format!("{status}: {answer}").into());
        }
        let answer: Value = serde_json::from_str(&answer)?;
        println!(
            "| backtest over {stored} stored events, {name}: {} events of the day, {} alerts (bar: under 5 s for 10,000,000) | {:.2} s |",
            answer["events"],
            answer["alerts"],
            took.as_secs_f64()
        );
    }
    Ok(())
}

fn at(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get((sorted.len().max(1) - 1) * percent / 100).copied().unwrap_or_default()
}

/// Bulk bodies of the stream's events, and one with an attack. That is sent now and then: attacks among the events, sent again
/// and again, would use up the alerts that rules have for an interval.
struct Bodies {
    all: Vec<Mutex<Body>>,
    attack: Mutex<Body>,
}

impl Bodies {
    fn of(stream: &Path) -> Result<Self, Box<dyn Error>> {
        let (mut all, mut body) = (Vec::new(), Body::default());
        for line in BufReader::new(File::open(stream)?).lines() {
            body.add(&line?)?;
            if body.marks.len() == BULK {
                all.push(Mutex::new(std::mem::take(&mut body)));
            }
        }
        let mut attack = Body::default();
        Inputs::attack(BULK).try_for_each(|event| attack.add(&event))?;
        Ok(Self { all, attack: Mutex::new(attack) })
    }
}

/// A bulk request whose events are given the time, and a mark of the load and the request's number, each time it is sent: the
/// same event again would be the same event. The client must not take much of the time that the service needs.
#[derive(Default)]
struct Body {
    text: Vec<u8>,
    /// Where the mark of each event stands.
    marks: Vec<usize>,
}

impl Body {
    /// Of a mark, which is written in place.
    const LENGTH: usize = r#"2026-11-29T00:00:00.000Z","labels":{"full":"00000000"}"#.len();

    fn add(&mut self, event: &str) -> Result<(), Box<dyn Error>> {
        let document: Value = serde_json::from_str(event)?;
        let dataset = document["data_stream"]["dataset"].as_str().unwrap_or("generic");
        // What stands first in all events of the stream.
        let start = "{\"@timestamp\":\"";
        let (_, rest) =
            event.strip_prefix(start).and_then(|rest| rest.split_once('"')).ok_or("an event without a time")?;
        self.text.extend(format!("{{\"create\":{{\"_index\":\"logs-{dataset}-default\"}}}}\n{start}").bytes());
        self.marks.push(self.text.len());
        self.text.resize(self.text.len() + Self::LENGTH, b' ');
        self.text.extend(rest.bytes());
        self.text.push(b'\n');
        Ok(())
    }

    fn mark(&mut self, load: &str, number: usize) {
        let now = jiff::Timestamp::now();
        let mark = format!("{now:.3}\",\"labels\":{{\"{load}\":\"{number:08}\"}}");
        debug_assert_eq!(mark.len(), Self::LENGTH);
        self.marks.iter().for_each(|place| self.text[*place..*place + Self::LENGTH].copy_from_slice(mark.as_bytes()));
    }
}

/// How bodies are sent.
struct Load {
    /// Four letters that stand in the events.
    name: &'static str,
    /// Events a second; `None` is as fast as they are taken.
    rate: Option<f64>,
    time: Duration,
    /// At most.
    requests: usize,
}

/// Sends bodies over several connections, round and round. Returns how long each reply took.
fn send(address: &str, bodies: &Bodies, load: &Load) -> Result<Vec<Duration>, Box<dyn Error>> {
    let (next, attacks, replies) = (AtomicUsize::new(0), AtomicU32::new(0), Mutex::new(Vec::new()));
    let begun = Instant::now();
    let work = || -> Result<(), String> {
        let mut client = Client::connect(address).map_err(|error| error.to_string())?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let due = load.rate.map_or(begun.elapsed(), |rate| Duration::from_secs_f64((number * BULK) as f64 / rate));
            if due > load.time || number >= load.requests {
                return Ok(());
            }
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            let made = attacks.load(Ordering::Relaxed);
            let is_attack = begun.elapsed() > ATTACKS * made
                && attacks.compare_exchange(made, made + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            let body = if is_attack { &bodies.attack } else { &bodies.all[number % bodies.all.len()] };
            let mut body = body.lock().map_err(|error| error.to_string())?;
            body.mark(load.name, number);
            let sent = Instant::now();
            loop {
                let (status, answer) = client
                    .request("POST", "/_bulk?filter_path=errors", &body.text)
                    .map_err(|error| error.to_string())?;
                match status {
                    200 if answer.contains("\"errors\":false") => break,
                    429 => std::thread::sleep(Duration::from_millis(50)),
                    _ => return Err(format!("{status}: {answer}")),
                }
            }
            replies.lock().map_err(|error| error.to_string())?.push(sent.elapsed());
        }
    };
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(work)).collect();
        clients.into_iter().try_for_each(|client| client.join().map_err(|_| "a client panicked".to_owned())?)
    })?;
    Ok(replies.into_inner()?)
}

struct Service {
    child: Child,
    address: String,
}

impl Service {
    fn start(inputs: &Inputs, rules: &Path, folder: &Path) -> Result<Self, Box<dyn Error>> {
        let mut child = Command::new(&inputs.eqlipse)
            .args(["serve", "--listen", "127.0.0.1:0", "--tick", "1s", "--data"])
            .arg(folder)
            .arg("--rules")
            .arg(rules)
            .env("EQLIPSE_RULES_BUNDLED", "false")
            .env("EQLIPSE_STORE_RETENTION_SIZE", RETENTION)
            .env("EQLIPSE_AUTH_ADMIN_PASSWORD", PASSWORD)
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = BufReader::new(child.stderr.take().ok_or("no log")?).lines();
        let address = loop {
            let line = log.next().ok_or("the service ended")??;
            if let Some((_, address)) = line.split_once("listening on http://") {
                break address.trim().to_owned();
            }
        };
        // Somebody must read the log, or the service would wait for it.
        std::thread::spawn(move || log.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        Ok(Self { child, address })
    }

    /// The resident set, where the system tells: by the line with this name, now or at its peak.
    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) << 10
    }

    /// How many events there are.
    fn stored(&self) -> Result<usize, Box<dyn Error>> {
        let (status, answer) = Client::connect(&self.address)?.request("GET", "/api/service/status", b"")?;
        if status != 200 {
            return Err(format!("{status}: {answer}").into());
        }
        let answer: Value = serde_json::from_str(&answer)?;
        Ok(usize::try_from(answer["store"]["events"].as_u64().ok_or("no count of events")?)?)
    }

    /// From the arrival of an event to its alert, in milliseconds, at half load, of rules that are not noisy.
    fn latencies(&self, noisy: &HashSet<String>) -> Result<Vec<i64>, Box<dyn Error>> {
        let mut client = Client::connect(&self.address)?;
        let query = r#"{"size":10000,"query":{"exists":{"field":"labels.half"}}}"#;
        let (status, answer) = client.request("POST", "/api/detection_engine/signals/search", query.as_bytes())?;
        if status != 200 {
            return Err(format!("{status}: {answer}").into());
        }
        let answer: Value = serde_json::from_str(&answer)?;
        let hits = answer["hits"]["hits"].as_array().cloned().unwrap_or_default();
        if answer["hits"]["total"]["value"].as_u64() != Some(hits.len() as u64) {
            return Err("more alerts than one search gives: half load went on for too long".into());
        }
        let time = |value: &Value| value.as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        let latency = |hit: &Value| {
            let (made, arrived) = (&hit["_source"]["@timestamp"], &hit["_source"]["event"]["ingested"]);
            Some(time(made)?.as_millisecond() - time(arrived)?.as_millisecond())
        };
        let is_noisy = |hit: &&Value| noisy.contains(hit["_source"][RULE_ID].as_str().unwrap_or_default());
        Ok(hits.iter().filter(|hit| !is_noisy(hit)).filter_map(latency).collect())
    }

    /// Does something while the service takes no time of the processors, as by its ticks.
    fn stopped_for<T>(&self, work: impl FnOnce() -> Result<T, Box<dyn Error>>) -> Result<T, Box<dyn Error>> {
        self.signal("STOP")?;
        let done = work();
        self.signal("CONT")?;
        done
    }

    fn signal(&self, name: &str) -> std::io::Result<()> {
        let status = Command::new("kill").args(["-s", name]).arg(self.child.id().to_string()).status()?;
        if status.success() { Ok(()) } else { Err(std::io::Error::other(format!("kill -s {name}: {status}"))) }
    }

    fn stop(mut self) -> Result<(), Box<dyn Error>> {
        self.signal("TERM")?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Where something failed, it still runs.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A connection that is kept.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(address: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    fn request(&mut self, method: &str, path: &str, body: &[u8]) -> std::io::Result<(u16, String)> {
        // admin, and the password above.
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Basic {}\r\nContent-Type: application/json\r\nkbn-xsrf: bench\r\nContent-Length: {}\r\n\r\n",
            base64(format!("admin:{PASSWORD}").as_bytes()),
            body.len()
        );
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest.get(..3).and_then(|code| code.parse().ok()).unwrap_or(0);
            } else if let Some(rest) = line.strip_prefix("content-length:") {
                length = rest.trim().parse().unwrap_or(0);
            } else if line.is_empty() {
                break;
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok((status, String::from_utf8_lossy(&answer).into_owned()))
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}
