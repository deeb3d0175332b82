//! `eqlipse status`.

use std::io::{self, Write};

use eqlipse_server::config::Time;
use eqlipse_server::service::{RuleProblem, ServiceStatus};

use super::client::Client;
use crate::args::StatusArgs;
use crate::exit::{CliError, Exit};
use crate::output::{Messages, Output, is_styled};
use crate::serve::settings;
use crate::style::{ERROR, HEADING, LABEL, WARNING, paint};
use crate::text::{byte_size, grouped, shown};

/// So many rules of a list are named.
const SHOWN_RULES: usize = 10;
/// Clears a terminal, and begins at its top.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Says how a service is.
pub fn status(args: &StatusArgs, messages: Messages) -> Result<Exit, CliError> {
    let client = Client::new(&args.service, &settings(&args.config)?)?;
    let path = format!("/api/service/status?hours={}", args.hours);
    let Some(every) = &args.watch else {
        let status: ServiceStatus = client.get(&path)?;
        write(&status, args, messages, "")?;
        return Ok(exit(&status));
    };
    let every: Time =
        every.parse().map_err(|error| CliError::Usage(format!("invalid value for '--watch': {error}")))?;
    let clear = if is_styled(messages.color, None) && !args.json { CLEAR } else { "" };
    loop {
        match client.get::<ServiceStatus>(&path) {
            Ok(status) => write(&status, args, messages, clear)?,
            // It may be back the next time.
            Err(error @ CliError::Run(_)) => messages.error(&error.to_string()),
            Err(error) => return Err(error),
        }
        std::thread::sleep(every.0);
    }
}

fn exit(status: &ServiceStatus) -> Exit {
    if status.healthy { Exit::Done } else { Exit::Failed }
}

fn write(status: &ServiceStatus, args: &StatusArgs, messages: Messages, before: &str) -> Result<(), CliError> {
    let mut output = Output::open(None)?;
    if args.json {
        output.write(|out| {
            serde_json::to_writer(&mut *out, status)?;
            out.write_all(b"\n")
        })?;
    } else {
        output.write(|out| out.write_all(before.as_bytes()))?;
        output.write_styled(is_styled(messages.color, None), |out| table(out, status))?;
    }
    output.finish()
}

fn table(out: &mut dyn Write, status: &ServiceStatus) -> io::Result<()> {
    let state = if status.healthy { paint(HEADING, "healthy") } else { paint(ERROR, "not healthy") };
    writeln!(out, "{state}: eqlipse {}, up {}", shown(&status.version), span(status.uptime * 1_000))?;
    for problem in &status.problems {
        writeln!(out, "  {}: {}", paint(ERROR, "problem"), shown(problem))?;
    }
    for warning in &status.warnings {
        writeln!(out, "  {}: {}", paint(WARNING, "warning"), shown(warning))?;
    }
    let (ingest, lag, store, ledger) = (&status.ingest, &status.lag, &status.store, &status.ledger);
    let [now, minute, minutes] = ingest.events_per_second;
    let rules = &status.rules;
    let lines = [
        ("ingest", format!("{now:.1} events/s (1m {minute:.1}, 5m {minutes:.1})")),
        (
            "since start",
            format!(
                "{} stored, {} there already, {} refused, {} turned away, {} failed",
                grouped(ingest.stored),
                grouped(ingest.conflicts),
                grouped(ingest.refused),
                grouped(ingest.overloaded),
                grouped(ingest.failed)
            ),
        ),
        (
            "lag",
            format!(
                "events {}, rules {}; the latest window {}",
                span(lag.store),
                span(lag.rules),
                span(lag.last_window)
            ),
        ),
        (
            "store",
            format!(
                "{} events: {} segments of {}, {} recent of {}, log {}",
                grouped(store.events),
                grouped(store.segments),
                byte_size(store.segment_bytes),
                grouped(store.recent_events),
                byte_size(store.recent_bytes),
                byte_size(store.log_bytes)
            ),
        ),
        (
            "rules",
            format!(
                "{} running of {} enabled and {} installed, {} cannot run, {} failing",
                grouped(rules.running),
                grouped(rules.enabled),
                grouped(rules.installed),
                grouped(rules.cannot_run.len() as u64),
                grouped(rules.failing.len() as u64)
            ),
        ),
        (
            "ledger",
            format!(
                "in {} h: {} on time, {} late, {} caught up, {} asked for; {} with a warning, {} failed, {} gaps",
                ledger.hours,
                grouped(ledger.on_time),
                grouped(ledger.late),
                grouped(ledger.caught_up),
                grouped(ledger.asked_for),
                grouped(ledger.with_warning),
                grouped(ledger.failed),
                grouped(ledger.gaps)
            ),
        ),
        ("alerts", format!("{} since start", grouped(ledger.alerts))),
    ];
    for (name, value) in lines {
        writeln!(out, "{}  {value}", paint(LABEL, format_args!("{name:<11}")))?;
    }
    list(out, "failing", &rules.failing)?;
    list(out, "cannot run", &rules.cannot_run)?;
    list(out, "left something out", &rules.warning)?;
    list(out, "without something they ask for", &rules.ignoring)?;
    if !rules.slowest.is_empty() {
        writeln!(out, "{}", paint(HEADING, "slowest rules"))?;
        for rule in &rules.slowest {
            writeln!(out, "  {:>9}  {} ({})", span(rule.duration), shown(&rule.name), shown(&rule.rule_id))?;
        }
    }
    Ok(())
}

fn list(out: &mut dyn Write, what: &str, rules: &[RuleProblem]) -> io::Result<()> {
    if rules.is_empty() {
        return Ok(());
    }
    writeln!(out, "{}", paint(HEADING, format_args!("rules: {what}")))?;
    for rule in rules.iter().take(SHOWN_RULES) {
        writeln!(out, "  {} ({}): {}", shown(&rule.name), shown(&rule.rule_id), shown(&rule.message))?;
    }
    if rules.len() > SHOWN_RULES {
        writeln!(out, "  and {} more: --json has all", rules.len() - SHOWN_RULES)?;
    }
    Ok(())
}

/// A length of time for reading.
fn span(milliseconds: u64) -> String {
    let seconds = milliseconds / 1_000;
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..60 => format!("{seconds}.{} s", milliseconds % 1_000 / 100),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_for_reading() {
        let spans = [999, 1_250, 61_000, 3_660_000, 90_000_000].map(span);
        assert_eq!(spans, ["999 ms", "1.2 s", "1m 1s", "1h 1m", "1d 1h"]);
    }
}
