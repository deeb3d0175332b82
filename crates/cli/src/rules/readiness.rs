//! `eqlipse rules readiness`.

use std::io::{self, Write};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use eqlipse_events::Progress;
use eqlipse_hunt::HuntOptions;
use eqlipse_hunt::readiness::{
    Need, Readiness, RuleReadiness, Source, SourceKind, State, TacticTotals, Totals, readiness as judge,
};

use crate::args::{ReadinessArgs, ReadinessFormat};
use crate::attack;
use crate::exit::{CliError, Exit};
use crate::format::html;
use crate::format::json::write_pretty;
use crate::hunt::{find, inputs_of, report_reading, rule_book};
use crate::output::{Messages, Output, is_styled, width};
use crate::progress::with_bar;
use crate::style::{self, DIM, HEADING, LABEL, paint};
use crate::text::{columns, counted, grouped, inert, padded, shown, wrapped};

/// Sources that are named at most without `--verbose`.
const MOST_SOURCES: usize = 15;
/// Columns of the longest bar.
const BAR_WIDTH: usize = 24;
/// Columns of a number.
const COUNT_WIDTH: usize = 8;
/// Columns of a source's kind.
const KIND_WIDTH: usize = 10;
/// Columns in front of what a rule lacks: those of its severity and the space around it.
const INDENT: usize = 12;
/// Narrower terminals are written as if they had this width.
const LEAST_WIDTH: usize = 60;
/// Columns of the longest name that a column is made wide for; longer ones are cut.
const MOST_NAME_WIDTH: usize = 60;

/// Says which rules can fire.
pub fn readiness(args: &ReadinessArgs, messages: Messages) -> Result<Exit, CliError> {
    let paths = inputs_of(&args.paths)?;
    if paths.iter().chain(&args.rules.rules).filter(|path| path.as_os_str() == "-").count() > 1 {
        return Err(CliError::Usage("standard input ('-') can be given only once".to_owned()));
    }
    let found = find(&paths, messages)?;
    let mut output = Output::open(args.output.path())?;
    let book = rule_book(&args.rules, &args.selection, args.any_index, messages)?;
    let progress = Progress::default();
    let judged = with_bar(!args.quiet, &progress, || judge(&book, &found, &HuntOptions::default(), &progress));
    let mut judged = judged.map_err(|error| CliError::Run(shown(&error.to_string()).into_owned()))?;
    judged.tactics.sort_by_key(|tactic| match &tactic.id {
        Some(id) => (attack::rank(id), id.clone()),
        None => (usize::MAX, String::new()),
    });
    let reading = report_reading(&judged.problems, &judged.inputs, judged.data.events, &found, messages);
    let written = write(&mut output, &judged, args, messages).and_then(|()| output.finish());
    // Whoever stopped reading still gets the exit code.
    written.or_else(|error| if matches!(error, CliError::Closed) { Ok(()) } else { Err(error) })?;
    reading.map(|()| Exit::Done)
}

fn write(output: &mut Output, judged: &Readiness, args: &ReadinessArgs, messages: Messages) -> Result<(), CliError> {
    let path: Option<&Path> = args.output.path();
    match args.format {
        ReadinessFormat::Json => output.write(|out| write_pretty(out, judged)),
        ReadinessFormat::Html => output.write(|out| html::readiness::write(out, judged)),
        ReadinessFormat::Table => {
            let width = width(args.width, path);
            output.write_styled(is_styled(messages.color, path), |out| table(out, judged, width, args.verbose))
        }
    }
}

/// The sentence that says what the rules can do.
pub fn verdict(judged: &Readiness) -> String {
    let Totals { ready, partly, blind } = judged.totals;
    let number = |count: usize| grouped(count as u64);
    format!(
        "{}: {} ready, {} partly, {} blind",
        counted(judged.totals.all() as u64, "rule"),
        number(ready),
        number(partly),
        number(blind)
    )
}

