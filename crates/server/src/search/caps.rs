//! `_field_caps`: which fields there are, and of which type.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use eqlipse_control::{AlertOrder, AlertQuery, Role};
use eqlipse_store::{Snapshot, TimeRange};
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ALERTS_INDEX, Known, Options, Params, Target};
use crate::dsl::{Field, Pattern, Seen, any_leaf};
use crate::http::{Failure, IndexPath, Payload};
use crate::openapi::bodies::FieldCapsBody;
use crate::openapi::{AlsoAt, ELASTICSEARCH, schemas};
use crate::state::{App, Caller};

/// How many events are looked at for fields that the catalogue does not have, the newest first.
const SAMPLED_EVENTS: u32 = 5_000;

/// How many alerts, the newest first. One has some 130 fields.
const SAMPLED_ALERTS: u32 = 500;

/// The type of a field where it is not mapped.
const UNMAPPED: &str = "unmapped";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(caps).also_at("/_field_caps"))
}

/// Says which fields there are, and of which type.
///
/// Fields have the types of eqlipse's catalogue; others are found in the newest events and alerts, and have the types of
/// their values there.
#[utoipa::path(
    method(post, get), path = "/{index}/_field_caps", tag = ELASTICSEARCH,
    params(schemas::Index, schemas::IndexOptions, schemas::FieldCapsParams),
    request_body = FieldCapsBody,
    responses((status = 200, description = "Fields by name", body = schemas::FieldCapsReply)),
)]
async fn caps(
    State(app): State<App>,
    caller: Caller,
    IndexPath(index): IndexPath,
    params: Params,
    body: Payload,
) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    params.only(&[
        "allow_no_indices",
        "expand_wildcards",
        "fields",
        "filters",
        "ignore_unavailable",
        "include_empty_fields",
        "include_unmapped",
        "types",
    ])?;
    let options = Options::of(&params)?;
    let with_empty = params.flag("include_empty_fields")?.unwrap_or(true);
    let with_unmapped = params.flag("include_unmapped")?.unwrap_or(false);
    let types: Option<BTreeSet<String>> =
        params.get("types").map(|types| types.split(',').map(str::to_owned).collect());
    let filters = Filters::parse(params.get("filters"))?;
    let named = params.get("fields").map(str::to_owned);
    app.blocking(move |app| {
        let body: Map<String, Value> = body.optional_json()?.unwrap_or_default();
        for (key, value) in &body {
            let is_empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
            match key.as_str() {
                "fields" => {}
                "index_filter" | "runtime_mappings" if is_empty => {}
                "index_filter" | "runtime_mappings" => {
                    return Err(Failure::IllegalArgument(format!("[{key}] is not supported")));
                }
                key => return Err(Failure::Parsing(format!("[field_caps_request] unknown field [{key}]"))),
            }
        }
        let patterns = patterns(named.as_deref(), body.get("fields"))?;
        let snapshot = app.store.snapshot();
        let target = Target::resolve(&index, &Known::of(app, &snapshot), options)?;
        let is_asked = |name: &str| patterns.iter().any(|pattern| pattern.matches(name)) && filters.pass(name);
        let mut mapped = Mapped::default();
        let by_index = seen_fields(app, &snapshot, &target)?;
        for (index, names) in &by_index {
            names.iter().filter(|(name, _)| is_asked(name)).for_each(|(name, seen)| mapped.add(name, *seen, index));
        }
        if with_empty {
            let names: Vec<&str> =
                eqlipse_ecs::names().chain(["_id", "_index"]).filter(|name| is_asked(name)).collect();
            for (index, known) in &by_index {
                let unseen = names.iter().filter(|name| !known.contains_key(**name));
                unseen.for_each(|name| mapped.add(name, Seen::default(), index));
            }
        }
        let indices: Vec<&String> = by_index.keys().collect();
        let fields: Map<String, Value> = mapped.capabilities(&indices, types.as_ref(), with_unmapped);
        Ok(Json(json!({ "indices": indices, "fields": fields })))
    })
    .await
}

