//! What clients put at their start: templates, policies, pipelines, data streams and indices.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use eqlipse_control::{AuditEntry, Role};
use eqlipse_store::check_index_name;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::stash::{Found, Kind, Stash, is_named};
use crate::http::{Failure, IndexPath, Payload};
use crate::openapi::bodies::{AliasBody, AliasesBody, IndexBody, KeptBody};
use crate::openapi::{AlsoAt, ELASTICSEARCH, schemas};
use crate::search::{ALERTS_ALIASES, ALERTS_INDEX, Known, Options, Target, mapping_of, seen_fields};
use crate::state::{App, Caller};

/// The routes of this part.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(index_templates::routes())
        .merge(component_templates::routes())
        .merge(legacy_templates::routes())
        .merge(policies::routes())
        .merge(pipelines::routes())
        .routes(routes!(data_streams).also_at("/_data_stream"))
        .routes(routes!(put_data_stream, delete_data_stream))
        .routes(routes!(lifecycle_status))
        .routes(routes!(all_aliases, change_aliases))
        .routes(routes!(aliases))
        .routes(routes!(index_aliases).also_at("/_alias"))
        .routes(routes!(mappings).also_at("/_mapping"))
        .routes(routes!(settings).also_at("/_settings"))
        .routes(routes!(refresh).also_at("/_refresh"))
        .routes(routes!(index, put_index, delete_index))
        .routes(routes!(aliases_of, put_alias, delete_alias))
        .routes(routes!(put_mapping))
        .routes(routes!(acknowledge_index))
}

/// The longest name of an alias or of an index behind it, which is Elasticsearch's limit.
const MAX_NAME_BYTES: usize = 255;
/// Changes of aliases in a request: each is written for itself.
const MAX_ALIAS_ACTIONS: usize = 1_000;

/// Makes the answer out of what was found for the names that were asked for.
type Answer = fn(found: &[Found], asked: Option<&str>) -> Result<Vec<u8>, Failure>;

/// A kind of thing that is put, found and removed by name.
struct Kept {
    kind: Kind,
    /// What is there of the things that were found, as JSON; `asked` is what was asked for, nothing for all.
    answer: Answer,
    missing: fn(name: &str) -> Failure,
}

const INDEX_TEMPLATES: Kept = Kept {
    kind: Kind::IndexTemplate,
    answer: |found, asked| {
        none_is_missing(found, asked, INDEX_TEMPLATES.missing)?;
        list(found, "index_templates", "index_template")
    },
    missing: |name| Failure::NotFound(format!("index template matching [{name}] not found")),
};

const COMPONENT_TEMPLATES: Kept = Kept {
    kind: Kind::ComponentTemplate,
    answer: |found, asked| {
        none_is_missing(found, asked, COMPONENT_TEMPLATES.missing)?;
        list(found, "component_templates", "component_template")
    },
    missing: |name| Failure::NotFound(format!("component template matching [{name}] not found")),
};

const LEGACY_TEMPLATES: Kept = Kept {
    kind: Kind::LegacyTemplate,
    answer: |found, _| by_name(found, |found| &*found.body),
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
        none_is_missing(found, asked, POLICIES.missing)?;
        by_name(found, |found| {
            let changed = Timestamp::from_nanosecond(i128::from(found.changed)).unwrap_or(Timestamp::UNIX_EPOCH);
            let policy = found.value().get("policy").cloned().unwrap_or_else(|| json!({}));
            json!({ "version": found.versions, "modified_date": format!("{changed:.3}"), "policy": policy,
                "in_use_by": { "indices": [], "data_streams": [], "composable_templates": [] } })
        })
    },
    missing: |name| Failure::NotFound(format!("Lifecycle policy not found: {name}")),
};

const PIPELINES: Kept = Kept {
    kind: Kind::Pipeline,
    answer: |found, _| by_name(found, |found| &*found.body),
    missing: |name| Failure::NotFound(format!("pipeline [{name}] is missing")),
};

/// A name without a pattern that is not there is an error.
fn none_is_missing(found: &[Found], asked: Option<&str>, missing: fn(&str) -> Failure) -> Result<(), Failure> {
    match asked {
        Some(name) if found.is_empty() && !name.contains('*') => Err(missing(name)),
        _ => Ok(()),
    }
}

