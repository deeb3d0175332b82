//! Colours of the terminal output. Everything is written with them; the stream takes them out where they do not belong.

use anstyle::{AnsiColor, Style};
use eqlipse_rules::Severity;

/// Headings.
pub const HEADING: Style = Style::new().bold();
/// What matters less.
pub const DIM: Style = Style::new().dimmed();
/// Names of what is counted.
pub const LABEL: Style = AnsiColor::Cyan.on_default();
/// Categories of events.
pub const CATEGORY: Style = AnsiColor::Green.on_default();
/// Errors.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();
/// Warnings.
pub const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// The colour of a severity.
pub fn severity(severity: Severity) -> Style {
    match severity {
        Severity::Low => AnsiColor::Blue.on_default(),
        Severity::Medium => AnsiColor::Yellow.on_default(),
        Severity::High => AnsiColor::Red.on_default().bold(),
        Severity::Critical => AnsiColor::White.on(AnsiColor::Red).bold(),
    }
}

/// `text` in `style`.
pub fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}
