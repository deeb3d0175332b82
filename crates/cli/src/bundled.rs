//! The rules in the binary, and rules from wherever `--rules` says.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use eqlipse_rules::{LoadError, RuleFailure, RuleLoad, load_bytes};
use include_dir::{Dir, include_dir};

use crate::rule_cache::{Loaded, RuleCache};

static BUNDLED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../rules");

/// What `--rules` calls the rules in the binary.
pub const NAME: &str = "bundled";

/// The names of the sources, for messages and the manifest.
pub fn names(sources: &[PathBuf]) -> Vec<String> {
    match sources {
        [] => vec![NAME.to_owned()],
        sources => sources.iter().map(|path| path.display().to_string()).collect(),
    }
}

/// Loads the rules of all sources, in their order; the bundled rules if there are none. What takes long comes from the
/// cache where it can.
pub fn load_rules(sources: &[PathBuf], cache: &RuleCache) -> Loaded {
    let is_bundled = |path: &Path| path.as_os_str() == NAME;
    if sources.is_empty() {
        return Loaded { load: bundled(), from_cache: false };
    }
    if !sources.iter().any(|path| is_bundled(path)) {
        return cache.load(sources);
    }
    let mut all = Loaded { load: RuleLoad::default(), from_cache: false };
    for group in sources.chunk_by(|a, b| !is_bundled(a) && !is_bundled(b)) {
        if is_bundled(&group[0]) {
            merge(&mut all.load, bundled());
        } else {
            let loaded = cache.load(group);
            all.from_cache |= loaded.from_cache;
            merge(&mut all.load, loaded.load);
        }
    }
    all
}

/// The rules in the binary.
pub fn bundled() -> RuleLoad {
    let mut files = Vec::new();
    collect(&BUNDLED, &mut files);
    files.sort();
    let mut all = RuleLoad::default();
    for (name, content) in files {
        merge(&mut all, load_bytes(Path::new(NAME).join(name), content));
    }
    all
}

/// The content of a bundled file, `bundled/…`.
pub fn file(path: &Path) -> Option<&'static [u8]> {
    BUNDLED.get_file(path.strip_prefix(NAME).ok()?).map(|file| file.contents())
}

/// Rules only: the folder has tests of rules and a page about itself too.
fn collect<'a>(folder: &'a Dir<'a>, files: &mut Vec<(&'a Path, &'a [u8])>) {
    let is_toml = |path: &Path| path.extension().is_some_and(|extension| extension == "toml");
    let is_rule = |path: &Path| is_toml(path) && !eqlipse_rules::is_test_file(path);
    let rules = folder.files().filter(|file| is_rule(file.path()));
    files.extend(rules.map(|file| (file.path(), file.contents())));
    folder.dirs().for_each(|folder| collect(folder, files));
}

/// Adds `more` to `all`; of two rules with one id the first is kept.
fn merge(all: &mut RuleLoad, more: RuleLoad) {
    all.failures.extend(more.failures);
    all.warnings.extend(more.warnings);
    all.skipped.extend(more.skipped);
    let known: HashMap<String, usize> =
        all.rules.iter().enumerate().map(|(at, loaded)| (loaded.rule.rule_id.clone(), at)).collect();
    for loaded in more.rules {
        let Some(&first) = known.get(&loaded.rule.rule_id) else {
            all.rules.push(loaded);
            continue;
        };
        let first = &all.rules[first];
        if first.content_hash != loaded.content_hash {
            let error = LoadError::Duplicate { rule_id: loaded.rule.rule_id, first: Box::new(first.origin.clone()) };
            all.failures.push(RuleFailure { origin: loaded.origin, error });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(sources: &[PathBuf]) -> RuleLoad {
        load_rules(sources, &RuleCache::OFF).load
    }

    #[test]
    fn the_bundled_rules_load() {
        let loaded = load(&[]);
        assert!(loaded.failures.is_empty(), "{:?}", loaded.failures);
        assert!(loaded.rules.len() >= 25, "{}", loaded.rules.len());
    }

    #[test]
    fn bundled_beside_others() {
        let twice = load(&[PathBuf::from(NAME), PathBuf::from(NAME)]);
        assert_eq!(twice.rules.len(), load(&[]).rules.len());
        assert!(twice.failures.is_empty());
        let missing = load(&[PathBuf::from("no-such-file"), PathBuf::from(NAME)]);
        assert_eq!(missing.failures.len(), 1);
        assert_eq!(missing.rules.len(), twice.rules.len());
    }
}
