//! What a report comes to, in lines for people: under the table, and on standard error beside the other formats.

use std::io::{self, Write};

use anstyle::Style;
use eqlipse_hunt::HuntReport;

use crate::style::{self, HEADING, LABEL, WARNING, paint};
use crate::summary::{Lack, Summary, lack_text, most_lacking, verdict};
use crate::text::{byte_size, counted, grouped, shown, wrapped};

/// Columns of the labels.
const LABEL_WIDTH: usize = 16;
/// Narrower terminals are written as if they had this width.
const LEAST_WIDTH: usize = 40;
/// Rules, places and reasons that are named at most.
const MOST_NAMED: usize = 10;

/// Writes what the report comes to; `width` 0 is no limit, `explain` names every rule that could not have fired.
pub fn write(out: &mut dyn Write, hunt: &HuntReport, summary: &Summary, width: usize, explain: bool) -> io::Result<()> {
    let rows = &mut Rows { out, width: if width == 0 { usize::MAX } else { width.max(LEAST_WIDTH) } };
    for line in wrapped(&verdict(summary), rows.width, usize::MAX) {
        writeln!(rows.out, "{}", paint(HEADING, line))?;
    }
    if summary.alerts > 0 {
        alert_counts(rows, summary)?;
    }
    read(rows, hunt, summary)?;
    rules(rows, hunt, summary)?;
    blind(rows, hunt, explain)
}

/// Lines with a label in front.
struct Rows<'a> {
    out: &'a mut dyn Write,
    width: usize,
}

impl Rows<'_> {
    /// A label and a text, which must be inert, in as many lines as it takes.
    fn row(&mut self, label: &str, text: &str) -> io::Result<()> {
        self.styled(label, Style::new(), text)
    }

    fn styled(&mut self, label: &str, style: Style, text: &str) -> io::Result<()> {
        let width = self.width.saturating_sub(LABEL_WIDTH);
        for (at, line) in wrapped(text, width, usize::MAX).iter().enumerate() {
            let label = if at == 0 { label } else { "" };
            writeln!(self.out, "{}{}", paint(LABEL, format!("{label:<LABEL_WIDTH$}")), paint(style, line))?;
        }
        Ok(())
    }
}

fn alert_counts(rows: &mut Rows, summary: &Summary) -> io::Result<()> {
    let severities: Vec<String> = summary
        .alerts_by_severity
        .iter()
        .filter(|count| count.alerts > 0)
        .map(|count| {
            paint(style::severity(count.severity), format!("{} {}", count.severity, grouped(count.alerts as u64)))
        })
        .collect();
    writeln!(rows.out, "{}{}", paint(LABEL, format!("{:<LABEL_WIDTH$}", "Severity")), severities.join(", "))?;
    let tactics: Vec<String> = summary
        .alerts_by_tactic
        .iter()
        .map(|count| format!("{} {}", shown(&count.name), grouped(count.alerts as u64)))
        .collect();
    if !tactics.is_empty() {
        rows.row("Tactics", &tactics.join(", "))?;
    }
    for (at, rule) in summary.alerts_by_rule.iter().take(MOST_NAMED).enumerate() {
        let capped =
            if rule.capped > 0 { format!(" (and {} more, capped)", grouped(rule.capped)) } else { String::new() };
        let text = format!("{:>6}  {}{capped}", grouped(rule.alerts as u64), shown(&rule.name));
        rows.row(if at == 0 { "Top rules" } else { "" }, &text)?;
    }
    let more = summary.alerts_by_rule.len().saturating_sub(MOST_NAMED);
    if more > 0 {
        rows.row("", &format!("        … and {}", counted(more as u64, "rule")))?;
    }
    Ok(())
}

