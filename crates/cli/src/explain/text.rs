//! An explanation for people: findings, then each stage as a tree of clauses with counts, then what came nearest.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use eqlipse_hunt::explain::{
    Clause, ClauseKind, ClauseState, EventInfo, Explanation, HitReport, NearMiss, Partial, Role, SampleReport,
    SequenceReport, StageReport,
};
use serde_json::Value;

use crate::style::{DIM, HEADING, LABEL};
use crate::text::{columns, counted, cut, grouped, shown, wrapped};

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const NOTE: Style = AnsiColor::Yellow.on_default();
const PLAIN: Style = Style::new();

/// Columns of a count.
const COUNT: usize = 8;
/// Operands of a clause, and patterns of a test, that are shown; the rest is counted.
const MOST_CHILDREN: usize = 12;
/// Columns of a clause beside its values.
const CLAUSE: usize = 56;
/// Most lines of a finding.
const FINDING_LINES: usize = 6;

/// Writes the explanation; `width` 0 is no limit.
pub fn write(out: &mut dyn Write, explanation: &Explanation, width: usize) -> io::Result<()> {
    let width = if width == 0 { usize::MAX } else { width.max(40) };
    let mut page = Page { out, width, name_origins: explanation.data.inputs > 1 };
    page.head(explanation)?;
    page.findings(explanation)?;
    for stage in &explanation.stages {
        page.stage(stage, explanation)?;
    }
    if let Some(sequence) = &explanation.sequence {
        page.sequence(sequence)?;
    }
    if let Some(sample) = &explanation.sample {
        page.sample(sample)?;
    }
    for (at, hit) in explanation.hits.iter().enumerate() {
        page.hit(at + 1, hit)?;
    }
    page.more_hits(explanation)
}

struct Page<'a> {
    out: &'a mut dyn Write,
    width: usize,
    /// Whether events come from several inputs, so that each one's is named.
    name_origins: bool,
}

/// A piece of a line.
type Piece = (Style, String);

fn piece(style: Style, text: impl AsRef<str>) -> Piece {
    (style, shown(text.as_ref()).into_owned())
}

