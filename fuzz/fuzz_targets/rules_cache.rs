//! Any bytes as an entry of the cache of loaded rules.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = eqlipse_rules::RuleLoad::from_bytes(bytes);
});
