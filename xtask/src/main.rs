//! Tasks of the workspace: `cargo run -p xtask -- TASK`.

mod bench;
mod docs;
mod ecs_catalogue;
mod examples;
mod fuzz;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo run -p xtask -- TASK

Tasks:
  bench [CASE…] [--events N] [--runs N]
                            Measure hunts against only parsing, and print the ratios. A CASE may be a group: `scaling`,
                            `start-up`, `python-eql`; `hunt-all-100x` runs only when named (20 GB of events)
  bench-serve [--events N] [--seconds N] [--half-seconds N] [--backtest N]
                            Measure the service under load against a hunt over the same events, and a backtest over N
  examples                  Write the story in examples/
  ecs-catalogue FIELDS.csv  Write crates/ecs/src/ecs.tsv from the field list that ECS publishes (generated/csv/fields.csv)
  fuzz [TARGET…] [--seconds N]
                            Run the fuzz targets (all), each for N seconds (1200); needs `cargo install cargo-fuzz`
  links                     Check the links between the project's pages
  console                   Run the commands that README.md and docs/ show, and compare what they print
";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&root, &arguments) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
        None => {
            eprint!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

/// Runs the task that the arguments name; `None` if they name none.
fn run(root: &Path, arguments: &[&str]) -> Option<Result<(), Box<dyn Error>>> {
    Some(match arguments {
        ["examples"] => examples::write(&root.join("examples")).map_err(Into::into),
        ["ecs-catalogue", fields] => write_catalogue(root, Path::new(fields)),
        ["bench", arguments @ ..] => bench::run(root, arguments),
        ["bench-serve", arguments @ ..] => bench::serve::run(root, arguments),
        ["fuzz", arguments @ ..] => fuzz::run(root, arguments),
        ["links"] => docs::check_links(root),
        ["console"] => docs::check_console(root),
        _ => return None,
    })
}

fn write_catalogue(root: &Path, fields: &Path) -> Result<(), Box<dyn Error>> {
    let target = root.join("crates/ecs/src/ecs.tsv");
    let count = ecs_catalogue::write(fields, &target)?;
    println!("{} ({count} fields)", target.display());
    Ok(())
}
