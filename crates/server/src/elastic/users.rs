//! Users and roles, as Elasticsearch's native realm has them.
//!
//! Roles are eqlipse's own and stay as they are: a user has some of them.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use eqlipse_control::{About, ControlError, Role, User, UserUpdate};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::{Failure, Payload};
use crate::openapi::{AlsoAt, ELASTICSEARCH, schemas};
use crate::state::{App, Caller};

/// The routes of this part.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(show).also_at("/_security/user"))
        .routes(routes!(put, remove))
        .routes(routes!(set_password).also_at("/_security/user/_password"))
        .routes(routes!(enable))
        .routes(routes!(disable))
        .routes(routes!(roles).also_at("/_security/role"))
}

/// A user as they shall be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserBody {
    /// A user who is there already keeps theirs without one.
    #[schema(min_length = 8, max_length = 256)]
    password: Option<String>,
    /// `admin`, `author`, `analyst`, `reader`, `ingest`.
    #[schema(min_items = 1)]
    roles: Vec<RoleName>,
    full_name: Option<String>,
    email: Option<String>,
    metadata: Option<Map<String, Value>>,
    /// Whether they may log in; true where nothing is said.
    enabled: Option<bool>,
    /// Of no use: users are made under the path's name.
    #[serde(rename = "username")]
    _username: Option<String>,
}

/// A role.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum RoleName {
    Admin,
    Author,
    Analyst,
    Reader,
    Ingest,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Admin => Self::Admin,
            RoleName::Author => Self::Author,
            RoleName::Analyst => Self::Analyst,
            RoleName::Reader => Self::Reader,
            RoleName::Ingest => Self::Ingest,
        }
    }
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordBody {
    #[schema(min_length = 8, max_length = 256)]
    password: String,
}

/// Shows users.
#[utoipa::path(
    get, path = "/_security/user/{username}", tag = ELASTICSEARCH,
    params(schemas::Username),
    responses(
        (status = 200, description = "Users by name", body = schemas::UsersReply),
        (status = 404, description = "There is none of these", body = schemas::NotThere),
    ),
)]
async fn show(State(app): State<App>, caller: Caller, names: Option<Path<String>>) -> Result<Response, Failure> {
    caller.require(Role::Admin)?;
    let users = app.blocking(|app| Ok(app.control.users()?)).await?;
    Ok(asked(names, users.iter().map(|user| (user.name.clone(), described(user)))))
}

/// Those of all whose names are asked for, separated by commas; all of them where none is.
fn asked(names: Option<Path<String>>, all: impl Iterator<Item = (String, Value)>) -> Response {
    let names = names.as_ref().map(|Path(names)| names.split(',').map(str::trim).collect::<BTreeSet<&str>>());
    let is_asked = |name: &str| names.as_ref().is_none_or(|names| names.contains(name));
    let found: Map<String, Value> = all.filter(|(name, _)| is_asked(name)).collect();
    let status = if found.is_empty() && names.is_some() { StatusCode::NOT_FOUND } else { StatusCode::OK };
    (status, Json(found)).into_response()
}

fn described(user: &User) -> Value {
    json!({
        "username": user.name,
        "roles": user.roles.iter().map(|role| role.as_str()).collect::<Vec<_>>(),
        "full_name": user.about.full_name,
        "email": user.about.email,
        "metadata": user.about.metadata,
        "enabled": user.enabled,
    })
}

/// Makes a user, or changes one.
///
/// What is not said of a user who is there goes, the password alone stays. Their API keys lose what the user loses.
#[utoipa::path(
    method(put, post), path = "/_security/user/{username}", tag = ELASTICSEARCH,
    params(schemas::Username),
    request_body = UserBody,
    responses((status = 200, description = "Whether the user is new", body = schemas::UserPut)),
)]
async fn put(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    payload: Payload,
) -> Result<Json<Value>, Failure> {
    caller.require(Role::Admin)?;
    let body: UserBody = payload.json()?;
    let update = UserUpdate {
        password: body.password,
        roles: body.roles.into_iter().map(Role::from).collect(),
        enabled: body.enabled.unwrap_or(true),
        about: About { full_name: body.full_name, email: body.email, metadata: body.metadata.unwrap_or_default() },
    };
    change(&app, move |app| {
        let created = app.control.put_user(&name, &update, caller.name(), crate::now())?;
        Ok(json!({ "created": created }))
    })
    .await
}

