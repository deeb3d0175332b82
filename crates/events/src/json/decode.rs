//! One document into the open row of a batch.

use std::fmt;
use std::sync::Arc;

use eqlipse_batch::{BatchBuilder, FieldId, PathNode, RawValue, Schema, ValueRef, coerce_date};
use eqlipse_ecs::FieldType;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use thiserror::Error;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::keys::KeyMemory;
use super::{Action, MAX_JSON_DEPTH, data_stream_name, logical_index, plain, repair, too_deep};
use crate::reserved::{Reserved, Role};
use crate::stamp::{ArrivalTime, Places, Stamp, StampNodes};

/// Why a text is no event.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No JSON.
    #[error("{0}")]
    Syntax(String),
    /// JSON of another kind.
    #[error("not a JSON object")]
    NotAnObject,
    /// Nested deeper than [`MAX_JSON_DEPTH`].
    #[error("objects and arrays nest deeper than {MAX_JSON_DEPTH} levels")]
    TooDeep,
    /// What a rule found earlier, by this tool or by Elastic.
    #[error("an alert (it has kibana.alert.uuid), not an event")]
    Alert,
}

/// What a text turned out to be.
#[derive(Debug)]
pub(crate) enum Decoded {
    /// An event, whose row is open.
    Event(Facts),
    /// A search response: its hits are to be decoded one by one. The row is untouched.
    SearchResponse,
}

/// What an event's row needs beside its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) time: Option<i64>,
    pub(crate) sequence: Option<i64>,
    /// Two texts with the same content are the same event, and not two events that look alike.
    pub(crate) has_identity: bool,
    /// The text had to be [repaired](repair).
    pub(crate) repaired: bool,
}

/// Decodes documents, keeping its memory from one to the next.
pub(crate) struct Decoder {
    schema: Arc<Schema>,
    reserved: Reserved,
    stamp: Option<StampNodes>,
    row: OpenRow,
    repaired: Vec<u8>,
    keys: KeyMemory,
    /// A text without its escapes.
    scratch: String,
}

/// What the walk notes of the open row.
#[derive(Default)]
pub(super) struct OpenRow {
    time: Option<i64>,
    sequence: Option<i64>,
    /// `data_stream.type`, `.dataset`, `.namespace`.
    data_stream: [String; 3],
    index: Option<String>,
    id: Option<String>,
    has_event_id: bool,
    has_record_id: bool,
    has_channel: bool,
    has_host: bool,
    is_alert: bool,
    is_search_response: bool,
    /// It is a hit, and the document is its `_source`.
    is_hit: bool,
    /// Something of it may be a value that no column was asked for.
    pub(super) has_unasked: bool,
    /// It was taken by the quick walk.
    is_plain: bool,
    /// The quick walk passed over a line break.
    pub(super) has_line_break: bool,
    pub(super) places: Places,
}

impl OpenRow {
    fn clear(&mut self) {
        let mut data_stream = std::mem::take(&mut self.data_stream);
        data_stream.iter_mut().for_each(String::clear);
        *self = Self { data_stream, ..Self::default() };
    }

    /// Starts anew with the document inside the hit.
    fn enter_hit(&mut self) {
        let (index, id, is_search_response) = (self.index.take(), self.id.take(), self.is_search_response);
        self.clear();
        (self.index, self.id) = (index, id);
        (self.is_search_response, self.is_hit) = (is_search_response, true);
    }

    #[cold]
    fn note(&mut self, role: Role, value: RawValue<'_>) {
        match role {
            Role::None => {}
            Role::Time => self.time = self.time.or_else(|| coerce_date(value)),
            Role::Sequence => self.sequence = self.sequence.or_else(|| whole_number(value)),
            Role::DataStream(part) => {
                if let (RawValue::Str(text), true) = (value, self.data_stream[part].is_empty()) {
                    self.data_stream[part].push_str(text);
                }
            }
            Role::EventId => self.has_event_id = true,
            Role::RecordId => self.has_record_id = true,
            Role::Channel => self.has_channel = true,
            Role::HostName => self.has_host = true,
            Role::AlertId => self.is_alert = true,
        }
    }

    /// Whether two texts with the same content are the same event, and not two events that look alike.
    fn has_identity(&self) -> bool {
        self.has_event_id || self.id.is_some() || (self.has_record_id && self.has_channel && self.has_host)
    }
}

