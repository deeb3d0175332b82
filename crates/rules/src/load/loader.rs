//! Walks the paths, reads every file and puts the rules together.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::archive::{Archive, asset_name};
use super::format;
use super::found::{Entry, Found};
use super::*;
use crate::cores::on_all_cores;
use crate::read::is_type_specific;

/// Loads every rule under the paths. Never fails as a whole: what went wrong is in the result.
pub fn load(paths: &[PathOrStdin]) -> RuleLoad {
    load_with_stdin(paths, &mut std::io::stdin().lock())
}

/// As [`load`], with something else in place of standard input.
pub fn load_with_stdin(paths: &[PathOrStdin], stdin: &mut dyn Read) -> RuleLoad {
    let mut loader = Loader::default();
    for path in paths {
        match path {
            PathOrStdin::Stdin if !loader.files.insert(PathBuf::from("-")) => {
                loader.skip(Origin::file("-"), SkipReason::SameFile);
            }
            PathOrStdin::Stdin => loader.read_named(Origin::file("-"), read_limited(stdin)),
            PathOrStdin::Path(path) => loader.read_path(path),
        }
    }
    loader.finish()
}

/// Loads the rules of one file's content; `name` stands for the file in messages.
pub fn load_bytes(name: impl Into<PathBuf>, bytes: &[u8]) -> RuleLoad {
    let mut loader = Loader::default();
    loader.read_bytes(Origin::file(name), bytes, Manner::Named);
    loader.finish()
}

/// How a file came to be read.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Asked for by name: it must hold a rule.
    Named,
    /// Met inside a folder or a zip: it may be anything.
    Met,
}

#[derive(Default)]
struct Loader {
    load: RuleLoad,
    /// Position and kind of the rule that has an id.
    ids: HashMap<String, Holder>,
    files: HashSet<PathBuf>,
    unknown: Vec<UnknownField>,
    unknown_names: HashMap<String, usize>,
    exceptions: usize,
    first_exception: Option<Origin>,
}

struct Holder {
    position: usize,
    is_asset: bool,
}

struct UnknownField {
    name: String,
    rules: usize,
    first: Origin,
}

impl Loader {
    fn finish(mut self) -> RuleLoad {
        for field in std::mem::take(&mut self.unknown) {
            let message = format!("unknown field `{}`, kept but not used (rules with it: {})", field.name, field.rules);
            self.load.warnings.push(RuleWarning { origin: field.first, message });
        }
        if let Some(origin) = self.first_exception.take() {
            let message = format!("exceptions are not applied; {} were found", self.exceptions);
            self.load.warnings.push(RuleWarning { origin, message });
        }
        self.load
    }

    fn fail(&mut self, origin: Origin, error: LoadError) {
        self.load.failures.push(RuleFailure { origin, error });
    }

    fn skip(&mut self, origin: Origin, reason: SkipReason) {
        self.load.skipped.push(Skipped { origin, reason });
    }

    fn read_path(&mut self, path: &Path) {
        if path.is_dir() {
            return self.read_folder(path);
        }
        let origin = Origin::file(path);
        if self.is_known(path) {
            return self.skip(origin, SkipReason::SameFile);
        }
        let bytes = File::open(path).map_err(LoadError::from).and_then(|mut file| read_limited(&mut file));
        self.read_named(origin, bytes);
    }

    fn read_named(&mut self, origin: Origin, bytes: Result<Vec<u8>, LoadError>) {
        match bytes {
            Ok(bytes) => self.read_bytes(origin, &bytes, Manner::Named),
            Err(error) => self.fail(origin, error),
        }
    }

    /// Whether the file was read before under whatever name.
    fn is_known(&mut self, path: &Path) -> bool {
        path.canonicalize().is_ok_and(|path| !self.files.insert(path))
    }

    fn read_folder(&mut self, folder: &Path) {
        let mut files = Vec::new();
        let mut walk = WalkDir::new(folder).sort_by_file_name().into_iter();
        while let Some(entry) = walk.next() {
            match entry {
                Err(error) => {
                    let origin = Origin::file(error.path().unwrap_or(folder));
                    self.fail(origin, LoadError::Io(error.into()));
                }
                Ok(entry) if entry.depth() > 0 && is_hidden(&entry) => {
                    if entry.file_type().is_dir() {
                        walk.skip_current_dir();
                    }
                    self.skip(Origin::file(entry.path()), SkipReason::Hidden);
                }
                Ok(entry) if entry.file_type().is_dir() => {}
                Ok(entry) if entry.path().is_file() => files.push(entry.into_path()),
                Ok(entry) => self.skip(Origin::file(entry.path()), SkipReason::NotAFile),
            }
        }
        let names: Vec<String> = files.iter().map(|file| slashed(file)).collect();
        let current = newest_assets(names.iter().map(String::as_str));
        let files = files.into_iter().zip(current);
        let files: Vec<(PathBuf, Option<SkipReason>)> = files
            .map(|(file, is_current)| {
                let skipped = self.reason_to_skip(&file, is_current);
                (file, skipped)
            })
            .collect();
        // Reading a file depends on no other; what becomes of it then goes by the order of names.
        let contents = on_all_cores(&files, |(file, skipped)| match skipped {
            Some(reason) => Content::Skipped(reason.clone()),
            None => Content::read(file),
        });
        for ((file, _), content) in files.iter().zip(contents) {
            self.take_content(file, content);
        }
    }

