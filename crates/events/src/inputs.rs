//! Which files to read.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};
use thiserror::Error;
use walkdir::WalkDir;

/// The name that stands for standard input on the command line.
pub const STDIN: &str = "-";

/// How paths are looked up.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiscoverOptions {
    /// Follow symbolic links to folders below the given ones. Links to files, and links given by name, always are.
    pub follow_links: bool,
}

/// The inputs of a run, in the order that decides between events of the same time.
#[derive(Debug, Default)]
pub struct Discovery {
    /// Sorted by path, each once, however often and in whatever order it was given.
    pub sources: Vec<Source>,
    /// The folders that were given, in path order.
    pub folders: Vec<PathBuf>,
    /// What was given and cannot be read.
    pub problems: Vec<InputProblem>,
}

impl Discovery {
    /// Adds an input that is in memory, behind all others.
    pub fn add_memory(&mut self, name: &str, bytes: Arc<[u8]>) {
        self.add_held(name, bytes);
    }

    /// As [`Self::add_memory`], of what holds the bytes: it is dropped with the last copy of the input.
    pub fn add_held(&mut self, name: &str, held: impl AsRef<[u8]> + Send + Sync + 'static) {
        self.sources.push(Source {
            path: None,
            name: name.to_owned(),
            bytes: held.as_ref().len() as u64,
            explicit: true,
            folders: Vec::new(),
            memory: Some(Memory(Arc::new(held))),
            fetch: None,
        });
    }

    /// Bytes of all inputs as they lie on disk; standard input counts nothing.
    pub fn total_bytes(&self) -> u64 {
        self.sources.iter().map(|source| source.bytes).sum()
    }
}

/// Brings a file to its path before it is opened.
pub trait Fetch: Debug + Send + Sync {
    /// Sees to it that the file is at its path, where it stays until what is returned is dropped.
    ///
    /// # Errors
    /// If it cannot be had.
    fn fetch(&self) -> io::Result<Box<dyn Any + Send>>;
}

/// A file or standard input.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where to read; `None` for standard input and for what is in memory.
    pub path: Option<PathBuf>,
    /// The path as it was given, or as it was found below a folder as that was given; `-` for standard input.
    pub name: String,
    /// Size on disk.
    pub bytes: u64,
    /// It was given by name, and not found in a folder or by a pattern.
    pub explicit: bool,
    /// The [`Discovery::folders`] it was found in.
    pub folders: Vec<usize>,
    /// What is read, where it is in memory already.
    pub memory: Option<Memory>,
    /// What brings the file to its path, where it may not be there.
    pub fetch: Option<Arc<dyn Fetch>>,
}

/// Bytes in memory.
#[derive(Clone)]
pub struct Memory(Arc<dyn AsRef<[u8]> + Send + Sync>);

impl Memory {
    pub(crate) fn bytes(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes().len())
    }
}

impl Source {
    /// Sees to it that its file can be opened until what is returned is dropped.
    pub(crate) fn hold(&self) -> io::Result<Option<Box<dyn Any + Send>>> {
        self.fetch.as_ref().map(|fetch| fetch.fetch()).transpose()
    }
}