fn read(rows: &mut Rows, hunt: &HuntReport, summary: &Summary) -> io::Result<()> {
    let read = &summary.read;
    let mut text = format!(
        "{}, {}, {}",
        counted(read.inputs as u64, "input"),
        counted(read.events, "event"),
        byte_size(read.bytes)
    );
    if read.outside > 0 {
        text.push_str(&format!("; {} outside the time window left out", counted(read.outside, "event")));
    }
    if read.duplicates > 0 {
        text.push_str(&format!("; {} left out", counted(read.duplicates, "duplicate event")));
    }
    if read.not_logs > 0 {
        text.push_str(&format!("; not logs: {}", counted(read.not_logs, "file")));
    }
    if read.untimed > 0 {
        text.push_str(&format!("; {} without a time, not in sequences", counted(read.untimed, "event")));
    }
    rows.row("Read", &text)?;
    if read.problems > 0 {
        rows.styled("Not read", WARNING, &counted(read.problems as u64, "input"))?;
        for problem in hunt.problems.iter().take(MOST_NAMED) {
            rows.row("", &shown(&problem.to_string()))?;
        }
    }
    if read.damaged > 0 {
        rows.row(
            "Damaged",
            &format!("{} read although something was wrong with them", counted(read.damaged, "record")),
        )?;
    }
    if read.skipped == 0 {
        return Ok(());
    }
    let text = format!("{} in {}", counted(read.skipped, "record"), counted(read.inputs_with_faults as u64, "input"),);
    rows.styled("Skipped", WARNING, &text)?;
    let places: Vec<String> = hunt
        .inputs
        .iter()
        .flat_map(|input| {
            let place = |record: &eqlipse_hunt::SkippedRecord| {
                format!("{}: {}: {}", shown(&input.name), shown(&record.place), shown(&record.reason))
            };
            input.first_skipped.iter().map(place)
        })
        .collect();
    for place in places.iter().take(MOST_NAMED) {
        rows.row("", place)?;
    }
    if summary.read.skipped > places.len().min(MOST_NAMED) as u64 {
        rows.row("", "… the rest is in the manifest (--manifest)")?;
    }
    Ok(())
}

fn rules(rows: &mut Rows, hunt: &HuntReport, summary: &Summary) -> io::Result<()> {
    let rules = &summary.rules;
    let mut text = format!("{} ran", grouped(rules.ran as u64));
    if rules.filtered > 0 {
        text.push_str(&format!(", {} not selected", grouped(rules.filtered as u64)));
    }
    rows.row("Rules", &text)?;
    if !rules.not_run.is_empty() {
        let types: Vec<String> =
            rules.not_run.iter().map(|(kind, count)| format!("{} {}", shown(kind), grouped(*count as u64))).collect();
        rows.row("Not run yet", &format!("{} (types that eqlipse does not run yet)", types.join(", ")))?;
    }
    if rules.not_loaded > 0 {
        rows.styled("Not loaded", WARNING, &counted(rules.not_loaded as u64, "rule"))?;
        for unloaded in hunt.rules.unloaded.iter().take(MOST_NAMED) {
            let reason = unloaded.reason.lines().next().unwrap_or("");
            rows.row("", &format!("{}: {}", shown(&unloaded.origin), shown(reason)))?;
        }
        let more = hunt.rules.unloaded.len().saturating_sub(MOST_NAMED);
        if more > 0 {
            rows.row("", &format!("… and {}", counted(more as u64, "rule")))?;
        }
    }
    Ok(())
}

fn blind(rows: &mut Rows, hunt: &HuntReport, explain: bool) -> io::Result<()> {
    if hunt.blind.is_empty() {
        return Ok(());
    }
    rows.row("Could not fire", &counted(hunt.blind.len() as u64, "rule"))?;
    if explain {
        for rule in &hunt.blind {
            rows.row("", &format!("{}: {}", shown(&rule.rule.name), shown(&lack_text(rule))))?;
        }
        return Ok(());
    }
    for (what, label) in [(Lack::Category, "categories never seen"), (Lack::Field, "fields never seen")] {
        let most = most_lacking(&hunt.blind, what, 6);
        if !most.is_empty() {
            let most: Vec<String> = most.iter().map(|(name, count)| format!("{} ({count})", shown(name))).collect();
            rows.row("", &format!("{label}: {}", most.join(", ")))?;
        }
    }
    rows.row("", "-v lists them all")
}
