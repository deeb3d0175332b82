//! API keys as Elasticsearch's clients make them, and who one is.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Query, State};
use eqlipse_control::{ApiKey, Permission, Role};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::config::Time;
use crate::http::{Failure, Payload};
use crate::openapi::{ELASTICSEARCH, schemas};
use crate::state::{App, Caller};

/// The routes of this part.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(authenticate)).routes(routes!(list, create, invalidate))
}

/// Says who one is.
#[utoipa::path(
    get, path = "/_security/_authenticate", tag = ELASTICSEARCH,
    responses((status = 200, description = "The caller", body = schemas::Me)),
)]
async fn authenticate(State(app): State<App>, caller: Caller) -> Result<Json<Value>, Failure> {
    let id = caller.0.api_key.clone();
    let mut answer = who_one_is(&app, caller).await?;
    if let Some(id) = id {
        answer["api_key"] = json!({ "id": id });
    }
    Ok(Json(answer))
}

/// What Elasticsearch and Kibana both say of a caller.
pub(crate) async fn who_one_is(app: &App, caller: Caller) -> Result<Value, Failure> {
    app.intake(move |app| {
        // Their name is a key's too. Whoever was removed a moment ago has nothing more to tell.
        let about = app.control.user(caller.name())?.map(|user| user.about).unwrap_or_default();
        let roles: Vec<&str> = caller.0.roles.iter().map(|role| role.as_str()).collect();
        let (realm, authentication) = match &caller.0.api_key {
            Some(_) => (json!({ "name": "_es_api_key", "type": "_es_api_key" }), "api_key"),
            None => (json!({ "name": "eqlipse", "type": "native" }), "realm"),
        };
        Ok(json!({
            "username": caller.name(),
            "roles": roles,
            "full_name": about.full_name,
            "email": about.email,
            "metadata": about.metadata,
            "enabled": true,
            "authentication_realm": realm,
            "lookup_realm": realm,
            "authentication_type": authentication,
        }))
    })
    .await
}

/// An API key to be.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ApiKeyBody)]
#[serde(deny_unknown_fields)]
struct NewKey {
    name: String,
    /// After so long it is of no use any more: `30d`.
    expiration: Option<String>,
    #[serde(default)]
    role_descriptors: Map<String, Value>,
    /// Kept by Elasticsearch, of no use here.
    #[serde(default, rename = "metadata")]
    _metadata: Option<Value>,
}

/// Makes an API key.
///
/// It may do what its owner may, as far as its descriptors ask for it; all of it without any. A descriptor is one of
/// eqlipse's roles by name (`{"ingest": {}}`), or has Elasticsearch's privileges. A key writes to the indices that it names.
/// For reading, indices are not told apart: a key that is to read some of them only, or some documents or fields, is refused.
#[utoipa::path(
    method(post, put), path = "/_security/api_key", tag = ELASTICSEARCH,
    request_body = NewKey,
    responses((status = 200, description = "The key, this once", body = schemas::ApiKeyMade)),
)]
async fn create(State(app): State<App>, caller: Caller, payload: Payload) -> Result<Json<Value>, Failure> {
    if caller.0.api_key.is_some() {
        let reason = "creating derived api keys requires an explicit role descriptor that is empty (has no privileges)";
        return Err(Failure::IllegalArgument(reason.to_owned()));
    }
    let new: NewKey = payload.json()?;
    let Scope { roles, writes } = scope_of(&new.role_descriptors, &caller)?;
    let now = crate::now();
    let expires = new.expiration.as_deref().map(|text| expiration(text, now)).transpose()?;
    app.blocking(move |app| {
        let made = app.control.create_api_key(&new.name, &roles, writes.as_deref(), expires, caller.name(), now)?;
        let mut answer = json!({ "id": made.id, "name": new.name, "api_key": made.api_key, "encoded": made.encoded });
        if let Some(expires) = expires {
            answer["expiration"] = (expires / 1_000_000).into();
        }
        Ok(Json(answer))
    })
    .await
}

