//! Where the corpus is.

use std::path::PathBuf;

/// The folder `part` of the corpus. Without it the test is skipped, except where CI asks for it.
pub fn corpus(part: &str, what: &str) -> Option<PathBuf> {
    let root = std::env::var_os("EQLIPSE_CORPUS")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")), PathBuf::from);
    let path = root.join(part);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{what}: no corpus at {}", path.display());
    eprintln!("SKIPPED: {what}: no corpus at {}", path.display());
    None
}
