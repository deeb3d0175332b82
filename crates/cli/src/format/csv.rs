//! `--format csv`: a timeline, one line for each event of each alert. Its first three columns are those that Timesketch
//! asks for.

use std::io::{self, Write};

use super::Report;
use crate::attack;
use crate::date::iso_millis;
use crate::text::inert;
use crate::view::{AlertView, EventView};

const COLUMNS: [&str; 19] = [
    "datetime",
    "timestamp_desc",
    "message",
    "severity",
    "risk_score",
    "rule",
    "rule_id",
    "alert_id",
    "alert_time",
    "position",
    "events",
    "host",
    "user",
    "tactics",
    "techniques",
    "category",
    "event",
    "keys",
    "source",
];

/// Writes the timeline.
pub fn write(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let mut csv = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    csv.write_record(COLUMNS)?;
    for alert in &report.alerts {
        for (at, event) in alert.events.iter().enumerate() {
            csv.write_record(cells(alert, at, event).map(|cell| safe(&cell)))?;
        }
    }
    csv.flush()
}

fn cells(alert: &AlertView, at: usize, event: &EventView) -> [String; COLUMNS.len()] {
    let time = event.time.or(alert.time).map(iso_millis).unwrap_or_default();
    let techniques: Vec<&str> = attack::ids(alert.rule).into_iter().filter(|id| !id.starts_with("TA")).collect();
    let tactics: Vec<&str> = alert.rule.threat.iter().map(|threat| threat.tactic.name.as_str()).collect();
    let keys: Vec<String> = alert.keys.iter().map(|(field, value)| format!("{field}={value}")).collect();
    [
        time,
        "Event matched by rule".to_owned(),
        format!("{}: {}", alert.name, event.happening.line),
        alert.severity.to_string(),
        alert.risk_score.to_string(),
        alert.name.to_owned(),
        alert.rule.rule_id.clone(),
        alert.id.to_owned(),
        alert.time.map(iso_millis).unwrap_or_default(),
        (at + 1).to_string(),
        alert.events.len().to_string(),
        alert.host.unwrap_or_default().to_owned(),
        alert.user.clone().unwrap_or_default(),
        tactics.join("; "),
        techniques.join("; "),
        event.happening.category.clone(),
        event.happening.line.clone(),
        keys.join("; "),
        event.place().or_else(|| event.index.map(str::to_owned)).unwrap_or_default(),
    ]
}

/// A cell that no spreadsheet takes for a formula, and that is one line.
///
/// Control characters are written out by [`inert`]; a cell that begins with a character that starts a formula, in its
/// wide form too, gets an apostrophe in front.
pub fn safe(cell: &str) -> String {
    let text = inert(cell);
    match text.trim_start().chars().next() {
        Some('=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '|' | '%') => format!("'{text}"),
        _ => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_inert() {
        assert_eq!(safe("=1+1"), "'=1+1");
        assert_eq!(safe("+cmd|' /C calc'!A0"), "'+cmd|' /C calc'!A0");
        assert_eq!(safe("  @SUM(1)"), "'  @SUM(1)");
        assert_eq!(safe("＝1"), "'＝1");
        assert_eq!(safe("\t=1"), "\\t=1");
        assert_eq!(safe("-"), "'-");
        assert_eq!(safe("C:\\a -b"), "C:\\a -b");
    }
}
