//! What this binary is.

/// The version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit it was built from, where the build said so (`EQLIPSE_COMMIT`).
pub const COMMIT: Option<&str> = option_env!("EQLIPSE_COMMIT");
/// The platform it was built for.
pub const TARGET: &str = env!("EQLIPSE_TARGET");
/// For `-V`.
pub const SHORT: &str = VERSION;
/// For `--version`: version, commit where known, platform.
pub const LONG: &str = env!("EQLIPSE_LONG_VERSION");
