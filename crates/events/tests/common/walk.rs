//! What the columns of a row must hold: the scalars that a plain walk over its document finds.

use std::sync::Arc;

use eqlipse_batch::{BatchBuilder, OrderKey, RawValue, RowMeta, Schema};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::common::{Row, values};

/// Checks one row; `schema` is that of the batch it was in.
///
/// # Panics
/// If the document is no JSON, or the columns hold something else.
pub fn check(row: &Row, schema: &Arc<Schema>) {
    let hit: Tree = serde_json::from_str(&row.hit).unwrap_or_else(|error| panic!("{error} in {}", row.hit));
    let mut builder = BatchBuilder::new(schema.clone());
    for source in hit.members("_source") {
        source.push(&mut builder, schema, None);
    }
    let order = OrderKey { time: None, tiebreaker: None, arrival: Default::default() };
    builder.end_row(RowMeta { order, identity: None });
    let reserved = |value: &&String| !value.starts_with('_');
    let (found, expected) = (row.values.iter().filter(reserved), values(builder.batch(), 0));
    assert!(found.eq(expected.iter().filter(reserved)), "{}: {:?}, not {expected:?}", row.hit, row.values);
}

/// A document with the members of its objects as they stand, names that come twice included.
enum Tree {
    Scalar(Value),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

impl Tree {
    fn members<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Tree> {
        let Self::Object(members) = self else { panic!("a hit is an object") };
        members.iter().filter(move |(member, _)| member == name).map(|(_, value)| value)
    }

    fn push(&self, builder: &mut BatchBuilder, schema: &Schema, path: Option<&str>) {
        match self {
            Self::List(items) => items.iter().for_each(|item| item.push(builder, schema, path)),
            Self::Object(members) => {
                for (name, member) in members {
                    let path = path.map_or_else(|| name.clone(), |path| format!("{path}.{name}"));
                    member.push(builder, schema, Some(&path));
                }
            }
            Self::Scalar(value) => {
                let field = schema.lookup(path.unwrap_or_default());
                if let (Some(field), Some(value)) = (field, raw(value)) {
                    builder.push(field, value);
                }
            }
        }
    }
}

fn raw(value: &Value) -> Option<RawValue<'_>> {
    match value {
        Value::String(text) => Some(RawValue::Str(text)),
        Value::Bool(truth) => Some(RawValue::Bool(*truth)),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => Some(RawValue::Int(number)),
            (_, Some(number), _) => Some(RawValue::UInt(number)),
            (_, _, number) => number.map(RawValue::Double),
        },
        _ => None,
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Tree::Object(object))
    }
}
