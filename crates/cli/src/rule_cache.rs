//! Rules on disk as they were last loaded, so that the same files need not be read and parsed each time.
//!
//! An entry is only ever a shortcut: one that is missing, damaged, of another build, or of files that have changed since
//! is made anew, and none of it is ever an error.

use std::fs::{self, File, FileTimes};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use eqlipse_rules::{PathOrStdin, RuleLoad, Snapshot, load};
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_128;

use crate::args::CacheArgs;

/// What an entry begins with; the last character is the version of its form.
const MAGIC: &[u8; 16] = b"eqlipse rules  1";
/// Bytes before the rules: the magic, what the entry is of, a checksum.
const HEADER: usize = 16 + 32 + 16;
/// Fewer bytes of rules than these are loaded as fast as an entry is read.
const LEAST_BYTES: u64 = 128 << 10;
/// Larger entries are neither written nor read.
const MOST_BYTES: u64 = 512 << 20;
/// Entries that are kept.
const MOST_ENTRIES: usize = 8;
/// After this time, a file that is still being written is taken for one whose writer died.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

const ENTRY: &str = ".rules";
const UNFINISHED: &str = ".unfinished";

/// The cache of loaded rules.
pub struct RuleCache {
    /// None where it is off.
    folder: Option<PathBuf>,
}

/// Loaded rules.
pub struct Loaded {
    /// The rules.
    pub load: RuleLoad,
    /// Whether they come from the cache.
    pub from_cache: bool,
}

impl RuleCache {
    /// No cache.
    pub const OFF: RuleCache = RuleCache { folder: None };

    /// The user's cache, unless the arguments switch it off or the user has no place for one.
    pub fn of_user(args: &CacheArgs) -> RuleCache {
        let folder = if args.no_cache { None } else { user_folder() };
        RuleCache { folder: folder.map(|folder| folder.join("eqlipse")) }
    }

    /// Loads rules, from the cache if none of their files has changed.
    pub fn load(&self, paths: &[PathBuf]) -> Loaded {
        let paths: Vec<PathOrStdin> = paths.iter().map(|path| PathOrStdin::from(path.clone())).collect();
        let entry = self.folder.as_deref().and_then(|folder| Entry::of(folder, &paths));
        if let Some(load) = entry.as_ref().and_then(Entry::read) {
            return Loaded { load, from_cache: true };
        }
        let load = load(&paths);
        if let Some(entry) = entry {
            // Without a cache, the next run is as slow as this one.
            let _ = entry.write(&load);
        }
        Loaded { load, from_cache: false }
    }
}

/// Where programs keep what they can make again.
fn user_folder() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if cfg!(windows) {
        return folder("LOCALAPPDATA");
    }
    let default = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
    folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(default)))
}

/// The place of an entry in the cache.
struct Entry<'a> {
    folder: &'a Path,
    /// By the names of the paths, so that a changed rule's entry takes the place of the older one.
    file: PathBuf,
    /// What the entry is of: the files as they are now, and this build.
    key: [u8; 32],
    /// Whether the files will show a later change.
    is_settled: bool,
}

impl<'a> Entry<'a> {
    /// None where the rules are too few to be worth it, or what they are read from cannot be known beforehand.
    fn of(folder: &'a Path, paths: &[PathOrStdin]) -> Option<Entry<'a>> {
        let snapshot = Snapshot::take(paths)?;
        if snapshot.bytes() < LEAST_BYTES {
            return None;
        }
        let name = Sha256::digest(name(paths));
        let name: String = name.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        let key = Sha256::new().chain_update(build()?).chain_update(snapshot.digest()).finalize().into();
        let file = folder.join(format!("{name}{ENTRY}"));
        Some(Entry { folder, file, key, is_settled: snapshot.is_settled() })
    }

    fn read(&self) -> Option<RuleLoad> {
        let file = File::open(&self.file).ok()?;
        let size = file.metadata().ok()?.len();
        if size > MOST_BYTES {
            return None;
        }
        let mut bytes = Vec::with_capacity(size as usize + 1);
        (&file).take(MOST_BYTES).read_to_end(&mut bytes).ok()?;
        let rules = self.rules(&bytes)?;
        let load = RuleLoad::from_bytes(rules).ok()?;
        // What was used last is kept longest; where the time cannot be set, it goes a little earlier.
        let _ = file.set_times(FileTimes::new().set_modified(SystemTime::now()));
        Some(load)
    }

    /// The rules of an entry's bytes, if it is whole and of the same files.
    fn rules<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        let (header, rules) = bytes.split_at_checked(HEADER)?;
        (header == self.header(rules)).then_some(rules)
    }

    fn header(&self, rules: &[u8]) -> Vec<u8> {
        [&MAGIC[..], &self.key, &xxh3_128(rules).to_le_bytes()].concat()
    }

    /// Writes the entry, unless it would not be safe to use: a file that was changed a moment ago may be changed again
    /// without its time saying so.
    fn write(&self, load: &RuleLoad) -> io::Result<()> {
        let Some(rules) = load.to_bytes().filter(|rules| self.is_settled && (rules.len() as u64) < MOST_BYTES) else {
            return Ok(());
        };
        create_folder(self.folder)?;
        // Only its owner may read it. What others write at the same time is another file, and the last one stays.
        let mut file = tempfile::Builder::new().suffix(UNFINISHED).tempfile_in(self.folder)?;
        file.write_all(&self.header(&rules))?;
        file.write_all(&rules)?;
        file.persist(&self.file).map_err(|error| error.error)?;
        prune(self.folder)
    }
}

/// The paths, as they are given and where they lead.
fn name(paths: &[PathOrStdin]) -> String {
    let name = |path: &PathOrStdin| match path {
        PathOrStdin::Path(path) => format!("{path:?} {:?}\n", path.canonicalize().unwrap_or_default()),
        PathOrStdin::Stdin => String::new(),
    };
    paths.iter().map(name).collect()
}

/// This build: another one may read the same files otherwise.
fn build() -> Option<Vec<u8>> {
    let binary = std::env::current_exe().ok()?.metadata().ok()?;
    let changed = binary.modified().ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let version = concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes();
    Some([version, &binary.len().to_le_bytes(), &changed.as_nanos().to_le_bytes()].concat())
}

fn create_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Removes all but the newest entries, and what killed processes have left.
fn prune(folder: &Path) -> io::Result<()> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Another process may have removed it.
        let Ok(changed) = path.metadata().and_then(|metadata| metadata.modified()) else { continue };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(ENTRY) {
            entries.push((changed, path));
        } else if name.ends_with(UNFINISHED) && changed.elapsed().is_ok_and(|age| age > ABANDONED_AFTER) {
            fs::remove_file(&path)?;
        }
    }
    entries.sort();
    let surplus = entries.len().saturating_sub(MOST_ENTRIES);
    entries.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
}