fn whole_number(value: RawValue<'_>) -> Option<i64> {
    match value {
        RawValue::Int(number) => Some(number),
        RawValue::Str(text) => text.trim().parse().ok(),
        RawValue::UInt(_) | RawValue::Double(_) | RawValue::Bool(_) => None,
    }
}

impl Decoder {
    pub(crate) fn new(schema: Arc<Schema>, reserved: Reserved) -> Self {
        let (keys, stamp) = (KeyMemory::new(schema.root()), StampNodes::find(&schema));
        Self { schema, reserved, stamp, row: OpenRow::default(), repaired: Vec::new(), keys, scratch: String::new() }
    }

    /// Whether the last text was a hit around a document.
    pub(crate) fn is_hit(&self) -> bool {
        self.row.is_hit
    }

    /// Whether the last text may have had a value of a field that is not in the schema.
    pub(crate) fn has_unasked(&self) -> bool {
        self.row.has_unasked
    }

    /// Whether the last text is a document and cannot be taken for anything else.
    pub(crate) fn is_plain(&self) -> bool {
        self.row.is_plain
    }

    /// Whether the last text, a plain document, has a line break.
    pub(crate) fn has_line_break(&self) -> bool {
        self.row.has_line_break
    }

    /// Hash of the last text, and with the id where it has one: what tells the event from others.
    pub(crate) fn hashes(&self, text: &str) -> (u128, u128) {
        let digest = xxh3_128(text.as_bytes());
        (digest, self.row.id.as_deref().map_or(digest, |id| identity(text, id)))
    }

    /// Decodes a document by itself, without a look at what else it may be. Says whether it is plain: the row is open if it
    /// is, and empty if not.
    pub(crate) fn decode_plain(&mut self, builder: &mut BatchBuilder, document: &str) -> bool {
        document.starts_with('{') && self.walk_plain(builder, document, None)
    }