fn expiration(text: &str, now: i64) -> Result<i64, Failure> {
    let wrong = |_| {
        Failure::IllegalArgument(format!("failed to parse setting [expiration] with value [{text}] as a time value"))
    };
    let time: Time = text.parse().map_err(wrong)?;
    Ok(now.saturating_add(i64::try_from(time.0.as_nanos()).unwrap_or(i64::MAX)))
}

/// What a key may do.
#[derive(Debug, Default, PartialEq)]
struct Scope {
    roles: BTreeSet<Role>,
    /// Patterns of the indices to write to; `None` stands for all.
    writes: Option<Vec<String>>,
}

/// What a key may do: what its owner may, as far as its descriptors ask for it; all of it if there are none.
///
/// A descriptor may be one of eqlipse's roles by name (`{"ingest": {}}`), or have Elasticsearch's privileges, of which
/// each stands for the least role that includes it.
fn scope_of(descriptors: &Map<String, Value>, owner: &Caller) -> Result<Scope, Failure> {
    if descriptors.is_empty() {
        return Ok(Scope { roles: owner.0.roles.clone(), writes: None });
    }
    let (mut asked, mut writes) = (BTreeSet::new(), Some(Vec::new()));
    for (name, descriptor) in descriptors {
        let of_one = match Role::parse(name) {
            Some(role) if descriptor.as_object().is_none_or(Map::is_empty) => {
                Scope { roles: BTreeSet::from([role]), writes: None }
            }
            _ => scope_of_descriptor(descriptor)?,
        };
        // What may not write has no say in where.
        if of_one.roles.iter().any(|role| role.allows(Permission::WriteEvents)) {
            writes = writes.zip(of_one.writes).map(|(known, more)| [known, more].concat());
        }
        asked.extend(of_one.roles);
    }
    let roles: BTreeSet<Role> = asked.into_iter().filter(|role| owner.has(*role)).collect();
    if roles.is_empty() {
        let reason = format!(
            "none of the privileges asked for is one that [{}] has: index privileges such as create_doc or read, or one of the \
             roles admin, author, analyst, reader, ingest by name",
            owner.name()
        );
        return Err(Failure::IllegalArgument(reason));
    }
    Ok(Scope { roles, writes })
}

/// A key that may read part of the events only cannot be had: it is refused rather than made wider than it was meant.
fn scope_of_descriptor(descriptor: &Value) -> Result<Scope, Failure> {
    let names = |value: &Value| -> Vec<String> {
        // A single name may stand for a list.
        let names = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        names.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut scope = Scope { roles: BTreeSet::new(), writes: Some(Vec::new()) };
    for name in names(&descriptor["cluster"]) {
        if matches!(&*name, "all" | "manage_security") {
            scope.roles.insert(Role::Admin);
            scope.writes = None;
        }
    }
    let entries = ["index", "indices"].into_iter().filter_map(|list| descriptor[list].as_array()).flatten();
    for entry in entries {
        if let Some(narrow) = ["query", "field_security"].into_iter().find(|narrow| !entry[*narrow].is_null()) {
            let reason = format!("[{narrow}] is not supported: a key reads all events or none");
            return Err(Failure::IllegalArgument(reason));
        }
        let mut of_entry = BTreeSet::new();
        for name in names(&entry["privileges"]) {
            match &*name {
                "all" => of_entry.extend([Role::Ingest, Role::Reader]),
                "create_doc" | "create" | "index" | "write" => _ = of_entry.insert(Role::Ingest),
                "read" => _ = of_entry.insert(Role::Reader),
                // To see that an index is there is everybody's.
                _ => {}
            }
        }
        let patterns = names(&entry["names"]);
        if of_entry.contains(&Role::Reader) && !patterns.iter().any(|pattern| pattern == "*") {
            let reason = format!(
                "reading is not limited to indices: a key reads all events or none, so that [{}] would not hold; ask for [*]",
                patterns.join(",")
            );
            return Err(Failure::IllegalArgument(reason));
        }
        if of_entry.contains(&Role::Ingest) {
            if let Some(regex) = patterns.iter().find(|pattern| pattern.starts_with('/')) {
                let reason = format!("[{regex}]: regular expressions are not supported in names of indices: use [*]");
                return Err(Failure::IllegalArgument(reason));
            }
            let is_all = patterns.iter().any(|pattern| pattern == "*");
            scope.writes = scope.writes.filter(|_| !is_all).map(|known| [known, patterns].concat());
        }
        scope.roles.extend(of_entry);
    }
    Ok(scope)
}

/// Which keys are meant.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = ApiKeysBody)]
struct Which {
    id: Option<String>,
    #[serde(default)]
    ids: Option<Vec<String>>,
    name: Option<String>,
    username: Option<String>,
    #[serde(default)]
    owner: bool,
    #[serde(default)]
    active_only: bool,
}

impl Which {
    /// Whoever is no admin sees their own keys only.
    fn means(&self, key: &ApiKey, caller: &Caller, now: i64) -> bool {
        let is_own = key.owner == caller.name();
        let is_active = !key.invalidated && key.expires.is_none_or(|expires| now < expires);
        (is_own || (caller.has(Role::Admin) && !self.owner))
            && self.id.as_ref().is_none_or(|id| *id == key.id)
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&key.id))
            && self.name.as_ref().is_none_or(|name| crate::http::is_match(name, &key.name))
            && self.username.as_ref().is_none_or(|name| *name == key.owner)
            && (!self.active_only || is_active)
    }
}

