//! `eqlipse rules check`: everything that can be said about rules without running them.

use std::collections::BTreeMap;
use std::io::{self, Write};

use eqlipse_engine::{CompileOptions, RuleSetBuilder, Scope};
use eqlipse_eql::ast::Query;
use eqlipse_eql::{Catalogue, Diagnostic};
use eqlipse_hunt::QueryPlace;
use eqlipse_rules::{LoadedRule, Problem, ProblemLevel, Rule, RuleFailure, RuleLoad, validate};
use serde::Serialize;
use serde_json::json;

use super::inert_lines;
use crate::args::{CheckArgs, TextOrJson};
use crate::bundled;
use crate::exit::{CliError, Exit};
use crate::format::json::write_pretty;
use crate::output::{Messages, Output, is_styled};
use crate::rule_cache::RuleCache;
use crate::style::{ERROR, WARNING, paint};
use crate::text::{counted, shown};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Error,
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    /// A stable name for this kind of finding.
    code: &'static str,
    /// File, member and line.
    origin: String,
    rule_id: Option<String>,
    name: Option<String>,
    /// Field of the rule.
    field: Option<String>,
    message: String,
    help: Option<String>,
    /// Place in the query, from 1.
    line: Option<usize>,
    column: Option<usize>,
    /// As drawn for a terminal.
    #[serde(skip)]
    drawn: Option<String>,
}

/// Checks rules.
pub fn check(args: &CheckArgs, messages: Messages) -> Result<Exit, CliError> {
    let sources: Vec<_> = args.paths.iter().chain(&args.rules.rules).cloned().collect();
    let load = bundled::load_rules(&sources, &RuleCache::of_user(&args.rules.cache)).load;
    let styled = is_styled(messages.color, None);
    let mut findings = findings(&load, styled);
    if load.rules.is_empty() && load.failures.is_empty() {
        return Err(CliError::NoRules(shown(&bundled::names(&sources).join(", ")).into_owned()));
    }
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    if args.quiet {
        findings.retain(|finding| finding.level == Level::Error);
    }
    let mut output = Output::open(None)?;
    match args.format {
        TextOrJson::Text => output.write_styled(styled, |out| text(out, &findings))?,
        TextOrJson::Json => output.write(|out| json_report(out, &load, &findings, errors, warnings))?,
    }
    output.finish()?;
    if !args.quiet || errors > 0 {
        messages.note(&summary(&load, errors, warnings));
    }
    let failed = errors > 0 || (args.strict && warnings > 0);
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

fn findings(load: &RuleLoad, styled: bool) -> Vec<Finding> {
    let mut findings: Vec<Finding> = load.failures.iter().map(of_failure).collect();
    findings.extend(load.warnings.iter().map(|warning| Finding {
        message: warning.message.clone(),
        ..Finding::new(Level::Warning, "load", warning.origin.to_string())
    }));
    for loaded in &load.rules {
        findings.extend(validate(&loaded.rule).iter().map(|problem| of_problem(loaded, problem)));
        findings.extend(missing_metadata(&loaded.rule).map(|field| {
            let problem = Problem::warning(field, "missing");
            Finding { code: "missing-metadata", ..of_problem(loaded, &problem) }
        }));
        of_query(loaded, styled, &mut findings);
    }
    findings.sort_by(|a, b| a.origin.cmp(&b.origin));
    findings
}

impl Finding {
    fn new(level: Level, code: &'static str, origin: String) -> Finding {
        let message = String::new();
        let (rule_id, name, field, help, line, column, drawn) = (None, None, None, None, None, None, None);
        Finding { level, code, origin, rule_id, name, field, message, help, line, column, drawn }
    }

    fn of_rule(level: Level, code: &'static str, loaded: &LoadedRule) -> Finding {
        Finding {
            rule_id: Some(loaded.rule.rule_id.clone()),
            name: Some(loaded.rule.name.clone()),
            ..Finding::new(level, code, loaded.origin.to_string())
        }
    }
}

fn of_failure(failure: &RuleFailure) -> Finding {
    let code = match failure.error {
        eqlipse_rules::LoadError::Duplicate { .. } => "duplicate-id",
        _ => "not-loaded",
    };
    Finding { message: failure.error.to_string(), ..Finding::new(Level::Error, code, failure.origin.to_string()) }
}

fn of_problem(loaded: &LoadedRule, problem: &Problem) -> Finding {
    let level = match problem.level {
        ProblemLevel::Error => Level::Error,
        ProblemLevel::Warning => Level::Warning,
    };
    Finding {
        field: Some(problem.field.clone()),
        message: problem.message.clone(),
        ..Finding::of_rule(level, "rule-field", loaded)
    }
}

/// Fields that a rule can do without and that a reader of its alerts misses.
fn missing_metadata(rule: &Rule) -> impl Iterator<Item = &'static str> {
    let missing = [
        ("threat", rule.threat.is_empty()),
        ("tags", rule.tags.is_empty()),
        ("author", rule.author.is_empty()),
        ("license", rule.license.as_deref().unwrap_or("").trim().is_empty()),
    ];
    missing.into_iter().filter(|(_, missing)| *missing).map(|(field, _)| field)
}

