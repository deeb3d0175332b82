//! `eqlipse rules test`: runs the unit tests of rules.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use eqlipse_hunt::explain::ClauseCoverage;
use eqlipse_hunt::rule_tests::{Outcome, RuleTests, TestResult};
use eqlipse_rules::{LoadedRule, MAX_FILE_SIZE, RuleLoad, SkipReason};
use serde_json::{Value, json};

use super::{inert_lines, report_failures, sort};
use crate::args::{TestArgs, TestFormat};
use crate::bundled;
use crate::exit::{CliError, Exit};
use crate::format::json::write_pretty;
use crate::output::{Messages, Output, is_styled};
use crate::rule_cache::RuleCache;
use crate::style::{CATEGORY, DIM, ERROR, HEADING, WARNING, paint};
use crate::text::{counted, is_active, shown};

/// How the name of a file of tests ends.
const ENDING: &str = ".test.toml";

/// Columns of a filter that are shown to tell it from the rule's others.
const FILTER_WIDTH: usize = 80;

/// A rule and how its tests ended.
struct Tested {
    loaded: LoadedRule,
    results: Vec<TestResult>,
    /// What the tests' events made of the clauses, where that was asked for.
    coverage: Vec<ClauseCoverage>,
}

impl Tested {
    /// A rule whose tests could not be run.
    fn broken(loaded: LoadedRule, file: &str, reason: &str) -> Tested {
        let outcome = Outcome::Broken(format!("{file}: {reason}"));
        Tested { loaded, results: vec![TestResult { name: "tests".to_owned(), outcome }], coverage: Vec::new() }
    }

    fn not_covered(&self) -> impl Iterator<Item = &ClauseCoverage> {
        self.coverage.iter().filter(|clause| !clause.is_covered())
    }
}

/// How many tests ended how.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    broken: usize,
    /// Rules without tests.
    untested: usize,
    clauses: usize,
    /// Clauses that were true of some event and false of another.
    covered: usize,
}