/// Shows API keys: one's own; all of them to an admin.
#[utoipa::path(
    get, path = "/_security/api_key", tag = ELASTICSEARCH,
    params(schemas::ApiKeyParams),
    responses((status = 200, description = "Keys", body = schemas::ApiKeys), (status = 404, description = "There is no key of this id")),
)]
async fn list(State(app): State<App>, caller: Caller, Query(which): Query<Which>) -> Result<Json<Value>, Failure> {
    app.blocking(move |app| {
        let now = crate::now();
        let keys = app.control.api_keys()?;
        let meant: Vec<Value> = keys.iter().filter(|key| which.means(key, &caller, now)).map(describe).collect();
        if meant.is_empty() && which.id.is_some() {
            return Err(Failure::NotFound(format!("api key [{}] not found", which.id.unwrap_or_default())));
        }
        Ok(Json(json!({ "api_keys": meant })))
    })
    .await
}

fn describe(key: &ApiKey) -> Value {
    let descriptor = |role: &Role| match &key.writes {
        Some(names) if role.allows(Permission::WriteEvents) => {
            json!({ "indices": [{ "names": names, "privileges": ["create_doc"] }] })
        }
        _ => json!({}),
    };
    let descriptors: Map<String, Value> =
        key.roles.iter().map(|role| (role.as_str().to_owned(), descriptor(role))).collect();
    let mut answer = json!({
        "id": key.id,
        "name": key.name,
        "type": "rest",
        "creation": key.created_at / 1_000_000,
        "invalidated": key.invalidated,
        "username": key.owner,
        "realm": "eqlipse",
        "realm_type": "native",
        "metadata": {},
        "role_descriptors": descriptors,
    });
    if let Some(expires) = key.expires {
        answer["expiration"] = (expires / 1_000_000).into();
    }
    answer
}

/// Makes API keys useless.
#[utoipa::path(
    delete, path = "/_security/api_key", tag = ELASTICSEARCH,
    request_body = Which,
    responses((status = 200, description = "The keys", body = schemas::ApiKeysInvalidated)),
)]
async fn invalidate(State(app): State<App>, caller: Caller, payload: Payload) -> Result<Json<Value>, Failure> {
    let which: Which = payload.json()?;
    if which.id.is_none() && which.ids.is_none() && which.name.is_none() && which.username.is_none() && !which.owner {
        let reason =
            "One of [api key id(s), api key name, username, realm name] must be specified if [owner] flag is false";
        return Err(Failure::IllegalArgument(reason.to_owned()));
    }
    app.blocking(move |app| {
        let now = crate::now();
        let (mut now_invalid, mut before) = (Vec::new(), Vec::new());
        for key in app.control.api_keys()?.iter().filter(|key| which.means(key, &caller, now)) {
            if key.invalidated {
                before.push(key.id.clone());
            } else {
                app.control.invalidate_api_key(&key.id, caller.name(), now)?;
                now_invalid.push(key.id.clone());
            }
        }
        app.logins.forget();
        Ok(Json(json!({
            "invalidated_api_keys": now_invalid,
            "previously_invalidated_api_keys": before,
            "error_count": 0,
        })))
    })
    .await
}