/// `filters`: which fields are left out.
#[derive(Default)]
struct Filters {
    /// Only fields that are metadata, or only such that are not.
    metadata: Option<bool>,
    without_forms: bool,
}

impl Filters {
    fn parse(text: Option<&str>) -> Result<Self, Failure> {
        let mut filters = Self::default();
        for filter in text.into_iter().flat_map(|text| text.split(',')) {
            match filter {
                "+metadata" => filters.metadata = Some(true),
                "-metadata" => filters.metadata = Some(false),
                "-multifield" => filters.without_forms = true,
                // Objects are no fields here.
                "-parent" | "-nested" => {}
                other => return Err(Failure::IllegalArgument(format!("Unknown field caps filter [{other}]"))),
            }
        }
        Ok(filters)
    }

    fn pass(&self, name: &str) -> bool {
        self.metadata.is_none_or(|wanted| wanted == is_metadata(name))
            && !(self.without_forms && Field::new(name).is_form())
    }
}

fn is_metadata(name: &str) -> bool {
    name.starts_with('_')
}

/// Of which types fields are, and in which indices.
#[derive(Default)]
struct Mapped(BTreeMap<String, BTreeMap<&'static str, BTreeSet<String>>>);

impl Mapped {
    fn add(&mut self, name: &str, seen: Seen, index: &str) {
        let types = self.0.entry(name.to_owned()).or_default();
        types.entry(Field::new(name).mapping(seen)).or_default().insert(index.to_owned());
    }

    /// What can be done with each field. Where it is of several types, or unmapped somewhere, each names its indices.
    fn capabilities(
        mut self,
        indices: &[&String],
        wanted: Option<&BTreeSet<String>>,
        with_unmapped: bool,
    ) -> Map<String, Value> {
        for types in self.0.values_mut() {
            let is_mapped = |index: &&&String| types.values().any(|of| of.contains(**index));
            let unmapped: BTreeSet<String> =
                indices.iter().filter(|index| !is_mapped(index)).map(|index| (*index).clone()).collect();
            if with_unmapped && !unmapped.is_empty() {
                types.insert(UNMAPPED, unmapped);
            }
        }
        let is_wanted = |mapping: &str| wanted.is_none_or(|wanted| wanted.contains(mapping));
        let field = |(name, types): (String, BTreeMap<&'static str, BTreeSet<String>>)| {
            let is_several = types.len() > 1;
            let shown = types.into_iter().filter(|(mapping, _)| is_wanted(mapping) || *mapping == UNMAPPED);
            let shown: Map<String, Value> = shown
                .map(|(mapping, of)| (mapping.to_owned(), capability(&name, mapping, is_several.then_some(of))))
                .collect();
            let is_any = shown.keys().any(|mapping| mapping != UNMAPPED);
            is_any.then_some((name, Value::Object(shown)))
        };
        self.0.into_iter().filter_map(field).collect()
    }
}

fn capability(name: &str, mapping: &str, indices: Option<BTreeSet<String>>) -> Value {
    let searchable = mapping != UNMAPPED;
    let aggregatable = searchable && mapping != "text";
    let mut caps = json!({
        "type": mapping,
        "metadata_field": is_metadata(name),
        "searchable": searchable,
        "aggregatable": aggregatable,
    });
    if let Some(indices) = indices {
        caps["indices"] = indices.into_iter().collect();
    }
    caps
}

fn patterns(named: Option<&str>, body: Option<&Value>) -> Result<Vec<Pattern>, Failure> {
    let mut names: Vec<&str> = named.into_iter().flat_map(|named| named.split(',')).collect();
    match body {
        Some(Value::String(name)) => names.push(name),
        Some(Value::Array(values)) => names.extend(values.iter().filter_map(Value::as_str)),
        _ => {}
    }
    if names.is_empty() {
        let reason = "Validation Failed: 1: no fields specified;";
        return Err(Failure::elastic(
            axum::http::StatusCode::BAD_REQUEST,
            "action_request_validation_exception",
            reason,
        ));
    }
    Ok(names.into_iter().map(|name| Pattern::wildcard(name, false)).collect())
}

/// By index, the names that some of the newest events or alerts have, and the types of their values. Each index is
/// there, if only with nothing.
pub(crate) fn seen_fields(
    app: &App,
    snapshot: &Snapshot,
    target: &Target,
) -> Result<BTreeMap<String, BTreeMap<String, Seen>>, Failure> {
    let deadline = Instant::now() + app.config.limits.query_time.0;
    let mut names: BTreeMap<String, BTreeMap<String, Seen>> =
        target.streams.iter().map(|name| (name.clone(), BTreeMap::new())).collect();
    events(snapshot, target, deadline, &mut names)?;
    if target.alerts {
        let of_alerts = names.entry(ALERTS_INDEX.to_owned()).or_default();
        let mut left = SAMPLED_ALERTS;
        let newest = AlertQuery { include_building_blocks: true, order: AlertOrder::Newest, ..AlertQuery::default() };
        app.control.for_each_alert(&newest, &mut |_, source| {
            add_names(of_alerts, &source);
            left -= 1;
            match left == 0 || Instant::now() >= deadline {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
    }
    Ok(names)
}

fn add_names(names: &mut BTreeMap<String, Seen>, source: &Map<String, Value>) {
    any_leaf(source, &mut |name, value| {
        match names.get_mut(name) {
            Some(seen) => seen.add(value),
            None => names.entry(name.to_owned()).or_default().add(value),
        }
        false
    });
}

fn events(
    snapshot: &Snapshot,
    target: &Target,
    deadline: Instant,
    names: &mut BTreeMap<String, BTreeMap<String, Seen>>,
) -> Result<(), Failure> {
    let mut left = SAMPLED_EVENTS;
    let range = TimeRange::default();
    let parts: Vec<_> =
        snapshot.parts(&range).filter(|part| part.data_stream().is_none_or(|stream| target.has(stream))).collect();
    // Each part gets its share, so that a stream with many events hides no other.
    let share = (SAMPLED_EVENTS / parts.len().max(1) as u32).max(20);
    let mut bytes = Vec::new();
    for part in parts.into_iter().rev() {
        let mut reader = part.reader()?;
        for row in (part.rows().saturating_sub(share.min(left))..part.rows()).rev() {
            left -= 1;
            bytes.clear();
            reader.write_hit(row, &mut bytes)?;
            let hit: Map<String, Value> = serde_json::from_slice(&bytes).unwrap_or_default();
            let index = hit.get("_index").and_then(Value::as_str);
            let Some(names) = index.and_then(|index| names.get_mut(index)) else { continue };
            if let Some(Value::Object(source)) = hit.get("_source") {
                add_names(names, source);
            }
        }
        if left == 0 || Instant::now() >= deadline {
            break;
        }
    }
    Ok(())
}

/// Fields with their types, as an index's mapping has them.
pub(crate) fn mapping_of(names: &BTreeMap<String, Seen>) -> Value {
    let mut root = Map::new();
    let time = ("@timestamp".to_owned(), Seen::default());
    for (name, seen) in std::iter::once((&time.0, &time.1)).chain(names) {
        put(&mut root, name, Field::new(name).mapping(*seen));
    }
    json!({ "dynamic": "true", "properties": root })
}

/// Puts a field where its name says. What has fields below it is an object.
fn put(properties: &mut Map<String, Value>, name: &str, mapping: &str) {
    let Some((first, rest)) = name.split_once('.') else {
        properties.entry(name).or_insert_with(|| json!({ "type": mapping }));
        return;
    };
    let below = properties.entry(first).or_insert_with(|| json!({}));
    if below.get("properties").is_none() {
        *below = json!({ "properties": {} });
    }
    if let Some(below) = below["properties"].as_object_mut() {
        put(below, rest, mapping);
    }
}
