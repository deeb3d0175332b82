//! `docs/eql.md` shows what the code does: its examples parse, its messages are the real ones, its tables are whole.
//!
//! `EQLIPSE_BLESS=1 cargo test` rewrites messages and the table of functions.

use eqlipse_eql::function::SIGNATURES;
use eqlipse_eql::{Catalogue, Diagnostic, Dialect, check, limits, parse_with};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/eql.md");
const EXAMPLE: &str = "```eql\n";
const MESSAGES: &str = "```\n\n```text\n";

fn diagnose(source: &str, dialect: Dialect) -> Vec<Diagnostic> {
    parse_with(source, dialect).map_or_else(|errors| errors, |query| check(&query, &Catalogue))
}

/// The dialect of an example behind this text.
fn dialect_behind(page: &str) -> Dialect {
    let section = page.rsplit("\n## ").next().unwrap_or_default();
    if section.contains("### The extended dialect") { Dialect::Extended } else { Dialect::Elastic }
}

fn drawn(source: &str) -> String {
    let shown: Vec<_> = diagnose(source, Dialect::Elastic)
        .iter()
        .map(|diagnostic| diagnostic.render(source, "rule.toml", false))
        .collect();
    shown.join("\n\n").lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The page with the real messages under each example that has any.
fn with_real_messages(page: &str) -> String {
    let mut parts = page.split(EXAMPLE);
    let mut result = String::from(parts.next().unwrap_or_default());
    for part in parts {
        result.push_str(EXAMPLE);
        let source = part.split("```").next().unwrap_or_default();
        match part.strip_prefix(source).and_then(|rest| rest.strip_prefix(MESSAGES)) {
            Some(rest) => {
                let after = rest.split_once("```\n").map_or("", |(_, after)| after);
                result += &format!("{source}{MESSAGES}{}```\n{after}", drawn(source));
            }
            None => {
                assert!(diagnose(source, dialect_behind(&result)).is_empty(), "{}", drawn(source));
                result.push_str(part);
            }
        }
    }
    result
}

fn function_rows() -> String {
    let row = |signature: &eqlipse_eql::function::Signature| {
        let fold = if signature.fold { "`~`" } else { "" };
        format!("| `{}` | {fold} | {} |\n", signature.usage(), signature.doc)
    };
    SIGNATURES.iter().map(row).collect()
}

fn with_real_functions(page: &str) -> String {
    let head = "| function | `~` | result |\n|---|---|---|\n";
    let (before, rest) = page.split_once(head).expect("the table of functions");
    let after = rest.split_once("\n\n").map_or("", |(_, after)| after);
    format!("{before}{head}{}\n{after}", function_rows())
}

#[test]
fn page_shows_what_is() {
    let page = std::fs::read_to_string(PAGE).expect("docs/eql.md");
    let real = with_real_functions(&with_real_messages(&page));
    if std::env::var_os("EQLIPSE_BLESS").is_some() {
        std::fs::write(PAGE, real).expect("docs/eql.md can be written");
        return;
    }
    assert_eq!(page, real);
}

#[test]
fn page_names_the_limits() {
    let page = std::fs::read_to_string(PAGE).expect("docs/eql.md");
    let rows = [
        ("length of a query", format!("{} MiB", limits::MAX_QUERY_BYTES >> 20)),
        ("nesting", limits::MAX_DEPTH.to_string()),
        ("elements of a list", limits::MAX_LIST_ITEMS.to_string()),
        ("join keys of an item", limits::MAX_JOIN_KEYS.to_string()),
        ("items of a sequence", limits::MAX_SEQUENCE_ITEMS.to_string()),
        ("items of a sample", limits::MAX_SAMPLE_ITEMS.to_string()),
        ("`runs`", limits::MAX_RUNS.to_string()),
        ("pipes", limits::MAX_PIPES.to_string()),
        ("expressions of a pipe", limits::MAX_PIPE_EXPRESSIONS.to_string()),
        ("errors or warnings", limits::MAX_DIAGNOSTICS.to_string()),
    ];
    for (what, limit) in rows {
        let row = page.lines().find(|line| line.starts_with(&format!("| {what}"))).expect(what);
        let value = row.split('|').nth(2).expect("two columns").replace(',', "");
        assert!(value.contains(&limit), "{row}: {limit}");
    }
}
