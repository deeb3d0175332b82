//! The limits of the language. Each has an error that names it; none is ever met by a panic.

/// The longest query text, in bytes.
pub const MAX_QUERY_BYTES: usize = 1024 * 1024;

/// How deep parentheses, `not`, signs, function calls and arithmetic may nest. A row of `and`s or `or`s counts once,
/// however long it is.
pub const MAX_DEPTH: u16 = 200;

/// The most elements of one `in`, `:`, `like` or `regex` list, and the most arguments of one function call.
pub const MAX_LIST_ITEMS: usize = 65_536;

/// The most join keys of one item, global keys included.
pub const MAX_JOIN_KEYS: usize = 64;

/// The most items of a sequence after `runs` are expanded.
pub const MAX_SEQUENCE_ITEMS: u64 = 10_000;

/// The most items of a sample.
pub const MAX_SAMPLE_ITEMS: usize = 5;

/// The most that `with runs` may repeat an item.
pub const MAX_RUNS: u64 = 100;

/// The most pipes of one query.
pub const MAX_PIPES: usize = 100;

/// The most expressions of one pipe.
pub const MAX_PIPE_EXPRESSIONS: usize = 64;

/// How many errors of one query are reported; the rest are left out.
pub const MAX_DIAGNOSTICS: usize = 50;
