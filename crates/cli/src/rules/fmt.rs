//! `eqlipse rules fmt`: lays out the queries of rule files.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use eqlipse_eql::limits::MAX_QUERY_BYTES;
use eqlipse_eql::{Dialect, FormatError};
use eqlipse_rules::{LoadError, LoadedRule, Origin, PathOrStdin, SkipReason, load};
use similar::TextDiff;

use super::inert_lines;
use crate::args::FmtArgs;
use crate::exit::{CliError, Exit};
use crate::output::{Messages, Output, is_styled};
use crate::style::{DIM, paint};
use crate::text::{counted, shown};

/// Lines around a change in a diff.
const CONTEXT_LINES: usize = 3;

/// What became of the files.
#[derive(Default)]
struct Tally {
    changed: usize,
    unchanged: usize,
    /// Queries that could not be formatted.
    failed: usize,
}

/// Formats rules.
pub fn fmt(args: &FmtArgs, messages: Messages) -> Result<Exit, CliError> {
    if args.stdin || args.paths.iter().any(|path| path.as_os_str() == "-") {
        if args.paths.len() > 1 {
            return Err(CliError::Usage("'-' is one bare query and goes with no other path".to_owned()));
        }
        return bare_query(args, messages);
    }
    let mut tally = Tally::default();
    let mut output = Output::open(None)?;
    for path in files(&args.paths, messages, &mut tally) {
        file(&path, args, messages, &mut output, &mut tally)?;
    }
    output.finish()?;
    if tally.changed + tally.unchanged + tally.failed == 0 {
        return Err(CliError::NoRules(shown(&joined(&args.paths)).into_owned()));
    }
    messages.note(&paint(DIM, summary(&tally, args)));
    let failed = tally.failed > 0 || (args.check && tally.changed > 0);
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

fn joined(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The files with rules in them. Two files with the same rule are both to be formatted.
fn files(paths: &[PathBuf], messages: Messages, tally: &mut Tally) -> BTreeSet<PathBuf> {
    let paths: Vec<PathOrStdin> = paths.iter().map(|path| PathOrStdin::from(path.clone())).collect();
    let load = load(&paths);
    let mut files: BTreeSet<PathBuf> = load.rules.into_iter().map(|loaded| loaded.origin.path).collect();
    for skipped in load.skipped {
        if matches!(skipped.reason, SkipReason::SameRule(_)) {
            files.insert(skipped.origin.path);
        }
    }
    for failure in load.failures {
        if let LoadError::Duplicate { .. } = failure.error {
            files.insert(failure.origin.path);
        } else {
            tally.failed += 1;
            messages.error(&inert_lines(&failure.to_string()));
        }
    }
    files
}

/// Formats the queries of a file.
fn file(
    path: &Path,
    args: &FmtArgs,
    messages: Messages,
    output: &mut Output,
    tally: &mut Tally,
) -> Result<(), CliError> {
    let rules = load(&[PathOrStdin::from(path)]).rules;
    let eql: Vec<&LoadedRule> = rules.iter().filter(|loaded| loaded.rule.eql().is_some()).collect();
    if eql.is_empty() {
        return Ok(());
    }
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut formatted = text.clone();
    // From the last on, so that the places of the others stay.
    for loaded in eql.into_iter().rev() {
        match edit(loaded, &mut formatted) {
            Ok(()) => {}
            Err(reason) => {
                tally.failed += 1;
                messages.error(&inert_lines(&format!("{}: not formatted: {reason}", loaded.origin)));
                return Ok(());
            }
        }
    }
    if formatted == text {
        tally.unchanged += 1;
        return Ok(());
    }
    tally.changed += 1;
    if args.diff {
        let styled = is_styled(messages.color, None);
        output.write_styled(styled, |out| diff(out, &path.display().to_string(), &text, &formatted))?;
    } else {
        output.write(|out| writeln!(out, "{}", shown(&path.display().to_string())))?;
    }
    if args.check || args.diff {
        return Ok(());
    }
    let mut target = Output::open(Some(path))?;
    target.write(|out| out.write_all(formatted.as_bytes()))?;
    target.finish()
}

/// Puts the formatted query in the place of the query in the file's text.
fn edit(loaded: &LoadedRule, text: &mut String) -> Result<(), String> {
    let query = loaded.rule.query().unwrap_or_default();
    let Origin { path, member: None, query_offset: Some(offset), .. } = &loaded.origin else {
        return Err(elsewhere(&loaded.origin));
    };
    let is_toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    if !is_toml || !text.get(*offset..).is_some_and(|rest| rest.starts_with(query)) {
        return Err(elsewhere(&loaded.origin));
    }
    let formatted = eqlipse_eql::format(query).map_err(|error| reason(&error, loaded, query))?;
    let end = offset + query.len();
    let (before, behind) = (&text[..*offset], &text[end..]);
    let breaks = if text.contains("\r\n") { "\r\n" } else { "\n" };
    let formatted = formatted.replace("\r\n", "\n").replace('\n', breaks);
    let quotes = ["'''", "\"\"\"", "'", "\""].into_iter().find(|quotes| behind.starts_with(quotes));
    let (range, replacement) = match quotes {
        Some("'''" | "\"\"\"") => {
            // The first line break behind the quotes is not part of the query.
            let first = if before.ends_with('\n') { "" } else { breaks };
            (*offset..end, format!("{first}{formatted}{breaks}"))
        }
        Some(_) if !formatted.contains('\n') => (*offset..end, formatted),
        // Several lines need the other quotes.
        Some(_) if before.ends_with(['\'', '"']) && !formatted.contains("'''") => {
            (*offset - 1..end + 1, format!("'''{breaks}{formatted}{breaks}'''"))
        }
        _ => return Err(elsewhere(&loaded.origin)),
    };
    text.replace_range(range, &replacement);
    Ok(())
}

fn elsewhere(origin: &Origin) -> String {
    let is_toml = origin.path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    match is_toml {
        true => "the query does not stand in the file letter by letter; write it between '''".to_owned(),
        false => "only TOML files are formatted".to_owned(),
    }
}

fn reason(error: &FormatError, loaded: &LoadedRule, query: &str) -> String {
    let FormatError::Syntax(diagnostics) = error else { return error.to_string() };
    let name = format!("query of {}", loaded.rule.name);
    let drawn: Vec<String> = diagnostics.iter().map(|diagnostic| diagnostic.render(query, &name, false)).collect();
    format!("the query is not well formed\n{}", drawn.join("\n"))
}

fn diff(out: &mut dyn Write, name: &str, before: &str, after: &str) -> io::Result<()> {
    let diff = TextDiff::from_lines(before, after);
    let unified = diff.unified_diff().context_radius(CONTEXT_LINES).header(name, name).to_string();
    for line in unified.lines() {
        let style = match line.as_bytes().first() {
            _ if line.starts_with("---") || line.starts_with("+++") => crate::style::HEADING,
            Some(b'-') => crate::style::ERROR,
            Some(b'+') => crate::style::CATEGORY,
            Some(b'@') => crate::style::LABEL,
            _ => anstyle::Style::new(),
        };
        writeln!(out, "{}", paint(style, shown(line)))?;
    }
    Ok(())
}

fn summary(tally: &Tally, args: &FmtArgs) -> String {
    let verb = if args.check || args.diff { "would change" } else { "changed" };
    let mut summary = format!("{} {verb}, {} unchanged", counted(tally.changed as u64, "file"), tally.unchanged);
    if tally.failed > 0 {
        summary.push_str(&format!(", {} not formatted", tally.failed));
    }
    summary
}

/// One query from standard input to standard output.
fn bare_query(args: &FmtArgs, messages: Messages) -> Result<Exit, CliError> {
    let mut query = String::new();
    let read = io::stdin().lock().take(MAX_QUERY_BYTES as u64 + 1).read_to_string(&mut query);
    read.map_err(|error| CliError::NothingRead(format!("standard input: {error}")))?;
    let formatted = match eqlipse_eql::format_with(&query, Dialect::Extended) {
        Ok(formatted) => formatted + "\n",
        Err(FormatError::Syntax(diagnostics)) => {
            let drawn: Vec<String> = diagnostics.iter().map(|d| d.render(&query, "<stdin>", false)).collect();
            return Err(CliError::Run(format!("the query is not well formed\n{}", drawn.join("\n"))));
        }
        Err(error) => return Err(CliError::Run(error.to_string())),
    };
    let mut output = Output::open(None)?;
    if args.diff {
        let styled = is_styled(messages.color, None);
        output.write_styled(styled, |out| diff(out, "<stdin>", &query, &formatted))?;
    } else if !args.check {
        output.write(|out| out.write_all(formatted.as_bytes()))?;
    }
    output.finish()?;
    Ok(if args.check && formatted != query { Exit::Failed } else { Exit::Done })
}
