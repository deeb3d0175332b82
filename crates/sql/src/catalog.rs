//! The names of tables: data streams, index patterns, and `events` for everything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, TableProvider};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{LogicalPlanBuilder, col, lit};

use crate::SqlError;
use crate::file::INDEX;
use crate::source::{Chosen, Events, Known};
use crate::table::EventTable;

/// The table of all events.
pub(crate) const ALL: &str = "events";
/// The one schema.
pub(crate) const SCHEMA: &str = "public";
/// The one catalogue.
pub(crate) const CATALOG: &str = "eqlipse";

/// The tables of a query, made when they are asked for.
pub(crate) struct Tables {
    events: Events,
    known: Arc<Known>,
    streams: BTreeSet<String>,
    /// Fields that the query names; those of the catalogue are columns even if no event has them.
    mentioned: BTreeSet<String>,
    made: Mutex<BTreeMap<String, Arc<dyn TableProvider>>>,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tables").field("streams", &self.streams).finish_non_exhaustive()
    }
}

impl Tables {
    pub(crate) fn new(events: Events, known: Arc<Known>, mentioned: BTreeSet<String>) -> Self {
        let streams = events.data_streams();
        Self { events, known, streams, mentioned, made: Mutex::default() }
    }

    /// Whether a name has something behind it.
    pub(crate) fn has(&self, name: &str) -> bool {
        name == ALL || self.streams.iter().any(|stream| matches(name, stream))
    }

    /// The names that there are.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(ALL).chain(self.streams.iter().map(String::as_str))
    }

    /// The table of a name.
    pub(crate) fn make(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, SqlError> {
        if !self.has(name) {
            return Ok(None);
        }
        let known = self.made.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let wants = |stream: &str| name == ALL || matches(name, stream);
        let Chosen { files, only_indices } = self.events.choose(&self.known, wants)?;
        let table: Arc<dyn TableProvider> = Arc::new(EventTable::new(files, &self.mentioned));
        let table = match only_indices {
            Some(indices) => only(table, &indices).map_err(|error| SqlError::Failed(error.to_string()))?,
            None => table,
        };
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), table.clone());
        Ok(Some(table))
    }
}

/// The rows of some indices.
fn only(table: Arc<dyn TableProvider>, indices: &BTreeSet<String>) -> Result<Arc<dyn TableProvider>> {
    let named = indices.iter().filter(|index| !index.is_empty()).map(|index| lit(index.as_str())).collect();
    let index = || col(datafusion::common::Column::from_name(INDEX));
    let mut wanted = index().in_list(named, false);
    if indices.contains("") {
        wanted = wanted.or(index().is_null());
    }
    let plan = LogicalPlanBuilder::scan(ALL, provider_as_source(table), None)?.filter(wanted)?.build()?;
    Ok(Arc::new(ViewTable::new(plan, None)))
}

/// Whether a name or patterns with commas between them mean a data stream. A pattern behind `-` takes away again.
fn matches(patterns: &str, stream: &str) -> bool {
    let mut is_meant = false;
    for pattern in patterns.split(',') {
        match pattern.trim() {
            // Hidden ones are meant only where a pattern says so.
            pattern if stream.starts_with('.') && !pattern.trim_start_matches('-').starts_with('.') => {}
            pattern => match pattern.strip_prefix('-').filter(|_| is_meant) {
                Some(excluded) => is_meant &= !is_like(excluded, stream),
                None => is_meant |= is_like(pattern, stream),
            },
        }
    }
    is_meant
}

/// Whether a pattern with `*` matches, the quick way: no part is looked for twice.
fn is_like(pattern: &str, text: &str) -> bool {
    let Some((first, mut parts)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    while let Some((part, behind)) = parts.split_once('*') {
        match rest.find(part) {
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
        parts = behind;
    }
    rest.ends_with(parts)
}

#[async_trait]
impl SchemaProvider for Tables {
    fn table_names(&self) -> Vec<String> {
        self.names().map(str::to_owned).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.make(name).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.has(name)
    }
}

/// The catalogue that has them.
#[derive(Debug)]
pub(crate) struct Catalog(pub(crate) Arc<Tables>);

impl CatalogProvider for Catalog {
    fn schema_names(&self) -> Vec<String> {
        vec![SCHEMA.to_owned()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        (name == SCHEMA).then(|| self.0.clone() as Arc<dyn SchemaProvider>)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_choose_data_streams() {
        for (patterns, stream, expected) in [
            ("logs-*", "logs-x-default", true),
            ("logs-*", "winlogbeat-1", false),
            ("logs-*,winlogbeat-*", "winlogbeat-1", true),
            ("logs-*,-logs-x-*", "logs-x-default", false),
            ("logs-*,-logs-x-*", "logs-y-default", true),
            ("*x*def*t", "logs-x-default", true),
            ("*x*x*", "logs-x-default", false),
            ("*", ".hidden", false),
            (".hid*", ".hidden", true),
            ("logs-x-default", "logs-x-default", true),
            ("logs-x", "logs-x-default", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(patterns, stream), expected, "{patterns} {stream}");
        }
    }
}
