//! The whole way of JSON, from bytes that may be packed to columns: nothing fails, every document that is kept is JSON,
//! and the columns hold what a plain walk over the document finds.
#![no_main]

#[path = "../../crates/events/tests/common/mod.rs"]
mod common;
#[path = "../../crates/events/tests/common/walk.rs"]
mod walk;

use common::{FIELDS, options, read_file, schema};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let schema = schema(&FIELDS);
    let (rows, _) = read_file("log", bytes, &options(1, 7));
    for row in rows {
        walk::check(&row, &schema);
    }
});
