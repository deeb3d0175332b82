//! `cargo run -p xtask -- bench`: builds what is packaged, makes its inputs, runs each case several times in turn with the
//! others, and prints medians and the ratios that count.

mod cases;
mod inputs;
mod measure;
mod python_eql;
mod report;
mod sequences;
pub mod serve;

use std::error::Error;
use std::path::Path;

use cases::{Case, SPECS, Spec};
use inputs::Inputs;

/// Events of the generated stream where nothing is said.
const DEFAULT_EVENTS: u64 = 100_000;
/// How often each case runs where nothing is said.
const DEFAULT_RUNS: usize = 5;

/// Runs the cases or groups of cases that the arguments name, or all: `[NAME…] [--events N] [--runs N]`.
///
/// # Errors
/// If something cannot be built, made or run, or the hunt does not find what was planted.
pub fn run(root: &Path, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let (mut events, mut runs, mut names) = (DEFAULT_EVENTS, DEFAULT_RUNS, Vec::new());
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().ok_or(format!("{argument} needs a number"));
        match *argument {
            "--events" => events = number()?.parse()?,
            "--runs" => runs = number()?.parse()?,
            name => names.push(name),
        }
    }
    let specs = chosen(&names)?;
    let inputs = Inputs::prepare(root, events)?;
    let mut cases = Vec::new();
    for spec in specs {
        cases.extend(Case::new(spec, &inputs)?);
    }
    for round in 0..runs.max(1) {
        for case in &mut cases {
            eprintln!("round {} of {runs}: {}", round + 1, case.name);
            case.runs.push(measure::measure(&case.command, &inputs.cache())?);
        }
    }
    report::print(&cases, events, runs);
    Ok(())
}

/// The cases of these names and groups; without names, all but those that must be asked for.
fn chosen(names: &[&str]) -> Result<Vec<&'static Spec>, Box<dyn Error>> {
    if let Some(name) = names.iter().find(|name| !SPECS.iter().any(|spec| spec.is_called(name))) {
        return Err(format!("there is no case {name}").into());
    }
    let is_named = |spec: &&Spec| match spec.only_by_name {
        true => names.contains(&spec.name),
        false => names.is_empty() || names.iter().any(|name| spec.is_called(name)),
    };
    Ok(SPECS.iter().filter(is_named).collect())
}
