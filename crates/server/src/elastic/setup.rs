//! What clients put at their start: templates, policies, pipelines, data streams and indices.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use eqlipse_control::Role;
use eqlipse_store::TimeRange;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::stash::{Found, Kind, is_named};
use crate::http::{ElasticFailure, Failure, Payload, is_match};
use crate::state::{App, Caller};

/// The routes of this part.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .merge(kept("/_index_template", &INDEX_TEMPLATES))
        .merge(kept("/_component_template", &COMPONENT_TEMPLATES))
        .merge(kept("/_template", &LEGACY_TEMPLATES))
        .merge(kept("/_ilm/policy", &POLICIES))
        .merge(kept("/_ingest/pipeline", &PIPELINES))
        .route("/_data_stream", get(all_data_streams))
        .route("/_data_stream/{name}", get(data_streams).put(put_data_stream).delete(delete_data_stream))
        .route("/_ilm/status", get(async || Json(json!({ "operation_mode": "RUNNING" }))))
        .route("/_alias", get(all_aliases))
        .route("/_alias/{name}", get(aliases))
        .route("/_aliases", get(all_aliases).post(change_aliases))
        .route("/_mapping", get(all_mappings))
        .route("/_settings", get(all_settings))
        .route("/_refresh", post(refresh).get(refresh))
        .route("/{index}", get(index).put(put_index).delete(delete_index))
        .route("/{index}/_alias", get(index_aliases))
        .route("/{index}/_alias/{name}", get(aliases_of).put(put_alias).post(put_alias).delete(delete_alias))
        .route("/{index}/_mapping", get(mappings).put(acknowledge_index).post(acknowledge_index))
        .route("/{index}/_settings", get(settings).put(acknowledge_index))
        .route("/{index}/_refresh", post(refresh).get(refresh))
}

/// A kind of thing that is put, found and removed by name.
struct Kept {
    kind: Kind,
    /// What is there of the things that were found; `asked` is what was asked for, nothing for all.
    answer: fn(found: Vec<Found>, asked: Option<&str>) -> Result<Value, Failure>,
    missing: fn(name: &str) -> Failure,
}

const INDEX_TEMPLATES: Kept = Kept {
    kind: Kind::IndexTemplate,
    answer: |found, asked| {
        none_is_missing(&found, asked, INDEX_TEMPLATES.missing)?;
        let list = found.into_iter().map(|found| json!({ "name": found.name, "index_template": found.body }));
        Ok(json!({ "index_templates": list.collect::<Vec<_>>() }))
    },
    missing: |name| Failure::NotFound(format!("index template matching [{name}] not found")),
};

const COMPONENT_TEMPLATES: Kept = Kept {
    kind: Kind::ComponentTemplate,
    answer: |found, asked| {
        none_is_missing(&found, asked, COMPONENT_TEMPLATES.missing)?;
        let list = found.into_iter().map(|found| json!({ "name": found.name, "component_template": found.body }));
        Ok(json!({ "component_templates": list.collect::<Vec<_>>() }))
    },
    missing: |name| Failure::NotFound(format!("component template matching [{name}] not found")),
};

const LEGACY_TEMPLATES: Kept = Kept {
    kind: Kind::LegacyTemplate,
    answer: |found, _| Ok(by_name(found, |found| found.body)),
    missing: |name| {
        Failure::elastic(
            StatusCode::NOT_FOUND,
            "index_template_missing_exception",
            format!("index_template [{name}] missing"),
        )
    },
};

const POLICIES: Kept = Kept {
    kind: Kind::LifecyclePolicy,
    answer: |found, asked| {
        none_is_missing(&found, asked, POLICIES.missing)?;
        Ok(by_name(found, |found| {
            let changed = Timestamp::from_nanosecond(i128::from(found.changed)).unwrap_or(Timestamp::UNIX_EPOCH);
            let policy = found.body.get("policy").cloned().unwrap_or_else(|| json!({}));
            json!({ "version": found.versions, "modified_date": format!("{changed:.3}"), "policy": policy,
                "in_use_by": { "indices": [], "data_streams": [], "composable_templates": [] } })
        }))
    },
    missing: |name| Failure::NotFound(format!("Lifecycle policy not found: {name}")),
};

const PIPELINES: Kept = Kept {
    kind: Kind::Pipeline,
    answer: |found, _| Ok(by_name(found, |found| found.body)),
    missing: |name| Failure::NotFound(format!("pipeline [{name}] is missing")),
};

/// A name without a pattern that is not there is an error.
fn none_is_missing(found: &[Found], asked: Option<&str>, missing: fn(&str) -> Failure) -> Result<(), Failure> {
    match asked {
        Some(name) if found.is_empty() && !name.contains('*') => Err(missing(name)),
        _ => Ok(()),
    }
}

