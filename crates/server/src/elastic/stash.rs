//! What clients put at their start and want to find again: templates, policies, pipelines, aliases.
//!
//! None of it changes what eqlipse does to events: fields have the types of its catalogue, events are normalised by its
//! own code, and retention is the store's. Indices that were made and aliases can be searched. Some clients put what is
//! here once and never again: Beats stop for good where an index is there and its alias is not. So it is kept in
//! `stash.ndjson` in the data folder: a line for each change, the latest of a thing holds. When lines that hold no more are
//! most of it, the file is written anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::http::{Failure, is_match};
use crate::state::sync_folder_of;

/// All bodies together, in bytes.
pub const MAX_STASH_BYTES: usize = 64 << 20;
/// Things of all kinds together.
pub const MAX_STASHED: usize = 10_000;
/// Names of indices that are known to have events.
const MAX_INDICES: usize = 10_000;
/// Names and patterns behind all aliases together, and how many of them are patterns: each search may go through them.
const MAX_BEHIND: usize = 10_000;
const MAX_PATTERNS_BEHIND: usize = 256;
/// Bytes that the file may have beside twice what holds.
const SPARE_BYTES: u64 = 1 << 20;

/// A kind of thing that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    IndexTemplate,
    ComponentTemplate,
    LegacyTemplate,
    LifecyclePolicy,
    Pipeline,
    DataStream,
    Index,
    /// Its body has the properties by index.
    Alias,
}

/// Things by kind and name.
#[derive(Debug)]
pub struct Stash {
    path: PathBuf,
    inner: Mutex<Inner>,
}

/// By alias, the names and patterns of indices that it stands for.
pub(crate) type Aliases = BTreeMap<String, Vec<String>>;

#[derive(Debug, Default)]
struct Inner {
    things: BTreeMap<(Kind, String), Stashed>,
    /// What the bodies of aliases say.
    aliases: Arc<Aliases>,
    bytes: usize,
    indices: BTreeSet<String>,
    /// The file with its length; without it, the next change writes it anew.
    file: Option<(File, u64)>,
}

/// As text, which takes a fraction of what a value takes.
#[derive(Debug)]
struct Stashed {
    body: Arc<RawValue>,
    versions: u64,
    changed: i64,
}

/// A change, as it stands in the file.
#[derive(Serialize, Deserialize)]
struct Line<N, B> {
    kind: Kind,
    name: N,
    versions: u64,
    changed: i64,
    /// Without it, the thing was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<B>,
}

/// A thing that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) name: String,
    /// The text as it was put.
    pub(crate) body: Arc<RawValue>,
    /// How often it was put.
    pub(crate) versions: u64,
    /// When it was put last, in nanoseconds since the Unix epoch.
    pub(crate) changed: i64,
}

impl Found {
    /// The body as a value.
    pub(crate) fn value(&self) -> Value {
        serde_json::from_str(self.body.get()).unwrap_or_default()
    }
}