/// Runs the tests of rules.
pub fn test(args: &TestArgs, messages: Messages) -> Result<Exit, CliError> {
    let mut sources: Vec<PathBuf> =
        args.paths.iter().map(|path| rule_of(path).unwrap_or_else(|| path.clone())).collect();
    let mut seen = HashSet::new();
    sources.retain(|path| seen.insert(path.clone()));
    let mut load = bundled::load_rules(&sources, &RuleCache::OFF).load;
    report_failures(&load, messages, &bundled::names(&sources))?;
    let mut wrong = !load.failures.is_empty();
    for orphan in orphans(&load) {
        wrong = true;
        messages.error(&shown(&format!("{}: no rule beside it", orphan.display())));
    }
    let mut output = Output::open(args.output.as_deref())?;
    sort(&mut load.rules);
    let mut tested = Vec::new();
    for loaded in load.rules {
        tested.push(run(loaded, args.coverage || args.require_coverage));
    }
    let tally = Tally::of(&tested);
    match args.format {
        TestFormat::Text => {
            let styled = is_styled(messages.color, args.output.as_deref());
            output.write_styled(styled, |out| text(out, &tested, &tally, args))?;
        }
        TestFormat::Json => output.write(|out| json_report(out, &tested, &tally))?,
        TestFormat::Junit => output.write(|out| junit(out, &tested, args))?,
    }
    output.finish()?;
    if args.format != TestFormat::Text || args.output.is_some() {
        messages.note(&paint(DIM, tally.line()));
    }
    let failed = wrong
        || tally.failed + tally.broken > 0
        || (args.require_tests && tally.untested > 0)
        || (args.require_coverage && tally.covered < tally.clauses);
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// `a.toml` for `a.test.toml`.
fn rule_of(path: &Path) -> Option<PathBuf> {
    let stem = path.file_name()?.to_str()?.strip_suffix(ENDING)?;
    Some(path.with_file_name(format!("{stem}.toml")))
}

/// Files of tests that stand beside no rule.
fn orphans(load: &RuleLoad) -> Vec<&Path> {
    let read = load.rules.iter().map(|loaded| &loaded.origin);
    let read = read.chain(load.failures.iter().map(|failure| &failure.origin));
    let known: HashSet<&Path> =
        read.chain(load.skipped.iter().map(|skipped| &skipped.origin)).map(|origin| origin.path.as_path()).collect();
    let tests = load.skipped.iter().filter(|skipped| skipped.reason == SkipReason::RuleTests);
    let tests = tests.filter(|skipped| skipped.origin.member.is_none()).map(|skipped| skipped.origin.path.as_path());
    tests.filter(|path| rule_of(path).is_some_and(|rule| !known.contains(rule.as_path()))).collect()
}

/// Runs the tests of a rule.
fn run(loaded: LoadedRule, coverage: bool) -> Tested {
    let tests = match tests(&loaded) {
        Ok(tests) => tests,
        Err((file, reason)) => return Tested::broken(loaded, &file, &reason),
    };
    let path = &loaded.origin.path;
    let folder = path.parent().filter(|_| bundled::file(path).is_none());
    let results = tests.run(&loaded, folder);
    // A rule without tests is what `--require-tests` is for; what is wrong with a test that has no coverage, its result
    // says.
    let coverage =
        if coverage && !results.is_empty() { tests.coverage(&loaded, folder).unwrap_or_default() } else { Vec::new() };
    Tested { results, coverage, loaded }
}

/// The tests of a rule: those inside its file, then those beside it. An error is a file and what is wrong in it.
fn tests(loaded: &LoadedRule) -> Result<RuleTests, (String, String)> {
    let path = &loaded.origin.path;
    let is_toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    if !is_toml || loaded.origin.member.is_some() {
        return Ok(RuleTests::default());
    }
    let beside = path.with_extension("test.toml");
    let name = |path: &Path| path.display().to_string();
    // A rule in UTF-16 is read by the loader; it just has no tests inside.
    let inside = content(path)?.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    let inside = RuleTests::parse_inside(inside.trim_start_matches('\u{feff}'));
    let inside = inside.map_err(|error| (name(path), error.to_string()))?;
    let text = content(&beside)?.map(String::from_utf8).transpose();
    let tests = match text.map_err(|_| (name(&beside), "not valid UTF-8".to_owned()))? {
        Some(text) => RuleTests::parse(text.trim_start_matches('\u{feff}')).and_then(|tests| inside.and(tests)),
        None => Ok(inside),
    };
    tests.map_err(|error| (name(&beside), error.to_string()))
}

/// The content of a file, bundled or on disk; `None` where there is no such file.
fn content(path: &Path) -> Result<Option<Vec<u8>>, (String, String)> {
    if let Some(bytes) = bundled::file(path) {
        return Ok(Some(bytes.to_vec()));
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > MAX_FILE_SIZE => {
            let reason = format!("larger than the limit of {MAX_FILE_SIZE} bytes (MAX_FILE_SIZE)");
            Err((path.display().to_string(), reason))
        }
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err((path.display().to_string(), format!("cannot read: {error}"))),
    }
}

impl Tally {
    fn of(tested: &[Tested]) -> Tally {
        let mut tally = Tally::default();
        for rule in tested {
            tally.untested += usize::from(rule.results.is_empty());
            tally.clauses += rule.coverage.len();
            tally.covered += rule.coverage.iter().filter(|clause| clause.is_covered()).count();
            for result in &rule.results {
                match result.outcome {
                    Outcome::Passed => tally.passed += 1,
                    Outcome::Failed(_) => tally.failed += 1,
                    Outcome::Broken(_) => tally.broken += 1,
                }
            }
        }
        tally
    }

    fn line(&self) -> String {
        let mut line = format!("{} passed, {} failed", counted(self.passed as u64, "test"), self.failed);
        if self.broken > 0 {
            line.push_str(&format!(", {} could not run", self.broken));
        }
        if self.untested > 0 {
            line.push_str(&format!("; {} without tests", counted(self.untested as u64, "rule")));
        }
        if self.clauses > 0 {
            let clauses = counted(self.clauses as u64, "clause");
            line.push_str(&format!("; {} of {clauses} seen true and false", self.covered));
        }
        line
    }
}

fn text(out: &mut dyn Write, tested: &[Tested], tally: &Tally, args: &TestArgs) -> io::Result<()> {
    for rule in tested.iter().filter(|rule| !rule.results.is_empty()) {
        writeln!(out, "{}", paint(HEADING, shown(&rule.loaded.rule.name)))?;
        for TestResult { name, outcome } in &rule.results {
            match outcome {
                Outcome::Passed => writeln!(out, "  {}  {}", paint(CATEGORY, "ok  "), shown(name))?,
                Outcome::Failed(reason) => problem(out, "FAIL", name, reason)?,
                Outcome::Broken(reason) => problem(out, "ERR ", name, reason)?,
            }
        }
        not_covered(out, rule, args)?;
    }
    if tally.untested > 0 {
        let style = if args.require_tests { ERROR } else { WARNING };
        writeln!(out, "{}", paint(style, "Rules without tests"))?;
        for Tested { loaded, .. } in tested.iter().filter(|rule| rule.results.is_empty()) {
            writeln!(out, "  {}", shown(&loaded.rule.name))?;
        }
    }
    writeln!(out, "{}", tally.line())
}

/// The clauses that are not covered, below their filters.
fn not_covered(out: &mut dyn Write, rule: &Tested, args: &TestArgs) -> io::Result<()> {
    let style = if args.require_coverage { ERROR } else { WARNING };
    let mut stage = None;
    for clause in rule.not_covered() {
        if stage.replace(clause.stage) != Some(clause.stage) {
            let filter: String = clause.filter.chars().take(FILTER_WIDTH).collect();
            let more = if filter.len() < clause.filter.len() { "…" } else { "" };
            writeln!(out, "  {}", paint(DIM, format!("[{}{more}]", shown(&filter))))?;
        }
        writeln!(out, "    {}  {}", paint(style, format!("{:<12}", never(clause))), shown(&clause.text))?;
    }
    Ok(())
}

/// What no event made of a clause.
fn never(clause: &ClauseCoverage) -> &'static str {
    match (clause.seen_true, clause.seen_false) {
        (false, false) => "never tested",
        (false, true) => "never true",
        (true, _) => "never false",
    }
}