    /// Why a file that was met in a folder is not read, if it is not.
    fn reason_to_skip(&mut self, file: &Path, is_current: bool) -> Option<SkipReason> {
        if self.is_known(file) {
            return Some(SkipReason::SameFile);
        }
        if !is_current {
            return Some(SkipReason::Superseded);
        }
        is_test_file(file).then_some(SkipReason::RuleTests)
    }

    fn take_content(&mut self, file: &Path, content: Content) {
        let origin = Origin::file(file);
        match content {
            Content::Text { found, is_rule_like } => self.take_text(origin, found, Manner::Met, is_rule_like),
            // Not kept with the others, as it may be large.
            Content::Zip => match read_unless_binary(file) {
                Ok(bytes) => self.read_zip(origin, &bytes.unwrap_or_default()),
                Err(error) => self.fail(origin, error),
            },
            Content::Skipped(reason) => self.skip(origin, reason),
            Content::Unreadable(error) => self.fail(origin, error),
        }
    }

    fn read_bytes(&mut self, origin: Origin, bytes: &[u8], manner: Manner) {
        if format::is_zip(bytes) {
            return self.read_zip(origin, bytes);
        }
        let found = format::read_text(bytes);
        let is_rule_like = is_in_doubt(&found) && is_rule_like(bytes);
        self.take_text(origin, found, manner, is_rule_like);
    }

    /// Takes over what was read of a text; `is_rule_like` counts where its encoding is not known.
    fn take_text(&mut self, origin: Origin, found: Result<Vec<Found>, LoadError>, manner: Manner, is_rule_like: bool) {
        match found {
            Ok(found) => self.take(origin, found),
            Err(LoadError::NotARule(reason)) if manner == Manner::Met => {
                self.skip(origin, SkipReason::NotARule(reason));
            }
            Err(LoadError::Encoding { .. }) if manner == Manner::Met && !is_rule_like => {
                self.skip(origin, SkipReason::NotARule("text in another encoding".to_owned()));
            }
            Err(error) => self.fail(origin, error),
        }
    }

    fn read_zip(&mut self, origin: Origin, bytes: &[u8]) {
        let rules_before = self.load.rules.len() + self.load.failures.len() + self.load.skipped.len();
        let mut archive = match Archive::open(bytes) {
            Ok(archive) => archive,
            Err(error) => return self.fail(origin, error),
        };
        let names = archive.names().to_vec();
        let current = newest_assets(names.iter().map(|(name, _)| name.as_str()));
        for ((name, index), is_current) in names.into_iter().zip(current) {
            let member = Origin { member: Some(name.clone()), ..origin.clone() };
            if name.split('/').any(|part| part.starts_with('.')) {
                self.skip(member, SkipReason::Hidden);
                continue;
            }
            if !is_current {
                self.skip(member, SkipReason::Superseded);
                continue;
            }
            if is_test_file(Path::new(&name)) {
                self.skip(member, SkipReason::RuleTests);
                continue;
            }
            match archive.read(index) {
                Ok(content) if format::is_zip(&content) => {
                    self.skip(member, SkipReason::NotARule("a zip inside a zip".to_owned()));
                }
                Ok(content) => self.read_bytes(member, &content, Manner::Met),
                Err(error @ LoadError::ZipLimit { .. }) => return self.fail(member, error),
                Err(error) => self.fail(member, error),
            }
        }
        if self.load.rules.len() + self.load.failures.len() + self.load.skipped.len() == rules_before {
            self.fail(origin, LoadError::NotARule("an empty zip".to_owned()));
        }
    }

    /// Takes over the entries of one file.
    fn take(&mut self, origin: Origin, found: Vec<Found>) {
        let mut rules = 0;
        for entry in found {
            let origin = Origin { line: entry.line, query_offset: entry.query_offset, ..origin.clone() };
            match entry.entry {
                Ok(Entry::Rule(rule)) => {
                    rules += 1;
                    self.add(LoadedRule { rule: *rule, origin, content_hash: entry.content_hash }, false);
                }
                Ok(Entry::Asset(rule)) => {
                    self.add(LoadedRule { rule: *rule, origin, content_hash: entry.content_hash }, true);
                }
                Ok(Entry::Skipped(reason)) => {
                    self.count_exception(&origin, &reason);
                    self.skip(origin, reason);
                }
                Ok(Entry::Summary { rules: claimed }) => self.check_summary(origin, claimed, rules),
                Err(error) => {
                    rules += u64::from(matches!(error, LoadError::Rule { .. }));
                    self.fail(origin, error);
                }
            }
        }
    }

    fn count_exception(&mut self, origin: &Origin, reason: &SkipReason) {
        if *reason == SkipReason::ExceptionItem {
            self.exceptions += 1;
            self.first_exception.get_or_insert_with(|| origin.clone());
        }
    }