impl Page<'_> {
    /// Writes the pieces, cut to the width.
    fn line(&mut self, pieces: &[Piece]) -> io::Result<()> {
        let mut left = self.width;
        for (style, text) in pieces {
            let text = cut(text, left);
            left = left.saturating_sub(columns(&text));
            match *style == PLAIN || text.is_empty() {
                true => write!(self.out, "{text}")?,
                false => write!(self.out, "{style}{text}{style:#}")?,
            }
        }
        writeln!(self.out)
    }

    fn heading(&mut self, text: &str, rest: &str) -> io::Result<()> {
        writeln!(self.out)?;
        self.line(&[piece(HEADING, text), piece(DIM, rest)])
    }

    fn head(&mut self, explanation: &Explanation) -> io::Result<()> {
        let subject = &explanation.subject;
        let name = subject.name.as_deref().unwrap_or("The query");
        let verdict = match explanation.fired {
            true => piece(GOOD, format!("fired: {}", counted(explanation.alerts, "alert"))),
            false => piece(BAD, "did not fire"),
        };
        self.line(&[piece(HEADING, name), piece(PLAIN, "  "), verdict])?;
        let data = &explanation.data;
        let mut read = format!("{} in {}", counted(data.events, "event"), counted(data.inputs, "input"));
        let extras = [
            (data.duplicates, "read twice and counted once"),
            (data.untimed, "without a time"),
            (data.skipped, "unreadable"),
        ];
        for (number, what) in extras.into_iter().filter(|(number, _)| *number > 0) {
            read.push_str(&format!(", {} {what}", grouped(number)));
        }
        let id = subject.rule_id.as_ref().map(|id| format!("  {id}")).unwrap_or_default();
        self.line(&[piece(DIM, format!("{} rule over {read}{id}", subject.kind))])
    }

    fn findings(&mut self, explanation: &Explanation) -> io::Result<()> {
        if explanation.findings.is_empty() {
            return Ok(());
        }
        self.heading(if explanation.fired { "What limits it" } else { "Why not" }, "")?;
        for (at, finding) in explanation.findings.iter().enumerate() {
            let mark = format!("{:>2}. ", at + 1);
            let style = if at == 0 && !explanation.fired { BAD } else { NOTE };
            let lines = wrapped(&shown(&finding.message), self.width.saturating_sub(4), FINDING_LINES);
            for (number, line) in lines.into_iter().enumerate() {
                let mark = if number == 0 { piece(style, &mark) } else { piece(PLAIN, "    ") };
                self.line(&[mark, (PLAIN, line)])?;
            }
        }
        Ok(())
    }

    fn stage(&mut self, stage: &StageReport, explanation: &Explanation) -> io::Result<()> {
        let what = match (stage.role, explanation.subject.kind) {
            (Role::Until, _) => "Until".to_owned(),
            (Role::Missing, _) => format!("Stage {}, which must be missing", stage.number),
            (Role::Event, "event") => "The event".to_owned(),
            (Role::Event, _) => format!("Stage {}", stage.number),
        };
        let runs = if stage.runs > 1 { format!(", {} times in a row", stage.runs) } else { String::new() };
        self.heading(
            &format!("{what}{runs}: {} of {} match", grouped(stage.matched), counted(explanation.data.events, "event")),
            "",
        )?;
        self.line(&[piece(DIM, format!("{:>COUNT$}{:>COUNT$}{:>COUNT$}", "alone", "so far", "only"))])?;
        for clause in &stage.clauses {
            self.clause(clause, "", "", stage)?;
        }
        if stage.role == Role::Event && !stage.near_misses.is_empty() {
            self.line(&[piece(LABEL, "  Nearest misses")])?;
            for miss in &stage.near_misses {
                self.near_miss(miss)?;
            }
        }
        Ok(())
    }

    /// A clause with its counts, and below it what it is made of; `lead` stands before it, `below` before its operands.
    fn clause(&mut self, clause: &Clause, lead: &str, below: &str, stage: &StageReport) -> io::Result<()> {
        let number = |count: Option<u64>| format!("{:>COUNT$}", count.map(grouped).unwrap_or_default());
        let reached = clause.passed_so_far.unwrap_or(clause.passed);
        let style = if clause.passed == 0 || reached == 0 { BAD } else { PLAIN };
        let mut pieces = vec![
            piece(if clause.passed == 0 { BAD } else { PLAIN }, number(Some(clause.passed))),
            piece(if reached == 0 { BAD } else { GOOD }, number(clause.passed_so_far)),
            piece(DIM, number(clause.failed_only_this)),
            piece(DIM, format!("  {lead}")),
            piece(style, label(clause)),
        ];
        if stage.killer == Some(clause.id) {
            pieces.insert(4, piece(NOTE, "▸ "));
        }
        if !clause.absent_fields.is_empty() && !has_operands(clause) {
            // In front, where a narrow terminal cannot cut it off.
            let note = format!("[never seen: {}] ", clause.absent_fields.join(", "));
            pieces.insert(pieces.len() - 1, piece(NOTE, note));
        }
        self.line(&pieces)?;
        self.operands(clause, below, stage)
    }

    fn operands(&mut self, clause: &Clause, below: &str, stage: &StageReport) -> io::Result<()> {
        let patterns: Vec<&Clause> = clause.children.iter().filter(|child| child.kind == ClauseKind::Pattern).collect();
        if !patterns.is_empty() {
            return self.patterns(&patterns, below);
        }
        // What no event passes says least where there is much.
        let mut shown: Vec<&Clause> = clause.children.iter().collect();
        if shown.len() > MOST_CHILDREN {
            shown.sort_by_key(|child| child.passed == 0);
            shown.truncate(MOST_CHILDREN);
        }
        let hidden = clause.children.len() - shown.len();
        let last = shown.len().saturating_sub(1);
        for (at, child) in shown.into_iter().enumerate() {
            let is_last = at == last && hidden == 0;
            let lead = format!("{below}{}", if is_last { "└─ " } else { "├─ " });
            let deeper = format!("{below}{}", if is_last { "   " } else { "│  " });
            self.clause(child, &lead, &deeper, stage)?;
        }
        match hidden {
            0 => Ok(()),
            hidden => self.line(&[blank(), piece(DIM, format!("{below}└─ and {} more", grouped(hidden as u64)))]),
        }
    }

    /// Which patterns of a test matched, how often.
    fn patterns(&mut self, patterns: &[&Clause], below: &str) -> io::Result<()> {
        let mut matched: Vec<&&Clause> = patterns.iter().filter(|pattern| pattern.passed > 0).collect();
        matched.sort_by_key(|pattern| std::cmp::Reverse(pattern.passed));
        let list: Vec<String> = matched
            .iter()
            .take(MOST_CHILDREN)
            .map(|pattern| format!("{} {}", pattern.text, grouped(pattern.passed)))
            .collect();
        let rest = patterns.len() - list.len();
        let text = match (list.is_empty(), rest) {
            (true, rest) => format!("none of the {rest} values matches"),
            (false, 0) => list.join(", "),
            (false, rest) => format!("{}; {rest} more", list.join(", ")),
        };
        self.line(&[blank(), piece(DIM, format!("{below}└─ {text}"))])
    }

    fn near_miss(&mut self, miss: &NearMiss) -> io::Result<()> {
        let others = match miss.events {
            1 => String::new(),
            events => format!("  and {} like it", grouped(events - 1)),
        };
        let passed = format!("  ● {} of {} clauses", miss.passed, miss.of);
        self.line(&[piece(NOTE, passed), piece(DIM, others)])?;
        self.event("    ", &miss.event)?;
        self.states(miss.failed.iter().chain(miss.held.iter().filter(says_something)))
    }

    fn event(&mut self, indent: &str, event: &EventInfo) -> io::Result<()> {
        let time = event.time.as_deref().unwrap_or("no time");
        let origin = event.origin.as_deref().filter(|_| self.name_origins).unwrap_or_default();
        let origin = match origin.rsplit(['/', '\\']).next() {
            Some(file) if !file.is_empty() => format!("{file}  "),
            _ => String::new(),
        };
        let place = format!("{time}  {origin}");
        self.line(&[piece(PLAIN, indent), piece(DIM, place), piece(PLAIN, &event.summary)])
    }

    fn states<'a>(&mut self, mut states: impl Iterator<Item = &'a ClauseState>) -> io::Result<()> {
        states.try_for_each(|state| self.state(state, "    "))
    }

    /// A clause on one event, with the values that it saw.
    fn state(&mut self, state: &ClauseState, indent: &str) -> io::Result<()> {
        let mark = if state.held { piece(GOOD, "✓ ") } else { piece(BAD, "✗ ") };
        let found = found(state);
        let room = if found.is_empty() || self.width == usize::MAX { self.width } else { CLAUSE };
        let text = shown(&state.text);
        let text = cut(&text, room).into_owned();
        let style = if state.held { DIM } else { PLAIN };
        let found_style = if state.held { DIM } else { NOTE };
        self.line(&[piece(PLAIN, indent), mark, (style, text), piece(found_style, found)])?;
        let deeper = format!("{indent}  ");
        for operand in state.because.iter().take(MOST_CHILDREN) {
            self.state(operand, &deeper)?;
        }
        match state.because.len().saturating_sub(MOST_CHILDREN) {
            0 => Ok(()),
            more => self.line(&[piece(DIM, format!("{deeper}and {more} more"))]),
        }
    }

    fn sequence(&mut self, sequence: &SequenceReport) -> io::Result<()> {
        self.heading("How far sequences came", "")?;
        for (step, keys) in sequence.keys_reached.iter().enumerate() {
            let style = if *keys == 0 { BAD } else { GOOD };
            let keys = counted(*keys, "key");
            self.line(&[
                piece(PLAIN, "  step "),
                piece(PLAIN, (step + 1).to_string()),
                piece(PLAIN, ": "),
                piece(style, keys),
            ])?;
        }
        for ended in &sequence.ended {
            let text = format!(
                "  {} ended after step {}: {}",
                grouped(ended.sequences),
                ended.steps,
                ended.reason.replace('_', " ")
            );
            self.line(&[piece(DIM, text)])?;
        }
        if !sequence.longest.is_empty() {
            self.line(&[piece(LABEL, "  Longest that were not completed")])?;
        }
        let fields = sequence.keys.first().map(Vec::as_slice).unwrap_or_default();
        sequence.longest.iter().try_for_each(|partial| self.partial(partial, fields))
    }

    fn partial(&mut self, partial: &Partial, fields: &[String]) -> io::Result<()> {
        let steps = format!("  ● {} of {} steps", partial.steps, partial.of);
        self.line(&[piece(NOTE, steps), piece(DIM, key(fields, &partial.key))])?;
        for event in &partial.events {
            self.event("    ✓ ", event)?;
        }
        self.line(&[piece(BAD, "    ✗ "), piece(PLAIN, &partial.message)])
    }

    fn sample(&mut self, sample: &SampleReport) -> io::Result<()> {
        self.heading("How far samples came", "")?;
        for (items, keys) in sample.keys_filled.iter().enumerate() {
            self.line(&[piece(
                PLAIN,
                format!("  {} with events for {}", counted(*keys, "key"), counted(items as u64 + 1, "stage")),
            )])?;
        }
        if !sample.nearest.is_empty() {
            self.line(&[piece(LABEL, "  Nearest that were not completed")])?;
        }
        let fields = sample.keys.first().map(Vec::as_slice).unwrap_or_default();
        for miss in &sample.nearest {
            let filled = miss.events.len() - miss.missing.len();
            let text = format!("  ● {filled} of {} stages", miss.events.len());
            self.line(&[piece(NOTE, text), piece(DIM, key(fields, &miss.key))])?;
            for event in &miss.first {
                self.event("    ✓ ", event)?;
            }
            let list: Vec<String> = miss.missing.iter().map(|stage| format!("stage {stage}")).collect();
            let message = match list.is_empty() {
                true => "one event would have to fill several stages".to_owned(),
                false => format!("no event with this key for {}", list.join(", ")),
            };
            self.line(&[piece(BAD, "    ✗ "), piece(PLAIN, message)])?;
        }
        Ok(())
    }

    fn hit(&mut self, number: usize, hit: &HitReport) -> io::Result<()> {
        let values: Vec<String> = hit.key.iter().map(value).collect();
        let key = if values.is_empty() { String::new() } else { format!("  key {}", values.join(", ")) };
        self.heading(&format!("Alert {number}"), &key)?;
        for event in &hit.events {
            match &event.event {
                None => self.line(&[piece(GOOD, format!("  stage {}: missing, as it must be", event.stage))])?,
                Some(info) => {
                    self.line(&[piece(LABEL, format!("  stage {}", event.stage))])?;
                    self.event("    ", info)?;
                    self.states(event.held.iter().filter(says_something))?;
                }
            }
        }
        Ok(())
    }

    fn more_hits(&mut self, explanation: &Explanation) -> io::Result<()> {
        match explanation.alerts.saturating_sub(explanation.hits.len() as u64) {
            more if more > 0 && !explanation.hits.is_empty() => self
                .line(&[piece(DIM, format!("and {} more alert{}", grouped(more), if more == 1 { "" } else { "s" }))]),
            _ => Ok(()),
        }
    }
}

