//! `eqlipse completions` and `eqlipse man`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::args::{Cli, CompletionsArgs, ManArgs};
use crate::exit::{CliError, Exit};
use crate::output::Output;

/// Writes shell completions.
pub fn completions(args: &CompletionsArgs) -> Result<Exit, CliError> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "eqlipse", &mut text);
    let mut output = Output::open(None)?;
    output.write(|out| out.write_all(&text))?;
    output.finish()?;
    Ok(Exit::Done)
}

/// Writes the manual: the main page to standard output, or every page into a folder.
pub fn man(args: &ManArgs) -> Result<Exit, CliError> {
    let mut command = Cli::command();
    command.build();
    let Some(folder) = &args.output else {
        let mut output = Output::open(None)?;
        output.write(|mut out| Man::new(command).render(&mut out))?;
        output.finish()?;
        return Ok(Exit::Done);
    };
    fs::create_dir_all(folder).map_err(|error| CliError::write(folder, error))?;
    pages(folder, &command, "eqlipse").map_err(|error| CliError::write(folder, error))?;
    Ok(Exit::Done)
}

fn pages(folder: &Path, command: &clap::Command, name: &str) -> io::Result<()> {
    let mut page = Vec::new();
    Man::new(command.clone()).title(name).render(&mut page)?;
    fs::File::create(folder.join(format!("{name}.1")))?.write_all(&page)?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        pages(folder, sub, &format!("{name}-{}", sub.get_name()))?;
    }
    Ok(())
}
