//! Published rules and specs, read at run time where they are.

use std::collections::BTreeMap;
use std::path::Path;

use eqlipse_eql::check::FieldType;
use eqlipse_eql::{Catalogue, Diagnostic, FieldTypes, check, check_expression, parse, parse_expression};
use eqlipse_testkit::corpus;

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

/// What Elastic Endpoint's dialect has and Elasticsearch has not.
const ENDPOINT_ONLY: [&str; 4] =
    ["unsupported-variable", "unsupported-alias", "unsupported-relationship", "unknown-function"];

#[test]
fn behavior_rules_parse_but_for_the_endpoint_dialect() {
    let Some(folder) = corpus("behavior rules", "rules/elastic-behavior-rules/rules") else {
        return;
    };
    let (mut rules, mut refused, mut failures) = (0, BTreeMap::<_, u32>::new(), Vec::new());
    for (path, file) in toml_files(&folder) {
        let rule = file["rule"].as_table().expect("[rule]");
        let query = text(rule, "query").expect("query");
        rules += 1;
        let errors = parse(query).err().unwrap_or_default();
        match errors.first() {
            Some(first) if errors.iter().any(|error| ENDPOINT_ONLY.contains(&error.code)) => {
                *refused.entry(first.code).or_default() += 1;
            }
            _ => failures.extend(round_trip(query, &path).err()),
        }
    }
    eprintln!("{rules} behavior rules, refused for Elastic Endpoint's own syntax: {refused:?}");
    assert!(failures.is_empty(), "{} rules fail:\n{}", failures.len(), failures.join("\n"));
    assert!(refused.values().sum::<u32>() * 4 < rules);
}

/// Field types of an Elasticsearch mapping file; `None` for fields it does not have.
struct Mapping(serde_json::Value);

impl FieldTypes for Mapping {
    fn field_type(&self, name: &str) -> Option<FieldType> {
        let path = format!("/properties/{}", name.replace('.', "/properties/"));
        FieldType::from_mapping(self.0.pointer(&path)?.get("type")?.as_str()?)
    }

    fn suggest(&self, _name: &str) -> Option<String> {
        None
    }
}

fn mapping(folder: &Path, name: &str) -> Mapping {
    let text = std::fs::read_to_string(folder.join(name)).expect("mapping");
    Mapping(serde_json::from_str(&text).expect("mapping is JSON"))
}

/// The text with the contents of its strings blanked out.
fn without_strings(query: &str) -> String {
    let (mut result, mut quote, mut escaped) = (String::new(), None, false);
    for c in query.chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => {
                quote = None;
                result.push(c);
            }
            Some(_) => {}
            None => {
                quote = (c == '"' || c == '\'').then_some(c);
                result.push(c);
            }
        }
    }
    result
}

/// The codes that a query of the older specs may be refused with, read off its text. Elasticsearch refuses the same.
fn refusals(query: &str) -> Vec<&'static str> {
    let text = without_strings(query);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let after =
        |mark: &str, matches: fn(&str) -> bool| words.split(mark).skip(1).any(|rest| matches(rest.trim_start()));
    let begins_name = |rest: &str| rest.trim_start_matches('(').starts_with(|c: char| c.is_ascii_lowercase());
    let begins_value = |rest: &str| {
        let rest = rest.trim_start_matches('(');
        rest.starts_with(|c: char| c.is_ascii_digit() || c == '-')
            || rest.starts_with("null")
            || rest.starts_with("true")
    };
    let mut codes = Vec::new();
    let mut add = |holds: bool, code: &'static str| codes.extend(holds.then_some(code));
    add(words.starts_with("join"), "unsupported-join");
    add(["child of", "descendant of", "event of"].iter().any(|of| words.contains(of)), "unsupported-relationship");
    add(["| count", "| filter", "| sort", "| unique"].iter().any(|pipe| words.contains(pipe)), "unsupported-pipe");
    add(["array", "matchLite(", "match(", "safe("].iter().any(|name| words.contains(name)), "unknown-function");
    add(words.contains("?\""), "old-raw-string");
    add(words.contains('\''), "single-quotes");
    add(words.contains("!:"), "unknown-operator");
    add(after(":", begins_value), "pattern-not-string");
    add(after(":", begins_name) || after(" in (", begins_name), "not-constant");
    add(after("[", |rest| rest.starts_with(|c: char| c.is_ascii_digit())), "array-index");
    add(after(" by ", |rest| rest.split(']').next().is_some_and(|keys| keys.contains(" * "))), "key-not-field");
    add(words.contains("name <= parent"), "field-comparison");
    codes
}

