//! Runs what `console` blocks show. In them, a line after `$ ` is a command, lines after `>` carry it on, and the lines
//! below are what it prints on standard output; a line of `…` stands for any number of lines, and one that ends in `…`
//! for any that begins so.

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pulldown_cmark::{CodeBlockKind, Event, Tag, TagEnd};

use super::Page;

const ELLIPSIS: &str = "…";
/// What commands of the book find in their folder.
const SHOWN_FOLDERS: [&str; 2] = ["examples", "rules"];

/// A command and what it is said to print.
#[derive(Debug, PartialEq, Eq)]
struct Shown {
    command: String,
    output: Vec<String>,
}

/// Runs the commands of all pages: how many did what their page says, and what is wrong with the others.
pub(super) fn run(root: &Path, pages: &[Page]) -> Result<(usize, Vec<String>), Box<dyn Error>> {
    let binaries = build(root)?;
    let scratch = tempfile::tempdir()?;
    for folder in SHOWN_FOLDERS {
        copy(&root.join(folder), &scratch.path().join(folder))?;
    }
    let (mut passed, mut problems) = (0, Vec::new());
    for page in pages {
        // The README's commands are those of a fresh clone; those of the book must not leave files there.
        let folder = if page.path.contains('/') { scratch.path() } else { root };
        for shown in commands(page) {
            println!("{}: $ {}", page.path, shown.command);
            match try_out(&shown, folder, &binaries)? {
                None => passed += 1,
                Some(problem) => problems.push(format!("{}: $ {}\n{problem}", page.path, shown.command)),
            }
        }
    }
    Ok((passed, problems))
}

/// Builds the release binary and gives the folder that it lies in.
fn build(root: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let status =
        Command::new(env!("CARGO")).args(["build", "--release", "-p", "eqlipse-cli"]).current_dir(root).status()?;
    if !status.success() {
        return Err("cannot build the eqlipse binary".into());
    }
    // This program lies in `<target>/debug`.
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).ok_or("no target folder above this program")?;
    Ok(target.join("release"))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// The commands of a page's `console` blocks.
fn commands(page: &Page) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    let mut block: Option<String> = None;
    for event in page.parser() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) if &*info == "console" => {
                block = Some(String::new());
            }
            Event::Text(text) => {
                if let Some(block) = &mut block {
                    block.push_str(&text);
                }
            }
            Event::End(TagEnd::CodeBlock) => found.extend(block.take().iter().flat_map(|block| split(block))),
            _ => {}
        }
    }
    found
}

fn split(block: &str) -> Vec<Shown> {
    let mut found: Vec<Shown> = Vec::new();
    for line in block.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            found.push(Shown { command: command.to_owned(), output: Vec::new() });
            continue;
        }
        let Some(shown) = found.last_mut() else { continue };
        match line.strip_prefix('>') {
            Some(more) if shown.output.is_empty() => {
                shown.command.push('\n');
                shown.command.push_str(more.strip_prefix(' ').unwrap_or(more));
            }
            _ => shown.output.push(line.trim_end().to_owned()),
        }
    }
    found
}

/// The command with what a terminal of 100 columns would add by itself: here its output goes to a pipe.
fn as_on_terminal(command: &str) -> String {
    let elsewhere = [" --format", " -f ", " --output", " -o ", " | ", " > ", ";", " --help"];
    if !command.contains(" hunt ") || elsewhere.iter().any(|sign| command.contains(sign)) {
        return command.to_owned();
    }
    format!("{command} --format table --width 100")
}

/// What is wrong with a command, if anything.
fn try_out(shown: &Shown, folder: &Path, binaries: &Path) -> Result<Option<String>, Box<dyn Error>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(binaries.to_owned()).chain(std::env::split_paths(&path)))?;
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", &as_on_terminal(&shown.command)]).current_dir(folder).env("PATH", path);
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Ok(Some(format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr))));
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    let printed: Vec<&str> = printed.lines().map(str::trim_end).collect();
    let lacking = lacking(&shown.output, &printed);
    Ok(lacking.map(|lines| format!("not printed:\n{}\nbut:\n{}", lines.join("\n"), printed.join("\n"))))
}

