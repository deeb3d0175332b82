//! The rules in `rules/`: each loads, checks without a warning, and keeps to the conventions of the folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use eqlipse_eql::ast::{Body, Query};
use eqlipse_eql::visit::fields;
use eqlipse_eql::{Catalogue, check, parse};
use toml::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../rules")
}

/// Path inside `rules/`, and the file.
fn rules() -> BTreeMap<String, Value> {
    let mut rules = BTreeMap::new();
    for folder in ["windows", "linux", "cross-platform"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.to_string_lossy().ends_with(".test.toml") {
                continue;
            }
            let name = format!("{folder}/{}", path.file_name().unwrap().to_string_lossy());
            let text = std::fs::read_to_string(&path).unwrap();
            rules.insert(name.clone(), toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}")));
        }
    }
    rules
}

fn query_of(name: &str, rule: &Value) -> Query {
    let text = rule["rule"]["query"].as_str().unwrap();
    parse(text).unwrap_or_else(|errors| {
        let rendered: Vec<String> = errors.iter().map(|error| error.render(text, name, false)).collect();
        panic!("{}", rendered.join("\n"))
    })
}

#[test]
fn every_query_checks_without_a_warning() {
    let mut messages = Vec::new();
    for (name, rule) in rules() {
        let text = rule["rule"]["query"].as_str().unwrap();
        let found = check(&query_of(&name, &rule), &Catalogue);
        messages.extend(found.iter().map(|message| message.render(text, &name, false)));
    }
    assert!(messages.is_empty(), "{} messages\n{}", messages.len(), messages.join("\n"));
}

#[test]
fn every_field_is_in_the_catalogue() {
    let mut unknown = BTreeSet::new();
    for (name, rule) in rules() {
        let query = query_of(&name, &rule);
        let names = fields(&query).into_iter().map(|field| field.name.clone());
        unknown.extend(names.filter(|name| eqlipse_ecs::field_type(name).is_none()));
    }
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn metadata_is_whole() {
    let mut ids = BTreeSet::new();
    for (path, file) in rules() {
        let rule = file["rule"].as_table().unwrap();
        let text = |key: &str| rule[key].as_str().unwrap_or_else(|| panic!("{path}: {key}"));
        assert_eq!(rule["author"].as_array().unwrap(), &[Value::from("eqlipse")], "{path}");
        assert_eq!((text("license"), text("language"), text("type")), ("Apache-2.0", "eql", "eql"), "{path}");
        assert!(ids.insert(text("rule_id").to_owned()) && text("rule_id").len() == 36, "{path}");
        let score = rule["risk_score"].as_integer();
        let expected = match text("severity") {
            "low" => 21,
            "medium" => 47,
            "high" => 73,
            _ => 99,
        };
        assert_eq!(score, Some(expected), "{path}");
        assert!(text("note").contains("### What to do") && !text("description").trim().is_empty(), "{path}");
        assert!(!rule["index"].as_array().unwrap().is_empty(), "{path}");
        for reference in rule["references"].as_array().unwrap() {
            assert!(reference.as_str().unwrap().starts_with("https://attack.mitre.org/"), "{path}: {reference}");
        }
    }
}

#[test]
fn threats_agree_with_file_names_and_tags() {
    for (path, file) in rules() {
        let threats = file["rule"]["threat"].as_array().unwrap();
        let tags = file["rule"]["tags"].as_array().unwrap();
        let first = threats[0]["tactic"]["name"].as_str().unwrap().to_lowercase().replace(' ', "_");
        let stem = path.rsplit('/').next().unwrap();
        assert!(stem.starts_with(&first), "{path} is of {first}");
        for threat in threats {
            let tactic = &threat["tactic"];
            let tag = Value::from(format!("Tactic: {}", tactic["name"].as_str().unwrap()));
            assert!(tags.contains(&tag), "{path}: {tag}");
            let link = format!("https://attack.mitre.org/tactics/{}/", tactic["id"].as_str().unwrap());
            assert_eq!(tactic["reference"].as_str(), Some(&*link), "{path}");
            for technique in threat["technique"].as_array().unwrap() {
                check_technique(&path, technique);
            }
        }
    }
}

fn check_technique(path: &str, technique: &Value) {
    let id = technique["id"].as_str().unwrap();
    assert_eq!(technique["reference"], Value::from(format!("https://attack.mitre.org/techniques/{id}/")), "{path}");
    let subtechniques = technique.get("subtechnique").and_then(Value::as_array);
    for subtechnique in subtechniques.into_iter().flatten() {
        assert!(subtechnique["id"].as_str().unwrap().starts_with(&format!("{id}.")), "{path}: {subtechnique}");
    }
}

/// A sequence longer than what a run looks back at, less the time between runs, would be missed.
#[test]
fn the_look_back_covers_maxspan_and_interval() {
    for (path, file) in rules() {
        let minutes = |text: &str| -> i64 { text.trim_start_matches("now-").trim_end_matches('m').parse().unwrap() };
        let from = minutes(file["rule"]["from"].as_str().unwrap());
        let interval = minutes(file["rule"]["interval"].as_str().unwrap());
        if let Body::Sequence(sequence) = query_of(&path, &file).body {
            let span = sequence.maxspan.unwrap_or_else(|| panic!("{path} has no maxspan")) / 60_000_000_000;
            assert!(from > span + interval, "{path}: {from}m for {span}m and {interval}m");
        }
    }
}

#[test]
fn the_set_covers_the_language_and_the_tactics() {
    let rules = rules();
    let queries: Vec<Query> = rules.iter().map(|(path, file)| query_of(path, file)).collect();
    let sequences: Vec<_> = queries
        .iter()
        .filter_map(|query| match &query.body {
            Body::Sequence(sequence) => Some(sequence),
            _ => None,
        })
        .collect();
    assert!(rules.len() >= 30 && sequences.len() >= 10);
    assert!(queries.iter().any(|query| matches!(query.body, Body::Sample(_))));
    assert!(sequences.iter().any(|sequence| sequence.until.is_some()));
    let mut items = sequences.iter().flat_map(|sequence| &sequence.items);
    assert!(items.clone().any(|item| item.negated) && items.clone().any(|item| item.runs > 1));
    assert!(items.any(|item| item.keys.iter().any(|key| key.optional)));
    let tactics: BTreeSet<&str> = rules
        .values()
        .flat_map(|file| file["rule"]["threat"].as_array().unwrap())
        .map(|threat| threat["tactic"]["id"].as_str().unwrap())
        .collect();
    assert_eq!(tactics.len(), 12, "{tactics:?}");
}
