//! Where results go: standard output, or a file that is replaced only when all of it is written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anstream::{AutoStream, ColorChoice};

use crate::args::Color;
use crate::exit::CliError;

/// Files that are being written and must go if the run is interrupted.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Names tried for the file that is being written; the next is tried where one exists.
const MAX_TEMPORARY_NAMES: u32 = 100;

/// Where results go.
pub struct Output {
    writer: Box<dyn Write>,
    target: PathBuf,
    /// The file that takes the target's place at the end.
    temporary: Option<Temporary>,
}

impl Output {
    /// Opens the file, or standard output where there is none or it is `-`. A folder that cannot be written to shows
    /// here, before the work begins.
    pub fn open(path: Option<&Path>) -> Result<Output, CliError> {
        match path.filter(|path| path.as_os_str() != "-") {
            None => Ok(Output {
                writer: Box::new(BufWriter::with_capacity(1 << 16, io::stdout())),
                target: PathBuf::from("standard output"),
                temporary: None,
            }),
            Some(path) => Output::file(path).map_err(|error| CliError::write(path, error)),
        }
    }

    fn file(path: &Path) -> io::Result<Output> {
        let before = fs::metadata(path).ok();
        if before.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder"));
        }
        if before.as_ref().is_some_and(|metadata| !metadata.is_file()) {
            let file = OpenOptions::new().write(true).open(path)?;
            return Ok(Output { writer: Box::new(BufWriter::new(file)), target: path.to_owned(), temporary: None });
        }
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let (file, temporary) = Temporary::create(&target)?;
        if let Some(metadata) = before {
            file.set_permissions(metadata.permissions())?;
        }
        let writer = Box::new(BufWriter::with_capacity(1 << 16, file));
        Ok(Output { writer, target: path.to_owned(), temporary: Some(temporary) })
    }

    /// Writes with `write`.
    pub fn write(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), CliError> {
        write(&mut self.writer).map_err(|error| CliError::write(&self.target, error))
    }

    /// Writes styled text with `write`; the styles stay only if `styled`.
    pub fn write_styled(
        &mut self,
        styled: bool,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CliError> {
        let choice = if styled { ColorChoice::AlwaysAnsi } else { ColorChoice::Never };
        let mut text = AutoStream::new(Vec::new(), choice);
        write(&mut text).map_err(|error| CliError::write(&self.target, error))?;
        self.write(|out| out.write_all(&text.into_inner()))
    }

    /// Puts the whole in its place.
    pub fn finish(mut self) -> Result<(), CliError> {
        self.writer.flush().map_err(|error| CliError::write(&self.target, error))?;
        drop(std::mem::replace(&mut self.writer, Box::new(io::sink())));
        match self.temporary.take() {
            Some(temporary) => temporary.persist().map_err(|error| CliError::write(&self.target, error)),
            None => Ok(()),
        }
    }
}

/// A file beside its target that goes away unless it is persisted.
struct Temporary {
    path: PathBuf,
    target: PathBuf,
}

impl Temporary {
    fn create(target: &Path) -> io::Result<(File, Temporary)> {
        let name = target.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it names no file"))?;
        for number in 0..MAX_TEMPORARY_NAMES {
            let mut hidden = std::ffi::OsString::from(".");
            hidden.push(name);
            hidden.push(format!(".{}-{number}.tmp", std::process::id()));
            let path = target.with_file_name(hidden);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => {
                    note(|unfinished| unfinished.push(path.clone()));
                    return Ok((file, Temporary { path, target: target.to_owned() }));
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::AlreadyExists, "no free name for a temporary file (MAX_TEMPORARY_NAMES)"))
    }

    fn persist(self) -> io::Result<()> {
        fs::rename(&self.path, &self.target)?;
        note(|unfinished| unfinished.retain(|path| *path != self.path));
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let mut unfinished = false;
        note(|paths| {
            unfinished = paths.contains(&self.path);
            paths.retain(|path| *path != self.path);
        });
        if unfinished {
            // Nothing can be done about a leftover that cannot be removed; the run's own result matters more.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn note(change: impl FnOnce(&mut Vec<PathBuf>)) {
    change(&mut UNFINISHED.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
}

/// Removes files that are not finished: for an interrupted run.
pub fn remove_unfinished() {
    note(|paths| {
        for path in paths.drain(..) {
            let _ = fs::remove_file(path);
        }
    });
}

/// Whether results that go to `path` are styled.
pub fn is_styled(color: Color, path: Option<&Path>) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => to_stdout(path) && AutoStream::choice(&io::stdout()) != ColorChoice::Never,
    }
}

/// Whether results that go to `path` go to a terminal.
pub fn is_terminal(path: Option<&Path>) -> bool {
    to_stdout(path) && io::stdout().is_terminal()
}

fn to_stdout(path: Option<&Path>) -> bool {
    path.is_none_or(|path| path.as_os_str() == "-")
}

/// Width for text that goes to `path`: as asked for, or the terminal's; 0 is no limit.
pub fn width(asked: Option<u16>, path: Option<&Path>) -> usize {
    match asked {
        Some(width) => usize::from(width),
        None if is_terminal(path) => {
            terminal_size::terminal_size_of(io::stdout()).map_or(100, |(width, _)| usize::from(width.0))
        }
        None => 0,
    }
}

/// Width for text on standard error: the terminal's; 0, no limit, where it is none.
pub fn error_width() -> usize {
    match io::stderr().is_terminal() {
        true => terminal_size::terminal_size_of(io::stderr()).map_or(100, |(width, _)| usize::from(width.0)),
        false => 0,
    }
}

/// Messages on standard error.
#[derive(Debug, Clone, Copy)]
pub struct Messages {
    /// Whether only errors are shown.
    pub quiet: bool,
    /// When to use colour.
    pub color: Color,
}

impl Messages {
    /// Shows styled lines, unless quiet.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.line(text);
        }
    }

    /// Shows an error. `text` must be inert.
    pub fn error(&self, text: &str) {
        self.line(&format!("{} {text}", crate::style::paint(crate::style::ERROR, "error:")));
    }

    /// Shows a warning, unless quiet. `text` must be inert.
    pub fn warning(&self, text: &str) {
        self.note(&format!("{} {text}", crate::style::paint(crate::style::WARNING, "warning:")));
    }

    fn line(&self, text: &str) {
        let choice = match self.color {
            Color::Always => ColorChoice::Always,
            Color::Never => ColorChoice::Never,
            Color::Auto => AutoStream::choice(&io::stderr()),
        };
        // There is nowhere to say that standard error cannot be written to.
        let _ = writeln!(AutoStream::new(io::stderr(), choice).lock(), "{text}");
    }
}