/// What was read, in one line, which is not inert.
pub fn data_line(judged: &Readiness) -> String {
    let data = &judged.data;
    let more = if data.more_indices { " and more" } else { "" };
    let mut line = format!(
        "{} in {}, of {}{more}",
        counted(data.events, "event"),
        counted(data.inputs as u64, "input"),
        match data.indices.len() {
            1 => "1 index".to_owned(),
            names => format!("{} indices", grouped(names as u64)),
        }
    );
    if data.without_index > 0 {
        line.push_str(&format!("; {} of no index fit every pattern", grouped(data.without_index)));
    }
    if data.skipped > 0 {
        line.push_str(&format!("; {} skipped", counted(data.skipped, "record")));
    }
    line
}

/// The rules that are not judged, in one line; none if there are none.
pub fn left_out(judged: &Readiness) -> Option<String> {
    let given = &judged.given;
    let types = given.not_run.iter().map(|(kind, count)| (*count, format!("of type {kind}, not run yet")));
    let others = [(given.not_loaded, "not loaded".to_owned()), (given.filtered, "not selected".to_owned())];
    let parts = types.chain(others).filter(|(count, _)| *count > 0);
    let parts: Vec<String> = parts.map(|(count, what)| format!("{} {what}", counted(count as u64, "rule"))).collect();
    (!parts.is_empty()).then(|| format!("Not judged: {}", parts.join(", ")))
}

/// The kind of a source as one word.
pub fn kind(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Index => "index",
        SourceKind::Category => "category",
        SourceKind::Field => "field",
    }
}

/// What a rule lacks, one line for each kind, which are not inert: `field never seen: a, b`.
pub fn lack_lines(rule: &RuleReadiness) -> Vec<String> {
    let names = |wanted: SourceKind| {
        let sources = rule.missing.iter().filter(move |source| source.kind == wanted);
        sources.map(|source: &Source| source.name.as_str()).collect::<Vec<_>>()
    };
    let mut lines = Vec::new();
    let had = rule.index.iter().filter(|need| need.seen).map(|need: &Need| need.name.as_str()).collect::<Vec<_>>();
    for wanted in [SourceKind::Index, SourceKind::Category, SourceKind::Field] {
        let names = names(wanted);
        if names.is_empty() {
            continue;
        }
        let had = match wanted {
            SourceKind::Index if !had.is_empty() => format!("; seen: {}", had.join(", ")),
            _ => String::new(),
        };
        lines.push(format!("{} never seen: {}{had}", kind(wanted), names.join(", ")));
    }
    if rule.state == State::Blind && lines.is_empty() {
        lines.push("no event at all".to_owned());
    }
    lines
}

/// The word, character and colour of a state.
fn look(state: State) -> (&'static str, char, Style) {
    match state {
        State::Ready => ("Ready", '█', AnsiColor::Green.on_default()),
        State::Partly => ("Partly", '▒', AnsiColor::Yellow.on_default()),
        State::Blind => ("Blind", '░', AnsiColor::Red.on_default()),
    }
}

const STATES: [State; 3] = [State::Ready, State::Partly, State::Blind];

fn count(totals: &Totals, state: State) -> usize {
    match state {
        State::Ready => totals.ready,
        State::Partly => totals.partly,
        State::Blind => totals.blind,
    }
}

/// A bar of as many columns as `totals` has of `whole`, each state with its share.
fn bar(totals: &Totals, whole: usize) -> String {
    let place = |rules: usize| (rules * BAR_WIDTH * 2 + whole) / (2 * whole.max(1));
    let (mut rules, mut bar) = (0, String::new());
    for state in STATES {
        let from = place(rules);
        rules += count(totals, state);
        let part: String = std::iter::repeat_n(look(state).1, place(rules) - from).collect();
        if !part.is_empty() {
            bar.push_str(&paint(look(state).2, part));
        }
    }
    bar
}

fn table(out: &mut dyn Write, judged: &Readiness, width: usize, verbose: bool) -> io::Result<()> {
    let width = if width == 0 { usize::MAX } else { width.max(LEAST_WIDTH) };
    writeln!(out, "{}", paint(HEADING, verdict(judged)))?;
    for line in std::iter::once(data_line(judged)).chain(left_out(judged)) {
        for line in wrapped(&inert(&line), width, usize::MAX) {
            writeln!(out, "{}", paint(DIM, line))?;
        }
    }
    tactics(out, &judged.tactics, width)?;
    sources(out, judged, width, verbose)?;
    for state in STATES {
        group(out, judged, state, width, verbose)?;
    }
    Ok(())
}

