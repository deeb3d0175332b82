//! The real rules, logs and expected results that corpus tests read.

use std::path::PathBuf;

/// A path below the corpus: the folder that `EQLIPSE_CORPUS` names, else `../shared` beside the checkout. `None`, said
/// on standard error with what is not tested, where it does not exist.
///
/// # Panics
/// Without it in CI.
pub fn corpus(what: &str, below: &str) -> Option<PathBuf> {
    let root = std::env::var_os("EQLIPSE_CORPUS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")), PathBuf::from);
    let path = root.join(below);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{what}: no corpus at {}", path.display());
    eprintln!("SKIPPED: {what}: no corpus at {}", path.display());
    None
}
