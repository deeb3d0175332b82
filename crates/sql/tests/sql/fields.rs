//! Fields of any documents: what stands in the columns is what stands in the documents.

use std::collections::{BTreeMap, BTreeSet};

use eqlipse_sql::{Events, SqlLimits};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::common::{engine, ingest, open, rows, try_ask};

/// Fields that the catalogue does not know, and two that it does.
const FIELDS: [&str; 6] = ["my.a", "my.b", "my.c.d", "other", "process.pid", "process.name"];

fn scalar(field: &'static str) -> BoxedStrategy<Value> {
    let number = prop_oneof![any::<i64>().prop_map(Value::from), (0i64..100).prop_map(Value::from)];
    match field {
        "process.pid" => prop_oneof![number, (0u32..100).prop_map(|number| json!(number.to_string()))].boxed(),
        "my.a" => number.boxed(),
        "my.b" => prop_oneof![number, (-1000i32..1000).prop_map(|number| json!(f64::from(number) / 4.0))].boxed(),
        _ => prop_oneof![
            3 => "[a-z\"\\\\é ]{0,6}".prop_map(Value::from),
            1 => number,
            1 => any::<bool>().prop_map(Value::from),
            1 => (-1000i32..1000).prop_map(|number| json!(f64::from(number) / 4.0)),
            1 => (u64::MAX - 9..).prop_map(Value::from),
        ]
        .boxed(),
    }
}

fn field(name: &'static str) -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        2 => Just(None),
        4 => scalar(name).prop_map(Some),
        1 => prop::collection::vec(scalar(name), 0..4).prop_map(|values| Some(Value::Array(values))),
        1 => Just(Some(Value::Null)),
    ]
}

fn document() -> impl Strategy<Value = Value> {
    FIELDS.map(field).prop_map(|values| {
        let members = FIELDS.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), value?)));
        Value::Object(members.collect::<Map<_, _>>())
    })
}

fn values<'d>(document: &'d Value, field: &str) -> Vec<&'d Value> {
    match &document[field] {
        Value::Null => Vec::new(),
        Value::Array(values) => values.iter().collect(),
        value => vec![value],
    }
}

/// The type that holds all values of a field.
fn expected_type(documents: &[Value], field: &str) -> &'static str {
    match field {
        "process.pid" => return "long",
        "process.name" => return "keyword",
        _ => {}
    }
    let kinds = documents.iter().flat_map(|document| values(document, field)).map(|value| match value {
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() => "long",
        Value::Number(_) => "double",
        _ => "keyword",
    });
    let kinds: BTreeSet<&str> = kinds.collect();
    match kinds.into_iter().collect::<Vec<_>>().as_slice() {
        [one] => match *one {
            "boolean" => "boolean",
            "long" => "long",
            "double" => "double",
            _ => "keyword",
        },
        ["double", "long"] => "double",
        _ => "keyword",
    }
}

fn converted(value: &Value, ty: &str) -> Option<Value> {
    Some(match (ty, value) {
        ("keyword", Value::String(text)) => json!(text),
        ("keyword", Value::Number(number)) if number.is_f64() => json!(format!("{:?}", number.as_f64()?)),
        ("keyword", other) => json!(other.to_string()),
        ("double", Value::Number(number)) => json!(number.as_f64()?),
        ("long", Value::String(text)) => json!(text.parse::<i64>().ok()?),
        (_, other) => other.clone(),
    })
}

fn sorted(mut values: Vec<Value>) -> Vec<String> {
    values.sort_by_key(ToString::to_string);
    values.iter().map(ToString::to_string).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn columns_are_the_documents(batches in prop::collection::vec(prop::collection::vec(document(), 1..12), 1..4), last_is_recent: bool) {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let count = batches.len();
        let mut documents = Vec::new();
        for (place, batch) in batches.into_iter().enumerate() {
            let batch: Vec<Value> = batch
                .into_iter()
                .map(|mut document| {
                    document["@timestamp"] = json!("2026-03-01T10:00:00Z");
                    document["number"] = json!(documents.len());
                    documents.push(document.clone());
                    document
                })
                .collect();
            ingest(&store, "logs-a-default", &batch);
            if place + 1 < count || !last_is_recent {
                store.flush().unwrap();
            }
        }
        // A field that no document has is no column.
        let fields: Vec<&str> = FIELDS
            .into_iter()
            .filter(|field| field.starts_with("process.") || documents.iter().any(|document| !values(document, field).is_empty()))
            .collect();
        let names: Vec<String> = fields.iter().map(|field| format!("\"{field}\"")).collect();
        let sql = format!("SELECT {}, _source FROM events ORDER BY number", ["number".to_owned()].into_iter().chain(names).collect::<Vec<_>>().join(", "));
        let answer = try_ask(&engine(), Events::of_snapshot(&store.snapshot()), &sql, SqlLimits::default()).unwrap();
        prop_assert_eq!(answer.rows.len(), documents.len());
        for (number, (row, document)) in answer.rows.iter().zip(&documents).enumerate() {
            prop_assert_eq!(&row[0], &json!(number));
            let mut source = row[row.len() - 1].clone();
            source.as_object_mut().unwrap().remove("event");
            prop_assert_eq!(&source, document);
            for (place, field) in fields.iter().enumerate() {
                let ty = expected_type(&documents, field);
                prop_assert_eq!(answer.columns[place + 1].ty, ty, "{}", field);
                let expected: Vec<Value> = values(document, field).into_iter().filter_map(|value| converted(value, ty)).collect();
                let found = match &row[place + 1] {
                    Value::Null => Vec::new(),
                    Value::Array(values) => values.clone(),
                    value => vec![value.clone()],
                };
                prop_assert_eq!(sorted(found), sorted(expected), "{} of {}", field, document);
            }
        }
        // And filters find what the columns show, whatever files they are in.
        let mut expected: BTreeMap<String, usize> = BTreeMap::new();
        for document in &documents {
            let texts: BTreeSet<String> = values(document, "process.name").into_iter().filter_map(|value| converted(value, "keyword")?.as_str().map(str::to_owned)).collect();
            texts.into_iter().for_each(|text| *expected.entry(text).or_default() += 1);
        }
        for (text, count) in expected {
            let sql = format!("SELECT count(*) FROM events WHERE process.name = '{}'", text.replace('\'', "''"));
            prop_assert_eq!(json!(rows(&store, &sql)), json!([[count]]), "{}", sql);
        }
    }
}
