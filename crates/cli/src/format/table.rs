//! `--format table`: alerts and a summary for a terminal.

use std::io::{self, Write};

use eqlipse_hunt::HuntReport;

use super::Report;
use crate::attack;
use crate::date::readable;
use crate::style::{self, CATEGORY, DIM, HEADING, LABEL, paint};
use crate::summary::{Lack, Summary, lack_text, most_lacking, verdict};
use crate::text::{byte_size, columns, counted, cut, grouped, inert, padded, shown, wrapped};
use crate::view::{AlertView, EventView};

/// Columns of severity and risk score.
const SEVERITY_WIDTH: usize = 12;
/// Columns of `2024-03-01 12:00:00.123`.
const TIME_WIDTH: usize = 23;
/// Most columns of the rule's name and of the host on a line that has a limit.
const RULE_WIDTH: usize = 90;
const HOST_WIDTH: usize = 24;
/// Lines that one event takes at most; what is longer is cut.
const EVENT_LINES: usize = 3;
/// Narrower terminals are written as if they had this width.
const LEAST_WIDTH: usize = 60;
/// Rules, places and reasons that the summary names at most.
const MOST_NAMED: usize = 10;

/// The widths of the columns.
struct Layout {
    /// Of the whole line; `usize::MAX` for no limit.
    line: usize,
    rule: usize,
    host: usize,
    /// Whether the ATT&CK ids stand on the first line.
    attack_beside: bool,
}

impl Layout {
    fn new(alerts: &[AlertView], width: usize) -> Layout {
        let line = if width == 0 { usize::MAX } else { width.max(LEAST_WIDTH) };
        let widest = |of: &dyn Fn(&AlertView) -> usize, head: usize| alerts.iter().map(of).max().unwrap_or(0).max(head);
        let rule = widest(&|alert| columns(&shown(alert.name)), 4).min(RULE_WIDTH);
        let host = widest(&|alert| columns(&shown(alert.host.unwrap_or(""))), 4).min(HOST_WIDTH);
        let attack = widest(&|alert| columns(&attack_ids(alert)), 6);
        if line == usize::MAX {
            return Layout { line, rule, host, attack_beside: true };
        }
        let host = host.min(line.saturating_sub(SEVERITY_WIDTH + TIME_WIDTH + 6) / 2);
        let fixed = SEVERITY_WIDTH + TIME_WIDTH + host + 6;
        let attack_beside = fixed + rule + 2 + attack <= line;
        let left = line.saturating_sub(fixed + if attack_beside { attack + 2 } else { 0 });
        Layout { line, rule: rule.min(left), host, attack_beside }
    }
}

/// Writes the alerts and the summary; `width` 0 is no limit, `explain` names every rule that could not have fired.
pub fn write(out: &mut dyn Write, report: &Report, width: usize, explain: bool) -> io::Result<()> {
    if !report.alerts.is_empty() {
        let layout = Layout::new(&report.alerts, width);
        header(out, &layout)?;
        for alert in &report.alerts {
            alert_lines(out, alert, &layout)?;
        }
        writeln!(out)?;
    }
    summary(out, report.hunt, &report.summary, explain)
}

fn header(out: &mut dyn Write, layout: &Layout) -> io::Result<()> {
    let attack = if layout.attack_beside { "  ATT&CK" } else { "" };
    let line = format!(
        "{}  {}  {}  {}{attack}",
        padded("SEVERITY", SEVERITY_WIDTH),
        padded("TIME (UTC)", TIME_WIDTH),
        padded("RULE", layout.rule),
        padded("HOST", layout.host)
    );
    writeln!(out, "{}", paint(HEADING, line.trim_end()))
}

fn alert_lines(out: &mut dyn Write, alert: &AlertView, layout: &Layout) -> io::Result<()> {
    let severity = format!("{} {}", alert.severity, alert.risk_score);
    let time = alert.time.map_or_else(|| "no time".to_owned(), readable);
    let host = shown(alert.host.unwrap_or("-"));
    write!(out, "{}", paint(style::severity(alert.severity), cut(&severity, SEVERITY_WIDTH)))?;
    write!(out, "{}", " ".repeat(SEVERITY_WIDTH.saturating_sub(columns(&severity)) + 2))?;
    write!(out, "{}  ", padded(&time, TIME_WIDTH))?;
    write!(out, "{}  ", paint(HEADING, padded(&shown(alert.name), layout.rule)))?;
    let ids = attack_ids(alert);
    if layout.attack_beside && !ids.is_empty() {
        writeln!(out, "{}  {}", padded(&host, layout.host), paint(DIM, &ids))?;
    } else {
        writeln!(out, "{}", cut(&host, layout.host))?;
    }
    let indent = SEVERITY_WIDTH + 2;
    if !layout.attack_beside && !ids.is_empty() {
        for line in wrapped(&ids, room(layout, indent), EVENT_LINES) {
            writeln!(out, "{:indent$}{}", "", paint(DIM, line))?;
        }
    }
    event_lines(out, alert, layout, indent)?;
    place_lines(out, alert, layout, indent)
}

