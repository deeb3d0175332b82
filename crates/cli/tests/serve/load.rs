//! Clients that send events as shippers do: with ids of their own, and again what was not acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::bench::{Bench, Service, now};
use crate::client;

/// The data stream of all events.
pub const INDEX: &str = "logs-load-default";
/// The rule that gives an alert for each marked event.
pub const MARKED: &str = "marked";
/// The rule that gives an alert for each pair.
pub const PAIRS: &str = "pairs";

/// Every so many events one is marked.
const MARK_EVERY: u64 = 23;
/// A pair begins with every so many events.
const PAIR_EVERY: u64 = 29;
/// And ends so many events later, which is in another request most often.
const PAIR_DISTANCE: u64 = 61;

/// A bench with the rules that look at these events.
pub fn with_rules(bench: Bench) -> Bench {
    let pairs = "sequence by process.entity_id\n  [process where event.type == \"start\"]\n  [network where true]";
    // No rule has more than a thousand alerts in an interval: with a long one, the rest would keep a test waiting.
    bench
        .rule_every("10s", MARKED, "process where process.name == \"marked.exe\"", 1_000_000)
        .rule_every("10s", PAIRS, pairs, 1_000_000)
        .set("EQLIPSE_SCHEDULE_TICK", "1s")
}

fn id(client: usize, number: u64) -> String {
    format!("c{client}-{number}")
}

fn begins_pair(number: u64) -> bool {
    number % PAIR_EVERY == 1
}

/// The number of the event with which a pair began that ends with this one.
fn pair_of(number: u64) -> Option<u64> {
    number.checked_sub(PAIR_DISTANCE).filter(|first| begins_pair(*first))
}

fn document(client: usize, number: u64) -> Value {
    let is_marked = number.is_multiple_of(MARK_EVERY);
    let ends = pair_of(number);
    let entity = id(client, ends.unwrap_or(number));
    json!({
        "@timestamp": now(),
        "event": {
            "category": if ends.is_some() { "network" } else { "process" },
            "type": if begins_pair(number) { "start" } else { "info" },
        },
        "host": { "name": format!("host-{client}") },
        "process": {
            "name": if is_marked && ends.is_none() { "marked.exe" } else { "plain.exe" },
            "entity_id": entity,
            "command_line": format!("run {number} {}", "of a load that is sent by tests ".repeat(6)),
        },
    })
}

/// What became of the events of all clients.
#[derive(Default)]
pub struct Sent {
    /// What the service said it has: by client, the numbers.
    pub acknowledged: BTreeMap<usize, BTreeSet<u64>>,
    /// What was sent and never acknowledged.
    pub unsure: BTreeMap<usize, BTreeSet<u64>>,
    /// How often requests were refused as a whole, by status.
    pub refused: BTreeMap<u16, u64>,
    /// Requests without a whole answer.
    pub broken: u64,
}

impl Sent {
    fn merge(&mut self, other: Self) {
        self.acknowledged.extend(other.acknowledged);
        self.unsure.extend(other.unsure);
        other.refused.into_iter().for_each(|(status, count)| *self.refused.entry(status).or_default() += count);
        self.broken += other.broken;
    }

    fn of(events: &BTreeMap<usize, BTreeSet<u64>>) -> impl Iterator<Item = (usize, u64)> {
        events.iter().flat_map(|(client, numbers)| numbers.iter().map(|number| (*client, *number)))
    }

    /// The ids of what was acknowledged.
    pub fn ids(&self) -> BTreeSet<String> {
        Self::of(&self.acknowledged).map(|(client, number)| id(client, number)).collect()
    }

    /// The ids of what may be there although nobody was told so.
    pub fn unsure_ids(&self) -> BTreeSet<String> {
        Self::of(&self.unsure).map(|(client, number)| id(client, number)).collect()
    }

    /// The alerts of [`MARKED`] that must be there, as [`Bench::alerted_ids`] has them.
    pub fn marked(&self) -> BTreeSet<String> {
        let is_marked = |(_, number): &(usize, u64)| number.is_multiple_of(MARK_EVERY) && pair_of(*number).is_none();
        Self::of(&self.acknowledged).filter(is_marked).map(|(client, number)| id(client, number)).collect()
    }

    /// The alerts of [`PAIRS`] that must be there.
    pub fn pairs(&self) -> BTreeSet<String> {
        let pairs = Self::of(&self.acknowledged).filter_map(|(client, number)| {
            let first = pair_of(number)?;
            let is_whole = self.acknowledged[&client].contains(&first);
            is_whole.then(|| format!("{},{}", id(client, first), id(client, number)))
        });
        pairs.collect()
    }
}

const SENDING: u8 = 0;
/// What was begun is sent to its end, and nothing new.
const FINISHING: u8 = 1;
/// Nothing more is sent.
const GIVING_UP: u8 = 2;

struct Shared {
    address: Mutex<Option<SocketAddr>>,
    state: AtomicU8,
    acknowledged: AtomicU64,
}

