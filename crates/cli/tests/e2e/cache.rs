//! The cache of loaded rules: what is written is the same with it and without, and never the rules of yesterday.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::bench::{Bench, SINGLE};

/// Rules enough for the cache, one of them broken, one with a warning.
fn bench() -> Bench {
    let bench = Bench::new();
    for number in 0..40 {
        rule(&bench, number, &format!("Rule {number}"));
    }
    bench.file("rules/broken.toml", "[rule]\ntype = \"eql\"\n");
    bench.file("rules/odd.toml", format!("{}\nunheard_of = 1\n", text(100, "Odd")));
    settle(&bench);
    bench
}

fn text(number: u32, name: &str) -> String {
    let id = format!("6b1ba2a1-8d0e-4bb0-9b3b-1d2f3c4d{number:04x}");
    let note = format!("note = '''{}'''\n", "Look at it.\n".repeat(400));
    SINGLE
        .replace("6b1ba2a1-8d0e-4bb0-9b3b-1d2f3c4d5e02", &id)
        .replace("Shell by Courier", name)
        .replace("severity = \"low\"", &format!("{note}severity = \"low\""))
}

fn rule(bench: &Bench, number: u32, name: &str) {
    bench.file(&format!("rules/{number}.toml"), text(number, name));
}

/// Makes all rules look as if they had been written some time ago; what was written just now is not kept.
fn settle(bench: &Bench) {
    for entry in fs::read_dir(bench.path("rules")).expect("a folder") {
        let file = File::options().append(true).open(entry.expect("an entry").path()).expect("a writable file");
        file.set_modified(SystemTime::now() - Duration::from_secs(60)).expect("its time");
    }
}

/// Standard output, standard error and exit code with the cache.
fn cached(bench: &Bench, arguments: &[&str]) -> (String, String, i32) {
    let mut command = bench.eqlipse(arguments);
    command.env_remove("EQLIPSE_NO_CACHE");
    for name in ["XDG_CACHE_HOME", "LOCALAPPDATA"] {
        command.env(name, bench.path("cache"));
    }
    let output = command.output().expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (text(output.stdout), text(output.stderr), output.status.code().expect("an exit code"))
}

fn entries(bench: &Bench) -> Vec<PathBuf> {
    let Ok(folder) = fs::read_dir(bench.path("cache/eqlipse")) else { return Vec::new() };
    folder.map(|entry| entry.expect("an entry").path()).collect()
}

const COMPILE: [&str; 3] = ["rules", "compile", "rules"];

fn is_from_cache(bench: &Bench) -> bool {
    cached(bench, &COMPILE).1.contains("read from the cache in ")
}

#[test]
fn the_cache_changes_nothing_that_is_written() {
    let bench = bench();
    bench.file("events.ndjson", crate::bench::EVENTS);
    let commands: [&[&str]; 5] = [
        &["hunt", "--rules", "rules", "events.ndjson", "--format", "json", "--quiet"],
        &["rules", "list", "rules", "--format", "json"],
        &["rules", "check", "rules", "--format", "json"],
        &["rules", "show", "6b1ba2a1-8d0e-4bb0-9b3b-1d2f3c4d0007", "--rules", "rules"],
        &["rules", "readiness", "--rules", "rules", "events.ndjson", "--format", "json", "--quiet"],
    ];
    let without: Vec<_> = commands.iter().map(|command| bench.run_all(command)).collect();
    assert!(without.iter().all(|(out, _, _)| !out.is_empty()));
    assert!(without[0].1.contains("broken.toml"), "{}", without[0].1);
    assert!(entries(&bench).is_empty());
    for round in ["cold", "warm"] {
        for (command, expected) in commands.iter().zip(&without) {
            assert_eq!(cached(&bench, command), *expected, "{round}: {command:?}");
        }
        assert_eq!(entries(&bench).len(), 1, "{round}");
    }
    assert!(is_from_cache(&bench));
}

#[test]
fn changed_rules_are_noticed() {
    let bench = bench();
    assert!(!is_from_cache(&bench));
    assert!(is_from_cache(&bench));
    let names = || cached(&bench, &["rules", "list", "rules", "--format", "csv"]).0;
    rule(&bench, 3, "Edited");
    assert!(names().contains("Edited"));
    rule(&bench, 41, "Added");
    assert!(names().contains("Added"));
    fs::remove_file(bench.path("rules/5.toml")).expect("a rule less");
    assert!(!names().contains("Rule 5"));
    // What has just changed is not kept; later it is, in the place of the older entry.
    assert!(!is_from_cache(&bench));
    settle(&bench);
    assert!(!is_from_cache(&bench));
    assert!(is_from_cache(&bench));
    assert_eq!(entries(&bench).len(), 1);
}

#[test]
fn a_damaged_entry_is_made_anew() {
    let bench = bench();
    let expected = cached(&bench, &["rules", "list", "rules"]);
    let whole = fs::read(&entries(&bench)[0]).expect("an entry");
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let mut foreign = whole.clone();
    foreign[15] ^= 1;
    for damaged in [&whole[..whole.len() - 1], &whole[..20], b"", &flipped, &foreign, b"something else altogether"] {
        fs::write(&entries(&bench)[0], damaged).expect("a writable entry");
        assert_eq!(cached(&bench, &["rules", "list", "rules"]), expected);
        assert!(fs::read(&entries(&bench)[0]).expect("an entry") == whole);
    }
}

#[test]
fn it_can_be_switched_off() {
    let bench = bench();
    let (_, err, _) = cached(&bench, &["rules", "compile", "rules", "--no-cache"]);
    assert!(err.contains("read in "), "{err}");
    assert_eq!(entries(&bench).len(), 0);
    // A place that cannot be written to is none.
    bench.file("cache", "a file in its place");
    assert!(!is_from_cache(&bench));
    assert!(!is_from_cache(&bench));
}

#[test]
fn only_the_newest_entries_stay() {
    let bench = bench();
    for copy in 0..10 {
        let name = format!("rules{copy}");
        fs::rename(bench.path("rules"), bench.path(&name)).expect("a new name");
        cached(&bench, &["rules", "compile", &name]);
        fs::rename(bench.path(&name), bench.path("rules")).expect("the old name");
    }
    assert_eq!(entries(&bench).len(), 8);
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let bench = bench();
    cached(&bench, &COMPILE);
    let mode = |path: PathBuf| path.metadata().expect("its permissions").permissions().mode() & 0o777;
    assert_eq!(mode(entries(&bench).remove(0)), 0o600);
    assert_eq!(mode(bench.path("cache/eqlipse")), 0o700);
}

#[test]
fn several_processes_at_once() {
    let bench = bench();
    let expected = bench.run_all(&["rules", "list", "rules"]);
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..6).map(|_| scope.spawn(|| cached(&bench, &["rules", "list", "rules"]))).collect();
        for run in runs {
            assert_eq!(run.join().expect("a run"), expected);
        }
    });
    assert_eq!(entries(&bench).len(), 1);
    assert!(is_from_cache(&bench));
}