    /// Decodes a document as if its time of arrival stood in it, and says how it comes to stand there. `None` if the document
    /// is not plain, or the time stands there in an odd way; the row is then empty.
    pub(crate) fn decode_arriving<'d>(
        &mut self,
        builder: &mut BatchBuilder,
        document: &'d str,
        action: &Action,
        time: &ArrivalTime,
    ) -> Option<Result<(Facts, Stamp<'d>), Refusal>> {
        let nodes = self.stamp.filter(|_| document.starts_with('{'))?;
        if !self.walk_plain(builder, document, Some(nodes)) {
            return None;
        }
        let Some(stamp) = self.row.places.stamp(document) else {
            builder.abort_row();
            return None;
        };
        if self.row.is_alert {
            builder.abort_row();
            return Some(Err(Refusal::Alert));
        }
        for node in [Some(nodes.ingested), (!stamp.has_timestamp).then_some(nodes.time)].into_iter().flatten() {
            self.put_time(builder, node, time);
        }
        Some(Ok((self.finish(builder, Some(action), false), stamp)))
    }

    fn put_time(&mut self, builder: &mut BatchBuilder, node: PathNode, time: &ArrivalTime) {
        let Some(field) = self.schema.field_at(node) else { return };
        match time.nanos().filter(|_| self.schema.field(field).ty == FieldType::Date) {
            Some(nanos) => builder.push_value(field, ValueRef::Date(nanos)),
            None => _ = builder.push(field, RawValue::Str(time.text())),
        }
        self.row.note(self.reserved.roles()[field.index()], RawValue::Str(time.text()));
    }

    /// Decodes a document or a hit, with the bulk action in front of it where there is one. A text that is refused
    /// leaves no trace in the batch.
    pub(crate) fn decode(
        &mut self,
        builder: &mut BatchBuilder,
        text: &str,
        action: Option<&Action>,
    ) -> Result<Decoded, Refusal> {
        if !text.starts_with('{') {
            return Err(Refusal::NotAnObject);
        }
        let walked = match self.walk_plain(builder, text, None) {
            true => Ok(false),
            // The quick walk takes nothing that is too deep; the others do not look.
            false if too_deep(text.as_bytes()) => return Err(Refusal::TooDeep),
            false => match self.walk(builder, text) {
                Ok(()) => Ok(false),
                Err(error) => self.walk_repaired(builder, text).then_some(true).ok_or(error),
            },
        };
        match walked {
            Ok(_) if self.row.is_search_response => {
                builder.abort_row();
                Ok(Decoded::SearchResponse)
            }
            Ok(_) if self.row.is_alert => {
                builder.abort_row();
                Err(Refusal::Alert)
            }
            Ok(repaired) => Ok(Decoded::Event(self.finish(builder, action, repaired))),
            Err(error) => {
                builder.abort_row();
                Err(refusal(&error))
            }
        }
    }

    /// Says whether the document is plain. The row is open if it is, and empty if not.
    fn walk_plain(&mut self, builder: &mut BatchBuilder, text: &str, stamp: Option<StampNodes>) -> bool {
        self.row.clear();
        let (roles, row) = (self.reserved.roles(), &mut self.row);
        let mut walk = Walk { schema: &self.schema, roles, builder, row, stamp };
        let is_plain = plain::walk(text, &mut walk, &mut self.keys, &mut self.scratch).is_ok();
        if !is_plain {
            builder.abort_row();
        }
        self.row.is_plain = is_plain;
        is_plain
    }

    fn walk(&mut self, builder: &mut BatchBuilder, text: &str) -> Result<(), serde_json::Error> {
        self.row.clear();
        let (roles, row) = (self.reserved.roles(), &mut self.row);
        let mut walk = Walk { schema: &self.schema, roles, builder, row, stamp: None };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        deserializer.deserialize_map(Root { walk: &mut walk })?;
        deserializer.end()
    }

    /// Says whether the text is sound after repair. The row is open if it is, and empty if not.
    #[cold]
    fn walk_repaired(&mut self, builder: &mut BatchBuilder, text: &str) -> bool {
        builder.abort_row();
        let mut repaired = std::mem::take(&mut self.repaired);
        repaired.clear();
        repair(text, &mut repaired);
        let sound = match std::str::from_utf8(&repaired) {
            Ok(clean) if clean != text => self.walk(builder, clean).is_ok(),
            _ => false,
        };
        self.repaired = repaired;
        sound
    }

    fn finish(&mut self, builder: &mut BatchBuilder, action: Option<&Action>, repaired: bool) -> Facts {
        let row = &mut self.row;
        if let Some(action) = action {
            row.index = row.index.take().or_else(|| action.index.clone());
            row.id = row.id.take().or_else(|| action.id.clone());
        }
        let [kind, dataset, namespace] = &row.data_stream;
        match &row.index {
            Some(index) => _ = builder.push(self.reserved.index, RawValue::Str(logical_index(index))),
            None if !kind.is_empty() && !dataset.is_empty() => {
                data_stream_name(kind, dataset, namespace, &mut self.scratch);
                _ = builder.push(self.reserved.index, RawValue::Str(&self.scratch));
            }
            None => {}
        }
        let has_identity = row.has_identity();
        Facts { time: row.time, sequence: row.sequence, has_identity, repaired }
    }
}

/// What tells a text with an id from others.
pub(crate) fn identity(text: &str, id: &str) -> u128 {
    if id.is_empty() {
        return xxh3_128(text.as_bytes());
    }
    let mut hasher = Xxh3::new();
    hasher.update(text.as_bytes());
    hasher.update(id.as_bytes());
    hasher.digest128()
}

/// serde_json's message with the place said as it is for a record.
fn refusal(error: &serde_json::Error) -> Refusal {
    let message = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let reason = message.strip_suffix(&place).unwrap_or(&message);
    Refusal::Syntax(match error.line() {
        0 | 1 => format!("{reason} at column {}", error.column()),
        line => format!("{reason} at column {} of the document's line {line}", error.column()),
    })
}

/// The walk over one document.
pub(super) struct Walk<'a> {
    pub(super) schema: &'a Schema,
    roles: &'a [Role],
    builder: &'a mut BatchBuilder,
    pub(super) row: &'a mut OpenRow,
    /// Where the time of arrival stands, if one is to.
    pub(super) stamp: Option<StampNodes>,
}

impl Walk<'_> {
    #[inline]
    pub(super) fn put(&mut self, at: PathNode, value: RawValue<'_>) {
        match self.schema.field_at(at) {
            Some(field) => self.put_field(field, value),
            None => self.pass_over(),
        }
    }

    /// Takes note of something that is not in the schema.
    #[inline]
    pub(super) fn pass_over(&mut self) {
        self.row.has_unasked = true;
    }

    #[inline]
    fn put_field(&mut self, field: FieldId, value: RawValue<'_>) {
        self.builder.push(field, value);
        let role = self.roles[field.index()];
        if role != Role::None {
            self.row.note(role, value);
        }
    }
}