fn numbers(numbers: [&str; 3]) -> String {
    numbers.iter().map(|number| format!("{number:>COUNT_WIDTH$}")).collect()
}

/// The width of a column of names, if `taken` columns are needed beside it.
fn name_width<'a>(names: impl Iterator<Item = &'a str>, least: usize, taken: usize, width: usize) -> usize {
    let longest = names.map(|name| columns(&shown(name))).max().unwrap_or(0).max(least);
    longest.min(MOST_NAME_WIDTH).min(width.saturating_sub(taken)).max(least)
}

fn tactics(out: &mut dyn Write, tactics: &[TacticTotals], width: usize) -> io::Result<()> {
    let names = || tactics.iter().map(|tactic| tactic.name.as_str());
    let name_width = name_width(names(), 6, 3 * COUNT_WIDTH + 2 + BAR_WIDTH, width);
    let heading = format!("{}{}", padded("TACTIC", name_width), numbers(["READY", "PARTLY", "BLIND"]));
    writeln!(out, "\n{}", paint(HEADING, heading))?;
    let whole = tactics.iter().map(|tactic| tactic.rules.all()).max().unwrap_or(0);
    for TacticTotals { name, rules, .. } in tactics {
        let numbers = STATES.map(|state| grouped(count(rules, state) as u64));
        let numbers = self::numbers([&numbers[0], &numbers[1], &numbers[2]]);
        let bar = bar(rules, whole);
        let space = if bar.is_empty() { "" } else { "  " };
        writeln!(out, "{}{numbers}{space}{bar}", padded(&shown(name), name_width))?;
    }
    Ok(())
}

fn sources(out: &mut dyn Write, judged: &Readiness, width: usize, verbose: bool) -> io::Result<()> {
    let most = if verbose { usize::MAX } else { MOST_SOURCES };
    let listed = &judged.missing[..judged.missing.len().min(most)];
    if listed.is_empty() {
        return Ok(());
    }
    let names = listed.iter().map(|count| count.source.name.as_str());
    let name_width = name_width(names, 7, KIND_WIDTH + 3 * COUNT_WIDTH, width);
    let label = padded("NEVER SEEN", KIND_WIDTH + name_width);
    writeln!(out, "\n{}", paint(HEADING, format!("{label}{}", numbers(["WAKES", "BLIND", "PARTLY"]))))?;
    for count in listed {
        let numbers = [count.wakes, count.blind, count.partly].map(|number| grouped(number as u64));
        let numbers = self::numbers([&numbers[0], &numbers[1], &numbers[2]]);
        let kind = paint(LABEL, format!("{:<KIND_WIDTH$}", kind(count.source.kind)));
        writeln!(out, "{kind}{}{numbers}", padded(&shown(&count.source.name), name_width))?;
    }
    let more = judged.missing.len() - listed.len();
    if more > 0 {
        writeln!(out, "{}", paint(DIM, format!("and {} more: -v lists them", grouped(more as u64))))?;
    }
    Ok(())
}

fn group(out: &mut dyn Write, judged: &Readiness, state: State, width: usize, verbose: bool) -> io::Result<()> {
    let rules = count(&judged.totals, state);
    if rules == 0 {
        return Ok(());
    }
    let (word, _, style) = look(state);
    let heading = paint(style.bold(), format!("{word} ({})", grouped(rules as u64)));
    if state == State::Blind && !verbose {
        return writeln!(out, "\n{heading}{}", paint(DIM, ": -v names them"));
    }
    writeln!(out, "\n{heading}")?;
    judged.rules.iter().filter(|rule| rule.state == state).try_for_each(|rule| one_rule(out, rule, width))
}