fn by_name<'f, T: Serialize>(found: &'f [Found], body: impl Fn(&'f Found) -> T) -> Result<Vec<u8>, Failure> {
    to_bytes(&found.iter().map(|found| (&*found.name, body(found))).collect::<BTreeMap<_, _>>())
}

/// An object with a list of objects, each with a name and a body.
fn list(found: &[Found], all: &'static str, one: &'static str) -> Result<Vec<u8>, Failure> {
    #[derive(Serialize)]
    struct Item<'f> {
        name: &'f str,
        #[serde(flatten)]
        body: BTreeMap<&'static str, &'f RawValue>,
    }
    let items = found.iter().map(|found| Item { name: &found.name, body: BTreeMap::from([(one, &*found.body)]) });
    to_bytes(&BTreeMap::from([(all, items.collect::<Vec<_>>())]))
}

/// What was put is written as it came, and is no value in memory: that would be many times its text.
fn to_bytes(answer: &impl Serialize) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec(answer).map_err(|error| Failure::Internal(error.to_string()))
}

/// A body that is an object.
fn object(payload: &Payload) -> Result<Box<RawValue>, Failure> {
    let body: Box<RawValue> = payload.json()?;
    match body.get().starts_with('{') {
        true => Ok(body),
        false => Err(Failure::Parsing("request body: an object is expected".to_owned())),
    }
}

fn raw(value: &impl Serialize) -> Result<Box<RawValue>, Failure> {
    serde_json::value::to_raw_value(value).map_err(|error| Failure::Internal(error.to_string()))
}

/// Changes what is kept, which is on disk then. The audit log says what it was, and of what; also where it failed, as part of
/// it may be done.
async fn change(
    app: &App,
    caller: &Caller,
    (action, object): (&'static str, String),
    change: impl FnOnce(&Stash) -> Result<(), Failure> + Send + 'static,
) -> Result<(), Failure> {
    let by = caller.name().to_owned();
    app.intake(move |app| {
        let done = change(&app.stash);
        let detail = if done.is_ok() { "" } else { "failed" };
        app.control.audit(&AuditEntry::new(crate::now(), &by, action, &object, detail))?;
        done
    })
    .await
}

/// Removes what is kept of these names. Returns how many that were.
async fn remove_kept(
    app: &App,
    caller: &Caller,
    action: &'static str,
    (kind, names): (Kind, String),
) -> Result<usize, Failure> {
    let by = caller.name().to_owned();
    app.intake(move |app| {
        let removed = app.stash.remove(kind, &names)?;
        if removed > 0 {
            app.control.audit(&AuditEntry::new(crate::now(), &by, action, &names, ""))?;
        }
        Ok(removed)
    })
    .await
}

fn acknowledged() -> Response {
    Json(json!({ "acknowledged": true })).into_response()
}

/// The handlers of a kind, which are alike for all kinds.
macro_rules! kept {
    ($kind:ident, $kept:ident, $path:literal, $what:literal) => {
        mod $kind {
            use super::*;

            pub(super) fn routes() -> OpenApiRouter<App> {
                OpenApiRouter::new().routes(routes!(find).also_at($path)).routes(routes!(store, remove))
            }

            #[utoipa::path(
                get, path = concat!($path, "/{name}"), tag = ELASTICSEARCH, summary = concat!("Shows ", $what, "."),
                params(schemas::Name),
                responses(
                    (status = 200, description = "What was found", body = schemas::ByName),
                    (status = 404, description = "There is none of this name", body = schemas::NotThere),
                ),
            )]
            async fn find(State(app): State<App>, _: Caller, name: Option<Path<String>>) -> Result<Response, Failure> {
                answer(&app, &$kept, name.as_ref().map(|Path(name)| &**name))
            }

            #[utoipa::path(
                method(put, post), path = concat!($path, "/{name}"), tag = ELASTICSEARCH,
                summary = concat!("Keeps one of the ", $what, ", to be found again."),
                params(schemas::Name),
                request_body = KeptBody,
                responses((status = 200, description = "It is kept", body = schemas::Acknowledged)),
            )]
            async fn store(
                State(app): State<App>,
                caller: Caller,
                Path(name): Path<String>,
                payload: Payload,
            ) -> Result<Response, Failure> {
                may_set_up(&caller)?;
                let body = object(&payload)?;
                let what = (concat!(stringify!($kind), "_put"), name.clone());
                change(&app, &caller, what, move |stash| stash.put($kept.kind, &name, &body)).await?;
                Ok(acknowledged())
            }

            #[utoipa::path(
                delete, path = concat!($path, "/{name}"), tag = ELASTICSEARCH, summary = concat!("Removes ", $what, "."),
                params(schemas::Name),
                responses((status = 200, description = "It is gone", body = schemas::Acknowledged)),
            )]
            async fn remove(
                State(app): State<App>,
                caller: Caller,
                Path(name): Path<String>,
            ) -> Result<Response, Failure> {
                may_set_up(&caller)?;
                let action = concat!(stringify!($kind), "_delete");
                match remove_kept(&app, &caller, action, ($kept.kind, name.clone())).await? {
                    0 if !name.contains('*') => Err(($kept.missing)(&name)),
                    _ => Ok(acknowledged()),
                }
            }
        }
    };
}

