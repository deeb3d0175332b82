//! A full disk: said clearly, and over when there is room again.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::bench::{Bench, wait_until};
use crate::load::{INDEX, Load, MARKED, PAIRS, compare, with_rules};

/// The disk: what is sent, its segments and its alerts have room on it.
const MEBIBYTES: usize = 128;
/// Of it, what is taken by something else.
const BALLAST: usize = 118;

/// A small file system in memory, gone when this is dropped.
struct Disk(TempDir);

impl Disk {
    /// `None`, said on standard error, where the test may not mount one.
    fn new() -> Option<Self> {
        let folder = TempDir::new().expect("a temporary folder");
        let options = format!("size={MEBIBYTES}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder)),
            _ => {
                eprintln!("SKIPPED: a full disk: a small file system can be mounted by root only");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes room away.
    fn fill(&self) -> PathBuf {
        let ballast = self.path().join("ballast");
        fs::write(&ballast, vec![7; BALLAST << 20]).expect("room for the ballast");
        ballast
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, as a killed service may not be quite gone.
        _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

#[test]
fn a_full_disk_is_said_and_survived() {
    let Some(disk) = Disk::new() else { return };
    let bench = with_rules(Bench::with_data(&disk.path().join("data")));
    let service = bench.start();
    let ballast = disk.fill();
    let load = Load::start(2);
    load.to(&service);
    let refused = wait_until(Duration::from_secs(40), || {
        let answer = service.send("POST", "/logs-filler-default/_bulk", large_request());
        match answer.status {
            200 => Err(format!("the disk does not get full: {} events", load.acknowledged())),
            _ => Ok(answer),
        }
    });
    assert!(matches!(refused.status, 429 | 503), "{}", refused.text());
    let reason = refused.json()["error"]["reason"].to_string();
    assert!(reason.contains("space") || refused.status == 429, "{reason}");
    // What needs no room goes on.
    assert_eq!(service.send("GET", "/health/live", "").status, 200);
    let acknowledged = load.acknowledged();
    assert!(service.count(INDEX) >= acknowledged);
    thread::sleep(Duration::from_secs(1));
    fs::remove_file(ballast).expect("the ballast");
    let before = load.acknowledged();
    wait_until(Duration::from_secs(20), || match load.acknowledged() > before + 100 {
        true => Ok(()),
        false => Err("it does not go on when there is room".to_owned()),
    });
    let sent = load.finish();
    assert!(sent.refused.get(&503).is_some_and(|count| *count > 0), "{:?}", sent.refused);
    let (marked, pairs) = (sent.marked(), sent.pairs());
    service.wait_for_signals(MARKED, marked.len() as u64);
    service.wait_for_signals(PAIRS, 3 * pairs.len() as u64);
    wait_until(Duration::from_secs(10), || match service.send("GET", "/health/ready", "") {
        answer if answer.status == 200 => Ok(()),
        answer => Err(answer.text()),
    });
    service.stop();

    let none = Default::default();
    compare("events", &sent.ids(), &none, &bench.stored_ids(INDEX));
    compare("alerts of marked events", &marked, &none, &bench.alerted_ids(MARKED));
    compare("alerts of pairs", &pairs, &none, &bench.alerted_ids(PAIRS));
    let (_, err, code) = bench.store("check");
    assert_eq!(code, 0, "{err}");
}

/// Half a mebibyte that cannot be packed much.
fn large_request() -> String {
    let mut chance = u64::from(std::process::id()) ^ jiff::Timestamp::now().as_nanosecond() as u64;
    let mut text = String::new();
    while text.len() < 512 << 10 {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{:08x}", chance >> 32));
    }
    format!("{{\"create\":{{}}}}\n{{\"event\":{{\"category\":\"file\"}},\"message\":\"{text}\"}}\n")
}
