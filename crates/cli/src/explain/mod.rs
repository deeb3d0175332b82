//! `eqlipse explain`.

mod text;

use std::path::{Path, PathBuf};

use eqlipse_events::Progress;
use eqlipse_hunt::explain::{ExplainError, ExplainOptions, Explanation, Subject, explain as explain_subject};
use eqlipse_rules::{LoadedRule, RuleLoad};

use crate::args::{ExplainArgs, OrderBy, RuleSource, TextOrJson};
use crate::bundled;
use crate::exit::{CliError, Exit};
use crate::format::json::write_pretty;
use crate::happening::happening;
use crate::hunt::{find, inputs_of};
use crate::output::{Messages, Output, is_styled, width};
use crate::progress::with_bar;
use crate::rule_cache::RuleCache;
use crate::rules::{inert_lines, report_failures};
use crate::select::Pattern;
use crate::text::shown;

/// Rules that are named where a name fits several.
const MOST_NAMED: usize = 10;

/// Explains what a rule makes of events.
pub fn explain(args: &ExplainArgs, messages: Messages) -> Result<Exit, CliError> {
    let subject = subject(args, messages)?;
    let paths = inputs_of(&args.paths)?;
    let found = find(&paths, messages)?;
    let mut output = Output::open(args.output.path())?;
    let options = ExplainOptions {
        order_by: match args.order_by {
            OrderBy::Log => eqlipse_events::OrderBy::Log,
            OrderBy::Timestamp => eqlipse_events::OrderBy::Timestamp,
        },
        limit: usize::from(args.limit),
        describe: &|document| happening(document).line,
        cancel: None,
    };
    let progress = Progress::default();
    let (mut explanation, read) =
        with_bar(!args.quiet, &progress, || explain_subject(&subject, &found, &options, &progress)).map_err(failed)?;
    for problem in &read.problems {
        messages.error(&shown(&problem.to_string()));
    }
    if explanation.data.inputs == 0 {
        return Err(CliError::NothingRead("none of the inputs is a log that eqlipse reads".to_owned()));
    }
    if explanation.data.events == 0 && explanation.data.skipped > 0 {
        return Err(CliError::NothingRead("every record had to be skipped".to_owned()));
    }
    if args.only_misses {
        explanation.hits.clear();
    }
    write(&mut output, &explanation, args, messages)?;
    output.finish()?;
    Ok(Exit::Done)
}

fn write(
    output: &mut Output,
    explanation: &Explanation,
    args: &ExplainArgs,
    messages: Messages,
) -> Result<(), CliError> {
    let path: Option<&Path> = args.output.path();
    match args.format {
        TextOrJson::Json => output.write(|out| write_pretty(out, explanation)),
        TextOrJson::Text => {
            let width = width(args.width, path);
            output.write_styled(is_styled(messages.color, path), |out| text::write(out, explanation, width))
        }
    }
}

fn failed(error: ExplainError) -> CliError {
    match error {
        ExplainError::NotEql { .. } | ExplainError::Filters(_) | ExplainError::Query(_) => {
            CliError::Usage(error.to_string())
        }
        ExplainError::Read(_) | ExplainError::Spool(_) | ExplainError::Document(_) => CliError::Run(error.to_string()),
    }
}

fn subject(args: &ExplainArgs, messages: Messages) -> Result<Subject, CliError> {
    // Errors are made inert, so colours in them would show as escapes.
    let styled = false;
    match (&args.rule, &args.query) {
        (_, Some(query)) => Subject::of_query(query, styled).map_err(failed),
        (Some(rule), None) => {
            let loaded = rule_named(rule, &args.rules, messages)?;
            Subject::of_rule(&loaded, args.any_index, styled).map_err(failed)
        }
        // The arguments ask for one of the two.
        (None, None) => Err(CliError::Usage("give --rule or --query".to_owned())),
    }
}

/// The rule in a file, or the one of that id or name.
fn rule_named(rule: &str, source: &RuleSource, messages: Messages) -> Result<LoadedRule, CliError> {
    let (path, cache) = (PathBuf::from(rule), RuleCache::of_user(&source.cache));
    if source.rules.is_empty() && path.is_file() {
        let load = bundled::load_rules(std::slice::from_ref(&path), &cache).load;
        report_failures(&load, messages, &[rule.to_owned()])?;
        return only(load, rule);
    }
    let mut load = bundled::load_rules(&source.rules, &cache).load;
    let pattern = Pattern::new(rule);
    load.rules.retain(|loaded| pattern.matches(&loaded.rule.rule_id) || pattern.matches(&loaded.rule.name));
    if load.rules.is_empty() {
        // One of the rules that could not be loaded may be the one that is meant.
        load.failures.iter().for_each(|failure| messages.error(&inert_lines(&failure.to_string())));
        return Err(CliError::NoSuchRule(shown(rule).into_owned()));
    }
    only(load, rule)
}

fn only(mut load: RuleLoad, rule: &str) -> Result<LoadedRule, CliError> {
    match (load.rules.len(), load.rules.pop()) {
        (1, Some(loaded)) => Ok(loaded),
        (count, last) => {
            let rules = load.rules.iter().chain(&last).take(MOST_NAMED);
            let names: Vec<String> =
                rules.map(|loaded| format!("\n  {}  {}", loaded.rule.rule_id, loaded.rule.name)).collect();
            let more = if count > MOST_NAMED { "\n  …" } else { "" };
            Err(CliError::Usage(format!("'{rule}' fits {count} rules; --rule takes one:{}{more}", names.concat())))
        }
    }
}