/// The top of a text: a document, a hit around a document, or a search response around hits.
struct Root<'w, 'a> {
    walk: &'w mut Walk<'a>,
}

enum RootKey {
    Source,
    Index,
    Id,
    Hits,
    Field(Option<PathNode>),
}

impl<'de> Visitor<'de> for Root<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let walk = self.walk;
        while let Some(key) = map.next_key_seed(RootKeySeed { schema: walk.schema })? {
            match key {
                // What stands beside `_source` is of the hit, not of the document.
                RootKey::Field(Some(node)) if !walk.row.is_hit => map.next_value_seed(Node { walk, at: node })?,
                RootKey::Field(_) => {
                    walk.pass_over();
                    map.next_value::<IgnoredAny>()?;
                }
                RootKey::Source => map.next_value_seed(Source { walk })?,
                RootKey::Index => walk.row.index = map.next_value_seed(Text)?.or(walk.row.index.take()),
                RootKey::Id => walk.row.id = map.next_value_seed(Text)?.or(walk.row.id.take()),
                RootKey::Hits => walk.row.is_search_response |= map.next_value_seed(HitsProbe)?,
            }
        }
        Ok(())
    }
}

struct RootKeySeed<'a> {
    schema: &'a Schema,
}

impl<'de> DeserializeSeed<'de> for RootKeySeed<'_> {
    type Value = RootKey;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RootKey, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for RootKeySeed<'_> {
    type Value = RootKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<RootKey, E> {
        Ok(match key {
            "_source" => RootKey::Source,
            "_index" => RootKey::Index,
            "_id" => RootKey::Id,
            _ => match self.schema.step(self.schema.root(), key) {
                None if key == "hits" => RootKey::Hits,
                node => RootKey::Field(node),
            },
        })
    }
}

struct KeySeed<'a> {
    schema: &'a Schema,
    below: PathNode,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Option<PathNode>;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Option<PathNode>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    #[inline]
    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.schema.step(self.below, key))
    }
}

