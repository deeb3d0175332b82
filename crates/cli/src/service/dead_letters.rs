//! `eqlipse dead-letters`.

use std::io::{self, Write};

use eqlipse_server::dead_letters::{DeadLetters, Letter, Replayed};
use eqlipse_server::{Config, Offline, ServeError};
use eqlipse_store::StoreError;

use super::client::Client;
use crate::args::{DeadLettersArgs, DeadLettersCommand, ListLettersArgs, ReplayLettersArgs};
use crate::exit::{CliError, Exit};
use crate::output::{Messages, Output, is_styled};
use crate::serve::settings;
use crate::style::{DIM, LABEL, paint};
use crate::text::{cut, grouped, shown};

/// Columns of a document that are shown.
const DOCUMENT_COLUMNS: usize = 200;

/// Shows what was refused, or offers it again.
pub fn dead_letters(args: &DeadLettersArgs, messages: Messages) -> Result<Exit, CliError> {
    match &args.command {
        DeadLettersCommand::List(args) => list(args, messages),
        DeadLettersCommand::Replay(args) => replay(args, messages),
    }
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Run(shown(&error.to_string()).into_owned())
}

fn list(args: &ListLettersArgs, messages: Messages) -> Result<Exit, CliError> {
    let config = settings(&args.config)?;
    let letters: Vec<Letter> = match &args.service.url {
        Some(_) => Client::new(&args.service, &config)?.get(&format!("/api/dead_letters?limit={}", args.limit))?,
        None => {
            std::fs::metadata(&config.server.data)
                .map_err(|error| failed(format_args!("{}: {error}", config.server.data.display())))?;
            let folder = DeadLetters::folder_of(&config.server.data);
            DeadLetters::new(folder, config.dead_letters.clone()).latest(args.limit as usize).map_err(failed)?
        }
    };
    let mut output = Output::open(None)?;
    match args.json {
        true => output.write(|out| {
            letters.iter().try_for_each(|letter| {
                serde_json::to_writer(&mut *out, letter)?;
                out.write_all(b"\n")
            })
        })?,
        false => output.write_styled(is_styled(messages.color, None), |out| table(out, &letters))?,
    }
    output.finish()?;
    Ok(Exit::Done)
}

fn table(out: &mut dyn Write, letters: &[Letter]) -> io::Result<()> {
    for letter in letters {
        let id = letter.id.as_ref().map(|id| format!(" id {}", shown(id))).unwrap_or_default();
        let (time, index) = (shown(&letter.time), shown(&letter.index));
        writeln!(out, "{} {}{id}: {}", paint(DIM, time), paint(LABEL, index), shown(&letter.reason))?;
        writeln!(out, "  {}", cut(&shown(&letter.document), DOCUMENT_COLUMNS))?;
    }
    Ok(())
}

fn replay(args: &ReplayLettersArgs, messages: Messages) -> Result<Exit, CliError> {
    let config = settings(&args.config)?;
    let done = match &args.service.url {
        Some(_) => ask(args, &config)?,
        None => match Offline::open(&config) {
            Err(ServeError::Store(StoreError::Locked(_))) => ask(args, &config)?,
            offline => here(offline.map_err(failed)?)?,
        },
    };
    if args.json {
        let mut output = Output::open(None)?;
        output.write(|out| {
            serde_json::to_writer(&mut *out, &done)?;
            out.write_all(b"\n")
        })?;
        output.finish()?;
    } else {
        messages.note(&format!(
            "{} stored, {} there already, {} refused again, {} unreadable",
            grouped(done.stored),
            grouped(done.already_there),
            grouped(done.refused),
            grouped(done.unreadable)
        ));
    }
    Ok(Exit::Done)
}

/// Has the running service do it, for as many requests as it takes.
fn ask(args: &ReplayLettersArgs, config: &Config) -> Result<Replayed, CliError> {
    let client = Client::new(&args.service, config)?;
    let mut all = Replayed::default();
    while !all.complete {
        let done: Replayed = client.post("/api/dead_letters/_replay")?;
        // What was refused the first time is refused again, and counts once.
        all = Replayed {
            stored: all.stored + done.stored,
            already_there: all.already_there + done.already_there,
            ..done
        };
        if !done.complete && done.stored + done.already_there == 0 {
            return Err(CliError::Run("the service has no time for it".to_owned()));
        }
    }
    Ok(all)
}

fn here(offline: Offline) -> Result<Replayed, CliError> {
    let done = offline.replay_dead_letters();
    let closed = offline.close();
    let done = done.map_err(failed)?;
    closed.map_err(failed)?;
    Ok(done)
}
