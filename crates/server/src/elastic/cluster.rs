//! What clients ask to know whom they talk to, and whether it is well.

use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::http::Failure;
use crate::openapi::{AlsoAt, ELASTICSEARCH, schemas};
use crate::state::App;

/// The version of Elasticsearch whose API this is: clients choose by it what they send.
pub const ELASTIC_VERSION: &str = "9.2.0";

/// The only node's id, as long as the service runs.
const NODE: &str = "eqlipse";
/// What a node may do, as far as clients choose nodes by it.
const NODE_ROLES: [&str; 4] = ["data", "ingest", "master", "remote_cluster_client"];
/// Pipelines' processors that Beats ask for before they put pipelines that use them.
const PROCESSORS: [&str; 24] = [
    "append",
    "community_id",
    "convert",
    "csv",
    "date",
    "dissect",
    "dot_expander",
    "drop",
    "fail",
    "fingerprint",
    "foreach",
    "geoip",
    "grok",
    "gsub",
    "json",
    "kv",
    "lowercase",
    "registered_domain",
    "remove",
    "rename",
    "script",
    "set",
    "uri_parts",
    "user_agent",
];

/// The routes of this part.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(root))
        .routes(routes!(license).also_at("/_xpack/license"))
        .routes(routes!(xpack))
        .routes(routes!(health).also_at("/_cluster/health"))
        .routes(routes!(settings))
        .routes(routes!(nodes).also_at("/_nodes").also_at("/_nodes/{what}"))
        .routes(routes!(cat_health))
        .routes(routes!(cat_nodes))
        .routes(routes!(cat_master))
}

/// The cluster's id: of the data folder's name, so that it stays the same.
fn cluster_id(app: &App) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, app.config.server.data.as_os_str().as_encoded_bytes()).simple().to_string()
}

/// Says who answers, and which version's API it is.
#[utoipa::path(
    get, path = "/", tag = ELASTICSEARCH,
    responses((status = 200, description = "Name and version", body = schemas::RootReply)),
)]
async fn root(State(app): State<App>) -> Json<Value> {
    Json(json!({
        "name": app.config.server.name,
        "cluster_name": app.config.server.name,
        "cluster_uuid": cluster_id(&app),
        "version": {
            "number": ELASTIC_VERSION,
            "build_flavor": "default",
            "build_type": "docker",
            "build_hash": "eqlipse",
            "build_date": "2025-10-01T00:00:00.000000000Z",
            "build_snapshot": false,
            "lucene_version": "10.3.0",
            "minimum_wire_compatibility_version": "8.19.0",
            "minimum_index_compatibility_version": "8.0.0",
        },
        "tagline": "You Know, for Search",
    }))
}

fn time_text(nanos: i64) -> String {
    format!("{:.3}", Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH))
}

/// Shows a license that is always active.
///
/// Beats and Logstash go on with any.
#[utoipa::path(
    get, path = "/_license", tag = ELASTICSEARCH,
    responses((status = 200, description = "The license", body = schemas::LicenseReply)),
)]
async fn license(State(app): State<App>) -> Json<Value> {
    Json(json!({ "license": {
        "status": "active",
        "uid": cluster_id(&app),
        "type": "basic",
        "issue_date": time_text(app.started),
        "issue_date_in_millis": app.started / 1_000_000,
        "max_nodes": 1000,
        "max_resource_units": null,
        "issued_to": app.config.server.name,
        "issuer": "eqlipse",
        "start_date_in_millis": -1,
    }}))
}

/// Says which features there are.
#[utoipa::path(
    get, path = "/_xpack", tag = ELASTICSEARCH,
    responses((status = 200, description = "Features by name", body = schemas::XpackReply)),
)]
async fn xpack(State(app): State<App>) -> Json<Value> {
    let feature = |enabled: bool| json!({ "available": enabled, "enabled": enabled });
    Json(json!({
        "build": { "hash": "eqlipse", "date": "2025-10-01T00:00:00.000000000Z" },
        "license": { "uid": cluster_id(&app), "type": "basic", "mode": "basic", "status": "active" },
        "features": {
            "data_streams": feature(true),
            "eql": feature(true),
            "ilm": feature(true),
            "ml": feature(false),
            "monitoring": feature(false),
            "security": feature(true),
        },
        "tagline": "You know, for X",
    }))
}