/// A value at a node of the schema's path tree.
struct Node<'w, 'a> {
    walk: &'w mut Walk<'a>,
    at: PathNode,
}

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.walk.put(self.at, RawValue::Bool(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.walk.put(self.at, RawValue::Int(value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        let value = i64::try_from(value).map_or(RawValue::UInt(value), RawValue::Int);
        self.walk.put(self.at, value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.walk.put(self.at, RawValue::Double(value));
        Ok(())
    }

    #[inline]
    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.walk.put(self.at, RawValue::Str(value));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Node { walk: self.walk, at: self.at })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(node) = map.next_key_seed(KeySeed { schema: self.walk.schema, below: self.at })? {
            match node {
                Some(node) => map.next_value_seed(Node { walk: self.walk, at: node })?,
                None => {
                    self.walk.pass_over();
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// The document inside a hit, if it is an object: the row is then of it alone, the last if there are several.
struct Source<'w, 'a> {
    walk: &'w mut Walk<'a>,
}

impl<'de> DeserializeSeed<'de> for Source<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Source<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.walk.builder.abort_row();
        self.walk.row.enter_hit();
        let at = self.walk.schema.root();
        Node { walk: self.walk, at }.visit_map(map)
    }
}

/// Text or a number as text; `None` for anything else.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Some(value.to_owned()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Some(value.to_string()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }
}

/// Whether the value of a top-level `hits` is an object with a list `hits`.
struct HitsProbe;

impl<'de> DeserializeSeed<'de> for HitsProbe {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for HitsProbe {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut found = false;
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            let value = map.next_value::<&'de serde_json::value::RawValue>()?;
            found |= key == "hits" && value.get().starts_with('[');
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use eqlipse_batch::{EventBatch, OrderKey, RowMeta};
    use proptest::prelude::*;

    use super::*;

    const FIELDS: [&str; 6] = ["@timestamp", "a", "a.b", "host.name", "process.pid", "n"];

    /// Pieces of JSON, sound and not.
    fn piece() -> impl Strategy<Value = String> {
        let texts = [
            "\"a\"",
            "\"b\"",
            "\"host\"",
            "\"name\"",
            "\"n\"",
            "\"process\"",
            "\"pid\"",
            "\"a.b\"",
            "\"hits\"",
            "\"_id\"",
        ];
        let odd = [
            "\"x\\ny\\\\\"",
            "\"\\u00e9\\u20ac\"",
            "\"\\ud834\\udd1e\"",
            "\"\\ud834\"",
            "\"\\q\"",
            "\"\\u12\"",
            "\"é𝄞\"",
            "\"\t\"",
            "\"unfinished",
            "0",
            "-0",
            "12",
            "-7",
            "012",
            "1.",
            "1.5",
            "-1.5e3",
            "1e999",
            "1E+2",
            "999999999999999999",
            "9999999999999999999",
            "99999999999999999999",
            "+1",
            "true",
            "false",
            "null",
            "nul",
            "tru e",
        ];
        let marks = ["{", "}", "[", "]", ":", ",", " ", "\n"];
        let all: Vec<&str> = texts.into_iter().chain(odd).chain(marks).collect();
        prop::sample::select(all).prop_map(str::to_owned)
    }

    /// A value that is sound but for its pieces.
    fn value() -> impl Strategy<Value = String> {
        piece().prop_recursive(4, 24, 4, |inner| {
            let member = (piece(), inner.clone()).prop_map(|(key, value)| format!("{key}:{value}"));
            prop_oneof![
                prop::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(", "))),
                prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            ]
        })
    }

    fn decoder() -> (Arc<Schema>, Decoder, BatchBuilder) {
        let mut schema = Schema::builder();
        FIELDS.iter().for_each(|field| _ = schema.add(field));
        crate::reserved::reserve(&mut schema);
        let schema = schema.build();
        let decoder = Decoder::new(schema.clone(), Reserved::find(&schema).unwrap());
        (schema.clone(), decoder, BatchBuilder::new(schema))
    }

    fn row(builder: &mut BatchBuilder) -> EventBatch {
        let order = OrderKey { time: None, tiebreaker: None, arrival: Default::default() };
        builder.end_row(RowMeta { order, identity: None });
        builder.finish()
    }

    fn values(batch: &EventBatch, schema: &Schema) -> Vec<String> {
        let ids = (0..schema.fields().len() as u32).map(FieldId);
        ids.map(|field| format!("{:?}", batch.column(field).values_of(0).collect::<Vec<_>>())).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_quick_way_takes_what_serde_json_takes(
            members in prop::collection::vec((piece(), value()), 0..5),
            end in prop_oneof![8 => Just(""), 1 => Just(" \n"), 1 => Just("x"), 1 => Just(",")],
        ) {
            let members: Vec<String> = members.iter().map(|(key, value)| format!("{key}:{value}")).collect();
            let text = format!("{{{}}}{end}", members.join(","));
            let (schema, mut decoder, mut builder) = decoder();
            // The second time, its keys are foreseen.
            let is_plain = decoder.walk_plain(&mut builder, &text, None);
            builder.abort_row();
            prop_assert_eq!(decoder.walk_plain(&mut builder, &text, None), is_plain, "{}", text);
            if is_plain {
                let (quick, time) = (row(&mut builder), decoder.row.time);
                prop_assert!(decoder.walk(&mut builder, &text).is_ok(), "{text}");
                prop_assert_eq!(values(&quick, &schema), values(&row(&mut builder), &schema), "{}", text);
                prop_assert_eq!(time, decoder.row.time);
            }
        }
    }

    #[test]
    fn an_ordinary_document_takes_the_quick_way() {
        let (schema, mut decoder, mut builder) = decoder();
        let text = r#" { "@timestamp" : "2024-01-02T03:04:05Z", "process": {"pid": 7, "args": ["C:\\a", "\u00e9"]}, "x": -1.5e3,
            "host.name": "A\tB", "tags": [], "n": [1, 2.5, null, true], "a": {} } "#;
        assert!(decoder.walk_plain(&mut builder, text, None));
        let batch = row(&mut builder);
        let of = |name: &str| {
            batch
                .column(schema.lookup(name).unwrap())
                .values_of(0)
                .map(|value| format!("{value:?}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(of("host.name"), ["Str(\"A\\tB\")"]);
        assert_eq!(of("process.pid"), ["Int(7)"]);
        assert_eq!(of("n"), ["Int(1)", "Double(2.5)", "Bool(true)"]);
        for other in [r#"{"_source": {}}"#, r#"{"a": 01}"#, r#"{"a": "\ud800"}"#, r#"{"a": 1} x"#, "{\"a\": \"\u{1}\"}"]
        {
            assert!(!decoder.walk_plain(&mut builder, other, None), "{other}");
            assert_eq!(builder.open_values(schema.lookup("a").unwrap()).count(), 0);
        }
    }
}
