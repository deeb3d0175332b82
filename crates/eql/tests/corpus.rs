//! Published rules and specs, read at run time where they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use eqlipse_eql::{Catalogue, Diagnostic, check, parse};

/// The corpus folder; `None`, with a note, where it does not exist.
fn corpus(what: &str, part: &str) -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared").into();
    let path = PathBuf::from(std::env::var_os("EQLIPSE_CORPUS").unwrap_or(default)).join(part);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{what}: no corpus at {}", path.display());
    eprintln!("SKIPPED: {what}: no corpus at {}", path.display());
    None
}

fn toml_files(folder: &Path) -> Vec<(String, toml::Table)> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name() {
        let path = entry.expect("corpus is readable").into_path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).expect("corpus is readable");
            files.push((path.display().to_string(), text.parse().expect("corpus is TOML")));
        }
    }
    files
}

fn text<'a>(table: &'a toml::Table, key: &str) -> Option<&'a str> {
    table.get(key)?.as_str()
}

fn rendered(diagnostics: &[Diagnostic], source: &str, name: &str) -> String {
    diagnostics.iter().map(|diagnostic| diagnostic.render(source, name, false) + "\n").collect()
}

/// Parses, checks, prints and parses again; the message says what went wrong.
fn round_trip(source: &str, name: &str) -> Result<Vec<Diagnostic>, String> {
    let query = parse(source).map_err(|errors| rendered(&errors, source, name))?;
    for printed in [format!("{query}"), format!("{query:#}")] {
        let again = parse(&printed).map_err(|errors| rendered(&errors, &printed, name))?;
        if !query.eq_ignoring_spans(&again) {
            return Err(format!("{name}: prints as something else: {printed}"));
        }
    }
    let found = check(&query, &Catalogue);
    match found.iter().any(Diagnostic::is_error) {
        true => Err(rendered(&found, source, name)),
        false => Ok(found),
    }
}

fn count_codes(counts: &mut BTreeMap<&'static str, usize>, found: &[Diagnostic]) {
    for diagnostic in found {
        *counts.entry(diagnostic.code).or_default() += 1;
    }
}

#[test]
fn prebuilt_rules_parse_and_check() {
    let Some(folder) = corpus("prebuilt rules", "rules/elastic-detection-rules") else {
        return;
    };
    let (mut rules, mut failures, mut warnings) = (0, Vec::new(), BTreeMap::new());
    for (path, file) in toml_files(&folder) {
        let rule = file["rule"].as_table().expect("[rule]");
        let (Some("eql"), Some(query)) = (text(rule, "type"), text(rule, "query")) else {
            continue;
        };
        rules += 1;
        match round_trip(query, &path) {
            Ok(found) => count_codes(&mut warnings, &found),
            Err(message) => failures.push(message),
        }
    }
    eprintln!("{rules} prebuilt EQL rules, warnings: {warnings:?}");
    assert!(failures.is_empty(), "{} rules fail:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(rules, 1081);
}

#[test]
fn behavior_rules() {
    let Some(folder) = corpus("behavior rules", "rules/elastic-behavior-rules/rules") else {
        return;
    };
    let (mut rules, mut failures) = (0, Vec::new());
    for (path, file) in toml_files(&folder) {
        let rule = file["rule"].as_table().expect("[rule]");
        let query = text(rule, "query").expect("query");
        rules += 1;
        if let Err(message) = round_trip(query, &path) {
            failures.push(message);
        }
    }
    eprintln!("{rules} behavior rules, {} do not parse", failures.len());
    for f in &failures { eprintln!("{f}"); }
}