kept!(index_templates, INDEX_TEMPLATES, "/_index_template", "index templates");
kept!(component_templates, COMPONENT_TEMPLATES, "/_component_template", "component templates");
kept!(legacy_templates, LEGACY_TEMPLATES, "/_template", "templates of the old kind");
kept!(policies, POLICIES, "/_ilm/policy", "lifecycle policies");
kept!(pipelines, PIPELINES, "/_ingest/pipeline", "ingest pipelines");

/// What answers nothing to a name that is not there has the status 404 all the same.
fn answer(app: &App, kept: &Kept, asked: Option<&str>) -> Result<Response, Failure> {
    let found = app.stash.find(kept.kind, asked.unwrap_or_default());
    let is_missing = found.is_empty() && asked.is_some_and(|name| !name.contains('*'));
    let body = (kept.answer)(&found, asked)?;
    let status = if is_missing { StatusCode::NOT_FOUND } else { StatusCode::OK };
    Ok((status, [(CONTENT_TYPE, "application/json")], body).into_response())
}

/// Shippers put what they need with the credentials that they send events with.
fn may_set_up(caller: &Caller) -> Result<(), Failure> {
    caller.require_any(&[Role::Ingest, Role::Author])
}

/// What there is of the names and patterns in a path; nothing means all.
fn resolve(app: &App, names: &str) -> Result<(Known, Target), Failure> {
    let known = Known::of(app, &app.store.snapshot());
    let target = Target::resolve(names, &known, Options::default())?;
    Ok((known, target))
}

/// Indices and data streams that exist and match: they were made, or have events. The alerts are one of them.
async fn matching(app: &App, names: Option<String>) -> Result<Vec<String>, Failure> {
    app.blocking(move |app| {
        let (_, target) = resolve(app, &names.unwrap_or_default())?;
        Ok(target.streams.into_iter().chain(target.alerts.then(|| ALERTS_INDEX.to_owned())).collect())
    })
    .await
}

/// The same, with their mappings.
async fn mapped(app: &App, names: String) -> Result<Vec<(String, Value)>, Failure> {
    app.blocking(move |app| {
        let (_, target) = resolve(app, &names)?;
        let fields = seen_fields(app, &app.store.snapshot(), &target)?;
        Ok(fields.into_iter().map(|(name, fields)| (name, mapping_of(&fields))).collect())
    })
    .await
}

/// Says that lifecycles are managed: by `store.retention_age` and `store.retention_size`.
#[utoipa::path(
    get, path = "/_ilm/status", tag = ELASTICSEARCH,
    responses((status = 200, description = "They are", body = schemas::LifecycleStatus)),
)]
async fn lifecycle_status() -> Json<Value> {
    Json(json!({ "operation_mode": "RUNNING" }))
}