/// The first lines of what is shown that were not printed there, if any. Nothing shown says nothing of the output.
fn lacking<'s>(shown: &'s [String], printed: &[&str]) -> Option<&'s [String]> {
    if shown.is_empty() {
        return None;
    }
    let segments: Vec<&[String]> = shown.split(|line| line.trim() == ELLIPSIS).collect();
    let last = segments.len() - 1;
    let mut rest = printed;
    for (index, segment) in segments.into_iter().enumerate() {
        let mut starts = 0..=rest.len().saturating_sub(segment.len());
        let found = match (index, index == last) {
            _ if segment.len() > rest.len() => None,
            (0, true) => (rest.len() == segment.len() && begins(segment, rest)).then_some(0),
            (0, false) => begins(segment, rest).then_some(0),
            (_, true) => starts.next_back().filter(|start| begins(segment, &rest[*start..])),
            _ => starts.find(|start| begins(segment, &rest[*start..])),
        };
        let Some(start) = found else { return Some(segment) };
        rest = &rest[start + segment.len()..];
    }
    None
}

fn begins(segment: &[String], printed: &[&str]) -> bool {
    segment.iter().zip(printed).all(|(shown, printed)| {
        shown == printed || shown.strip_suffix(ELLIPSIS).is_some_and(|start| printed.starts_with(start))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(shown: &str, printed: &str) -> bool {
        let shown: Vec<String> = shown.lines().map(str::to_owned).collect();
        lacking(&shown, &printed.lines().collect::<Vec<_>>()).is_none()
    }

    #[test]
    fn compares_with_gaps() {
        assert!(fit("", "anything"));
        assert!(fit("a\nb", "a\nb"));
        assert!(!fit("a\nb", "a\nb\nc"));
        assert!(!fit("a\nb\nc", "a\nb"));
        assert!(fit("a\n…\nd", "a\nb\nc\nd"));
        assert!(fit("a\n…\nd", "a\nd"));
        assert!(!fit("a\n…\nd", "a\nd\ne"));
        assert!(!fit("a\n…\na", "a"));
        assert!(fit("…\nc\n…", "a\nb\nc\nd"));
        assert!(!fit("…\nc\nb\n…", "a\nb\nc\nd"));
        assert!(fit("…\nb\n…\nb\n…\n", "b\na\nb"));
        assert!(fit("{\"a\":…", "{\"a\":1}"));
        assert!(!fit("{\"a\":…", "{\"b\":1}"));
    }

    #[test]
    fn splits_blocks() {
        let text = "```console\n$ one | two\n1\n\n> 2\n$ three <<END\n> a\n>\n> END\n```\n\n```sh\n$ no\n```\n";
        let page = Page { path: "a.md".to_owned(), text: text.to_owned() };
        let shown = |command: &str, output: &[&str]| Shown {
            command: command.to_owned(),
            output: output.iter().map(|line| (*line).to_owned()).collect(),
        };
        assert_eq!(commands(&page), [shown("one | two", &["1", "", "> 2"]), shown("three <<END\na\n\nEND", &[])]);
    }

    #[test]
    fn adds_what_a_terminal_would() {
        assert_eq!(as_on_terminal("eqlipse hunt examples/"), "eqlipse hunt examples/ --format table --width 100");
        assert_eq!(as_on_terminal("eqlipse hunt examples/ | wc -l"), "eqlipse hunt examples/ | wc -l");
        assert_eq!(as_on_terminal("eqlipse hunt --format csv a"), "eqlipse hunt --format csv a");
        assert_eq!(as_on_terminal("eqlipse rules list"), "eqlipse rules list");
    }
}
