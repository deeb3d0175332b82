//! The comparison with the PyPI package `eql`, the only other open engine for EQL over events.
//!
//! The package is installed into an environment beside the bench's other files. Its start-up, which is imports and the
//! compiling of queries, is not counted; that of eqlipse is, in the cases that it is compared with.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::inputs::{Inputs, eql_queries};
use super::measure::{Clock, Measured};

/// The package, in the version that the comparison was made with.
const PACKAGE: &str = "eql==1.0.1";
/// Events that one rule is run over.
const EVENTS_OF_ONE: u64 = 20_000;
/// Events that all rules are run over; it takes some milliseconds for each.
const EVENTS_OF_ALL: u64 = 1_000;

/// Runs the one rule; `None` where the package cannot be had.
pub fn over_one_rule(inputs: &Inputs) -> Result<Option<Measured>, Box<dyn Error>> {
    case(inputs, "python-eql-1", &inputs.rules[0], EVENTS_OF_ONE)
}

/// Runs all rules that the package takes; `None` where it cannot be had.
pub fn over_all_rules(inputs: &Inputs) -> Result<Option<Measured>, Box<dyn Error>> {
    case(inputs, "python-eql-all", &inputs.rules[2], EVENTS_OF_ALL)
}

fn case(inputs: &Inputs, name: &str, rules: &Path, events: u64) -> Result<Option<Measured>, Box<dyn Error>> {
    let python = match environment(&inputs.made) {
        Ok(python) => python,
        Err(reason) => {
            println!("{name} is skipped: {reason}");
            return Ok(None);
        }
    };
    let folder = inputs.made.join(name);
    fs::create_dir_all(&folder)?;
    let script = folder.join("python_eql.py");
    fs::write(&script, include_str!("python_eql.py"))?;
    let mut arguments = vec![script.display().to_string(), inputs.stream(1)?.display().to_string(), events.to_string()];
    for (number, query) in eql_queries(rules)?.iter().enumerate() {
        let file = folder.join(format!("{number:04}.eql"));
        fs::write(&file, query)?;
        arguments.push(file.display().to_string());
    }
    Ok(Some(Measured { program: python, arguments, clock: Clock::Reported }))
}

/// The interpreter of an environment with the package, which is made once.
fn environment(made: &Path) -> Result<PathBuf, String> {
    let folder = made.join("python-eql");
    let python = folder.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" });
    let has_package = |python: &Path| run(python, &["-c", "import eql"]).is_ok();
    if has_package(&python) {
        return Ok(python);
    }
    eprintln!("installing {PACKAGE} into {}", folder.display());
    run(Path::new("python3"), &["-m", "venv", &folder.display().to_string()])?;
    run(&python, &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE])?;
    Ok(python)
}

fn run(program: &Path, arguments: &[&str]) -> Result<(), String> {
    let line = format!("{} {}", program.display(), arguments.join(" "));
    match Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{line}` failed ({status})")),
        Err(error) => Err(format!("`{line}` cannot be run: {error}")),
    }
}
