//! `eqlipse rules`: list, show, check, compile, format and test rules, and say which could fire.

mod check;
mod compile;
mod fmt;
mod list;
mod readiness;
mod show;
mod test;

pub use check::check;
pub use compile::compile;
pub use fmt::fmt;
pub use list::list;
pub use readiness::{data_line, kind, lack_lines, left_out, readiness, verdict};
pub use show::show;
pub use test::test;

use eqlipse_rules::{LoadedRule, RuleLoad};

use crate::exit::CliError;
use crate::output::Messages;
use crate::text::{inert, shown};

/// Text of several lines, each inert.
pub fn inert_lines(text: &str) -> String {
    text.lines().map(inert).collect::<Vec<_>>().join("\n")
}

/// Says what could not be loaded; an error if nothing could.
pub fn report_failures(load: &RuleLoad, messages: Messages, sources: &[String]) -> Result<(), CliError> {
    for failure in &load.failures {
        messages.error(&inert_lines(&failure.to_string()));
    }
    for warning in &load.warnings {
        messages.warning(&shown(&warning.to_string()));
    }
    match load.rules.is_empty() {
        true => Err(CliError::NoRules(shown(&sources.join(", ")).into_owned())),
        false => Ok(()),
    }
}

/// By name, then id: the order of lists.
fn sort(rules: &mut [LoadedRule]) {
    rules.sort_by(|a, b| {
        let name = |loaded: &LoadedRule| loaded.rule.name.to_lowercase();
        name(a).cmp(&name(b)).then_with(|| a.rule.rule_id.cmp(&b.rule.rule_id))
    });
}