#[cfg(test)]
mod tests {
    use eqlipse_control::Identity;

    use super::*;

    fn caller(roles: &[Role]) -> Caller {
        Caller(Identity { name: "eve".to_owned(), roles: roles.iter().copied().collect(), api_key: None, writes: None })
    }

    fn scope(descriptors: Value, owner: &[Role]) -> Result<Scope, Failure> {
        scope_of(descriptors.as_object().unwrap(), &caller(owner))
    }

    fn roles(descriptors: Value, owner: &[Role]) -> Result<BTreeSet<Role>, Failure> {
        scope(descriptors, owner).map(|scope| scope.roles)
    }

    #[test]
    fn a_key_writes_where_its_descriptors_say() {
        let writes = |descriptors: Value| scope(descriptors, &[Role::Admin]).unwrap().writes;
        let entry = |names: Value| json!({ "index": [{ "names": names, "privileges": ["create_doc"] }] });
        let some = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(
            writes(json!({ "a": entry(json!(["logs-a-*"])), "b": entry(json!("x")) })),
            some(&["logs-a-*", "x"])
        );
        assert_eq!(writes(json!({ "a": entry(json!(["logs-a-*"])), "b": entry(json!(["x", "*"])) })), None);
        assert_eq!(writes(json!({ "a": entry(json!(["logs-a-*"])), "ingest": {} })), None);
        assert_eq!(writes(json!({ "a": entry(json!(["logs-a-*"])), "reader": {} })), some(&["logs-a-*"]));
        assert_eq!((writes(json!({})), writes(json!({ "ingest": {} }))), (None, None));
        let mut all = entry(json!(["logs-a-*"]));
        all["cluster"] = json!(["all"]);
        assert_eq!(writes(json!({ "a": all })), None);
        assert!(scope(json!({ "a": entry(json!(["/logs-.*/"])) }), &[Role::Admin]).is_err());
    }

    #[test]
    fn a_key_never_has_more_than_its_owner_and_no_more_than_it_asks_for() {
        let beats = json!({ "filebeat": { "cluster": ["monitor", "read_ilm"], "index": [
            { "names": ["filebeat-*"], "privileges": ["view_index_metadata", "create_doc"] }] } });
        assert_eq!(roles(beats.clone(), &[Role::Admin]).unwrap(), BTreeSet::from([Role::Ingest]));
        assert!(roles(beats, &[Role::Reader]).is_err());
        assert_eq!(roles(json!({ "ingest": {} }), &[Role::Admin]).unwrap(), BTreeSet::from([Role::Ingest]));
        assert!(roles(json!({ "admin": {} }), &[Role::Author]).is_err());
        assert_eq!(roles(json!({}), &[Role::Author]).unwrap(), BTreeSet::from([Role::Author]));
        // A name alone gives nothing where privileges are stated.
        let reader = json!({ "admin": { "indices": [{ "names": ["*"], "privileges": ["read"] }] } });
        assert_eq!(roles(reader, &[Role::Admin]).unwrap(), BTreeSet::from([Role::Reader]));
        // What would become wider than it was meant is refused.
        let entry = |entry: Value| json!({ "narrow": { "index": [entry] } });
        for narrow in [
            json!({ "names": ["logs-web-*"], "privileges": ["read"] }),
            json!({ "names": "logs-web-*", "privileges": ["all"] }),
            json!({ "names": ["*"], "privileges": ["read"], "query": { "term": { "host.name": "a" } } }),
            json!({ "names": ["*"], "privileges": ["read"], "field_security": { "grant": ["message"] } }),
        ] {
            assert!(roles(entry(narrow.clone()), &[Role::Admin]).is_err(), "{narrow}");
        }
    }
}