fn attack_ids(alert: &AlertView) -> String {
    inert(&attack::ids(alert.rule).join(" ")).into_owned()
}

fn room(layout: &Layout, indent: usize) -> usize {
    layout.line.saturating_sub(indent).max(1)
}

fn event_lines(out: &mut dyn Write, alert: &AlertView, layout: &Layout, indent: usize) -> io::Result<()> {
    let several = alert.events.len() > 1;
    let times: Vec<String> =
        alert.events.iter().map(|event| if several { event_time(event, alert) } else { String::new() }).collect();
    let categories: Vec<String> =
        alert.events.iter().map(|event| cut(&shown(&event.happening.category), 14).into_owned()).collect();
    let time_width = times.iter().map(|time| columns(time)).max().unwrap_or(0);
    let category_width = categories.iter().map(|category| columns(category)).max().unwrap_or(0);
    let lead = time_width + usize::from(several) * 2 + category_width + 2;
    for ((event, time), category) in alert.events.iter().zip(&times).zip(&categories) {
        write!(out, "{:indent$}", "")?;
        if several {
            write!(out, "{}  ", paint(DIM, padded(time, time_width)))?;
        }
        write!(out, "{}  ", paint(CATEGORY, padded(category, category_width)))?;
        let text = shown(&event.happening.line);
        for (at, line) in wrapped(&text, room(layout, indent + lead), EVENT_LINES).iter().enumerate() {
            let before = if at == 0 { 0 } else { indent + lead };
            writeln!(out, "{:before$}{line}", "")?;
        }
    }
    Ok(())
}

/// The time of day where the date is the alert's, else both.
fn event_time(event: &EventView, alert: &AlertView) -> String {
    let Some(time) = event.time.map(readable) else { return String::new() };
    let alert_time = alert.time.map(readable);
    match (time.split_once(' '), alert_time.as_deref().and_then(|time| time.split_once(' '))) {
        (Some((date, clock)), Some((alert_date, _))) if date == alert_date => clock.to_owned(),
        _ => time,
    }
}

/// The join keys, and where the events were read from.
fn place_lines(out: &mut dyn Write, alert: &AlertView, layout: &Layout, indent: usize) -> io::Result<()> {
    let keys = alert.keys.iter().map(|(field, value)| format!("{}={}", shown(field), shown(value)));
    let origins = alert.origins().into_iter().map(|origin| format!("in {}", shown(&origin)));
    let width = room(layout, indent);
    for text in keys.chain(origins) {
        for line in wrapped(&text, width, EVENT_LINES) {
            writeln!(out, "{:indent$}{}", "", paint(DIM, line))?;
        }
    }
    Ok(())
}

/// Writes what the report comes to.
pub fn summary(out: &mut dyn Write, hunt: &HuntReport, summary: &Summary, explain: bool) -> io::Result<()> {
    writeln!(out, "{}", paint(HEADING, verdict(summary)))?;
    if summary.alerts > 0 {
        alert_counts(out, summary)?;
    }
    read(out, hunt, summary)?;
    rules(out, hunt, summary)?;
    blind(out, hunt, explain)
}

fn row(out: &mut dyn Write, label: &str, text: &str) -> io::Result<()> {
    writeln!(out, "{}{text}", paint(LABEL, format!("{label:<16}")))
}

fn alert_counts(out: &mut dyn Write, summary: &Summary) -> io::Result<()> {
    let severities: Vec<String> = summary
        .alerts_by_severity
        .iter()
        .filter(|count| count.alerts > 0)
        .map(|count| {
            paint(style::severity(count.severity), format!("{} {}", count.severity, grouped(count.alerts as u64)))
        })
        .collect();
    row(out, "Severity", &severities.join(", "))?;
    let tactics: Vec<String> = summary
        .alerts_by_tactic
        .iter()
        .map(|count| format!("{} {}", shown(&count.name), grouped(count.alerts as u64)))
        .collect();
    if !tactics.is_empty() {
        row(out, "Tactics", &tactics.join(", "))?;
    }
    for (at, rule) in summary.alerts_by_rule.iter().take(MOST_NAMED).enumerate() {
        let capped =
            if rule.capped > 0 { format!(" (and {} more, capped)", grouped(rule.capped)) } else { String::new() };
        let text = format!("{:>6}  {}{capped}", grouped(rule.alerts as u64), shown(&rule.name));
        row(out, if at == 0 { "Top rules" } else { "" }, &text)?;
    }
    let more = summary.alerts_by_rule.len().saturating_sub(MOST_NAMED);
    if more > 0 {
        row(out, "", &format!("        … and {}", counted(more as u64, "rule")))?;
    }
    Ok(())
}