/// Parses and checks an EQL query; its faults are shown at their place in the file where that is known.
fn of_query(loaded: &LoadedRule, styled: bool, findings: &mut Vec<Finding>) {
    let Some(eql) = loaded.rule.eql() else { return };
    let diagnostics = match eqlipse_eql::parse(&eql.query) {
        Ok(query) => {
            let mut diagnostics = eqlipse_eql::check(&query, &Catalogue);
            diagnostics.extend(compile_error(&query));
            diagnostics
        }
        Err(diagnostics) => diagnostics,
    };
    if diagnostics.is_empty() {
        return;
    }
    let place = QueryPlace::of(loaded, &eql.query);
    for diagnostic in diagnostics {
        let (line, column) = diagnostic.line_column(&eql.query);
        let level = if diagnostic.is_error() { Level::Error } else { Level::Warning };
        findings.push(Finding {
            line: Some(line),
            column: Some(column),
            field: Some("query".to_owned()),
            message: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
            drawn: Some(place.draw(&diagnostic, styled)),
            ..Finding::of_rule(level, diagnostic.code, loaded)
        });
    }
}

/// Whether the engine takes the query, too.
fn compile_error(query: &Query) -> Option<Diagnostic> {
    let mut builder = RuleSetBuilder::new(CompileOptions::default());
    builder.add(query, &Scope::default()).err().map(|error| error.diagnostic())
}

fn text(out: &mut dyn Write, findings: &[Finding]) -> io::Result<()> {
    for finding in findings {
        if let Some(drawn) = &finding.drawn {
            writeln!(out, "{drawn}\n")?;
            continue;
        }
        let (style, word) = match finding.level {
            Level::Error => (ERROR, "error"),
            Level::Warning => (WARNING, "warning"),
        };
        let field = finding.field.as_ref().map(|field| format!("{}: ", shown(field))).unwrap_or_default();
        let head = paint(style, format!("{word}[{}]:", finding.code));
        writeln!(out, "{head} {field}{}", inert_lines(&finding.message))?;
        let name = finding.name.as_ref().map(|name| format!(" ({})", shown(name))).unwrap_or_default();
        writeln!(out, "  --> {}{name}\n", shown(&finding.origin))?;
    }
    Ok(())
}

fn not_compiled(load: &RuleLoad) -> BTreeMap<&'static str, usize> {
    let mut types = BTreeMap::new();
    for loaded in load.rules.iter().filter(|loaded| loaded.rule.eql().is_none()) {
        *types.entry(loaded.rule.rule_type().as_str()).or_default() += 1;
    }
    types
}

fn summary(load: &RuleLoad, errors: usize, warnings: usize) -> String {
    let rules = counted((load.rules.len() + load.failures.len()) as u64, "rule");
    let findings = format!("{}, {}", counted(errors as u64, "error"), counted(warnings as u64, "warning"));
    let others: Vec<String> = not_compiled(load).iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    match others.is_empty() {
        true => format!("{rules} checked: {findings}"),
        false => format!("{rules} checked: {findings}; queries not checked yet: {}", others.join(", ")),
    }
}

fn json_report(
    out: &mut dyn Write,
    load: &RuleLoad,
    findings: &[Finding],
    errors: usize,
    warnings: usize,
) -> io::Result<()> {
    write_pretty(
        out,
        &json!({
            "rules": load.rules.len() + load.failures.len(),
            "errors": errors,
            "warnings": warnings,
            "queries_not_checked": not_compiled(load),
            "findings": findings,
        }),
    )
}