/// Shows data streams and indices: those that were made, and those that have events.
#[utoipa::path(
    get, path = "/_data_stream/{name}", tag = ELASTICSEARCH,
    params(schemas::Name),
    responses((status = 200, description = "Data streams", body = schemas::DataStreams)),
)]
async fn data_streams(State(app): State<App>, _: Caller, name: Option<Path<String>>) -> Result<Response, Failure> {
    let names = matching(&app, name.map(|Path(name)| name)).await?;
    let streams = names.into_iter().filter(|name| name != ALERTS_INDEX).map(|name| {
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

/// Makes a data stream.
///
/// Events make theirs when they come; nobody has to.
#[utoipa::path(
    put, path = "/_data_stream/{name}", tag = ELASTICSEARCH,
    params(schemas::Name),
    responses((status = 200, description = "It was made", body = schemas::Acknowledged)),
)]
async fn put_data_stream(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    may_set_up(&caller)?;
    check_index_name(&name)?;
    if app.stash.has(Kind::DataStream, &name) {
        let reason = format!("data_stream [{name}] already exists");
        return Err(Failure::elastic(StatusCode::BAD_REQUEST, "resource_already_exists_exception", reason));
    }
    let what = ("data_stream_create", name.clone());
    change(&app, &caller, what, move |stash| stash.put(Kind::DataStream, &name, &raw(&json!({}))?)).await?;
    Ok(acknowledged())
}

/// Removes a data stream that has no events.
///
/// Events go by age and size only, so that nobody removes a trail.
#[utoipa::path(
    delete, path = "/_data_stream/{name}", tag = ELASTICSEARCH,
    params(schemas::Name),
    responses((status = 200, description = "It is gone", body = schemas::Acknowledged)),
)]
async fn delete_data_stream(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    may_set_up(&caller)?;
    remove_empty(&app, &caller, Kind::DataStream, name).await
}

/// Removes an index that has no events.
#[utoipa::path(
    delete, path = "/{index}", tag = ELASTICSEARCH,
    params(schemas::Index),
    responses((status = 200, description = "It is gone", body = schemas::Acknowledged)),
)]
async fn delete_index(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Response, Failure> {
    may_set_up(&caller)?;
    remove_empty(&app, &caller, Kind::Index, name).await
}

async fn remove_empty(app: &App, caller: &Caller, kind: Kind, name: String) -> Result<Response, Failure> {
    let asked = name.clone();
    let is_empty = app.blocking(move |app| {
        let (known, target) = resolve(app, &asked)?;
        let is_empty = |name: &String| known.streams.get(name).is_none_or(|size| size.events == 0);
        Ok(!target.alerts && target.streams.iter().all(is_empty))
    });
    let has_events = !is_empty.await? || app.stash.has_events(&name);
    let action = if kind == Kind::Index { "index_delete" } else { "data_stream_delete" };
    let removed = if has_events { 0 } else { remove_kept(app, caller, action, (kind, name.clone())).await? };
    match removed {
        0 => Err(Failure::IllegalArgument(format!(
            "[{name}] has events, which are never deleted by request: they go by store.retention_age and store.retention_size"
        ))),
        _ => Ok(acknowledged()),
    }
}

/// Shows indices: aliases, mappings and settings.
#[utoipa::path(
    get, path = "/{index}", tag = ELASTICSEARCH,
    params(schemas::Index),
    responses((status = 200, description = "Indices by name", body = schemas::ByName)),
)]
async fn index(State(app): State<App>, _: Caller, Path(name): Path<String>) -> Result<Response, Failure> {
    let of = |(name, mapping): (String, Value)| {
        let index =
            json!({ "aliases": aliases_of_index(&app, &name), "mappings": mapping, "settings": index_settings(&name) });
        (name, index)
    };
    Ok(Json(mapped(&app, name).await?.into_iter().map(of).collect::<Map<_, _>>()).into_response())
}

