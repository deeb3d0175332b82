//! Messages that point at a place in a text: what the parser and the checks report.
//!
//! Nothing here knows EQL: any language whose spans are bytes of one text can use it.

mod render;
mod text;

use std::fmt;

use crate::ast::Span;

pub(crate) use text::is_hostile as is_invisible;
pub use text::{inert, quoted};

/// How grave a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The text cannot be used.
    Error,
    /// The text can be used, but probably does not say what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// A second place that a message speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What is said of it.
    pub text: String,
}

/// One message about one place in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// A stable name for this kind of message, such as `unknown-function`.
    pub code: &'static str,
    /// One line, no capital, no full stop. Text quoted from the source is inert and cut to a bearable length.
    pub message: String,
    /// The place.
    pub span: Span,
    /// Further places.
    pub labels: Vec<Label>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), span, labels: Vec::new(), help: None }
    }

    /// A warning at `span`.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// Adds a second place.
    #[must_use]
    pub fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Whether this is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Line and column of the place in `source`, both from 1, the column in characters.
    pub fn line_column(&self, source: &str) -> (usize, usize) {
        text::line_column(source, self.span.start as usize)
    }

    /// The message as shown on a terminal: the source line, a caret under the place, labels and help.
    ///
    /// `name` says where the text comes from (a path, a rule's name). The result ends without a line break. Control
    /// and bidirectional characters of the source, the name and the message are shown as `�`.
    pub fn render(&self, source: &str, name: &str, colour: bool) -> String {
        render::render(self, source, name, colour)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}
