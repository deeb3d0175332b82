//! The eqlipse command line: arguments, progress and output formats. What it does is in the other crates.

mod args;
mod attack;
mod bundled;
mod convert;
mod data_folder;
mod date;
mod exit;
mod explain;
mod field;
#[cfg(test)]
mod fixture;
mod format;
mod happening;
mod hunt;
mod keyfields;
mod man;
mod manifest;
mod memory;
mod output;
mod progress;
mod query;
mod rule_cache;
mod rules;
mod select;
mod serve;
mod service;
mod size;
mod sql;
mod style;
mod summary;
mod text;
mod version;
mod view;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command, RulesArgs, RulesCommand};
use exit::{CliError, Exit};
use output::Messages;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let messages = Messages { quiet: is_quiet(&cli.command), color: cli.color };
    if !matches!(cli.command, Command::Serve(_)) {
        on_interrupt();
    }
    let exit = run(&cli, messages).unwrap_or_else(|error| {
        if !matches!(error, CliError::Closed) {
            messages.error(&rules::inert_lines(&error.to_string()));
        }
        error.exit()
    });
    ExitCode::from(exit as u8)
}

fn is_quiet(command: &Command) -> bool {
    match command {
        Command::Hunt(args) => args.screen.quiet,
        Command::Query(args) => args.screen.quiet,
        Command::Sql(args) => args.screen.quiet,
        Command::Convert(args) => args.quiet,
        Command::Explain(args) => args.quiet,
        Command::Rules(RulesArgs { command: RulesCommand::Readiness(args) }) => args.quiet,
        _ => false,
    }
}

fn run(cli: &Cli, messages: Messages) -> Result<Exit, CliError> {
    match &cli.command {
        Command::Hunt(args) => hunt::hunt(args, messages),
        Command::Query(args) => query::query(args, messages),
        Command::Sql(args) => sql::sql(args, messages),
        Command::Convert(args) => convert::convert(args, messages),
        Command::Explain(args) => explain::explain(args, messages),
        Command::Rules(args) => match &args.command {
            RulesCommand::List(args) => rules::list(args, messages),
            RulesCommand::Show(args) => rules::show(args, messages),
            RulesCommand::Check(args) => rules::check(args, messages),
            RulesCommand::Compile(args) => rules::compile(args, messages),
            RulesCommand::Readiness(args) => rules::readiness(args, messages),
            RulesCommand::Fmt(args) => rules::fmt(args, messages),
            RulesCommand::Test(args) => rules::test(args, messages),
        },
        Command::Serve(args) => serve::serve(args),
        Command::Config(args) => serve::config(args, messages),
        Command::Status(args) => service::status(args, messages),
        Command::DeadLetters(args) => service::dead_letters(args, messages),
        Command::Store(args) => serve::store(args, messages),
        Command::Backfill(args) => serve::backfill(args, messages),
        Command::Completions(args) => man::completions(args),
        Command::Man(args) => man::man(args),
    }
}

/// Ctrl-C leaves nothing half written behind. Without a handler the default, to die at once, is near enough.
fn on_interrupt() {
    let _ = ctrlc::set_handler(|| {
        output::remove_unfinished();
        std::process::exit(Exit::Interrupted as i32);
    });
}
