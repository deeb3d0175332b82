//! What users see: every message of the language, as drawn.
//!
//! `messages.txt` holds queries and what is said of them. `EQLIPSE_BLESS=1 cargo test` rewrites it after a change, for
//! review as a diff.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use eqlipse_eql::{Catalogue, Diagnostic, Dialect, check, parse_with};

const MESSAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/messages.txt");
/// Begins a query in the extended dialect.
const EXTENDED: &str = "// extended\n";
/// Stands between two entries, and between a query and its messages.
const RULE: &str = "\n~~~~\n";

fn diagnose(source: &str) -> Vec<Diagnostic> {
    let dialect = if source.starts_with(EXTENDED) { Dialect::Extended } else { Dialect::Elastic };
    parse_with(source, dialect).map_or_else(|errors| errors, |query| check(&query, &Catalogue))
}

fn drawn(source: &str) -> String {
    let shown: Vec<_> = diagnose(source).iter().map(|diagnostic| diagnostic.render(source, "rule", false)).collect();
    // Trailing spaces would not survive editors.
    shown.join("\n\n").lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The queries with the messages expected of them.
fn entries(text: &str) -> Vec<(&str, &str)> {
    text.trim_end().split("\n====\n").map(|entry| entry.split_once(RULE).unwrap_or((entry, ""))).collect()
}

#[test]
fn messages_are_as_written() {
    let text = std::fs::read_to_string(MESSAGES).expect("messages.txt");
    let (mut written, mut wrong) = (Vec::new(), String::new());
    for (source, expected) in entries(&text) {
        let found = drawn(source);
        assert!(!found.is_empty(), "nothing is said of {source}");
        if found != expected {
            write!(wrong, "{source}\n--- expected\n{expected}\n--- found\n{found}\n\n").expect("a string takes all");
        }
        written.push(format!("{source}{RULE}{found}"));
    }
    if std::env::var_os("EQLIPSE_BLESS").is_some() {
        std::fs::write(MESSAGES, written.join("\n====\n") + "\n").expect("messages.txt can be written");
        return;
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Every code that the sources can report occurs in `messages.txt` or in the list of those a short text cannot show.
#[test]
fn every_code_is_shown() {
    const NOT_SHOWN: [&str; 8] = [
        "query-too-long",
        "nested-too-deep",
        "list-too-long",
        "too-many-keys",
        "too-many-items",
        "too-many-pipes",
        "too-many-expressions",
        "unclosed-comment",
    ];
    let text = std::fs::read_to_string(MESSAGES).expect("messages.txt");
    let shown: BTreeSet<_> = entries(&text).iter().flat_map(|(source, _)| diagnose(source)).map(|d| d.code).collect();
    let missing: Vec<_> = codes_in_sources().into_iter().filter(|code| !shown.contains(&**code)).collect();
    let missing: Vec<_> = missing.iter().filter(|code| !NOT_SHOWN.contains(&&***code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The words in kebab case that are the first argument of a diagnostic in the sources.
fn codes_in_sources() -> BTreeSet<String> {
    let mut codes = BTreeSet::new();
    for entry in walkdir::WalkDir::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")) {
        let path = entry.expect("sources are readable").into_path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(path).expect("sources are readable");
        for mark in ["Diagnostic::error(", "Diagnostic::warning("] {
            for rest in text.split(mark).skip(1) {
                let code = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                codes.extend(code.map(String::from));
            }
        }
    }
    assert!(codes.len() > 50, "{codes:?}");
    codes
}
