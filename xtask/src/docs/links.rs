use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Tag, TagEnd};

use super::Page;

/// Files of this repository in links that also work outside of it.
const REPOSITORY: [&str; 2] =
    ["https://github.com/eqlipse/eqlipse/blob/main/", "https://github.com/eqlipse/eqlipse/tree/main/"];
const BOOK: &str = "docs";
const SUMMARY: &str = "docs/SUMMARY.md";

/// What is wrong with the links of these pages, one line each.
pub(super) fn problems(root: &Path, pages: &[Page]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut listed: HashSet<PathBuf> = [SUMMARY.into()].into();
    for page in pages {
        for link in links(page) {
            match target(page, &link) {
                None => {}
                Some(Err(reason)) => problems.push(format!("{}: {link}: {reason}", page.path)),
                Some(Ok((file, anchor))) => {
                    if let Err(reason) = check(root, pages, &file, anchor) {
                        problems.push(format!("{}: {link}: {reason}", page.path));
                    }
                    if page.path == SUMMARY {
                        listed.insert(file);
                    }
                }
            }
        }
    }
    let book = pages.iter().filter(|page| Path::new(&page.path).starts_with(BOOK));
    let unlisted = book.filter(|page| !listed.contains(Path::new(&page.path)));
    problems.extend(unlisted.map(|page| format!("{SUMMARY}: {} is not listed", page.path)));
    problems
}

/// The destinations of all links and pictures.
fn links(page: &Page) -> Vec<String> {
    let destination = |event| match event {
        Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => Some(dest_url.to_string()),
        _ => None,
    };
    page.parser().filter_map(destination).collect()
}

/// The file, from the root, and the heading that a link leads to; `None` for one that leaves the repository.
fn target<'l>(page: &Page, link: &'l str) -> Option<Result<(PathBuf, Option<&'l str>), &'static str>> {
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    if let Some(path) = REPOSITORY.iter().find_map(|prefix| path.strip_prefix(prefix)) {
        return Some(Ok((path.into(), anchor)));
    }
    if path.contains("://") || path.starts_with("mailto:") {
        return None;
    }
    let own = Path::new(&page.path);
    if path.is_empty() {
        return Some(Ok((own.to_owned(), anchor)));
    }
    let file = normal(&own.parent().unwrap_or(Path::new("")).join(path));
    if own.starts_with(BOOK) && !file.starts_with(BOOK) {
        return Some(Err("leaves the book, so that it breaks on the web site; write the full address"));
    }
    Some(Ok((file, anchor)))
}

/// The path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(normal.pop()),
            Component::Normal(name) => normal.push(name),
            _ => {}
        }
    }
    normal
}

fn check(root: &Path, pages: &[Page], file: &Path, anchor: Option<&str>) -> Result<(), &'static str> {
    if !root.join(file).exists() {
        return Err("no such file");
    }
    let (Some(anchor), Some(page)) = (anchor, pages.iter().find(|page| Path::new(&page.path) == file)) else {
        return Ok(());
    };
    if anchors(page).contains(anchor) { Ok(()) } else { Err("no such heading") }
}

/// The anchors that GitHub and mdBook give to the headings.
fn anchors(page: &Page) -> HashSet<String> {
    let mut anchors = HashSet::new();
    let mut heading: Option<String> = None;
    for event in page.parser() {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&text);
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let slug = heading.take().map(|heading| slug(&heading)).unwrap_or_default();
                let numbered = (1..).map(|number| format!("{slug}-{number}"));
                let free = std::iter::once(slug.clone()).chain(numbered).find(|name| !anchors.contains(name));
                anchors.extend(free);
            }
            _ => {}
        }
    }
    anchors
}

fn slug(heading: &str) -> String {
    let kept = |c: char| match c {
        ' ' => Some('-'),
        _ if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    };
    heading.trim().chars().filter_map(kept).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(path: &str, text: &str) -> Page {
        Page { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn finds_what_leads_nowhere() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let pages = [
            page("docs/SUMMARY.md", "[a](a.md)"),
            page(
                "docs/a.md",
                "# A `b` – c!\n\n[here](#a-b--c) [gone](#d) [out](../src/main.rs) [web](https://x.example/)",
            ),
            page("docs/b.md", "[no](../docs/c.md) [main](https://github.com/eqlipse/eqlipse/blob/main/src/main.rs)"),
            page("README.md", "[main](src/main.rs#L1) [none](src/none.rs)"),
        ];
        let found = problems(root, &pages);
        let expected = [
            "docs/SUMMARY.md: a.md: no such file",
            "docs/a.md: #a-b--c: no such file",
            "docs/a.md: #d: no such file",
            "docs/a.md: ../src/main.rs: leaves the book, so that it breaks on the web site; write the full address",
            "docs/b.md: ../docs/c.md: no such file",
            "README.md: src/none.rs: no such file",
            "docs/SUMMARY.md: docs/b.md is not listed",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn anchors_are_those_of_the_web_sites() {
        let page = page("a.md", "# What `rules check` says\n\n## One, two\n\n## One two\n\n## Über_uns – wir\n");
        let mut found: Vec<String> = anchors(&page).into_iter().collect();
        found.sort();
        assert_eq!(found, ["one-two", "one-two-1", "what-rules-check-says", "über_uns--wir"]);
    }
}