fn problem(out: &mut dyn Write, word: &str, name: &str, reason: &str) -> io::Result<()> {
    writeln!(out, "  {}  {}", paint(ERROR, word), shown(name))?;
    inert_lines(reason).lines().try_for_each(|line| writeln!(out, "        {line}"))
}

fn json_report(out: &mut dyn Write, tested: &[Tested], tally: &Tally) -> io::Result<()> {
    let tests: Vec<_> = tested
        .iter()
        .flat_map(|Tested { loaded, results, .. }| {
            results.iter().map(move |result| {
                let (outcome, message) = match &result.outcome {
                    Outcome::Passed => ("passed", None),
                    Outcome::Failed(reason) => ("failed", Some(reason)),
                    Outcome::Broken(reason) => ("error", Some(reason)),
                };
                json!({
                    "rule_id": loaded.rule.rule_id,
                    "rule": loaded.rule.name,
                    "file": loaded.origin.path.display().to_string(),
                    "name": result.name,
                    "outcome": outcome,
                    "message": message,
                })
            })
        })
        .collect();
    let untested: Vec<_> = tested
        .iter()
        .filter(|rule| rule.results.is_empty())
        .map(|Tested { loaded, .. }| {
            json!({
                "rule_id": loaded.rule.rule_id,
                "rule": loaded.rule.name,
                "file": loaded.origin.path.display().to_string(),
            })
        })
        .collect();
    let counts = json!({ "passed": tally.passed, "failed": tally.failed, "errors": tally.broken });
    let mut report = json!({ "counts": counts, "tests": tests, "rules_without_tests": untested });
    if tally.clauses > 0 {
        report["coverage"] = json!({
            "clauses": tally.clauses,
            "covered": tally.covered,
            "not_covered": tested.iter().flat_map(clauses_not_covered).collect::<Vec<_>>(),
        });
    }
    write_pretty(out, &report)
}

