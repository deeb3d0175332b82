//! Checks of the project's pages: their links, and the commands that they show.

mod console;
mod links;

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pulldown_cmark::{Options, Parser};

/// A Markdown page.
struct Page {
    /// From the root of the repository, with `/` between folders.
    path: String,
    text: String,
}

impl Page {
    fn parser(&self) -> Parser<'_> {
        Parser::new_ext(&self.text, Options::ENABLE_TABLES)
    }
}

/// The pages that people read: those in the root, the book, and the examples' own.
fn pages(root: &Path) -> io::Result<Vec<Page>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in ["", "docs", "examples"] {
        for entry in fs::read_dir(root.join(folder))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "md") {
                files.push(Path::new(folder).join(path.file_name().unwrap_or_default()));
            }
        }
    }
    files.sort();
    let page = |file: PathBuf| {
        let text = fs::read_to_string(root.join(&file))?;
        Ok(Page { path: file.to_string_lossy().replace('\\', "/"), text })
    };
    files.into_iter().map(page).collect()
}

/// Checks that every link between pages leads somewhere and that the book lists all of its pages.
pub fn check_links(root: &Path) -> Result<(), Box<dyn Error>> {
    let pages = pages(root)?;
    let problems = links::problems(root, &pages);
    println!("{} pages, {} problems", pages.len(), problems.len());
    conclude(problems)
}

/// Runs the commands of all `console` blocks and checks that they succeed and print what stands below them.
pub fn check_console(root: &Path) -> Result<(), Box<dyn Error>> {
    let (passed, problems) = console::run(root, &pages(root)?)?;
    println!("console: {passed} passed, {} failed", problems.len());
    conclude(problems)
}

fn conclude(problems: Vec<String>) -> Result<(), Box<dyn Error>> {
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n").into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_between_pages_lead_somewhere() {
        check_links(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap();
    }
}
