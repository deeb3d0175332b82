//! `eqlipse rules list`.

use std::io::{self, Write};

use eqlipse_rules::LoadedRule;
use serde_json::{Value, json};

use super::{report_failures, sort};
use crate::args::{ListArgs, ListFormat};
use crate::attack;
use crate::bundled;
use crate::exit::{CliError, Exit};
use crate::format::csv::safe;
use crate::format::json::write_pretty;
use crate::output::{Messages, Output, is_styled, width};
use crate::rule_cache::RuleCache;
use crate::select::Selection;
use crate::style::{self, DIM, HEADING, paint};
use crate::text::{columns, counted, cut, padded, shown};

/// Columns of a rule id (a UUID) and of a rule type.
const ID_WIDTH: usize = 36;
const TYPE_WIDTH: usize = 16;
/// With less room than this, tactics are left out.
const LEAST_TACTICS: usize = 12;
/// Narrower terminals are written as if they had this width.
const LEAST_WIDTH: usize = 60;

/// Lists rules.
pub fn list(args: &ListArgs, messages: Messages) -> Result<Exit, CliError> {
    let sources: Vec<_> = args.paths.iter().chain(&args.rules.rules).cloned().collect();
    let mut load = bundled::load_rules(&sources, &RuleCache::of_user(&args.rules.cache)).load;
    report_failures(&load, messages, &bundled::names(&sources))?;
    let selection = Selection::new(args.selection.min_severity, &args.selection.include, &args.selection.exclude);
    load.rules.retain(|loaded| selection.keeps(&loaded.rule));
    sort(&mut load.rules);
    let mut output = Output::open(None)?;
    match args.format {
        ListFormat::Table => {
            let width = width(args.width, None);
            output.write_styled(is_styled(messages.color, None), |out| table(out, &load.rules, width))?;
        }
        ListFormat::Json => {
            output.write(|out| write_pretty(out, &load.rules.iter().map(entry).collect::<Vec<Value>>()))?
        }
        ListFormat::Csv => output.write(|out| csv(out, &load.rules))?,
    }
    output.finish()?;
    messages.note(&paint(DIM, counted(load.rules.len() as u64, "rule")));
    Ok(Exit::Done)
}

fn tactics(loaded: &LoadedRule) -> Vec<&str> {
    loaded.rule.threat.iter().map(|threat| threat.tactic.name.as_str()).collect()
}

fn table(out: &mut dyn Write, rules: &[LoadedRule], width: usize) -> io::Result<()> {
    let names = rules.iter().map(|loaded| columns(&shown(&loaded.rule.name))).max().unwrap_or(0).max(4);
    let fixed = 8 + 2 + ID_WIDTH + 2 + TYPE_WIDTH + 2;
    let width = if width == 0 { usize::MAX } else { width.max(LEAST_WIDTH) };
    let name_width = names.min(width.saturating_sub(fixed + 2).max(20));
    let tactic_width = match width.saturating_sub(fixed + name_width + 2) {
        room if room < LEAST_TACTICS => 0,
        room => room,
    };
    let line = |severity: &str, name: &str, kind: &str, id: &str, tactics: &str| {
        let line = format!(
            "{severity}  {}  {}  {}  {}",
            padded(name, name_width),
            padded(kind, TYPE_WIDTH),
            padded(id, ID_WIDTH),
            if tactic_width == 0 { "".into() } else { cut(tactics, tactic_width) }
        );
        line.trim_end().to_owned()
    };
    writeln!(out, "{}", paint(HEADING, line("SEVERITY", "NAME", "TYPE", "ID", "TACTICS")))?;
    for loaded in rules {
        let rule = &loaded.rule;
        let severity = paint(style::severity(rule.severity), rule.severity);
        let severity = format!("{severity}{}", " ".repeat(8usize.saturating_sub(rule.severity.as_str().len())));
        let kind = rule.rule_type().as_str();
        writeln!(
            out,
            "{}",
            line(&severity, &shown(&rule.name), kind, &shown(&rule.rule_id), &shown(&tactics(loaded).join(", ")))
        )?;
    }
    Ok(())
}

fn entry(loaded: &LoadedRule) -> Value {
    let rule = &loaded.rule;
    json!({
        "rule_id": rule.rule_id,
        "name": rule.name,
        "type": rule.rule_type().as_str(),
        "severity": rule.severity,
        "risk_score": rule.risk_score,
        "version": rule.version,
        "tactics": tactics(loaded),
        "attack_ids": attack::ids(rule),
        "tags": rule.tags,
        "index": rule.index(),
        "origin": loaded.origin.to_string(),
        "sha256": loaded.content_hash,
    })
}

fn csv(out: &mut dyn Write, rules: &[LoadedRule]) -> io::Result<()> {
    let mut csv = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    csv.write_record(["severity", "risk_score", "name", "rule_id", "type", "tactics", "attack_ids", "tags", "origin"])?;
    for loaded in rules {
        let rule = &loaded.rule;
        let cells = [
            rule.severity.to_string(),
            rule.risk_score.to_string(),
            rule.name.clone(),
            rule.rule_id.clone(),
            rule.rule_type().to_string(),
            tactics(loaded).join("; "),
            attack::ids(rule).join("; "),
            rule.tags.join("; "),
            loaded.origin.to_string(),
        ];
        csv.write_record(cells.map(|cell| safe(&cell)))?;
    }
    csv.flush()
}
