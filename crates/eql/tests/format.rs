//! The formatter over published rules, the bundled rules, and damaged text.

use std::path::Path;

use eqlipse_eql::format::{WIDTH, comments};
use eqlipse_eql::{FormatError, format, parse};
use eqlipse_testkit::corpus;

/// The queries of the EQL rules below a folder, with their paths.
fn queries(folder: &Path) -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name() {
        let path = entry.expect("folder is readable").into_path();
        let name = path.display().to_string();
        if !name.ends_with(".toml") || name.ends_with(".test.toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("file is readable");
        let file: toml::Table = text.parse().expect("file is TOML");
        let rule = file.get("rule").and_then(|rule| rule.as_table());
        let text = |key| rule.and_then(|rule| rule.get(key)).and_then(|value| value.as_str());
        if let (Some("eql"), Some(query)) = (text("type"), text("query")) {
            queries.push((name, query.to_owned()));
        }
    }
    queries
}

/// What is wrong with what the formatter makes of a query.
fn fault(source: &str) -> Option<String> {
    let formatted = match format(source) {
        Ok(formatted) => formatted,
        Err(error) => return Some(error.to_string()),
    };
    let (before, after) = (parse(source).ok()?, parse(&formatted));
    if after.is_err() || after.is_ok_and(|after| !before.eq_ignoring_spans(&after)) {
        return Some(format!("means something else:\n{formatted}"));
    }
    if comments(source).len() != comments(&formatted).len() {
        return Some(format!("has other comments:\n{formatted}"));
    }
    let again = format(&formatted).unwrap_or_else(|error| error.to_string());
    if again != formatted {
        return Some(format!("is not stable:\n{formatted}\n--- again ---\n{again}"));
    }
    let spaced = formatted.lines().any(|line| line.ends_with(' '));
    spaced.then(|| format!("has spaces at the end of a line:\n{formatted}"))
}

fn check(queries: &[(String, String)]) -> usize {
    let failures: Vec<String> =
        queries.iter().filter_map(|(name, query)| Some(format!("{name} {}", fault(query)?))).collect();
    assert!(failures.is_empty(), "{} queries:\n{}", failures.len(), failures.join("\n"));
    queries.iter().map(|(_, query)| comments(query).len()).sum()
}

#[test]
fn prebuilt_rules() {
    let Some(folder) = corpus("prebuilt rules", "rules/elastic-detection-rules") else { return };
    let queries = queries(&folder);
    let comments = check(&queries);
    let lines: Vec<String> = queries.iter().flat_map(|(_, query)| lines(query)).collect();
    let long = lines.iter().filter(|line| line.chars().count() > WIDTH).count();
    eprintln!("{} prebuilt queries with {comments} comments: {} lines, {long} too long", queries.len(), lines.len());
    assert_eq!(queries.len(), 1081);
    assert!(long * 100 < lines.len(), "{long} of {} lines", lines.len());
}

fn lines(query: &str) -> Vec<String> {
    format(query).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn bundled_rules() {
    let queries = queries(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../rules")));
    check(&queries);
    for (name, query) in &queries {
        assert_eq!(format!("{}\n", format(query).expect("formats")), *query, "{name}: run `eqlipse rules fmt rules`");
    }
}

/// The layout does not depend on how the lines were broken before.
#[test]
fn line_breaks_do_not_count() {
    let Some(folder) = corpus("prebuilt rules", "rules/elastic-detection-rules") else { return };
    for (name, query) in queries(&folder) {
        if !comments(&query).is_empty() || query.contains("\n\n") || query.contains("\n \n") {
            continue;
        }
        let one_line = query.replace(['\n', '\t', '\r'], " ");
        let blank_lines = query.lines().any(|line| line.trim().is_empty());
        if !blank_lines {
            assert_eq!(format(&one_line).ok(), format(&query).ok(), "{name}");
        }
    }
}

#[test]
fn faults_are_reported() {
    assert!(matches!(format("process where"), Err(FormatError::Syntax(errors)) if !errors.is_empty()));
    assert!(matches!(format(""), Err(FormatError::Syntax(_))));
    assert!(matches!(format("any where a /* "), Err(FormatError::Syntax(_))));
}

/// Long rows and deep nesting take no more than moments.
#[test]
fn large_queries() {
    let list = (0..60_000).map(|n| format!("\"value-{n}\"")).collect::<Vec<_>>().join(",");
    let row = (0..20_000).map(|n| format!("a == {n}")).collect::<Vec<_>>().join(" or ");
    let deep = format!("any where {}a == 1 and b == 2{}", "(".repeat(190), ")".repeat(190));
    let long = format!("any where {row}");
    let row = row[..row.len() / 8].rsplit_once(" or ").map_or("", |(row, _)| row);
    let deep_and_long = format!("any where {}{row}{}", "(b == 1 and ".repeat(150), ")".repeat(150));
    for query in [format!("any where a in ({list})"), long, deep, deep_and_long] {
        assert_eq!(fault(&query), None);
    }
}