/// Something that was given as input and gives no events.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InputProblem {
    /// There is no such file.
    #[error("{path}: no such file or folder")]
    NotFound {
        /// As given.
        path: String,
    },
    /// A pattern that no file matches.
    #[error("{pattern}: no file matches this pattern")]
    NoMatch {
        /// As given.
        pattern: String,
    },
    /// A pattern that is none.
    #[error("{pattern}: {reason}")]
    Pattern {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refuses.
    #[error("{path}: {reason}")]
    Unreadable {
        /// File, folder or member.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// A file given by name that is of no format that is read.
    #[error("{name}: not a log that eqlipse reads: {found}")]
    NotALog {
        /// File or member.
        name: String,
        /// What it looks like.
        found: String,
    },
    /// A file given by name that is empty.
    #[error("{name}: empty")]
    Empty {
        /// File or member.
        name: String,
    },
    /// A folder in which nothing is a log.
    #[error("{folder}: no logs in this folder ({files} files looked at)")]
    NoLogs {
        /// As given.
        folder: String,
        /// How many files it has.
        files: usize,
    },
    /// Alert documents, of eqlipse itself or Elastic's detection engine, given as events.
    #[error("{name}: {alerts} alerts in it were left out: alerts are what rules find, not events to look at")]
    Alerts {
        /// File or member.
        name: String,
        /// How many.
        alerts: u64,
    },
}

/// Finds the inputs behind paths, folders (with everything below them), patterns and `-`.
pub fn discover<P: AsRef<Path>>(paths: &[P], options: DiscoverOptions) -> Discovery {
    let mut search = Search { options, ..Search::default() };
    for path in paths {
        search.add(path.as_ref());
    }
    search.finish()
}

#[derive(Default)]
struct Search {
    options: DiscoverOptions,
    /// By canonical path; standard input under the empty path, first of all.
    found: BTreeMap<PathBuf, Found>,
    /// Display path by canonical path.
    folders: BTreeMap<PathBuf, PathBuf>,
    problems: Vec<InputProblem>,
}

struct Found {
    source: Source,
    /// Canonical paths.
    folders: Vec<PathBuf>,
}

impl Search {
    fn add(&mut self, path: &Path) {
        if path.as_os_str() == STDIN {
            self.add_stdin();
            return;
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.add_folder(path),
            Ok(metadata) => self.add_file(path, &metadata, None, true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => self.add_pattern(path),
            Err(error) => self.unreadable(path, &error),
        }
    }

    fn add_stdin(&mut self) {
        let name = STDIN.to_owned();
        let source =
            Source { path: None, name, bytes: 0, explicit: true, folders: Vec::new(), memory: None, fetch: None };
        self.found.insert(PathBuf::new(), Found { source, folders: Vec::new() });
    }

    fn add_file(&mut self, path: &Path, metadata: &Metadata, folder: Option<&Path>, explicit: bool) {
        let canonical = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let name = path.display().to_string();
        let bytes = if metadata.is_file() { metadata.len() } else { 0 };
        let entry = self.found.entry(canonical).or_insert_with(|| {
            let (path, name) = (Some(path.to_path_buf()), name.clone());
            let source = Source { path, name, bytes, explicit, folders: Vec::new(), memory: None, fetch: None };
            Found { source, folders: Vec::new() }
        });
        entry.source.explicit |= explicit;
        // Of several ways to the same file the name must not depend on which came first.
        if name < entry.source.name {
            entry.source.path = Some(path.to_path_buf());
            entry.source.name = name;
        }
        if let Some(folder) = folder
            && !entry.folders.iter().any(|known| known == folder)
        {
            entry.folders.push(folder.to_path_buf());
        }
    }

    fn add_folder(&mut self, folder: &Path) {
        let canonical = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf());
        let display = self.folders.entry(canonical.clone()).or_insert_with(|| folder.to_path_buf());
        if folder < display.as_path() {
            *display = folder.to_path_buf();
        }
        for entry in WalkDir::new(folder).follow_links(self.options.follow_links) {
            match entry {
                Ok(entry) => self.add_entry(entry.path(), Some(&canonical)),
                Err(error) => self.walk_problem(folder, &error),
            }
        }
    }

    /// Adds what a walk came upon if it is a file.
    fn add_entry(&mut self, path: &Path, folder: Option<&Path>) {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => self.add_file(path, &metadata, folder, false),
            // A dangling link is no file.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => self.unreadable(path, &error),
            _ => {}
        }
    }

    fn add_pattern(&mut self, path: &Path) {
        let text = path.to_string_lossy();
        if !text.contains(['*', '?', '[', '{']) {
            self.problems.push(InputProblem::NotFound { path: text.into_owned() });
            return;
        }
        // Windows file names have no case, and its shells leave patterns to the program.
        let built = GlobBuilder::new(&text).literal_separator(true).case_insensitive(cfg!(windows)).build();
        let matcher = match built {
            Ok(glob) => glob.compile_matcher(),
            Err(error) => {
                let reason = error.kind().to_string();
                self.problems.push(InputProblem::Pattern { pattern: text.into_owned(), reason });
                return;
            }
        };
        if !self.expand(path, &matcher) {
            self.problems.push(InputProblem::NoMatch { pattern: text.into_owned() });
        }
    }

    /// Adds all files and folders that match; says whether any did.
    fn expand(&mut self, pattern: &Path, matcher: &GlobMatcher) -> bool {
        let base = fixed_part(pattern);
        let depth = if pattern.to_string_lossy().contains("**") {
            usize::MAX
        } else {
            pattern.components().count() - base.components().count()
        };
        let start = if base.as_os_str().is_empty() { Path::new(".") } else { &base };
        let mut any = false;
        for entry in WalkDir::new(start).max_depth(depth).follow_links(self.options.follow_links) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    // The pattern's own fixed part may simply not be there.
                    if error.depth() > 0 {
                        self.walk_problem(start, &error);
                    }
                    continue;
                }
            };
            let path = if base.as_os_str().is_empty() {
                entry.path().strip_prefix(start).unwrap_or(entry.path())
            } else {
                entry.path()
            };
            if !matcher.is_match(path) {
                continue;
            }
            any = true;
            match fs::metadata(path) {
                Ok(metadata) if metadata.is_dir() => self.add_folder(path),
                _ => self.add_entry(path, None),
            }
        }
        any
    }

    fn unreadable(&mut self, path: &Path, error: &std::io::Error) {
        let path = path.display().to_string();
        self.problems.push(InputProblem::Unreadable { path, reason: error.to_string() });
    }

    fn walk_problem(&mut self, folder: &Path, error: &walkdir::Error) {
        let path = error.path().unwrap_or(folder).display().to_string();
        let reason = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
        self.problems.push(InputProblem::Unreadable { path, reason });
    }

    fn finish(mut self) -> Discovery {
        let keys: Vec<&PathBuf> = self.folders.keys().collect();
        let sources = self.found.into_values().map(|found| {
            let mut source = found.source;
            source.folders = found.folders.iter().filter_map(|folder| keys.binary_search(&folder).ok()).collect();
            source.folders.sort_unstable();
            source
        });
        let sources = sources.collect();
        self.problems.sort_by_key(ToString::to_string);
        self.problems.dedup();
        Discovery { sources, folders: self.folders.into_values().collect(), problems: self.problems }
    }
}