/// Removes a user, and takes back their API keys.
#[utoipa::path(
    delete, path = "/_security/user/{username}", tag = ELASTICSEARCH,
    params(schemas::Username),
    responses(
        (status = 200, description = "The user is gone", body = schemas::UserFound),
        (status = 404, description = "There is no such user", body = schemas::UserFound),
    ),
)]
async fn remove(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Response, Failure> {
    caller.require(Role::Admin)?;
    let gone = app.blocking(move |app| {
        let gone = match app.control.delete_user(&name, caller.name(), crate::now()) {
            Err(ControlError::NotFound { .. }) => false,
            gone => gone.map(|()| true)?,
        };
        app.logins.forget();
        Ok(gone)
    });
    let gone = gone.await?;
    let status = if gone { StatusCode::OK } else { StatusCode::NOT_FOUND };
    Ok((status, Json(json!({ "found": gone }))).into_response())
}

/// Gives a user another password: oneself, or as an admin anybody.
#[utoipa::path(
    method(put, post), path = "/_security/user/{username}/_password", tag = ELASTICSEARCH,
    params(schemas::Username),
    request_body = PasswordBody,
    responses((status = 200, description = "It is another", body = schemas::Nothing)),
)]
async fn set_password(
    State(app): State<App>,
    caller: Caller,
    name: Option<Path<String>>,
    payload: Payload,
) -> Result<Json<Value>, Failure> {
    let name = name.map_or_else(|| caller.name().to_owned(), |Path(name)| name);
    // Who has a key of somebody is not that somebody.
    if name != caller.name() || caller.0.api_key.is_some() {
        caller.require(Role::Admin)?;
    }
    let body: PasswordBody = payload.json()?;
    change(&app, move |app| {
        app.control.set_password(&name, &body.password, caller.name(), crate::now())?;
        Ok(json!({}))
    })
    .await
}

/// Lets a user log in.
#[utoipa::path(
    method(put, post), path = "/_security/user/{username}/_enable", tag = ELASTICSEARCH,
    params(schemas::Username),
    responses((status = 200, description = "They may", body = schemas::Nothing)),
)]
async fn enable(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Json<Value>, Failure> {
    set_enabled(&app, caller, name, true).await
}

/// Lets a user log in no more; their API keys are of no use as long.
#[utoipa::path(
    method(put, post), path = "/_security/user/{username}/_disable", tag = ELASTICSEARCH,
    params(schemas::Username),
    responses((status = 200, description = "They may not", body = schemas::Nothing)),
)]
async fn disable(State(app): State<App>, caller: Caller, Path(name): Path<String>) -> Result<Json<Value>, Failure> {
    set_enabled(&app, caller, name, false).await
}

async fn set_enabled(app: &App, caller: Caller, name: String, enabled: bool) -> Result<Json<Value>, Failure> {
    caller.require(Role::Admin)?;
    change(app, move |app| {
        app.control.enable_user(&name, enabled, caller.name(), crate::now())?;
        Ok(json!({}))
    })
    .await
}

/// Changes users; credentials that are known are asked for anew.
async fn change(
    app: &App,
    work: impl FnOnce(&App) -> Result<Value, Failure> + Send + 'static,
) -> Result<Json<Value>, Failure> {
    app.blocking(move |app| {
        let answer = work(app)?;
        app.logins.forget();
        Ok(Json(answer))
    })
    .await
}

/// Shows roles, which stay as they are.
#[utoipa::path(
    get, path = "/_security/role/{name}", tag = ELASTICSEARCH,
    params(schemas::Name),
    responses(
        (status = 200, description = "Roles by name", body = schemas::RolesReply),
        (status = 404, description = "There is none of these", body = schemas::NotThere),
    ),
)]
async fn roles(caller: Caller, names: Option<Path<String>>) -> Result<Response, Failure> {
    caller.require(Role::Admin)?;
    Ok(asked(names, Role::ALL.iter().map(|role| (role.as_str().to_owned(), privileges(*role)))))
}

/// A role in the words of Elasticsearch.
fn privileges(role: Role) -> Value {
    let (cluster, index, description): (&[&str], &[&str], _) = match role {
        Role::Admin => (&["all"], &["all"], "Everything"),
        Role::Author => (&["monitor"], &["read", "view_index_metadata"], "Read, and change rules"),
        Role::Analyst => (&["monitor"], &["read", "view_index_metadata"], "Read, and work on alerts"),
        Role::Reader => (&["monitor"], &["read", "view_index_metadata"], "Read events, alerts and rules"),
        Role::Ingest => (
            &["monitor", "manage_index_templates", "manage_ilm", "manage_ingest_pipelines"],
            &["create_doc", "create_index", "view_index_metadata"],
            "Send events, and nothing else",
        ),
    };
    json!({
        "cluster": cluster,
        "indices": [{ "names": ["*"], "privileges": index, "allow_restricted_indices": false }],
        "applications": [],
        "run_as": [],
        "metadata": { "_reserved": true },
        "transient_metadata": { "enabled": true },
        "description": description,
    })
}