fn one_rule(out: &mut dyn Write, rule: &RuleReadiness, width: usize) -> io::Result<()> {
    let severity = paint(style::severity(rule.severity), rule.severity);
    let space = " ".repeat(INDENT.saturating_sub(2 + rule.severity.as_str().len()));
    let room = width.saturating_sub(INDENT);
    for (at, line) in wrapped(&shown(&rule.name), room, usize::MAX).into_iter().enumerate() {
        match at {
            0 => writeln!(out, "  {severity}{space}{line}")?,
            _ => writeln!(out, "{:INDENT$}{line}", "")?,
        }
    }
    for line in lack_lines(rule) {
        for line in wrapped(&shown(&line), room, usize::MAX) {
            writeln!(out, "{:INDENT$}{}", "", paint(DIM, line))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anstream::{AutoStream, ColorChoice};
    use eqlipse_hunt::readiness::{DataSeen, RulesGiven, SourceCount, Tactic};
    use eqlipse_rules::Severity;

    /// A name that would act on a terminal and in a page.
    const HOSTILE: &str = "<script>a\u{1b}[2J\u{202e}\nb</script>";

    fn totals(ready: usize, partly: usize, blind: usize) -> Totals {
        Totals { ready, partly, blind }
    }

    fn plain(text: &str) -> String {
        let mut out = AutoStream::new(Vec::new(), ColorChoice::Never);
        out.write_all(text.as_bytes()).unwrap();
        String::from_utf8(out.into_inner()).unwrap()
    }

    fn hostile() -> Readiness {
        let source = Source { kind: SourceKind::Field, name: HOSTILE.to_owned() };
        let tactic = TacticTotals { id: Some(HOSTILE.to_owned()), name: HOSTILE.to_owned(), rules: totals(0, 0, 1) };
        let rule = RuleReadiness {
            rule_id: HOSTILE.to_owned(),
            name: HOSTILE.to_owned(),
            severity: Severity::High,
            tactics: vec![Tactic { id: HOSTILE.to_owned(), name: HOSTILE.to_owned() }],
            state: State::Blind,
            missing: vec![source.clone()],
            index: vec![Need { name: HOSTILE.to_owned(), seen: true }],
            categories: vec![Need { name: HOSTILE.to_owned(), seen: true }],
            fields: Vec::new(),
        };
        Readiness {
            totals: totals(0, 0, 1),
            tactics: vec![tactic],
            missing: vec![SourceCount { source, wakes: 1, blind: 1, partly: 0 }],
            rules: vec![rule],
            data: DataSeen { indices: vec![HOSTILE.to_owned()], ..DataSeen::default() },
            given: RulesGiven { judged: 1, ..RulesGiven::default() },
            inputs: Vec::new(),
            problems: Vec::new(),
        }
    }

    #[test]
    fn bars_have_the_share_of_each_state() {
        assert_eq!(plain(&bar(&totals(4, 2, 2), 8)), format!("{}{}{}", "█".repeat(12), "▒".repeat(6), "░".repeat(6)));
        assert_eq!(plain(&bar(&totals(1, 0, 0), 2)), "█".repeat(12));
        assert_eq!(plain(&bar(&totals(0, 0, 0), 0)), "");
        for part in 0..=7 {
            assert_eq!(columns(&plain(&bar(&totals(part, 7 - part, 3), 10))), BAR_WIDTH);
        }
    }

    #[test]
    fn nothing_hostile_survives() {
        let judged = hostile();
        let mut text = Vec::new();
        table(&mut text, &judged, 0, true).unwrap();
        let text = plain(&String::from_utf8(text).unwrap());
        assert!(text.contains("<script>a\\x1b[2J\\u{202e}\\nb</script>"), "{text}");
        let mut page = Vec::new();
        html::readiness::write(&mut page, &judged).unwrap();
        let page = String::from_utf8(page).unwrap();
        assert!(page.contains("&lt;script&gt;a\\x1b[2J") && !page.contains("<script"), "{page}");
        assert!(!page.contains(" style=") && !page.contains("http://") && !page.contains("https://"), "{page}");
        let mut json = Vec::new();
        write_pretty(&mut json, &judged).unwrap();
        let json = String::from_utf8(json).unwrap();
        for written in [text, page, json] {
            assert!(!written.contains('\u{1b}') && !written.contains('\u{202e}'), "{written}");
        }
    }

    #[test]
    fn lines_of_any_width_fit() {
        let judged = hostile();
        for width in [1, LEAST_WIDTH, 61, 80] {
            let mut text = Vec::new();
            table(&mut text, &judged, width, true).unwrap();
            let text = plain(&String::from_utf8(text).unwrap());
            assert!(text.lines().all(|line| columns(line) <= width.max(LEAST_WIDTH)), "{width}: {text}");
        }
    }
}