fn by_name(found: Vec<Found>, body: impl Fn(Found) -> Value) -> Value {
    Value::Object(found.into_iter().map(|found| (found.name.clone(), body(found))).collect::<Map<_, _>>())
}

fn acknowledged() -> Response {
    Json(json!({ "acknowledged": true })).into_response()
}

/// The routes of a kind.
fn kept(path: &str, kept: &'static Kept) -> Router<App> {
    let all = async move |State(app): State<App>, _: Caller| answer(&app, kept, None);
    let find = async move |State(app): State<App>, _: Caller, Path(name): Path<String>| answer(&app, kept, Some(&name));
    let store = async move |State(app): State<App>, caller: Caller, Path(name): Path<String>, payload: Payload| {
        may_set_up(&caller)?;
        let body: Map<String, Value> = payload.json()?;
        app.stash.put(kept.kind, &name, Value::Object(body), payload.bytes().len())?;
        Ok::<_, Failure>(acknowledged())
    };
    let remove = async move |State(app): State<App>, caller: Caller, Path(name): Path<String>| {
        may_set_up(&caller)?;
        match app.stash.remove(kept.kind, &name) {
            0 if !name.contains('*') => Err((kept.missing)(&name)),
            _ => Ok(acknowledged()),
        }
    };
    let one: MethodRouter<App> = get(find).put(store).post(store).delete(remove);
    Router::new().route(path, get(all)).route(&format!("{path}/{{name}}"), one)
}

/// What answers nothing to a name that is not there has the status 404 all the same.
fn answer(app: &App, kept: &Kept, asked: Option<&str>) -> Result<Response, Failure> {
    let found = app.stash.find(kept.kind, asked.unwrap_or_default());
    let is_missing = found.is_empty() && asked.is_some_and(|name| !name.contains('*'));
    let body = (kept.answer)(found, asked)?;
    let status = if is_missing { StatusCode::NOT_FOUND } else { StatusCode::OK };
    Ok((status, Json(body)).into_response())
}

/// Shippers put what they need with the credentials that they send events with.
fn may_set_up(caller: &Caller) -> Result<(), Failure> {
    caller.require_any(&[Role::Ingest, Role::Author])
}

fn no_such_index(name: &str) -> Failure {
    let fields = [("resource.type", "index_or_alias"), ("resource.id", name), ("index_uuid", "_na_"), ("index", name)];
    let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    Failure::Elastic(Box::new(ElasticFailure {
        status: StatusCode::NOT_FOUND,
        kind: "index_not_found_exception".into(),
        reason: format!("no such index [{name}]"),
        fields,
    }))
}

/// Indices and data streams that exist and match: they were made, or have events.
async fn matching(app: &App, names: Option<String>) -> Result<Vec<String>, Failure> {
    app.blocking(move |app| {
        let mut known = app.stash.indices();
        let snapshot = app.store.snapshot();
        known.extend(snapshot.parts(&TimeRange::default()).filter_map(|part| part.data_stream()).map(str::to_owned));
        let names = names.unwrap_or_default();
        known.retain(|name| is_named(&names, name));
        // What is asked for by its very name is there or is an error.
        let exact =
            names.split(',').map(str::trim).filter(|name| !name.is_empty() && *name != "_all" && !name.contains('*'));
        for name in exact {
            if !known.iter().any(|known| is_match(name, known)) {
                return Err(no_such_index(name));
            }
        }
        Ok(known.into_iter().collect())
    })
    .await
}

async fn all_data_streams(state: State<App>, caller: Caller) -> Result<Response, Failure> {
    data_streams(state, caller, Path("*".to_owned())).await
}

async fn data_streams(State(app): State<App>, _: Caller, Path(name): Path<String>) -> Result<Response, Failure> {
    let names = matching(&app, Some(name)).await?;
    let streams = names.into_iter().map(|name| {
        json!({
            "name": name,
            "timestamp_field": { "name": "@timestamp" },
            "indices": [{ "index_name": name, "index_uuid": "_na_", "managed_by": "Unmanaged" }],
            "generation": 1,
            "status": "GREEN",
            "template": "eqlipse",
            "next_generation_managed_by": "Unmanaged",
            "hidden": false,
            "system": false,
            "allow_custom_routing": false,
            "replicated": false,
        })
    });
    Ok(Json(json!({ "data_streams": streams.collect::<Vec<_>>() })).into_response())
}

async fn put_data_stream(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    may_set_up(&caller)?;
    if app.stash.has(Kind::DataStream, &name) {
        let reason = format!("data_stream [{name}] already exists");
        return Err(Failure::elastic(StatusCode::BAD_REQUEST, "resource_already_exists_exception", reason));
    }
    app.stash.put(Kind::DataStream, &name, json!({}), 2)?;
    Ok(acknowledged())
}

