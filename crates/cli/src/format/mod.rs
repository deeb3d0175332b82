//! The output formats of a hunt.

pub mod closing;
pub mod csv;
pub mod html;
pub mod json;
pub mod table;
#[cfg(test)]
mod tests;

use eqlipse_hunt::HuntReport;
use serde_json::Value;

use crate::summary::Summary;
use crate::view::AlertView;

/// A report with everything the formats need.
#[derive(Debug)]
pub struct Report<'a> {
    /// What the hunt gave.
    pub hunt: &'a HuntReport,
    /// Its alerts, taken apart.
    pub alerts: Vec<AlertView<'a>>,
    /// Its counts.
    pub summary: Summary,
    /// Its manifest.
    pub manifest: Value,
}