/// Makes an index.
///
/// Events make theirs when they come; nobody has to.
#[utoipa::path(
    put, path = "/{index}", tag = ELASTICSEARCH,
    params(schemas::NewIndex),
    request_body = Option<IndexBody>,
    responses((status = 200, description = "It was made", body = schemas::IndexMade)),
)]
async fn put_index(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    payload: Payload,
) -> Result<Response, Failure> {
    may_set_up(&caller)?;
    check_index_name(&name)?;
    let body: Option<Map<String, Value>> = payload.optional_json()?;
    if app.stash.has(Kind::Index, &name) {
        let reason = format!("index [{name}] already exists");
        return Err(Failure::elastic(StatusCode::BAD_REQUEST, "resource_already_exists_exception", reason));
    }
    let body = body.unwrap_or_default();
    let index = name.clone();
    change(&app, &caller, ("index_create", name.clone()), move |stash| {
        for (alias, properties) in body.get("aliases").and_then(Value::as_object).into_iter().flatten() {
            add_alias(stash, &index, alias, properties.clone())?;
        }
        stash.put(Kind::Index, &index, &raw(&body)?)
    })
    .await?;
    Ok(Json(json!({ "acknowledged": true, "shards_acknowledged": true, "index": name })).into_response())
}

/// An object with what there is to say of each index.
async fn describe(app: &App, names: Option<String>, of: impl Fn(&str) -> Value) -> Result<Response, Failure> {
    let names = matching(app, names).await?;
    let object: Map<String, Value> = names.iter().map(|name| (name.clone(), of(name))).collect();
    Ok(Json(object).into_response())
}

fn index_settings(name: &str) -> Value {
    json!({ "index": { "number_of_shards": "1", "number_of_replicas": "0", "provided_name": name } })
}

/// Shows mappings: the fields that the newest events have, with the types that `_field_caps` says.
#[utoipa::path(
    get, path = "/{index}/_mapping", tag = ELASTICSEARCH,
    params(schemas::Index),
    responses((status = 200, description = "Mappings by index", body = schemas::ByName)),
)]
async fn mappings(State(app): State<App>, _: Caller, IndexPath(name): IndexPath) -> Result<Response, Failure> {
    let of = |(name, mapping): (String, Value)| (name, json!({ "mappings": mapping }));
    Ok(Json(mapped(&app, name).await?.into_iter().map(of).collect::<Map<_, _>>()).into_response())
}

/// Shows the settings of indices.
#[utoipa::path(
    get, path = "/{index}/_settings", tag = ELASTICSEARCH,
    params(schemas::Index),
    responses((status = 200, description = "Settings by index", body = schemas::ByName)),
)]
async fn settings(State(app): State<App>, _: Caller, IndexPath(name): IndexPath) -> Result<Response, Failure> {
    describe(&app, Some(name), |name| json!({ "settings": index_settings(name) })).await
}

/// The aliases of an index that is there.
fn aliases_of_index(app: &App, index: &str) -> Map<String, Value> {
    let mut aliases = Map::new();
    for alias in app.stash.find(Kind::Alias, "*") {
        let Value::Object(by_index) = alias.value() else { continue };
        let of = by_index.into_iter().find(|(names, _)| is_named(names, index));
        aliases.extend(of.map(|(_, properties)| (alias.name, properties)));
    }
    if index == ALERTS_INDEX {
        aliases.extend(ALERTS_ALIASES.map(|name| (name.to_owned(), alerts_alias(name))));
    }
    aliases
}

/// What is written to alerts' first name is an alert.
fn alerts_alias(name: &str) -> Value {
    json!({ "is_write_index": name == ALERTS_ALIASES[0] })
}

/// Indices with those of their aliases that match, and nothing else of them.
fn aliased(app: &App, indices: &str, aliases: &str) -> Map<String, Value> {
    let mut by_index = Map::new();
    for alias in app.stash.find(Kind::Alias, aliases) {
        let body = alias.value();
        let of = body.as_object().into_iter().flatten().filter(|(index, _)| is_named(indices, index));
        for (index, properties) in of {
            let entry = by_index.entry(index.as_str()).or_insert_with(|| json!({ "aliases": {} }));
            entry["aliases"][&alias.name] = properties.clone();
        }
    }
    // What is hidden is meant only where it is named by its own dot.
    for name in ALERTS_ALIASES.into_iter().filter(|name| aliases.starts_with('.') && is_named(aliases, name)) {
        if is_named(indices, ALERTS_INDEX) {
            let entry = by_index.entry(ALERTS_INDEX).or_insert_with(|| json!({ "aliases": {} }));
            entry["aliases"][name] = alerts_alias(name);
        }
    }
    by_index
}

