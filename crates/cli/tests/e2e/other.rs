//! The other commands, end to end, and the manual page of the command line.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::bench::{Bench, EVENTS, SEQUENCE, SINGLE, eqlipse};
use eqlipse_testkit::corpus;
use serde_json::Value;

#[test]
fn rules_list() {
    let bench = Bench::filled();
    let (out, code) = bench.run(&["rules", "list", "rules"]);
    insta::assert_snapshot!("rules-list", out);
    assert_eq!(code, 0);
    let (out, _) = bench.run(&["rules", "list", "--rules", "rules", "--format", "json", "--include", "TA0011"]);
    let rules: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(rules[0]["name"], "Courier Reaches the Network");
    assert_eq!(rules.as_array().unwrap().len(), 1);
    let (out, _) = bench.run(&["rules", "list", "rules", "--format", "csv"]);
    assert_eq!(out.lines().count(), 3);
    assert!(bench.run(&["rules", "list"]).0.lines().count() > 25);
    assert_eq!(bench.run(&["rules", "list", "nowhere"]).1, 1);
}

#[test]
fn rules_show() {
    let bench = Bench::filled();
    let (out, code) = bench.run(&["rules", "show", "courier*", "--rules", "rules"]);
    insta::assert_snapshot!("rules-show", out);
    assert_eq!(code, 0);
    let (out, _) = bench.run(&["rules", "show", "*d5e02", "--rules", "rules", "--format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["name"], "Shell by Courier");
    let (_, err, code) = bench.run_all(&["rules", "show", "no such rule"]);
    assert!(code == 1 && err.contains("no rule has the id or name"), "{err}");
}

#[test]
fn rules_check_points_at_the_place_in_the_file() {
    let bench = Bench::filled();
    assert_eq!(bench.run(&["rules", "check", "rules", "--strict"]), (String::new(), 0));
    bench.file(
        "rules/sequence.toml",
        SEQUENCE.replace("process.name : \"courier*\"", "wildcrd(process.name, \"courier*\")"),
    );
    bench.file(
        "rules/single.toml",
        SINGLE.replace("process.parent.name", "proces.parent.name").replace("tags = [\"Domain: Test\"]", ""),
    );
    let (out, err, code) = bench.run_all(&["rules", "check", "rules"]);
    insta::assert_snapshot!("rules-check", out);
    assert_eq!((err.as_str(), code), ("2 rules checked: 1 error, 2 warnings\n", 1));
    let (out, _) = bench.run(&["rules", "check", "rules", "--format", "json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&report["errors"], &report["warnings"]), (&Value::from(1), &Value::from(2)));
    let error = report["findings"].as_array().unwrap().iter().find(|finding| finding["level"] == "error").unwrap();
    assert_eq!(
        (&error["line"], &error["rule_id"]),
        (&Value::from(2), &Value::from("6b1ba2a1-8d0e-4bb0-9b3b-1d2f3c4d5e01"))
    );
}

#[test]
fn rules_check_strict_and_duplicates() {
    let bench = Bench::filled();
    bench.file("rules/single.toml", SINGLE.replace("license = \"Apache-2.0\"", ""));
    assert_eq!(bench.run(&["rules", "check", "rules"]).1, 0);
    assert_eq!(bench.run(&["rules", "check", "rules", "--strict"]).1, 1);
    bench.file("rules/twice.toml", SINGLE.replace("Shell by", "Second shell by"));
    let (out, code) = bench.run(&["rules", "check", "rules"]);
    assert!(code == 1 && out.contains("duplicate-id"), "{out}");
    assert_eq!(bench.run(&["rules", "check", "nowhere"]).1, 1);
}

#[test]
fn bundled_rules_are_in_order() {
    let (out, err, code) = Bench::new().run_all(&["rules", "check", "--strict"]);
    assert_eq!(code, 0, "{out}{err}");
}

#[test]
fn convert_writes_documents() {
    let bench = Bench::filled();
    let (out, code) = bench.run(&["convert", "events.ndjson"]);
    assert_eq!((out.lines().count(), code), (3, 0));
    bench.file(
        "hits.json",
        format!(
            "[{}]",
            EVENTS.lines().map(|line| format!("{{\"_index\":\"x\",\"_source\":{line}}}")).collect::<Vec<_>>().join(",")
        ),
    );
    let (out, _) = bench.run(&["convert", "hits.json", "--output", "out.ndjson"]);
    assert_eq!(out, "");
    let first: Value = serde_json::from_str(bench.read("out.ndjson").lines().next().unwrap()).unwrap();
    assert_eq!(first["process"]["name"], "courier.exe");
    bench.file("bad.ndjson", format!("{EVENTS}{{\n"));
    assert_eq!(bench.run(&["convert", "bad.ndjson"]).1, 0);
    assert_eq!(bench.run(&["convert", "bad.ndjson", "--strict"]).1, 2);
    assert_eq!(bench.run(&["convert", "nowhere"]).1, 1);
}

/// Checks that a hunt over the Parquet file of these logs writes the alerts that a hunt over the logs writes.
fn check_parquet(rules: &str, logs: &str) {
    let bench = Bench::new();
    let (_, err, code) = bench.run_all(&["convert", "--to", "parquet", logs, "--output", "events.parquet"]);
    assert_eq!(code, 0, "{err}");
    for more in [&[][..], &["--order-by", "@timestamp", "--jobs", "1"]] {
        let hunt = |input: &str| {
            let arguments = ["hunt", "--rules", rules, input, "--format", "ndjson"];
            bench.run_all(&arguments.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
        };
        let (expected, _, code) = hunt(logs);
        let (alerts, err, parquet_code) = hunt("events.parquet");
        assert_eq!(code, parquet_code, "{err}");
        assert!(expected.lines().count() > 10);
        assert!(alerts == expected, "{err}");
    }
}

#[test]
fn parquet_files_give_the_alerts_of_the_logs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let path = |path: &str| root.join(path).display().to_string();
    check_parquet(&path("rules"), &path("examples/story"));
    let bench = Bench::filled();
    assert_eq!(bench.run(&["convert", "--to", "parquet", "events.ndjson", "-o", "events.parquet"]), (String::new(), 0));
    let (documents, _) = bench.run(&["convert", "events.parquet"]);
    assert_eq!(documents, bench.run(&["convert", "events.ndjson"]).0);
    let query = |input: &str| bench.run(&["query", "process where true", input, "--format", "ndjson"]);
    assert_eq!(query("events.parquet"), query("events.ndjson"));
}

#[test]
fn parquet_files_of_real_logs_give_their_alerts() {
    let Some(corpus) = corpus("Parquet files of real logs", "") else { return };
    let path = |path: &str| corpus.join(path).display().to_string();
    check_parquet(&path("rules/elastic-detection-rules"), &path("data/evtx-attack-samples"));
}

#[test]
fn version_completions_and_manual() {
    let (out, code) = Bench::new().run(&["--version"]);
    assert!(code == 0 && out.starts_with(concat!("eqlipse ", env!("CARGO_PKG_VERSION"), " (")), "{out}");
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(Bench::new().run(&["completions", shell]).0.contains("eqlipse"), "{shell}");
    }
    let bench = Bench::new();
    assert!(bench.run(&["man"]).0.starts_with(".ie") || bench.run(&["man"]).0.contains(".TH eqlipse"));
    assert_eq!(bench.run(&["man", "--output", "man"]).1, 0);
    for page in ["eqlipse", "eqlipse-hunt", "eqlipse-rules-check", "eqlipse-convert"] {
        assert!(bench.path(&format!("man/{page}.1")).exists(), "{page}");
    }
}

#[test]
fn compiling_says_what_rules_have_in_common() {
    let bench = Bench::filled();
    let (out, err, code) = bench.run_all(&["rules", "compile", "rules"]);
    assert_eq!((out.as_str(), code), ("2 rules compiled\n", 0), "{err}");
    assert!(err.starts_with("read in ") && err.contains(" s, compiled in "), "{err}");
    let stats = |rules: &[&str]| -> serde_json::Value {
        let (out, _) = bench.run(&[&["rules", "compile", "--format", "json"], rules].concat());
        serde_json::from_str(&out).unwrap()
    };
    let count = |stats: &serde_json::Value, name: &str| stats[name].as_u64().unwrap();
    let once = stats(&["rules"]);
    assert_eq!((count(&once, "rules"), count(&once, "stages")), (2, 3));
    // The same query under another id asks for as much again, and adds nothing.
    let copy = bench.read("rules/single.toml").replace("6b1ba2a1", "7b1ba2a1");
    bench.file("rules/copy.toml", copy);
    let twice = stats(&["rules"]);
    assert_eq!(count(&twice, "predicates"), count(&once, "predicates"));
    assert!(count(&twice, "predicates_asked") > count(&once, "predicates_asked"));
    assert_eq!(count(&twice, "distinct_stages"), count(&once, "distinct_stages"));
    let (out, _) = bench.run(&["rules", "compile", "rules", "--stats"]);
    assert!(out.starts_with("Rules       3\nStages      4, 3 with a condition of their own\n"), "{out}");
    bench.file(
        "rules/bad.toml",
        bench.read("rules/single.toml").replace("6b1ba2a1", "8b1ba2a1").replace("where", "were"),
    );
    assert_eq!(bench.run(&["rules", "compile", "rules"]).1, 1);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let bench = Bench::new();
    bench.file("many.ndjson", EVENTS.repeat(5_000));
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("eqlipse"))
        .args(["convert", "many.ndjson"])
        .current_dir(bench.path(""))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{line}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_exits_130_and_leaves_nothing() {
    let bench = Bench::filled();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("eqlipse"))
        .args(["hunt", "--rules", "rules", "-", "--output", "report.html", "--format", "html"])
        .current_dir(bench.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Held open, or the run would end by itself.
    let _stdin = child.stdin.take();
    let entries = || fs::read_dir(bench.path("")).unwrap().count();
    let begun = (0..500).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        entries() == 3
    });
    assert!(begun, "the output was not opened");
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(entries(), 2);
}

/// The commands of the manual page, in its order.
const COMMANDS: &[&[&str]] = &[
    &[],
    &["hunt"],
    &["query"],
    &["sql"],
    &["explain"],
    &["rules"],
    &["rules", "list"],
    &["rules", "show"],
    &["rules", "check"],
    &["rules", "compile"],
    &["rules", "readiness"],
    &["rules", "fmt"],
    &["rules", "test"],
    &["convert"],
    &["serve"],
    &["config"],
    &["config", "init"],
    &["config", "check"],
    &["status"],
    &["store"],
    &["store", "stats"],
    &["store", "check"],
    &["store", "export"],
    &["store", "prune"],
    &["dead-letters"],
    &["dead-letters", "list"],
    &["dead-letters", "replay"],
    &["backfill"],
    &["completions"],
    &["man"],
];

const INTRODUCTION: &str = "\
# Command line

What `eqlipse --help` and the help of each command say. This page is made from the binary: after a change of the
command line, run `EQLIPSE_UPDATE_DOCS=1 cargo test -p eqlipse-cli --test e2e`.

";

/// The commands that a help text lists, but for clap's own `help`.
fn subcommands<'a>(help: &[&'a str]) -> Vec<&'a str> {
    let list = help.iter().skip_while(|line| **line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = list.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").collect()
}

#[test]
fn the_book_has_the_help_of_every_command() {
    let mut page = INTRODUCTION.to_owned();
    for &command in COMMANDS {
        let name = ["eqlipse"].iter().chain(command).copied().collect::<Vec<_>>().join(" ");
        let output = eqlipse().args(command).arg("--help").output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        for below in subcommands(&help) {
            let path: Vec<&str> = command.iter().copied().chain([below]).collect();
            assert!(COMMANDS.contains(&&path[..]), "COMMANDS lacks {path:?}");
        }
        write!(page, "## `{name}`\n\n```text\n{}\n```\n\n", help.join("\n").trim_end()).unwrap();
    }
    let page = format!("{}\n", page.trim_end());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
    if std::env::var_os("EQLIPSE_UPDATE_DOCS").is_some() {
        fs::write(path, &page).unwrap();
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(written == page, "docs/cli.md is out of date: run this test with EQLIPSE_UPDATE_DOCS=1");
}
