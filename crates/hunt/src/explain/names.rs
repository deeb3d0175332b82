//! Field names that are much like one that the data lacks.

use std::collections::BTreeSet;

/// How many names are given.
const MOST: usize = 3;
/// How alike two names must be, 1 being the same.
const LEAST: f64 = 0.7;

/// The names nearest to `field`, best first.
pub(super) fn near(field: &str, names: &BTreeSet<String>) -> Vec<String> {
    let wanted = plain(field);
    let last = last(&wanted);
    let mut scored: Vec<(f64, &String)> = names
        .iter()
        .filter(|name| name.as_str() != field)
        .map(|name| {
            let plain = plain(name);
            let whole = strsim::normalized_damerau_levenshtein(&wanted, &plain);
            // The same last part under another object is likely what is meant, such as Image of Sysmon's own names.
            let part = strsim::normalized_damerau_levenshtein(last, self::last(&plain));
            (whole.max(0.4 * part + 0.6 * whole), name)
        })
        .filter(|(score, _)| *score >= LEAST)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.into_iter().take(MOST).map(|(_, name)| name.clone()).collect()
}

/// Lower case without underscores, so that `CommandLine` is `command_line`.
fn plain(name: &str) -> String {
    name.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect()
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_and_moved_names_are_near() {
        let names: BTreeSet<String> =
            ["process.command_line", "winlog.event_data.CommandLine", "process.pid", "host.name"]
                .map(str::to_owned)
                .into();
        assert_eq!(near("process.commandline", &names)[0], "process.command_line");
        assert!(near("event_data.CommandLine", &names).contains(&"winlog.event_data.CommandLine".to_owned()));
        assert!(near("dns.question.name", &names).is_empty());
    }
}
