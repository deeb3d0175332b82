//! `_field_caps`: which fields there are, and of which type.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use axum::Json;
use axum::extract::State;
use eqlipse_control::Role;
use eqlipse_store::{Snapshot, TimeRange};
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ALERTS_INDEX, Options, Params, Target};
use crate::dsl::{Field, Kind, Pattern, any_leaf};
use crate::http::{Failure, IndexPath, Payload};
use crate::openapi::bodies::FieldCapsBody;
use crate::openapi::{AlsoAt, ELASTICSEARCH, schemas};
use crate::state::{App, Caller};

/// How many events are looked at for fields that the catalogue does not have, the newest first.
const SAMPLED_EVENTS: u32 = 5_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(caps).also_at("/_field_caps"))
}

/// Says which fields there are, and of which type.
///
/// Fields have the types of eqlipse's catalogue; others are found in the newest events.
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
    let types: Option<BTreeSet<String>> =
        params.get("types").map(|types| types.split(',').map(str::to_owned).collect());
    let named = params.get("fields").map(str::to_owned);
    app.blocking(move |app| {
        let body: Map<String, Value> = body.optional_json()?.unwrap_or_default();
        if let Some(key) =
            body.keys().find(|key| !["fields", "index_filter", "runtime_mappings"].contains(&key.as_str()))
        {
            return Err(Failure::Parsing(format!("[field_caps_request] unknown field [{key}]")));
        }
        let patterns = patterns(named.as_deref(), body.get("fields"))?;
        let snapshot = app.store.snapshot();
        let target = Target::resolve(&index, &snapshot.data_streams(), options)?;
        let deadline = Instant::now() + app.config.limits.query_time.0;
        let mut names = seen(&snapshot, &target, deadline)?;
        if with_empty && !target.is_empty() {
            names.extend(eqlipse_ecs::names().map(str::to_owned));
            names.extend(["_id", "_index"].map(str::to_owned));
        }
        let mut fields = BTreeMap::new();
        for name in names.iter().filter(|name| patterns.iter().any(|pattern| pattern.matches(name))) {
            let mapping = Field::new(name).kind().mapping();
            if types.as_ref().is_none_or(|types| types.contains(mapping)) {
                fields.insert(name.clone(), capability(name, mapping));
            }
        }
        let alerts = target.alerts.then(|| ALERTS_INDEX.to_owned());
        let indices: Vec<String> = target.streams.iter().cloned().chain(alerts).collect();
        Ok(Json(json!({ "indices": indices, "fields": fields })))
    })
    .await
}

fn capability(name: &str, mapping: &str) -> Value {
    let is_metadata = name.starts_with('_');
    let aggregatable = mapping != Kind::Text.mapping();
    let caps =
        json!({ "type": mapping, "metadata_field": is_metadata, "searchable": true, "aggregatable": aggregatable });
    Value::Object(Map::from_iter([(mapping.to_owned(), caps)]))
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

/// The names that some of the newest events have.
fn seen(snapshot: &Snapshot, target: &Target, deadline: Instant) -> Result<BTreeSet<String>, Failure> {
    let mut names = BTreeSet::new();
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
            let is_asked = hit.get("_index").and_then(Value::as_str).is_some_and(|index| target.has(index));
            let Some(Value::Object(source)) = hit.get("_source").filter(|_| is_asked) else { continue };
            any_leaf(source, &mut |name, _| {
                if !names.contains(name) {
                    names.insert(name.to_owned());
                }
                false
            });
        }
        if left == 0 || Instant::now() >= deadline {
            break;
        }
    }
    Ok(names)
}
