//! The field catalogue: which type a field has.
//!
//! Elasticsearch reads types from an index mapping. eqlipse has no mapping: a field's type comes from this catalogue
//! (the Elastic Common Schema plus the fields that Beats, Elastic Defend and the common integrations add), and a
//! field that the catalogue does not know takes the type of each value it meets ([`FieldType::Dynamic`]).

mod catalogue;
mod field_type;

pub use catalogue::{field_type, names, suggest};
pub use field_type::FieldType;