impl Stash {
    /// What is kept in a file, which is there as soon as something was put.
    ///
    /// # Errors
    /// If it cannot be read. Lines that make no sense are passed over: the last one may be a change that was never
    /// acknowledged.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut inner = Inner::default();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(line) => inner.apply(line),
                Err(error) => tracing::warn!(path = %path.display(), %error, "a line cannot be read, and is left out"),
            }
        }
        Ok(Self { path, inner: Mutex::new(inner) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a thing in place of one with the same name. It is on disk then.
    ///
    /// # Errors
    /// If there are too many, or the file cannot be written.
    pub(crate) fn put(&self, kind: Kind, name: &str, body: &RawValue) -> Result<(), Failure> {
        let mut inner = self.lock();
        let known = inner.things.get(&(kind, name.to_owned()));
        let (old_bytes, versions) = known.map_or((0, 0), |known| (known.bytes(name), known.versions));
        let is_new = known.is_none();
        let total = inner.bytes - old_bytes + body.get().len() + name.len();
        if total > MAX_STASH_BYTES || (is_new && inner.things.len() >= MAX_STASHED) {
            let limits = format!("{MAX_STASHED} of {MAX_STASH_BYTES} bytes together");
            return Err(Failure::IllegalArgument(format!("too many templates, policies and pipelines: {limits}")));
        }
        let line = Line { kind, name, versions: versions + 1, changed: crate::now(), body: Some(body) };
        self.write(&mut inner, &[line])
    }

    /// Writes changes, then makes them.
    fn write(&self, inner: &mut Inner, lines: &[Line<&str, &RawValue>]) -> Result<(), Failure> {
        let file = inner.append(&self.path, lines);
        inner.file = Some(file.map_err(|error| Failure::Unavailable(format!("{}: {error}", self.path.display())))?);
        for Line { kind, name, versions, changed, body } in lines {
            let (name, body) = ((*name).to_owned(), body.map(ToOwned::to_owned));
            inner.apply(Line { kind: *kind, name, versions: *versions, changed: *changed, body });
        }
        Ok(())
    }

    /// The things whose names match: names and patterns with `*`, with commas between them.
    pub(crate) fn find(&self, kind: Kind, names: &str) -> Vec<Found> {
        let inner = self.lock();
        let of_kind = inner.things.iter().filter(|((of, name), _)| *of == kind && is_named(names, name));
        let found = of_kind.map(|((_, name), stashed)| Found {
            name: name.clone(),
            body: stashed.body.clone(),
            versions: stashed.versions,
            changed: stashed.changed,
        });
        found.collect()
    }

    /// Whether there is one of this very name.
    pub(crate) fn has(&self, kind: Kind, name: &str) -> bool {
        self.lock().things.contains_key(&(kind, name.to_owned()))
    }

    /// Removes the things whose names match; returns how many there were.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn remove(&self, kind: Kind, names: &str) -> Result<usize, Failure> {
        let mut inner = self.lock();
        let of_kind = inner.things.keys().filter(|(of, name)| *of == kind && is_named(names, name));
        let names: Vec<String> = of_kind.map(|(_, name)| name.clone()).collect();
        let line = |name| Line { kind, name, versions: 0, changed: crate::now(), body: None };
        let lines: Vec<_> = names.iter().map(String::as_str).map(line).collect();
        if !lines.is_empty() {
            self.write(&mut inner, &lines)?;
        }
        Ok(lines.len())
    }

    /// Notes that an index has events.
    pub(crate) fn note_index(&self, name: &str) {
        let mut inner = self.lock();
        if !inner.indices.contains(name) && inner.indices.len() < MAX_INDICES {
            inner.indices.insert(name.to_owned());
        }
    }

    /// Whether an index has had events since the start.
    pub(crate) fn has_events(&self, name: &str) -> bool {
        self.lock().indices.contains(name)
    }

    /// What aliases stand for.
    pub(crate) fn aliases(&self) -> Arc<Aliases> {
        self.lock().aliases.clone()
    }

    /// Whether an alias may stand for these indices too.
    ///
    /// # Errors
    /// If that would be too many behind all aliases.
    pub(crate) fn may_stand_for(&self, name: &str, indices: &[&str]) -> Result<(), Failure> {
        let aliases = self.aliases();
        let known = aliases.get(name);
        let is_new = |index: &&&str| known.is_none_or(|known| !known.iter().any(|known| known == **index));
        let new: BTreeSet<&str> = indices.iter().filter(is_new).copied().collect();
        let all = || aliases.values().flatten().map(String::as_str).chain(new.iter().copied());
        let patterns = all().filter(|index| index.contains('*')).count();
        if !new.is_empty() && (all().count() > MAX_BEHIND || patterns > MAX_PATTERNS_BEHIND) {
            let limits = format!("{MAX_BEHIND} names together, {MAX_PATTERNS_BEHIND} of them patterns");
            return Err(Failure::IllegalArgument(format!("aliases stand for too many indices: {limits}")));
        }
        Ok(())
    }

    /// Names of indices and data streams that were made, or came with events since the start.
    pub(crate) fn indices(&self) -> BTreeSet<String> {
        let inner = self.lock();
        let made = inner.things.keys().filter(|(kind, _)| matches!(kind, Kind::Index | Kind::DataStream));
        made.map(|(_, name)| name.clone()).chain(inner.indices.iter().cloned()).collect()
    }
}

impl Stashed {
    fn bytes(&self, name: &str) -> usize {
        self.body.get().len() + name.len()
    }
}

impl Inner {
    fn apply(&mut self, line: Line<String, Box<RawValue>>) {
        let Line { kind, name, versions, changed, body } = line;
        let key = (kind, name);
        let old = self.things.remove(&key);
        self.bytes -= old.map_or(0, |old| old.bytes(&key.1));
        if key.0 == Kind::Alias {
            let aliases = Arc::make_mut(&mut self.aliases);
            match &body {
                Some(body) => _ = aliases.insert(key.1.clone(), behind(body)),
                None => _ = aliases.remove(&key.1),
            }
        }
        if let Some(body) = body {
            let stashed = Stashed { body: body.into(), versions, changed };
            self.bytes += stashed.bytes(&key.1);
            self.things.insert(key, stashed);
        }
    }

    /// Adds lines to the file. After an error nobody knows how it ends: it is written anew the next time.
    fn append(&mut self, path: &Path, lines: &[Line<&str, &RawValue>]) -> io::Result<(File, u64)> {
        let most = 2 * self.bytes as u64 + SPARE_BYTES;
        let (mut file, length) = match self.file.take().filter(|(_, length)| *length < most) {
            Some(file) => file,
            None => self.write_anew(path)?,
        };
        let text = text_of(lines)?;
        file.write_all(&text)?;
        file.sync_data()?;
        Ok((file, length + text.len() as u64))
    }

    fn write_anew(&self, path: &Path) -> io::Result<(File, u64)> {
        let lines = self.things.iter().map(|((kind, name), Stashed { body, versions, changed })| Line {
            kind: *kind,
            name: name.as_str(),
            versions: *versions,
            changed: *changed,
            body: Some(&**body),
        });
        let text = text_of(&lines.collect::<Vec<_>>())?;
        let unfinished = path.with_extension("tmp");
        let mut file = File::create(&unfinished)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(unfinished, path)?;
        sync_folder_of(path)?;
        Ok((file, text.len() as u64))
    }
}