fn read(out: &mut dyn Write, hunt: &HuntReport, summary: &Summary) -> io::Result<()> {
    let read = &summary.read;
    let mut text = format!(
        "{}, {}, {}",
        counted(read.inputs as u64, "input"),
        counted(read.events, "event"),
        byte_size(read.bytes)
    );
    if read.duplicates > 0 {
        text.push_str(&format!("; {} left out", counted(read.duplicates, "duplicate event")));
    }
    if read.not_logs > 0 {
        text.push_str(&format!("; {} in folders are no logs", counted(read.not_logs, "file")));
    }
    if read.untimed > 0 {
        text.push_str(&format!("; {} without a time, not in sequences", counted(read.untimed, "event")));
    }
    row(out, "Read", &text)?;
    if read.problems > 0 {
        row(out, "Not read", &paint(style::WARNING, counted(read.problems as u64, "input")))?;
        for problem in hunt.problems.iter().take(MOST_NAMED) {
            row(out, "", &shown(&problem.to_string()))?;
        }
    }
    if read.damaged > 0 {
        row(
            out,
            "Damaged",
            &format!("{} read although something was wrong with them", counted(read.damaged, "record")),
        )?;
    }
    if read.skipped == 0 {
        return Ok(());
    }
    let text = format!("{} in {}", counted(read.skipped, "record"), counted(read.inputs_with_faults as u64, "input"),);
    row(out, "Skipped", &paint(style::WARNING, text))?;
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
        row(out, "", place)?;
    }
    if summary.read.skipped > places.len().min(MOST_NAMED) as u64 {
        row(out, "", "… the rest is in the manifest (--manifest)")?;
    }
    Ok(())
}

fn rules(out: &mut dyn Write, hunt: &HuntReport, summary: &Summary) -> io::Result<()> {
    let rules = &summary.rules;
    let mut text = format!("{} ran", grouped(rules.ran as u64));
    if rules.filtered > 0 {
        text.push_str(&format!(", {} not selected", grouped(rules.filtered as u64)));
    }
    row(out, "Rules", &text)?;
    if !rules.not_run.is_empty() {
        let types: Vec<String> =
            rules.not_run.iter().map(|(kind, count)| format!("{} {}", shown(kind), grouped(*count as u64))).collect();
        row(out, "Not run yet", &format!("{} (types that eqlipse does not run yet)", types.join(", ")))?;
    }
    if rules.not_loaded > 0 {
        row(out, "Not loaded", &paint(style::WARNING, counted(rules.not_loaded as u64, "rule")))?;
        for unloaded in hunt.rules.unloaded.iter().take(MOST_NAMED) {
            let reason = unloaded.reason.lines().next().unwrap_or("");
            row(out, "", &format!("{}: {}", shown(&unloaded.origin), shown(reason)))?;
        }
        let more = hunt.rules.unloaded.len().saturating_sub(MOST_NAMED);
        if more > 0 {
            row(out, "", &format!("… and {}", counted(more as u64, "rule")))?;
        }
    }
    Ok(())
}

fn blind(out: &mut dyn Write, hunt: &HuntReport, explain: bool) -> io::Result<()> {
    if hunt.blind.is_empty() {
        return Ok(());
    }
    row(out, "Could not fire", &counted(hunt.blind.len() as u64, "rule"))?;
    if explain {
        for rule in &hunt.blind {
            row(out, "", &format!("{}: {}", shown(&rule.rule.name), shown(&lack_text(rule))))?;
        }
        return Ok(());
    }
    for (what, label) in [(Lack::Category, "categories never seen"), (Lack::Field, "fields never seen")] {
        let most = most_lacking(&hunt.blind, what, 6);
        if !most.is_empty() {
            let most: Vec<String> = most.iter().map(|(name, count)| format!("{} ({count})", shown(name))).collect();
            row(out, "", &format!("{label}: {}", most.join(", ")))?;
        }
    }
    row(out, "", "-v lists them all")
}