/// Every query of the specs is accepted, or refused for a reason that can be seen in its text.
#[test]
fn spec_queries_parse_or_are_refused() {
    let Some(folder) = corpus("EQL specs", "conformance/eql") else {
        return;
    };
    let types = mapping(&folder, "mapping-default.json");
    let (mut accepted, mut refused, mut failures) = (0, BTreeMap::<_, u32>::new(), Vec::new());
    for (path, file) in toml_files(&folder) {
        for query in file.get("queries").and_then(|list| list.as_array()).into_iter().flatten() {
            let source = query["query"].as_str().expect("query");
            let errors: Vec<_> = match parse(source) {
                Ok(query) => check(&query, &types).into_iter().filter(Diagnostic::is_error).collect(),
                Err(errors) => errors,
            };
            let expected = refusals(source);
            match errors.first() {
                None if expected.is_empty() => accepted += 1,
                Some(first) if expected.contains(&first.code) => *refused.entry(first.code).or_default() += 1,
                _ => failures.push(format!("expected {expected:?}\n{source}\n{}", rendered(&errors, source, &path))),
            }
        }
    }
    eprintln!("{accepted} spec queries accepted, refused: {refused:?}");
    assert!(failures.is_empty(), "{} queries:\n{}", failures.len(), failures.join("\n"));
    assert!(accepted > 150);
}

/// Every `expression` under the table, and whether it stands among `failures`.
fn expressions<'a>(value: &'a toml::Value, must_fail: bool, found: &mut Vec<(&'a str, bool)>) {
    match value {
        toml::Value::Table(table) => {
            found.extend(text(table, "expression").map(|expression| (expression, must_fail)));
            for (name, value) in table {
                expressions(value, must_fail || name == "failures", found);
            }
        }
        toml::Value::Array(values) => values.iter().for_each(|value| expressions(value, must_fail, found)),
        _ => {}
    }
}

#[test]
fn spec_expressions_parse_or_are_refused() {
    let Some(folder) = corpus("EQL specs", "conformance/eql") else {
        return;
    };
    let (mut accepted, mut failures) = (0, Vec::new());
    for (path, file) in toml_files(&folder).into_iter().filter(|(path, _)| path.contains("endgame")) {
        let (file, mut found) = (toml::Value::Table(file), Vec::new());
        expressions(&file, false, &mut found);
        for (expression, must_fail) in found.into_iter().filter(|(expression, _)| !expression.contains('$')) {
            let source = if expression.contains('"') { expression.into() } else { expression.replace('\'', "\"") };
            // As a condition, so that only the expression itself is judged.
            let errors = match parse_expression(&source) {
                Ok(parsed) => check_expression(&parsed, &Catalogue),
                Err(errors) => errors,
            };
            let refused = errors.iter().any(|error| error.is_error() && error.code != "not-boolean");
            let expected = must_fail || !refusals(&source).is_empty();
            accepted += usize::from(!refused);
            if refused != expected {
                failures.push(format!("{source}\n{}", rendered(&errors, &source, &path)));
            }
        }
    }
    eprintln!("{accepted} spec expressions accepted");
    assert!(failures.is_empty(), "{} expressions:\n{}", failures.len(), failures.join("\n"));
    assert!(accepted > 100);
}
