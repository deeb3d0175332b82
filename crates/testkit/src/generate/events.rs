//! Events.

use eqlipse_ecs::FieldType;
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::{FIELDS, pools};

/// 2024-01-02T03:04:05Z in seconds.
const START: i64 = 1_704_164_645;

/// A handful of events in order of arrival, which is not their order in time.
pub fn events() -> impl Strategy<Value = Vec<Value>> {
    vec(event(), 0..24)
}

/// Starts and ends of a few processes, and other events of theirs.
pub fn of_processes() -> impl Strategy<Value = Vec<Value>> {
    let category = prop_oneof![4 => Just("process"), 1 => Just("file")];
    let id = || select(pools::PROCESSES);
    let event = (0i64..40, category, select(pools::TYPES), select(pools::ACTIONS), id(), weighted(0.8, id()));
    let event = event.prop_map(|(second, category, kind, action, process, parent)| {
        json!({
            "@timestamp": (START + second) * 1000,
            "event": {"category": category, "type": kind, "action": action},
            "process": {"entity_id": process, "parent": {"entity_id": parent}},
        })
    });
    vec(event, 4..24)
}

/// An event: each field perhaps missing, null, single, or an array, at a nested or dotted path.
pub fn event() -> impl Strategy<Value = Value> {
    let field = |(name, ty): &(&'static str, FieldType)| {
        let frequent = matches!(*name, "event.category" | "event.action" | "event.type" | "host.id");
        (Just(*name), weighted(if frequent { 0.9 } else { 0.6 }, field_value(name, *ty)), any::<u8>())
    };
    let fields: Vec<_> = FIELDS.iter().map(field).collect();
    (timestamp(), weighted(0.5, tiebreaker()), fields).prop_map(|(timestamp, tiebreaker, fields)| {
        let mut doc = Value::Object(Map::new());
        let timestamp = timestamp.map(|time| ("@timestamp", time, 0));
        let tiebreaker = tiebreaker.map(|value| ("event.sequence", value, 0));
        let fields = fields.into_iter().filter_map(|(name, value, style)| Some((name, value?, style)));
        for (name, value, style) in timestamp.into_iter().chain(tiebreaker).chain(fields) {
            put(&mut doc, name, value, style);
        }
        doc
    })
}

/// Few distinct times, so that many are equal; a time may be missing or unreadable.
fn timestamp() -> impl Strategy<Value = Option<Value>> {
    let at = |second: i64| jiff::Timestamp::from_second(START + second).map(|t| t.to_string()).unwrap_or_default();
    prop_oneof![
        16 => (0i64..8).prop_map(move |second| Some(json!(at(second)))),
        4 => (0i64..8000).prop_map(|millis| Some(json!(START * 1000 + millis))),
        2 => (0i64..8).prop_map(|second| Some(json!(((START + second) * 1000).to_string()))),
        1 => Just(Some(json!("no time"))),
        1 => Just(None),
    ]
}

/// A time about the events' times, in nanoseconds.
pub fn end() -> impl Strategy<Value = Option<i64>> {
    prop::option::of((0i64..16).prop_map(|second| (START + second) * 1_000_000_000))
}

fn tiebreaker() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => (0i64..4).prop_map(|n| json!(n)),
        1 => (0i64..4).prop_map(|n| json!(n.to_string())),
        1 => Just(Value::Null),
    ]
}

/// A value as a field may have it.
fn field_value(name: &str, ty: FieldType) -> BoxedStrategy<Value> {
    let one = scalar(name, ty).boxed();
    let item =
        prop_oneof![8 => one.clone(), 1 => Just(Value::Null), 1 => vec(one.clone(), 0..3).prop_map(Value::Array)];
    prop_oneof![
        12 => one,
        4 => vec(item, 0..4).prop_map(Value::Array),
        1 => Just(Value::Null),
        1 => Just(json!({"deeper": "value"})),
    ]
    .boxed()
}

fn scalar(name: &str, ty: FieldType) -> BoxedStrategy<Value> {
    let fitting = match (name, ty) {
        ("event.category", _) => texts(pools::CATEGORIES),
        ("event.action", _) => texts(pools::ACTIONS),
        ("event.type", _) => texts(pools::TYPES),
        ("host.id", _) => texts(pools::HOSTS),
        ("process.entity_id" | "process.parent.entity_id", _) => texts(pools::PROCESSES),
        (_, FieldType::Keyword | FieldType::Version) => texts(pools::TEXTS),
        (_, FieldType::Long) => prop_oneof![ints(), (0i64..4).prop_map(|n| json!(n))].boxed(),
        (_, FieldType::Double) => doubles(),
        (_, FieldType::Boolean) => {
            prop_oneof![any::<bool>().prop_map(|b| json!(b)), texts(&["true", "false", ""])].boxed()
        }
        (_, FieldType::Date) => texts(pools::DATES),
        (_, FieldType::Ip) => texts(pools::ADDRESSES),
        (_, FieldType::Dynamic) => anything(),
    };
    prop_oneof![12 => fitting, 1 => anything()].boxed()
}

fn texts(pool: &'static [&'static str]) -> BoxedStrategy<Value> {
    select(pool).prop_map(|text| json!(text)).boxed()
}

fn ints() -> BoxedStrategy<Value> {
    prop_oneof![8 => select(pools::INTS).prop_map(|n| json!(n)), 1 => Just(json!(u64::MAX))].boxed()
}

fn doubles() -> BoxedStrategy<Value> {
    select(pools::DOUBLES).prop_map(|d| json!(d)).boxed()
}

fn anything() -> BoxedStrategy<Value> {
    prop_oneof![
        6 => texts(pools::TEXTS),
        2 => ints(),
        2 => doubles(),
        2 => any::<bool>().prop_map(|b| json!(b)),
        1 => (1usize..100, select(&["a", "É", "😀", "cmd.exe "][..])).prop_map(|(n, unit)| json!(unit.repeat(n * 20))),
        1 => "\\PC{0,8}".prop_map(|text| json!(text)),
    ]
    .boxed()
}

/// Puts `value` at a dotted path, by `style` as a dotted key, nested objects, a mixture of the two, or inside an array of objects.
fn put(target: &mut Value, path: &str, value: Value, style: u8) {
    let Value::Object(members) = target else { return };
    let split = match style % 4 {
        0 => None,
        1 => path.rsplit_once('.'),
        _ => path.split_once('.'),
    };
    let Some((head, rest)) = split else {
        members.insert(path.to_owned(), value);
        return;
    };
    let inner = members.entry(head).or_insert_with(|| Value::Object(Map::new()));
    if style % 16 == 15 && inner.as_object().is_some_and(Map::is_empty) {
        let mut only = Value::Object(Map::new());
        put(&mut only, rest, value, style);
        *inner = json!([only, {}, null]);
        return;
    }
    if let Value::Array(items) = inner {
        let mut item = Value::Object(Map::new());
        put(&mut item, rest, value, style);
        items.push(item);
    } else if inner.is_object() {
        put(inner, rest, value, style);
    } else {
        // A scalar stands where an object is needed: the dotted key goes beside it.
        members.insert(path.to_owned(), value);
    }
}
