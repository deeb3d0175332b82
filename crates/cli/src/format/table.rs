//! `--format table`: alerts and a summary for a terminal.

use std::io::{self, Write};

use super::{Report, closing};
use crate::attack;
use crate::date::readable;
use crate::style::{self, CATEGORY, DIM, HEADING, paint};
use crate::text::{columns, cut, inert, padded, shown, wrapped};
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
    closing::write(out, report.hunt, &report.summary, width, explain)
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
