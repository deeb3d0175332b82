//! `eqlipse rules show`.

use std::io::{self, Write};

use eqlipse_rules::{LoadedRule, Rule};
use serde_json::Value;

use super::{inert_lines, report_failures, sort};
use crate::args::{ShowArgs, TextOrJson};
use crate::bundled;
use crate::exit::{CliError, Exit};
use crate::format::json::write_pretty;
use crate::output::{Messages, Output, is_styled};
use crate::rule_cache::RuleCache;
use crate::select::Pattern;
use crate::style::{self, DIM, HEADING, LABEL, paint};
use crate::text::{inert, shown};

/// Columns of the labels.
const LABEL_WIDTH: usize = 18;

/// Shows the rules that match.
pub fn show(args: &ShowArgs, messages: Messages) -> Result<Exit, CliError> {
    let mut load = bundled::load_rules(&args.rules.rules, &RuleCache::of_user(&args.rules.cache)).load;
    report_failures(&load, messages, &bundled::names(&args.rules.rules))?;
    let pattern = Pattern::new(&args.rule);
    load.rules.retain(|loaded| pattern.matches(&loaded.rule.rule_id) || pattern.matches(&loaded.rule.name));
    if load.rules.is_empty() {
        return Err(CliError::NoSuchRule(shown(&args.rule).into_owned()));
    }
    sort(&mut load.rules);
    let mut output = Output::open(None)?;
    match args.format {
        TextOrJson::Text => {
            output.write_styled(is_styled(messages.color, None), |out| text(out, &load.rules))?;
        }
        TextOrJson::Json => {
            output.write(|out| load.rules.iter().try_for_each(|loaded| write_pretty(out, &loaded.rule.to_json())))?
        }
    }
    output.finish()?;
    Ok(Exit::Done)
}

fn text(out: &mut dyn Write, rules: &[LoadedRule]) -> io::Result<()> {
    for (at, loaded) in rules.iter().enumerate() {
        if at > 0 {
            writeln!(out)?;
        }
        rule(out, loaded)?;
    }
    Ok(())
}

fn rule(out: &mut dyn Write, loaded: &LoadedRule) -> io::Result<()> {
    let rule = &loaded.rule;
    writeln!(out, "{}", paint(HEADING, shown(&rule.name)))?;
    let severity = paint(style::severity(rule.severity), rule.severity);
    row(out, "severity", &format!("{severity}, risk score {}", rule.risk_score))?;
    row(out, "id", &shown(&rule.rule_id))?;
    row(out, "type", &shown(rule.rule_type().as_str()))?;
    row(out, "version", &rule.version.to_string())?;
    row(out, "from", &shown(&loaded.origin.to_string()))?;
    list(out, "index", rule.index())?;
    row(
        out,
        "schedule",
        &format!("every {}, over {} to {}", rule.interval, shown(rule.from.as_str()), shown(rule.to.as_str())),
    )?;
    row(out, "max_signals", &rule.max_signals.to_string())?;
    list(out, "tags", &rule.tags)?;
    threats(out, rule)?;
    block(out, "description", &rule.description)?;
    if let Some(query) = rule.query() {
        block(out, &format!("query ({})", rule.language().unwrap_or("none")), query)?;
    }
    others(out, rule)
}

fn row(out: &mut dyn Write, label: &str, text: &str) -> io::Result<()> {
    writeln!(out, "{}{text}", paint(LABEL, format!("{:<LABEL_WIDTH$}", inert(label))))
}

fn list(out: &mut dyn Write, label: &str, items: &[String]) -> io::Result<()> {
    match items.is_empty() {
        true => Ok(()),
        false => row(out, label, &shown(&items.join(", "))),
    }
}

fn threats(out: &mut dyn Write, rule: &Rule) -> io::Result<()> {
    for (at, threat) in rule.threat.iter().enumerate() {
        let label = if at == 0 { "threat" } else { "" };
        row(out, label, &shown(&format!("{} {}", threat.tactic.id, threat.tactic.name)))?;
        for technique in &threat.technique {
            row(out, "", &format!("  {}", shown(&format!("{} {}", technique.id, technique.name))))?;
            for sub in &technique.subtechnique {
                row(out, "", &format!("    {}", shown(&format!("{} {}", sub.id, sub.name))))?;
            }
        }
    }
    Ok(())
}

/// A text of several lines, with its line breaks.
fn block(out: &mut dyn Write, label: &str, text: &str) -> io::Result<()> {
    writeln!(out, "\n{}", paint(LABEL, inert(label)))?;
    for line in inert_lines(text.trim_matches(['\n', '\r'])).lines() {
        writeln!(out, "{}", format!("  {line}").trim_end())?;
    }
    Ok(())
}

/// Every field that is set and not shown yet, in the order of the API.
fn others(out: &mut dyn Write, rule: &Rule) -> io::Result<()> {
    const SHOWN: [&str; 18] = [
        "name",
        "severity",
        "risk_score",
        "rule_id",
        "type",
        "version",
        "index",
        "interval",
        "from",
        "to",
        "max_signals",
        "tags",
        "threat",
        "description",
        "query",
        "language",
        "note",
        "setup",
    ];
    let fields = rule.to_json();
    writeln!(out)?;
    for (name, value) in &fields {
        if SHOWN.contains(&name.as_str()) || is_empty(value) {
            continue;
        }
        row(out, &format!("{} ", shown(name)), &paint(DIM, shown(&one_line(value))))?;
    }
    for (label, text) in [("setup", Some(&rule.setup)), ("note", rule.note.as_ref())] {
        if let Some(text) = text.filter(|text| !text.trim().is_empty()) {
            block(out, label, text)?;
        }
    }
    Ok(())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

fn one_line(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}
