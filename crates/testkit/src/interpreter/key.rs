//! Join keys.

use std::cmp::Ordering;

use eqlipse_eql::ast::JoinKey;
use serde_json::Value;

use super::eval::{combinations, or_null};
use super::flat::Flat;
use super::pattern::Fold;
use super::value::{Val, relate};

/// One part of a join key: numbers that are equal, and versions and strings of one text, are the same part.
#[derive(Clone, Debug)]
pub struct KeyPart(Val<'static>);

/// A whole join key.
pub type Key = Vec<KeyPart>;

impl KeyPart {
    pub(super) fn new(value: &Val<'_>) -> Self {
        Self(match value {
            Val::Null => Val::Null,
            Val::Bool(b) => Val::Bool(*b),
            Val::Int(i) => Val::Int(*i),
            Val::UInt(u) => Val::UInt(*u),
            Val::Double(d) => Val::Double(*d),
            Val::Str(s) | Val::Version(s) => Val::Str(s.clone().into_owned().into()),
            Val::Date(nanos) => Val::Date(*nanos),
            Val::Ip(ip) => Val::Ip(*ip),
        })
    }

    /// The value.
    pub(super) fn value(&self) -> Val<'static> {
        self.0.clone()
    }

    /// The part without case.
    pub(super) fn folded(&self) -> Self {
        match &self.0 {
            Val::Str(text) => Self(Val::Str(Fold::Unicode.text(text).into())),
            _ => self.clone(),
        }
    }

    fn rank(&self) -> u8 {
        match self.0 {
            Val::Null => 0,
            Val::Bool(_) => 1,
            Val::Int(_) | Val::UInt(_) | Val::Double(_) => 2,
            Val::Str(_) | Val::Version(_) => 3,
            Val::Date(_) => 4,
            Val::Ip(_) => 5,
        }
    }

    /// The part as JSON; dates and addresses as text.
    pub fn to_json(&self) -> Value {
        match &self.0 {
            Val::Null => Value::Null,
            Val::Bool(b) => (*b).into(),
            Val::Int(i) => (*i).into(),
            Val::UInt(u) => (*u).into(),
            Val::Double(d) => (*d).into(),
            other => other.text().into_owned().into(),
        }
    }
}

impl Ord for KeyPart {
    fn cmp(&self, other: &Self) -> Ordering {
        let within = || relate(&self.0, false, &other.0, false).ordering().unwrap_or(Ordering::Equal);
        self.rank().cmp(&other.rank()).then_with(within)
    }
}

impl PartialOrd for KeyPart {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for KeyPart {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for KeyPart {}

/// The distinct keys of an event, ascending; none if a required field is missing or there are too many.
pub fn keys_of(event: &Flat<'_>, fields: &[JoinKey]) -> Vec<Key> {
    let present = |field: &JoinKey| field.optional || !event.values(&field.name).is_empty();
    if !fields.iter().all(present) {
        return Vec::new();
    }
    let columns: Vec<&[Val<'_>]> = fields.iter().map(|field| or_null(event.values(&field.name))).collect();
    let to_key = |values: Vec<&Val<'_>>| values.into_iter().map(KeyPart::new).collect();
    let mut keys: Vec<Key> = combinations(&columns).into_iter().flatten().map(to_key).collect();
    keys.sort();
    keys.dedup();
    keys
}
