//! SIGTERM under load: an end in order.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::bench::{Bench, wait_until};
use crate::client::authorization;
use crate::load::{INDEX, Load, MARKED, compare, with_rules};

/// How long it may take: what is under way is finished, and events are written to segments.
const SECONDS: Duration = Duration::from_secs(10);

#[test]
fn sigterm_under_load_ends_in_order() {
    let bench = with_rules(Bench::new());
    let service = bench.start();
    let load = Load::start(4);
    load.to(&service);
    wait_until(SECONDS, || match load.acknowledged() {
        0..500 => Err("there is no load".to_owned()),
        _ => Ok(()),
    });
    let (status, took, log) = service.terminate();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(took < SECONDS, "{took:?}\n{log}");
    assert!(log.contains("stopped"), "{log}");
    thread::sleep(Duration::from_millis(50));
    let sent = load.give_up();

    compare("events", &sent.ids(), &sent.unsure_ids(), &bench.stored_ids(INDEX));
    // What it had no time to look at, it looks at when it is there again.
    let marked = sent.marked();
    let service = bench.start();
    service.wait_for_signals(MARKED, marked.len() as u64);
    let log = service.stop();
    assert!(!log.contains("came back from the log"), "all was in segments:\n{log}");
    let unsure = sent.unsure_ids();
    compare("alerts", &marked, &unsure, &bench.alerted_ids(MARKED));
}

#[test]
fn requests_under_way_are_answered() {
    let bench = Bench::new();
    let service = bench.start();
    let mut stream = TcpStream::connect(service.address).expect("a connection");
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", authorization()).as_bytes()).expect("a connection");
    // The rest comes while it stops.
    let client = thread::spawn(move || {
        thread::sleep(Duration::from_millis(300));
        stream.write_all(b"Connection: close\r\n\r\n").expect("a connection");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    });
    thread::sleep(Duration::from_millis(100));
    let (status, took, log) = service.terminate();
    assert!(client.join().expect("a client").starts_with("HTTP/1.1 200"), "{log}");
    assert!(status.success() && took < SECONDS, "{status} {took:?}\n{log}");
}