/// Yellow while the store's background work fails: events are taken, but something needs attention.
async fn status(app: &App) -> Result<(&'static str, u64), Failure> {
    let stats = app.intake(|app| Ok(app.store.stats())).await?;
    Ok((if stats.problem.is_some() { "yellow" } else { "green" }, stats.data_streams))
}

/// Says whether the service is well.
#[utoipa::path(
    get, path = "/_cluster/health/{index}", tag = ELASTICSEARCH,
    params(schemas::Index),
    responses((status = 200, description = "The health", body = schemas::ClusterHealth)),
)]
async fn health(State(app): State<App>) -> Result<Json<Value>, Failure> {
    let (status, shards) = status(&app).await?;
    Ok(Json(json!({
        "cluster_name": app.config.server.name,
        "status": status,
        "timed_out": false,
        "number_of_nodes": 1,
        "number_of_data_nodes": 1,
        "active_primary_shards": shards,
        "active_shards": shards,
        "relocating_shards": 0,
        "initializing_shards": 0,
        "unassigned_shards": 0,
        "unassigned_primary_shards": 0,
        "delayed_unassigned_shards": 0,
        "number_of_pending_tasks": 0,
        "number_of_in_flight_fetch": 0,
        "task_max_waiting_in_queue_millis": 0,
        "active_shards_percent_as_number": 100.0,
    })))
}

/// Shows the settings of the cluster, of which there are none.
#[utoipa::path(
    get, path = "/_cluster/settings", tag = ELASTICSEARCH,
    responses((status = 200, description = "Nothing", body = schemas::ClusterSettings)),
)]
async fn settings() -> Json<Value> {
    Json(json!({ "persistent": {}, "transient": {} }))
}

/// Where clients that sniff are to send to: as the settings say, else where the service listens. If that is every address,
/// it is where the client reached it.
fn published(app: &App, host: Option<&str>) -> String {
    let server = &app.config.server;
    match (&server.publish, host.filter(|_| app.address.ip().is_unspecified())) {
        (Some(address), _) => address.clone(),
        (None, Some(host)) if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) => {
            host.to_owned()
        }
        (None, Some(host)) => format!("{host}:{}", if server.tls.is_some() { 443 } else { 80 }),
        (None, None) => app.address.to_string(),
    }
}

/// Shows the one node.
///
/// Sniffing clients and Beats' modules read of it what is there.
#[utoipa::path(
    get, path = "/_nodes/{node}/{what}", tag = ELASTICSEARCH,
    params(("node" = String, Path, description = "Of no meaning: there is one"), ("what" = String, Path, description = "Of no meaning: all is shown")),
    responses((status = 200, description = "The node", body = schemas::NodesReply)),
)]
async fn nodes(State(app): State<App>, headers: HeaderMap) -> Json<Value> {
    let address = published(&app, headers.get(HOST).and_then(|host| host.to_str().ok()));
    let processors: Vec<Value> = PROCESSORS.iter().map(|name| json!({ "type": name })).collect();
    Json(json!({
        "_nodes": { "total": 1, "successful": 1, "failed": 0 },
        "cluster_name": app.config.server.name,
        "nodes": { NODE: {
            "name": app.config.server.name,
            "transport_address": address,
            "host": address.rsplit_once(':').map_or(&*address, |(host, _)| host),
            "ip": app.address.ip().to_string(),
            "version": ELASTIC_VERSION,
            "build_flavor": "default",
            "build_type": "docker",
            "build_hash": "eqlipse",
            "roles": NODE_ROLES,
            "attributes": {},
            "http": {
                "bound_address": [app.address.to_string()],
                "publish_address": address,
                "max_content_length_in_bytes": app.config.limits.request_bytes.0,
            },
            "ingest": { "processors": processors },
            "plugins": [],
            "modules": [],
        }},
    }))
}

/// How a `_cat` answer looks.
#[derive(Debug, Default, Deserialize)]
struct CatParameters {
    format: Option<String>,
    /// With names of the columns above.
    v: Option<String>,
    /// Only these columns.
    h: Option<String>,
}

