//! `kill -9` under load, again and again: what was acknowledged is there once, and so are its alerts.

use std::thread;
use std::time::Duration;

use crate::bench::Bench;
use crate::load::{INDEX, Load, MARKED, PAIRS, compare, with_rules};

/// How often the service is killed; the long form has 100.
const VARIABLE: &str = "EQLIPSE_TEST_KILLS";
const KILLS: u64 = 5;

/// Numbers without order, the same for the same seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

#[test]
fn killed_again_and_again_it_loses_and_doubles_nothing() {
    let kills = std::env::var(VARIABLE).map_or(KILLS, |text| text.parse().expect("EQLIPSE_TEST_KILLS is a number"));
    // Segments are written and put together all the time, so that it is killed in the middle of that too.
    let bench = with_rules(Bench::new()).set("EQLIPSE_STORE_FLUSH_AGE", "300ms").set("EQLIPSE_SCHEDULE_TICK", "200ms");
    let mut chance = Chance(jiff::Timestamp::now().as_nanosecond() as u64);
    eprintln!("chance: {:#x}", chance.0);
    let load = Load::start(3);
    let mut before = 0;
    for kill in 1..=kills {
        let service = bench.start();
        load.to(&service);
        thread::sleep(Duration::from_millis(50 + chance.below(1_500)));
        assert_sound(&service.kill());
        let acknowledged = load.acknowledged();
        eprintln!("kill {kill} of {kills}: {} more events acknowledged", acknowledged - before);
        before = acknowledged;
    }
    let service = bench.start();
    load.to(&service);
    let sent = load.finish();
    assert!(before > 0, "nothing was acknowledged before the last kill");
    let (marked, pairs) = (sent.marked(), sent.pairs());
    service.wait_for_signals(MARKED, marked.len() as u64);
    service.wait_for_signals(PAIRS, 3 * pairs.len() as u64);
    assert_eq!(service.count(INDEX), sent.ids().len() as u64);
    // Some more windows over the same events.
    thread::sleep(Duration::from_millis(500));
    assert_sound(&service.stop());

    let none = Default::default();
    compare("events", &sent.ids(), &none, &bench.stored_ids(INDEX));
    compare("alerts of marked events", &marked, &none, &bench.alerted_ids(MARKED));
    compare("alerts of pairs", &pairs, &none, &bench.alerted_ids(PAIRS));
    let (_, err, code) = bench.store("check");
    assert_eq!(code, 0, "{err}");
    assert!(!bench.data("events/quarantine").exists());
}

/// Nothing went wrong, as far as the service knows.
fn assert_sound(log: &str) {
    let is_bad = |line: &&str| [" ERROR ", " WARN ", "panicked"].iter().any(|word| line.contains(word));
    // A request that was being written when it was killed is none of them.
    let bad: Vec<&str> = log.lines().filter(is_bad).filter(|line| !line.contains("never acknowledged")).collect();
    assert!(bad.is_empty(), "{bad:?}\n{log}");
}
