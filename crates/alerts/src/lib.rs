//! Alert documents as Elastic Security writes them, made from what a rule matched.
//!
//! [`build`] turns a [`Match`] into an [`Alert`]: its id, severity, name, reason and time. The JSON documents, which
//! are many times larger, are made on request by [`Alert::document`], [`Alert::building_blocks`] and
//! [`Alert::documents`], or in two parts, of which the second is the same for all alerts of a rule, by
//! [`Alert::own_fields`] and [`Alert::rule_fields`]. The same match and options always give the same bytes.

mod alert;
mod document;
mod fields;
mod id;
mod overrides;
mod reason;
mod time;

pub use alert::{
    Alert, BuildOptions, Clock, DEFAULT_SPACE, Execution, Match, MatchKind, MatchedEvent, build, remove_duplicates,
    sort,
};
pub use document::OwnFields;
