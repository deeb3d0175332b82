//! Tasks of the workspace: `cargo run -p xtask -- TASK`.

mod examples;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let done = match std::env::args().nth(1).as_deref() {
        Some("examples") => examples::write(&root.join("examples")),
        _ => {
            eprintln!("usage: cargo run -p xtask -- examples");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
