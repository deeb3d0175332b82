//! The readers of rules: TOML, NDJSON, JSON, zip and Markdown. The first byte chooses the name that the rest is read by.
#![no_main]

use libfuzzer_sys::fuzz_target;

const NAMES: [&str; 6] = ["rule.toml", "rules.ndjson", "rule.json", "rules.zip", "rule.md", "rule"];

fuzz_target!(|bytes: &[u8]| {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let load = eqlipse_rules::load_bytes(NAMES[usize::from(*first) % NAMES.len()], bytes);
    for loaded in &load.rules {
        for problem in eqlipse_rules::validate(&loaded.rule) {
            let _ = problem.to_string();
        }
    }
    // What a cache keeps is what was loaded.
    let Some(kept) = load.to_bytes() else { return };
    let again = eqlipse_rules::RuleLoad::from_bytes(&kept).expect("its own bytes");
    assert_eq!(format!("{again:?}"), format!("{load:?}"));
});