/// A table as text or JSON.
fn table(parameters: &CatParameters, columns: &[(&str, String)]) -> Response {
    let wanted =
        |name: &str| parameters.h.as_deref().is_none_or(|names| names.split(',').any(|wanted| wanted.trim() == name));
    let columns: Vec<&(&str, String)> = columns.iter().filter(|(name, _)| wanted(name)).collect();
    if parameters.format.as_deref() == Some("json") {
        let row: serde_json::Map<String, Value> =
            columns.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect();
        return Json(json!([row])).into_response();
    }
    let is_verbose = parameters.v.as_deref().is_some_and(|v| v != "false");
    let line = |texts: Vec<&str>| {
        let padded = texts.iter().zip(&columns).map(|(text, (name, value))| {
            let width = if is_verbose { name.len().max(value.len()) } else { value.len() };
            format!("{text:width$}")
        });
        padded.collect::<Vec<_>>().join(" ").trim_end().to_owned() + "\n"
    };
    let mut text = if is_verbose { line(columns.iter().map(|(name, _)| *name).collect()) } else { String::new() };
    text.push_str(&line(columns.iter().map(|(_, value)| value.as_str()).collect()));
    ([(CONTENT_TYPE, "text/plain; charset=UTF-8")], text).into_response()
}

/// Says whether the service is well, as a table.
///
/// rsyslog asks for it to know whether it may send.
#[utoipa::path(
    get, path = "/_cat/health", tag = ELASTICSEARCH,
    params(schemas::CatParams),
    responses((status = 200, description = "A table", content((String = "text/plain"), (schemas::CatTable = "application/json")))),
)]
async fn cat_health(State(app): State<App>, Query(parameters): Query<CatParameters>) -> Result<Response, Failure> {
    let (status, shards) = status(&app).await?;
    let now = Timestamp::now();
    let columns = [
        ("epoch", now.as_second().to_string()),
        ("timestamp", format!("{now:.0}").get(11..19).unwrap_or_default().to_owned()),
        ("cluster", app.config.server.name.clone()),
        ("status", status.to_owned()),
        ("node.total", "1".to_owned()),
        ("node.data", "1".to_owned()),
        ("shards", shards.to_string()),
        ("pri", shards.to_string()),
        ("relo", "0".to_owned()),
        ("init", "0".to_owned()),
        ("unassign", "0".to_owned()),
        ("unassign.pri", "0".to_owned()),
        ("pending_tasks", "0".to_owned()),
        ("max_task_wait_time", "-".to_owned()),
        ("active_shards_percent", "100.0%".to_owned()),
    ];
    Ok(table(&parameters, &columns))
}

/// Shows the one node, as a table.
#[utoipa::path(
    get, path = "/_cat/nodes", tag = ELASTICSEARCH,
    params(schemas::CatParams),
    responses((status = 200, description = "A table", content((String = "text/plain"), (schemas::CatTable = "application/json")))),
)]
async fn cat_nodes(State(app): State<App>, Query(parameters): Query<CatParameters>) -> Response {
    let columns = [
        ("ip", app.address.ip().to_string()),
        ("node.role", "dim".to_owned()),
        ("master", "*".to_owned()),
        ("name", app.config.server.name.clone()),
    ];
    table(&parameters, &columns)
}

/// Shows the one node, as a table of masters.
#[utoipa::path(
    get, path = "/_cat/master", tag = ELASTICSEARCH,
    params(schemas::CatParams),
    responses((status = 200, description = "A table", content((String = "text/plain"), (schemas::CatTable = "application/json")))),
)]
async fn cat_master(State(app): State<App>, Query(parameters): Query<CatParameters>) -> Response {
    let ip = app.address.ip().to_string();
    let columns = [("id", NODE.to_owned()), ("host", ip.clone()), ("ip", ip), ("node", app.config.server.name.clone())];
    table(&parameters, &columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tables_are_text_or_json() {
        let columns = [("a", "1".to_owned()), ("long", "2".to_owned())];
        let text = async |parameters: CatParameters| {
            let body = table(&parameters, &columns).into_body();
            String::from_utf8(axum::body::to_bytes(body, 1000).await.unwrap().to_vec()).unwrap()
        };
        assert_eq!(text(CatParameters::default()).await, "1 2\n");
        let verbose = CatParameters { v: Some(String::new()), ..CatParameters::default() };
        assert_eq!(text(verbose).await, "a long\n1 2\n");
        let one = CatParameters { h: Some("long".to_owned()), format: Some("json".to_owned()), v: None };
        assert_eq!(text(one).await, "[{\"long\":\"2\"}]");
    }
}