/// Shows all aliases.
#[utoipa::path(
    get, path = "/_aliases", tag = ELASTICSEARCH,
    responses((status = 200, description = "Aliases by index", body = schemas::ByName)),
)]
async fn all_aliases(State(app): State<App>, _: Caller) -> Result<Response, Failure> {
    index_aliases_of(&app, None).await
}

/// Shows the aliases of indices.
#[utoipa::path(
    get, path = "/{index}/_alias", tag = ELASTICSEARCH,
    params(schemas::Index),
    responses((status = 200, description = "Aliases by index", body = schemas::ByName)),
)]
async fn index_aliases(State(app): State<App>, _: Caller, IndexPath(name): IndexPath) -> Result<Response, Failure> {
    index_aliases_of(&app, Some(name)).await
}

async fn index_aliases_of(app: &App, names: Option<String>) -> Result<Response, Failure> {
    describe(app, names, |name| json!({ "aliases": aliases_of_index(app, name) })).await
}

/// Shows aliases by their names.
#[utoipa::path(
    get, path = "/_alias/{name}", tag = ELASTICSEARCH,
    params(schemas::Name),
    responses((status = 200, description = "Aliases by index", body = schemas::ByName), (status = 404, description = "There is no such alias", body = schemas::AliasMissing)),
)]
async fn aliases(State(app): State<App>, _: Caller, Path(name): Path<String>) -> Response {
    alias_answer(&app, "*", &name)
}

/// Shows aliases by their names.
#[utoipa::path(
    get, path = "/{index}/_alias/{name}", tag = ELASTICSEARCH,
    params(schemas::Index, schemas::Name),
    responses((status = 200, description = "Aliases by index", body = schemas::ByName), (status = 404, description = "There is no such alias", body = schemas::AliasMissing)),
)]
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

/// Aliases are kept, and searched as what they stand for. An event that is sent to one goes to an index of its name.
fn add_alias(stash: &Stash, index: &str, name: &str, properties: Value) -> Result<(), Failure> {
    if properties.get("filter").is_some_and(|filter| !filter.is_null()) {
        // Whoever searches it would see more than the alias lets through.
        return Err(Failure::IllegalArgument(format!("alias [{name}]: [filter] is not supported")));
    }
    let indices: Vec<&str> = index.split(',').map(str::trim).filter(|index| !index.is_empty()).collect();
    if let Some(long) = indices.iter().copied().chain([name]).find(|name| name.len() > MAX_NAME_BYTES) {
        let start: String = long.chars().take(64).collect();
        return Err(Failure::IllegalArgument(format!("[{start}...] is longer than {MAX_NAME_BYTES} bytes")));
    }
    if indices.is_empty() {
        return Err(Failure::IllegalArgument(format!("alias [{name}] needs an index")));
    }
    stash.may_stand_for(name, &indices)?;
    let known = stash.find(Kind::Alias, name).into_iter().find(|alias| alias.name == name);
    let mut body = known.map_or_else(|| json!({}), |alias| alias.value());
    for index in indices {
        body[index] = properties.clone();
    }
    stash.put(Kind::Alias, name, &raw(&body)?)
}

fn remove_alias(stash: &Stash, index: &str, name: &str) -> Result<(), Failure> {
    for alias in stash.find(Kind::Alias, name) {
        let Value::Object(mut body) = alias.value() else { continue };
        body.retain(|of, _| !is_named(index, of));
        match body.is_empty() {
            true => _ = stash.remove(Kind::Alias, &alias.name)?,
            false => stash.put(Kind::Alias, &alias.name, &raw(&body)?)?,
        }
    }
    Ok(())
}