/// The components in front of the first that holds a pattern.
fn fixed_part(pattern: &Path) -> PathBuf {
    let is_fixed = |text: &str| !text.contains(['*', '?', '[', '{']);
    pattern.components().take_while(|part| is_fixed(&part.as_os_str().to_string_lossy())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"{}\n").unwrap();
        }
        root
    }

    fn names(discovery: &Discovery, root: &Path) -> Vec<String> {
        let below = |source: &Source| source.name.strip_prefix(&root.display().to_string()).unwrap().to_owned();
        discovery.sources.iter().map(below).collect()
    }

    #[test]
    fn the_order_of_arguments_does_not_matter() {
        let root = tree(&["b/2.json", "a/1.json", "a/c/3.json", "z.json"]);
        let at = |name: &str| root.path().join(name);
        let one = discover(&[at("z.json"), at("b"), at("a")], DiscoverOptions::default());
        let two =
            discover(&[at("a"), at("a/c/../1.json"), at("b"), at("z.json"), at("z.json")], DiscoverOptions::default());
        let paths = |discovery: &Discovery| discovery.sources.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&one, root.path()), ["/a/1.json", "/a/c/3.json", "/b/2.json", "/z.json"]);
        assert_eq!(paths(&one), paths(&two));
        assert!(one.problems.is_empty() && two.problems.is_empty());
        assert_eq!(one.sources.iter().map(|s| s.explicit).collect::<Vec<_>>(), [false, false, false, true]);
        assert!(two.sources[0].explicit);
        assert_eq!(one.folders.len(), 2);
        assert_eq!(one.sources[2].folders, [1]);
        assert_eq!(one.total_bytes(), 12);
    }

    #[test]
    fn patterns() {
        let root = tree(&["a/1.json", "a/2.log", "b/3.json", "b/x/4.json", "[1].json"]);
        let find = |pattern: &str| discover(&[root.path().join(pattern)], DiscoverOptions::default());
        assert_eq!(names(&find("*/*.json"), root.path()), ["/a/1.json", "/b/3.json"]);
        assert_eq!(names(&find("**/*.json"), root.path()), ["/[1].json", "/a/1.json", "/b/3.json", "/b/x/4.json"]);
        assert_eq!(names(&find("{a,b}"), root.path()).len(), 4);
        assert_eq!(names(&find("[1].json"), root.path()), ["/[1].json"]);
        assert!(find("[1].json").sources[0].explicit);
        assert!(matches!(find("*.evtx").problems[..], [InputProblem::NoMatch { .. }]));
        assert!(matches!(find("no/such/*.evtx").problems[..], [InputProblem::NoMatch { .. }]));
        assert!(matches!(find("[a").problems[..], [InputProblem::Pattern { .. }]));
        assert!(matches!(find("a.evtx").problems[..], [InputProblem::NotFound { .. }]));
    }

    #[test]
    fn standard_input_comes_first_and_once() {
        let root = tree(&["a.json"]);
        let paths = [root.path().join("a.json"), PathBuf::from("-"), PathBuf::from("-")];
        let discovery = discover(&paths, DiscoverOptions::default());
        assert_eq!(discovery.sources.len(), 2);
        assert_eq!(discovery.sources[0].name, "-");
    }

    #[cfg(unix)]
    #[test]
    fn links() {
        let root = tree(&["a/1.json"]);
        std::os::unix::fs::symlink(root.path().join("a/1.json"), root.path().join("a/0.json")).unwrap();
        std::os::unix::fs::symlink(root.path().join("nowhere"), root.path().join("a/dangling")).unwrap();
        std::os::unix::fs::symlink(root.path().join("a"), root.path().join("a/loop")).unwrap();
        for follow_links in [false, true] {
            let discovery = discover(&[root.path()], DiscoverOptions { follow_links });
            assert_eq!(discovery.sources.len(), 1, "{discovery:?}");
        }
    }
}