/// Events go by age and size only, so that nobody removes a trail.
async fn delete_data_stream(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    may_set_up(&caller)?;
    remove_empty(&app, Kind::DataStream, name).await
}

async fn delete_index(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Response, Failure> {
    may_set_up(&caller)?;
    remove_empty(&app, Kind::Index, name).await
}

async fn remove_empty(app: &App, kind: Kind, name: String) -> Result<Response, Failure> {
    matching(app, Some(name.clone())).await?;
    let has_events = app.stash.has_events(&name) || has_segments(app, &name).await?;
    match if has_events { 0 } else { app.stash.remove(kind, &name) } {
        0 => Err(Failure::IllegalArgument(format!(
            "[{name}] has events, which are never deleted by request: they go by store.retention_age and store.retention_size"
        ))),
        _ => Ok(acknowledged()),
    }
}

async fn has_segments(app: &App, name: &str) -> Result<bool, Failure> {
    let name = name.to_owned();
    app.blocking(move |app| {
        let snapshot = app.store.snapshot();
        Ok(snapshot.parts(&TimeRange::default()).any(|part| part.data_stream().is_some_and(|of| is_match(&name, of))))
    })
    .await
}

async fn index(State(app): State<App>, _: Caller, Path(name): Path<String>) -> Result<Response, Failure> {
    let aliased = aliased(&app, &name, "*");
    describe(&app, Some(name), |name| {
        let aliases = aliased.get(name).map_or_else(|| json!({}), |index| index["aliases"].clone());
        json!({ "aliases": aliases, "mappings": mapping(), "settings": index_settings(name) })
    })
    .await
}

async fn put_index(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    payload: Payload,
) -> Result<Response, Failure> {
    may_set_up(&caller)?;
    let body: Option<Map<String, Value>> = payload.optional_json()?;
    if app.stash.has(Kind::Index, &name) {
        let reason = format!("index [{name}] already exists");
        return Err(Failure::elastic(StatusCode::BAD_REQUEST, "resource_already_exists_exception", reason));
    }
    let body = body.unwrap_or_default();
    for (alias, properties) in body.get("aliases").and_then(Value::as_object).into_iter().flatten() {
        add_alias(&app, &name, alias, properties.clone())?;
    }
    app.stash.put(Kind::Index, &name, Value::Object(body), payload.bytes().len())?;
    Ok(Json(json!({ "acknowledged": true, "shards_acknowledged": true, "index": name })).into_response())
}

/// An object with what there is to say of each index.
async fn describe(app: &App, names: Option<String>, of: impl Fn(&str) -> Value) -> Result<Response, Failure> {
    let names = matching(app, names).await?;
    let object: Map<String, Value> = names.iter().map(|name| (name.clone(), of(name))).collect();
    Ok(Json(object).into_response())
}

/// Fields have the types of eqlipse's catalogue; new ones may come at any time.
fn mapping() -> Value {
    json!({ "dynamic": "true", "properties": { "@timestamp": { "type": "date" } } })
}

fn index_settings(name: &str) -> Value {
    json!({ "index": { "number_of_shards": "1", "number_of_replicas": "0", "provided_name": name } })
}

async fn all_mappings(State(app): State<App>, _: Caller) -> Result<Response, Failure> {
    describe(&app, None, |_| json!({ "mappings": mapping() })).await
}

async fn mappings(State(app): State<App>, _: Caller, Path(name): Path<String>) -> Result<Response, Failure> {
    describe(&app, Some(name), |_| json!({ "mappings": mapping() })).await
}

async fn all_settings(State(app): State<App>, _: Caller) -> Result<Response, Failure> {
    describe(&app, None, |name| json!({ "settings": index_settings(name) })).await
}

async fn settings(State(app): State<App>, _: Caller, Path(name): Path<String>) -> Result<Response, Failure> {
    describe(&app, Some(name), |name| json!({ "settings": index_settings(name) })).await
}

/// Indices with those of their aliases that match, and nothing else of them.
fn aliased(app: &App, indices: &str, aliases: &str) -> Map<String, Value> {
    let mut by_index = Map::new();
    for alias in app.stash.find(Kind::Alias, aliases) {
        let of = alias.body.as_object().into_iter().flatten().filter(|(index, _)| is_named(indices, index));
        for (index, properties) in of {
            let entry = by_index.entry(index).or_insert_with(|| json!({ "aliases": {} }));
            entry["aliases"][&alias.name] = properties.clone();
        }
    }
    by_index
}

async fn all_aliases(State(app): State<App>, _: Caller) -> Result<Response, Failure> {
    index_aliases_of(&app, None).await
}

async fn index_aliases(State(app): State<App>, _: Caller, Path(name): Path<String>) -> Result<Response, Failure> {
    index_aliases_of(&app, Some(name)).await
}

async fn index_aliases_of(app: &App, names: Option<String>) -> Result<Response, Failure> {
    let aliased = aliased(app, names.as_deref().unwrap_or_default(), "*");
    describe(app, names, |name| aliased.get(name).cloned().unwrap_or_else(|| json!({ "aliases": {} }))).await
}

async fn aliases(State(app): State<App>, _: Caller, Path(name): Path<String>) -> Response {
    alias_answer(&app, "*", &name)
}

async fn aliases_of(State(app): State<App>, _: Caller, Path((index, name)): Path<(String, String)>) -> Response {
    alias_answer(&app, &index, &name)
}

fn alias_answer(app: &App, indices: &str, name: &str) -> Response {
    let aliased = aliased(app, indices, name);
    if aliased.is_empty() && !name.contains('*') {
        let body = json!({ "error": format!("alias [{name}] missing"), "status": 404 });
        return (StatusCode::NOT_FOUND, Json(body)).into_response();
    }
    Json(aliased).into_response()
}

/// Aliases are kept to be found. An event that is sent to one goes to an index of the alias's name.
fn add_alias(app: &App, index: &str, name: &str, properties: Value) -> Result<(), Failure> {
    let known = app.stash.find(Kind::Alias, name).into_iter().find(|alias| alias.name == name);
    let mut body = known.map_or_else(|| json!({}), |alias| alias.body);
    body[index] = properties;
    let bytes = body.to_string().len();
    app.stash.put(Kind::Alias, name, body, bytes)
}

fn remove_alias(app: &App, index: &str, name: &str) -> Result<(), Failure> {
    for alias in app.stash.find(Kind::Alias, name) {
        let Value::Object(mut body) = alias.body else { continue };
        body.retain(|of, _| !is_named(index, of));
        match body.is_empty() {
            true => _ = app.stash.remove(Kind::Alias, &alias.name),
            false => {
                let bytes = body.len() * 64;
                app.stash.put(Kind::Alias, &alias.name, Value::Object(body), bytes)?;
            }
        }
    }
    Ok(())
}

async fn put_alias(
    State(app): State<App>,
    caller: Caller,
    Path((index, name)): Path<(String, String)>,
    payload: Payload,
) -> Result<Response, Failure> {
    may_set_up(&caller)?;
    let properties: Option<Map<String, Value>> = payload.optional_json()?;
    add_alias(&app, &index, &name, Value::Object(properties.unwrap_or_default()))?;
    Ok(acknowledged())
}

async fn delete_alias(
    State(app): State<App>,
    caller: Caller,
    Path((index, name)): Path<(String, String)>,
) -> Result<Response, Failure> {
    may_set_up(&caller)?;
    remove_alias(&app, &index, &name)?;
    Ok(acknowledged())
}

/// `{"actions": [{"add": {"index", "alias", …}}, {"remove": {"index", "alias"}}]}`
async fn change_aliases(State(app): State<App>, caller: Caller, payload: Payload) -> Result<Response, Failure> {
    may_set_up(&caller)?;
    let body: Value = payload.json()?;
    let actions = body["actions"].as_array().cloned().unwrap_or_default();
    if actions.is_empty() {
        return Err(Failure::IllegalArgument("No action specified".to_owned()));
    }
    for action in actions {
        let Some((verb, Value::Object(mut what))) =
            action.as_object().and_then(|action| action.clone().into_iter().next())
        else {
            return Err(Failure::Parsing("each of [actions] is an object with [add] or [remove]".to_owned()));
        };
        let mut name = |key: &str| match what.remove(key) {
            Some(Value::String(name)) => Ok(name),
            _ => Err(Failure::IllegalArgument(format!("[{verb}] needs [{key}], a text"))),
        };
        let (index, alias) = (name("index")?, name("alias")?);
        match &*verb {
            "add" => add_alias(&app, &index, &alias, Value::Object(what))?,
            "remove" => remove_alias(&app, &index, &alias)?,
            other => return Err(Failure::IllegalArgument(format!("[aliases_action] unknown field [{other}]"))),
        }
    }
    Ok(acknowledged())
}

async fn acknowledge_index(caller: Caller, _: Path<String>) -> Result<Response, Failure> {
    may_set_up(&caller)?;
    Ok(acknowledged())
}

/// Events can be found when they are acknowledged; there is nothing to do.
async fn refresh(_: Caller) -> Json<Value> {
    Json(json!({ "_shards": { "total": 1, "successful": 1, "failed": 0 } }))
}