/// The indices that an alias's body has properties for. There are more than may be put only in a file that somebody wrote.
fn behind(body: &RawValue) -> Vec<String> {
    let by_index: BTreeMap<String, IgnoredAny> = serde_json::from_str(body.get()).unwrap_or_default();
    by_index.keys().flat_map(|names| names.split(',')).map(str::to_owned).take(MAX_BEHIND).collect()
}

/// A line of each, without line ends inside: they are none of a text's in JSON.
fn text_of(lines: &[Line<&str, &RawValue>]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    for line in lines {
        let start = text.len();
        serde_json::to_writer(&mut text, line)?;
        text[start..].iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
        text.push(b'\n');
    }
    Ok(text)
}

/// Whether a name is among names and patterns with commas between them; `_all` and nothing mean all.
pub(crate) fn is_named(names: &str, name: &str) -> bool {
    names.is_empty() || names == "_all" || names.split(',').any(|pattern| is_match(pattern.trim(), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn what_was_put_is_found_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let stash = Stash::open(folder.path().join("stash.ndjson")).unwrap();
        stash.put(Kind::Pipeline, "winlogbeat-9", &raw("{}")).unwrap();
        stash.put(Kind::Pipeline, "winlogbeat-9", &raw("{\"processors\":[]}")).unwrap();
        stash.put(Kind::IndexTemplate, "winlogbeat-9", &raw("1")).unwrap();
        let found = stash.find(Kind::Pipeline, "win*,other");
        assert_eq!((found.len(), found[0].versions), (1, 2));
        assert!(stash.has(Kind::IndexTemplate, "winlogbeat-9") && !stash.has(Kind::Index, "winlogbeat-9"));
        let large = raw(&format!("\"{}\"", "x".repeat(MAX_STASH_BYTES)));
        assert!(stash.put(Kind::Pipeline, "large", &large).is_err());
        assert_eq!(stash.remove(Kind::Pipeline, "*").unwrap(), 1);
        assert_eq!(stash.lock().bytes, 1 + "winlogbeat-9".len());
    }

    #[test]
    fn what_aliases_stand_for_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let stash = Stash::open(folder.path().join("stash.ndjson")).unwrap();
        let body: BTreeMap<String, Value> =
            (0..MAX_PATTERNS_BEHIND).map(|number| (format!("a{number}*"), Value::Null)).collect();
        stash.put(Kind::Alias, "all", &raw(&serde_json::to_string(&body).unwrap())).unwrap();
        assert_eq!(stash.aliases()["all"].len(), MAX_PATTERNS_BEHIND);
        assert!(stash.may_stand_for("all", &["a1*", "a2*"]).is_ok(), "known");
        assert!(stash.may_stand_for("all", &["b", "c"]).is_ok(), "no patterns");
        assert!(stash.may_stand_for("all", &["b*"]).is_err() && stash.may_stand_for("other", &["a1*"]).is_err());
        stash.remove(Kind::Alias, "all").unwrap();
        assert!(stash.aliases().is_empty());
        let names: Vec<String> = (0..=MAX_BEHIND).map(|number| number.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(stash.may_stand_for("other", &names).is_err() && stash.may_stand_for("other", &names[1..]).is_ok());
    }

    #[test]
    fn what_was_put_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stash.ndjson");
        let stash = Stash::open(path.clone()).unwrap();
        stash.put(Kind::Alias, "filebeat", &raw("{\n  \"filebeat-1\": {}\n}")).unwrap();
        stash.put(Kind::Alias, "gone", &raw("{}")).unwrap();
        stash.put(Kind::Alias, "filebeat", &raw("{\n  \"filebeat-2\": {}\n}")).unwrap();
        stash.remove(Kind::Alias, "gone").unwrap();
        // The machine lost its power while a line was written.
        let mut text = fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"kind\":\"alias\",\"na");
        fs::write(&path, text).unwrap();
        let again = Stash::open(path.clone()).unwrap();
        let found = again.find(Kind::Alias, "*");
        assert_eq!((found.len(), &*found[0].name, found[0].versions), (1, "filebeat", 2));
        assert_eq!(found[0].value(), serde_json::json!({ "filebeat-2": {} }));
        // What is added does not stand behind half a line.
        again.put(Kind::Alias, "third", &raw("{}")).unwrap();
        assert_eq!(Stash::open(path).unwrap().find(Kind::Alias, "*").len(), 2);
    }

    #[test]
    fn the_file_stays_near_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stash.ndjson");
        let stash = Stash::open(path.clone()).unwrap();
        let body = raw(&format!("\"{}\"", "x".repeat(SPARE_BYTES as usize / 4)));
        for _ in 0..20 {
            stash.put(Kind::Pipeline, "same", &body).unwrap();
            assert!(fs::metadata(&path).unwrap().len() < 2 * SPARE_BYTES);
        }
        assert_eq!(Stash::open(path).unwrap().find(Kind::Pipeline, "same")[0].versions, 20);
    }
}