/// The room of the three counts.
fn blank() -> Piece {
    (PLAIN, " ".repeat(3 * COUNT + 2))
}

fn has_operands(clause: &Clause) -> bool {
    clause.children.iter().any(|child| child.kind != ClauseKind::Pattern)
}

/// That an event is in the right index, or has its join key, is nothing to show.
fn says_something(state: &&ClauseState) -> bool {
    state.kind != ClauseKind::Index && state.kind != ClauseKind::Key
}

/// What stands for a clause in the tree: its operands follow below, so it need not be said in full.
fn label(clause: &Clause) -> String {
    let operands = has_operands(clause);
    match clause.kind {
        ClauseKind::Any if operands => "any of".to_owned(),
        ClauseKind::All if operands => "all of".to_owned(),
        ClauseKind::Not if operands => "not".to_owned(),
        _ => clause.text.clone(),
    }
}

/// What a clause found on an event: the values of its fields, and which patterns matched.
fn found(state: &ClauseState) -> String {
    let one = state.values.len() == 1;
    let values = state.values.iter().map(|(field, values)| {
        let list: Vec<String> = values.iter().map(value).collect();
        match (values.is_empty(), one) {
            (true, _) => format!("{field} absent"),
            (false, true) => list.join(", "),
            (false, false) => format!("{field} = {}", list.join(", ")),
        }
    });
    let values: Vec<String> = values.collect();
    let mut text = if values.is_empty() { String::new() } else { format!("  ← {}", values.join("; ")) };
    if !state.matched.is_empty() {
        text.push_str(&format!("  by {}", state.matched.join(", ")));
    }
    text
}

fn value(value: &Value) -> String {
    match value {
        Value::Null => "(absent)".to_owned(),
        other => other.to_string(),
    }
}

fn key(fields: &[String], values: &[Value]) -> String {
    let parts: Vec<String> = values
        .iter()
        .enumerate()
        .map(|(at, part)| match fields.get(at) {
            Some(field) => format!("{field} = {}", value(part)),
            None => value(part),
        })
        .collect();
    if parts.is_empty() { String::new() } else { format!("  {}", parts.join(", ")) }
}
