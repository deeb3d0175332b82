//! `eqlipse rules compile`: compiles rules as a hunt does, and says what came of it.

use std::io::{self, Write};
use std::time::Instant;

use eqlipse_engine::PlanStats;
use serde_json::json;

use crate::args::{CompileArgs, TextOrJson};
use crate::bundled;
use crate::exit::{CliError, Exit};
use crate::format::json::write_pretty;
use crate::hunt::compiled;
use crate::output::{Messages, Output, is_styled};
use crate::rule_cache::RuleCache;
use crate::style::{DIM, LABEL, paint};
use crate::text::{byte_size, grouped};

/// Columns of the labels.
const LABEL_WIDTH: usize = 12;

/// Compiles rules.
pub fn compile(args: &CompileArgs, messages: Messages) -> Result<Exit, CliError> {
    let source = args.source();
    let started = Instant::now();
    let loaded = bundled::load_rules(&source.rules, &RuleCache::of_user(&source.cache));
    let loading = started.elapsed().as_secs_f64();
    let book = compiled(loaded.load, &source, &args.selection, false, messages)?;
    let compiling = started.elapsed().as_secs_f64() - loading;
    let stats = || book.plan().stats();
    let mut output = Output::open(None)?;
    match args.format {
        TextOrJson::Text if args.stats => {
            output.write_styled(is_styled(messages.color, None), |out| text(out, &stats()))?;
        }
        TextOrJson::Text => {
            output.write(|out| writeln!(out, "{} rules compiled", grouped(book.rules().len() as u64)))?
        }
        TextOrJson::Json => output.write(|out| write_pretty(out, &to_json(&stats())))?,
    }
    output.finish()?;
    // Not among the results, which are the same each time.
    let from = if loaded.from_cache { " from the cache" } else { "" };
    messages.note(&paint(DIM, format!("read{from} in {loading:.3} s, compiled in {compiling:.3} s")));
    Ok(if book.report().unloaded.is_empty() { Exit::Done } else { Exit::Failed })
}

fn text(out: &mut dyn Write, stats: &PlanStats) -> io::Result<()> {
    let count = |number: usize| grouped(number as u64);
    let mut row = |label: &str, text: String| writeln!(out, "{}{text}", paint(LABEL, format!("{label:<LABEL_WIDTH$}")));
    row("Rules", count(stats.rules))?;
    row("Stages", format!("{}, {} with a condition of their own", count(stats.stages), count(stats.distinct_stages)))?;
    row(
        "Predicates",
        format!("{} asked for, {} after sharing", count(stats.predicates_asked), count(stats.predicates)),
    )?;
    row("", format!("{} over several fields; {} nodes in all", count(stats.row_scripts), count(stats.nodes)))?;
    row("Fields", format!("{}, with {} exact values", count(stats.fields), count(stats.exact_values)))?;
    let bytes = byte_size(stats.automata_bytes as u64);
    row("Wildcards", format!("{} in {} automata of {bytes}", count(stats.wildcards), count(stats.automata)))
}

fn to_json(stats: &PlanStats) -> serde_json::Value {
    json!({
        "rules": stats.rules,
        "stages": stats.stages,
        "distinct_stages": stats.distinct_stages,
        "predicates_asked": stats.predicates_asked,
        "predicates": stats.predicates,
        "row_scripts": stats.row_scripts,
        "nodes": stats.nodes,
        "fields": stats.fields,
        "exact_values": stats.exact_values,
        "wildcards": stats.wildcards,
        "automata": stats.automata,
        "automata_bytes": stats.automata_bytes,
    })
}