/// Adds an alias.
///
/// A search of an alias is one of its indices. An event that is sent to one goes to an index of the alias's name.
#[utoipa::path(
    method(put, post), path = "/{index}/_alias/{name}", tag = ELASTICSEARCH,
    params(schemas::Index, ("name" = String, Path, description = "The alias's name")),
    request_body = Option<AliasBody>,
    responses((status = 200, description = "It is there", body = schemas::Acknowledged)),
)]
async fn put_alias(
    State(app): State<App>,
    caller: Caller,
    Path((index, name)): Path<(String, String)>,
    payload: Payload,
) -> Result<Response, Failure> {
    may_set_up(&caller)?;
    let properties: Option<Map<String, Value>> = payload.optional_json()?;
    let properties = Value::Object(properties.unwrap_or_default());
    let what = ("alias_put", format!("{name} of {index}"));
    change(&app, &caller, what, move |stash| add_alias(stash, &index, &name, properties)).await?;
    Ok(acknowledged())
}

/// Removes an alias.
#[utoipa::path(
    delete, path = "/{index}/_alias/{name}", tag = ELASTICSEARCH,
    params(schemas::Index, ("name" = String, Path, description = "The alias's name")),
    responses((status = 200, description = "It is gone", body = schemas::Acknowledged)),
)]
async fn delete_alias(
    State(app): State<App>,
    caller: Caller,
    Path((index, name)): Path<(String, String)>,
) -> Result<Response, Failure> {
    may_set_up(&caller)?;
    let what = ("alias_delete", format!("{name} of {index}"));
    change(&app, &caller, what, move |stash| remove_alias(stash, &index, &name)).await?;
    Ok(acknowledged())
}

/// Adds and removes aliases.
#[utoipa::path(
    post, path = "/_aliases", tag = ELASTICSEARCH,
    request_body = AliasesBody,
    responses((status = 200, description = "It was done", body = schemas::Acknowledged)),
)]
async fn change_aliases(State(app): State<App>, caller: Caller, payload: Payload) -> Result<Response, Failure> {
    may_set_up(&caller)?;
    let body: Value = payload.json()?;
    let actions = body["actions"].as_array().cloned().unwrap_or_default();
    if actions.is_empty() {
        return Err(Failure::IllegalArgument("No action specified".to_owned()));
    }
    if actions.len() > MAX_ALIAS_ACTIONS {
        return Err(Failure::IllegalArgument(format!("more than {MAX_ALIAS_ACTIONS} [actions]")));
    }
    let what = actions.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
    change(&app, &caller, ("aliases_change", what), move |stash| change_all(stash, actions)).await?;
    Ok(acknowledged())
}

fn change_all(stash: &Stash, actions: Vec<Value>) -> Result<(), Failure> {
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
            "add" => add_alias(stash, &index, &alias, Value::Object(what))?,
            "remove" => remove_alias(stash, &index, &alias)?,
            other => return Err(Failure::IllegalArgument(format!("[aliases_action] unknown field [{other}]"))),
        }
    }
    Ok(())
}

/// Takes settings, which change nothing.
#[utoipa::path(
    put, path = "/{index}/_settings", tag = ELASTICSEARCH,
    params(schemas::Index),
    request_body = Option<IndexBody>,
    responses((status = 200, description = "They were taken", body = schemas::Acknowledged)),
)]
async fn acknowledge_index(caller: Caller, _: Path<String>) -> Result<Response, Failure> {
    may_set_up(&caller)?;
    Ok(acknowledged())
}

/// Takes mappings, which change nothing.
#[utoipa::path(
    method(put, post), path = "/{index}/_mapping", tag = ELASTICSEARCH,
    params(schemas::Index),
    request_body = Option<IndexBody>,
    responses((status = 200, description = "They were taken", body = schemas::Acknowledged)),
)]
async fn put_mapping(caller: Caller, index: Path<String>) -> Result<Response, Failure> {
    acknowledge_index(caller, index).await
}

/// Does nothing: events can be found when they are acknowledged.
#[utoipa::path(
    method(post, get), path = "/{index}/_refresh", tag = ELASTICSEARCH,
    params(schemas::Index),
    responses((status = 200, description = "There was nothing to do", body = schemas::Refreshed)),
)]
async fn refresh(_: Caller) -> Json<Value> {
    Json(json!({ "_shards": { "total": 1, "successful": 1, "failed": 0 } }))
}