fn clauses_not_covered(rule: &Tested) -> Vec<Value> {
    let clause = |clause: &ClauseCoverage| {
        json!({
            "rule_id": rule.loaded.rule.rule_id,
            "rule": rule.loaded.rule.name,
            "stage": clause.stage,
            "filter": clause.filter,
            "clause": clause.text,
            "seen_true": clause.seen_true,
            "seen_false": clause.seen_false,
        })
    };
    rule.not_covered().map(clause).collect()
}

/// A suite for each rule that has tests; where tests or coverage are required, a failure for each that has none, and
/// for each with clauses that are not covered.
fn junit(out: &mut dyn Write, tested: &[Tested], args: &TestArgs) -> io::Result<()> {
    let tally = Tally::of(tested);
    let uncovered = tested.iter().filter(|rule| args.require_coverage && rule.not_covered().next().is_some());
    let missing = if args.require_tests { tally.untested } else { 0 } + uncovered.count();
    let (failed, broken) = (tally.failed + missing, tally.broken);
    let tests = tally.passed + failed + broken;
    writeln!(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(out, "<testsuites name=\"eqlipse\" tests=\"{tests}\" failures=\"{failed}\" errors=\"{broken}\">")?;
    for rule in tested.iter().filter(|rule| args.require_tests || !rule.results.is_empty()) {
        suite(out, rule, args.require_coverage)?;
    }
    writeln!(out, "</testsuites>")
}

fn suite(out: &mut dyn Write, rule: &Tested, require_coverage: bool) -> io::Result<()> {
    let name = xml(&rule.loaded.rule.name);
    let tally = Tally::of(std::slice::from_ref(rule));
    let not_covered: Vec<String> =
        rule.not_covered().map(|clause| format!("{}: {} in {}", never(clause), clause.text, clause.filter)).collect();
    let lacks_coverage = require_coverage && !not_covered.is_empty();
    let (failed, broken) = (tally.failed + tally.untested + usize::from(lacks_coverage), tally.broken);
    let tests = tally.passed + failed + broken;
    writeln!(out, "  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failed}\" errors=\"{broken}\">")?;
    if rule.results.is_empty() {
        case(out, &name, "has tests", Some(("failure", "the rule has no tests")))?;
    }
    for result in &rule.results {
        let problem = match &result.outcome {
            Outcome::Passed => None,
            Outcome::Failed(reason) => Some(("failure", reason.as_str())),
            Outcome::Broken(reason) => Some(("error", reason.as_str())),
        };
        case(out, &name, &result.name, problem)?;
    }
    let list = not_covered.join("\n");
    if lacks_coverage {
        let message = format!("{} not covered\n{list}", counted(not_covered.len() as u64, "clause"));
        case(out, &name, "covers every clause", Some(("failure", &message)))?;
    } else if !list.is_empty() {
        writeln!(out, "    <system-out>{}</system-out>", xml(&list))?;
    }
    writeln!(out, "  </testsuite>")
}

fn case(out: &mut dyn Write, suite: &str, name: &str, problem: Option<(&str, &str)>) -> io::Result<()> {
    let name = xml(name);
    let Some((element, reason)) = problem else {
        return writeln!(out, "    <testcase classname=\"{suite}\" name=\"{name}\"/>");
    };
    writeln!(out, "    <testcase classname=\"{suite}\" name=\"{name}\">")?;
    writeln!(out, "      <{element} message=\"{}\">{}</{element}>", xml(first_line(reason)), xml(reason))?;
    writeln!(out, "    </testcase>")
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Text inside XML, in an element or an attribute. XML 1.0 has no way to write most control characters.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push('\n'),
            '\t' => escaped.push(' '),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c if is_active(c) => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
