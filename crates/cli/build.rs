//! Tells the binary what it is, and cargo to build it again when a bundled rule is added.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=../../rules");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=EQLIPSE_COMMIT");
    let target = env::var("TARGET").unwrap_or_else(|_| "unknown".to_owned());
    let version = env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let commit = env::var("EQLIPSE_COMMIT").map(|commit| format!("commit {commit}, ")).unwrap_or_default();
    println!("cargo::rustc-env=EQLIPSE_TARGET={target}");
    println!("cargo::rustc-env=EQLIPSE_LONG_VERSION={version} ({commit}{target})");
}