/// Clients at work.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Sent>>,
}

impl Load {
    /// Starts so many clients.
    pub fn start(clients: usize) -> Self {
        let shared =
            Shared { address: Mutex::default(), state: AtomicU8::new(SENDING), acknowledged: AtomicU64::new(0) };
        let shared = Arc::new(shared);
        let start = |number| {
            let shared = shared.clone();
            thread::spawn(move || Client { number, shared, sent: Sent::default() }.run())
        };
        Self { clients: (0..clients).map(start).collect(), shared }
    }

    /// Where to send to from now on.
    pub fn to(&self, service: &Service) {
        *self.shared.address.lock().expect("no client panicked") = Some(service.address);
    }

    /// How many events were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }

    /// Sends what was begun to its end, and returns what was sent.
    pub fn finish(self) -> Sent {
        self.end(FINISHING)
    }

    /// Ends at once.
    pub fn give_up(self) -> Sent {
        self.end(GIVING_UP)
    }

    fn end(self, state: u8) -> Sent {
        self.shared.state.store(state, Ordering::SeqCst);
        let mut sent = Sent::default();
        self.clients.into_iter().for_each(|client| sent.merge(client.join().expect("no client panicked")));
        sent
    }
}

struct Client {
    number: usize,
    shared: Arc<Shared>,
    sent: Sent,
}

impl Client {
    fn state(&self) -> u8 {
        self.shared.state.load(Ordering::SeqCst)
    }

    fn run(mut self) -> Sent {
        let mut next = 1;
        let mut size = 1;
        self.sent.acknowledged.insert(self.number, BTreeSet::new());
        while self.state() == SENDING {
            // From one event to 40, in no order.
            size = (size * 17 + 11) % 41;
            let events = (next..next + size).map(|number| (number, document(self.number, number))).collect();
            next += size;
            self.send_all(events);
            // So that a test in a debug build is about faults, not about load.
            thread::sleep(Duration::from_millis(20));
        }
        self.sent
    }

    /// Sends events until they are acknowledged, or all is given up.
    fn send_all(&mut self, mut events: BTreeMap<u64, Value>) {
        let mut was_sent = false;
        while !events.is_empty() && self.state() != GIVING_UP {
            let Some(address) = *self.shared.address.lock().expect("no client panicked") else {
                thread::sleep(Duration::from_millis(5));
                continue;
            };
            if !self.send_once(address, &mut events, was_sent) {
                thread::sleep(Duration::from_millis(20));
            }
            was_sent = true;
        }
        if was_sent {
            self.sent.unsure.entry(self.number).or_default().extend(events.into_keys());
        }
    }

    /// Sends events, and takes away what is acknowledged. Says whether there was a useful answer.
    fn send_once(&mut self, address: SocketAddr, events: &mut BTreeMap<u64, Value>, was_sent: bool) -> bool {
        let body: String = events
            .iter()
            .map(|(number, event)| format!("{{\"create\":{{\"_id\":\"{}\"}}}}\n{event}\n", id(self.number, *number)))
            .collect();
        let Ok(answer) = client::send(address, "POST", &format!("/{INDEX}/_bulk"), body.as_bytes()) else {
            self.sent.broken += 1;
            return false;
        };
        if matches!(answer.status, 429 | 503) {
            assert!(answer.json()["error"]["reason"].is_string(), "{}", answer.text());
            *self.sent.refused.entry(answer.status).or_default() += 1;
            return false;
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        let items = answer["items"].as_array().expect("items");
        assert_eq!(items.len(), events.len());
        let numbers: Vec<u64> = events.keys().copied().collect();
        for (number, item) in numbers.into_iter().zip(items) {
            let item = &item["create"];
            assert_eq!(item["_id"], id(self.number, number));
            match item["status"].as_u64() {
                Some(201) => {}
                // It was taken, and its acknowledgement was lost.
                Some(409) if was_sent => {}
                Some(429 | 503) => continue,
                _ => panic!("{item}"),
            }
            events.remove(&number);
            self.sent.acknowledged.entry(self.number).or_default().insert(number);
            self.shared.acknowledged.fetch_add(1, Ordering::SeqCst);
        }
        true
    }
}

/// Says of what must be there once what is not there, and of what is there what is there more than once or should not.
pub fn compare(what: &str, wanted: &BTreeSet<String>, allowed: &BTreeSet<String>, found: &BTreeMap<String, usize>) {
    let missing: Vec<&String> = wanted.iter().filter(|id| !found.contains_key(*id)).collect();
    let doubled: Vec<_> = found.iter().filter(|(_, count)| **count > 1).collect();
    let strange: Vec<_> = found.keys().filter(|id| !wanted.contains(*id) && !allowed.contains(*id)).collect();
    assert!(
        missing.is_empty() && doubled.is_empty() && strange.is_empty(),
        "{what}: {} wanted; {} missing: {missing:?}; doubled: {doubled:?}; strange: {strange:?}",
        wanted.len(),
        missing.len(),
    );
}