    fn check_summary(&mut self, origin: Origin, claimed: Option<u64>, rules: u64) {
        if let Some(claimed) = claimed.filter(|claimed| *claimed != rules) {
            let message = format!("the export's summary counts {claimed} rules, but {rules} stand before it");
            self.load.warnings.push(RuleWarning { origin: origin.clone(), message });
        }
        self.skip(origin, SkipReason::ExportSummary);
    }

    fn add(&mut self, loaded: LoadedRule, is_asset: bool) {
        let Some(holder) = self.ids.get(loaded.rule.id()) else {
            let holder = Holder { position: self.load.rules.len(), is_asset };
            self.ids.insert(loaded.rule.id().to_owned(), holder);
            self.note_unknown(&loaded);
            self.load.rules.push(loaded);
            return;
        };
        let position = holder.position;
        let kept = &mut self.load.rules[position];
        if kept.content_hash == loaded.content_hash || kept.rule == loaded.rule {
            let first = Box::new(kept.origin.clone());
            let message = format!("the same rule as in {first}; it counts once");
            self.load.warnings.push(RuleWarning { origin: loaded.origin.clone(), message });
            self.skip(loaded.origin, SkipReason::SameRule(first));
        } else if is_asset && holder.is_asset && kept.rule.version != loaded.rule.version {
            let older = if kept.rule.version < loaded.rule.version { std::mem::replace(kept, loaded) } else { loaded };
            self.skip(older.origin, SkipReason::Superseded);
        } else {
            let rule_id = loaded.rule.rule_id;
            let first = Box::new(kept.origin.clone());
            self.fail(loaded.origin, LoadError::Duplicate { rule_id, first });
        }
    }

    fn note_unknown(&mut self, loaded: &LoadedRule) {
        for name in loaded.rule.extra.keys().filter(|name| !is_type_specific(name)) {
            match self.unknown_names.get(name) {
                Some(position) => self.unknown[*position].rules += 1,
                None => {
                    self.unknown_names.insert(name.clone(), self.unknown.len());
                    let first = loaded.origin.clone();
                    self.unknown.push(UnknownField { name: name.clone(), rules: 1, first });
                }
            }
        }
    }
}

/// What a file in a folder holds.
enum Content {
    Text { found: Result<Vec<Found>, LoadError>, is_rule_like: bool },
    Zip,
    Skipped(SkipReason),
    Unreadable(LoadError),
}

impl Content {
    fn read(file: &Path) -> Content {
        match read_unless_binary(file) {
            Ok(Some(bytes)) if format::is_zip(&bytes) => Content::Zip,
            Ok(Some(bytes)) => {
                let found = format::read_text(&bytes);
                let is_rule_like = is_in_doubt(&found) && is_rule_like(&bytes);
                Content::Text { found, is_rule_like }
            }
            Ok(None) => Content::Skipped(SkipReason::NotARule("a binary file".to_owned())),
            Err(error) => Content::Unreadable(error),
        }
    }
}

/// Whether it is to be asked if the text looks like a rule.
fn is_in_doubt(found: &Result<Vec<Found>, LoadError>) -> bool {
    matches!(found, Err(LoadError::Encoding { .. }))
}

pub(super) fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with('.')
}

fn is_rule_like(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    text.lines().any(|line| line.trim() == "[rule]") || text.contains("\"rule_id\"") || markdown::has_rule(&text)
}

fn slashed(path: &Path) -> String {
    path.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/")
}

/// Tells for each name whether it is anything but an older version of a package's rule asset.
fn newest_assets<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Vec<bool> {
    let mut newest: HashMap<(&str, &str), u64> = HashMap::new();
    let folder = |name: &'a str| name.rsplit_once('/').map_or("", |(folder, _)| folder);
    for name in names.clone() {
        if let Some((id, version)) = asset_name(name) {
            let best = newest.entry((folder(name), id)).or_default();
            *best = version.max(*best);
        }
    }
    names
        .map(|name| match asset_name(name) {
            Some((id, version)) => newest.get(&(folder(name), id)) == Some(&version),
            None => true,
        })
        .collect()
}

fn read_limited(source: &mut dyn Read) -> Result<Vec<u8>, LoadError> {
    let mut bytes = Vec::new();
    source.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_FILE_SIZE {
        true => Err(LoadError::TooLarge { limit: MAX_FILE_SIZE }),
        false => Ok(bytes),
    }
}

/// Looks at the beginning first, so that a large log among the rules is not read whole.
fn read_unless_binary(path: &Path) -> Result<Option<Vec<u8>>, LoadError> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    file.by_ref().take(SNIFF_SIZE as u64).read_to_end(&mut bytes)?;
    if !format::is_zip(&bytes) && format::is_binary(&bytes) {
        return Ok(None);
    }
    file.take(MAX_FILE_SIZE + 1 - bytes.len() as u64).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_FILE_SIZE {
        true => Err(LoadError::TooLarge { limit: MAX_FILE_SIZE }),
        false => Ok(Some(bytes)),
    }
}
