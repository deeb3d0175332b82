//! Which indices there are: `_cat/indices`, `_resolve/index`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use eqlipse_control::Role;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ALERTS_ALIASES, ALERTS_INDEX, Options, Params, Target};
use crate::http::{Failure, IndexPath};
use crate::openapi::{AlsoAt, ELASTICSEARCH, schemas};
use crate::state::{App, Caller};

/// The columns of `_cat/indices`, with their short names.
const COLUMNS: [(&str, &str); 10] = [
    ("health", "h"),
    ("status", "s"),
    ("index", "i"),
    ("uuid", "id"),
    ("pri", "p"),
    ("rep", "r"),
    ("docs.count", "dc"),
    ("docs.deleted", "dd"),
    ("store.size", "ss"),
    ("pri.store.size", "pss"),
];

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(cat).also_at("/_cat/indices")).routes(routes!(resolve))
}

/// Lists data streams, and the index of alerts where it is asked for.
#[utoipa::path(
    get, path = "/_cat/indices/{index}", tag = ELASTICSEARCH,
    params(schemas::Index, schemas::IndexOptions, schemas::CatParams, schemas::CatIndicesParams),
    responses((status = 200, description = "A table", content((String = "text/plain"), (schemas::CatTable = "application/json")))),
)]
async fn cat(
    State(app): State<App>,
    caller: Caller,
    IndexPath(index): IndexPath,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    caller.require(Role::Reader)?;
    params.only(&[
        "allow_no_indices",
        "bytes",
        "expand_wildcards",
        "format",
        "h",
        "health",
        "help",
        "ignore_unavailable",
        "include_unloaded_segments",
        "local",
        "master_timeout",
        "pri",
        "s",
        "time",
        "v",
    ])?;
    let options = Options::of(&params)?;
    let columns = columns(params.get("h"))?;
    let in_bytes = params.get("bytes") == Some("b");
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let as_json = params.get("format") == Some("json") || (params.get("format").is_none() && accept.contains("json"));
    let (with_names, by) = (params.flag("v")?.unwrap_or(false), params.get("s").map(str::to_owned));
    let mut rows = app.blocking(move |app| rows(app, &index, options, in_bytes)).await?;
    if let Some(by) = by {
        let (name, descending) =
            by.split_once(':').map_or((by.as_str(), false), |(name, order)| (name, order == "desc"));
        let name = column(name)
            .ok_or_else(|| Failure::IllegalArgument(format!("Unable to sort by unknown sort key `{name}`")))?;
        let number =
            |row: &Map<String, Value>| row.get(name).and_then(Value::as_str).and_then(|text| text.parse::<u64>().ok());
        let text = |row: &Map<String, Value>| row.get(name).map(Value::to_string);
        rows.sort_by_key(|row| (number(row), text(row)));
        if descending {
            rows.reverse();
        }
    }
    for row in &mut rows {
        *row = columns.iter().filter_map(|name| Some(((*name).to_owned(), row.get(*name)?.clone()))).collect();
    }
    if as_json {
        return Ok(Json(rows).into_response());
    }
    Ok(([(CONTENT_TYPE, "text/plain; charset=UTF-8")], table(&columns, &rows, with_names)).into_response())
}

fn column(name: &str) -> Option<&'static str> {
    COLUMNS.iter().find(|(long, short)| *long == name || *short == name).map(|(long, _)| *long)
}

fn columns(asked: Option<&str>) -> Result<Vec<&'static str>, Failure> {
    let Some(asked) = asked else { return Ok(COLUMNS.iter().map(|(name, _)| *name).collect()) };
    let unknown = |name: &str| Failure::IllegalArgument(format!("_cat/indices has no column [{name}]"));
    asked.split(',').map(|name| column(name.trim()).ok_or_else(|| unknown(name))).collect()
}

fn rows(app: &App, index: &str, options: Options, in_bytes: bool) -> Result<Vec<Map<String, Value>>, Failure> {
    let known = app.store.snapshot().data_streams();
    let target = Target::resolve(index, &known, options)?;
    let row = |name: &str, events: u64, bytes: Option<u64>| {
        let size = bytes.map(|bytes| if in_bytes { bytes.to_string() } else { readable(bytes) });
        let values = json!({
            "health": "green", "status": "open", "index": name, "uuid": name, "pri": "1", "rep": "0",
            "docs.count": events.to_string(), "docs.deleted": "0", "store.size": size, "pri.store.size": size,
        });
        match values {
            Value::Object(row) => row,
            _ => Map::new(),
        }
    };
    let mut rows = Vec::new();
    for name in &target.streams {
        let size = known.get(name).copied().unwrap_or_default();
        rows.push(row(name, size.events, Some(size.bytes)));
    }
    if target.alerts {
        let alerts = app.control.count_alerts()?.into_iter().map(|(_, count)| count).sum();
        rows.push(row(ALERTS_INDEX, alerts, None));
    }
    Ok(rows)
}

fn readable(bytes: u64) -> String {
    let units = [("gb", 1u64 << 30), ("mb", 1 << 20), ("kb", 1 << 10)];
    match units.into_iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => format!("{:.1}{name}", bytes as f64 / unit as f64),
        None => format!("{bytes}b"),
    }
}

fn table(columns: &[&str], rows: &[Map<String, Value>], with_names: bool) -> String {
    let cell =
        |row: &Map<String, Value>, name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut lines: Vec<Vec<String>> = Vec::new();
    if with_names {
        lines.push(columns.iter().map(|name| (*name).to_owned()).collect());
    }
    lines.extend(rows.iter().map(|row| columns.iter().map(|name| cell(row, name)).collect()));
    let widths: Vec<usize> = (0..columns.len())
        .map(|place| lines.iter().map(|line| line[place].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in lines {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join(" ").trim_end());
        text.push('\n');
    }
    text
}

/// Says what names and patterns stand for.
#[utoipa::path(
    method(get, post), path = "/_resolve/index/{index}", tag = ELASTICSEARCH,
    params(schemas::Index, schemas::IndexOptions),
    responses((status = 200, description = "Indices, aliases and data streams", body = schemas::ResolvedIndices)),
)]
async fn resolve(
    State(app): State<App>,
    caller: Caller,
    Path(index): Path<String>,
    params: Params,
) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    params.only(&["allow_no_indices", "expand_wildcards", "ignore_unavailable", "mode"])?;
    let options = Options::of(&params)?;
    app.blocking(move |app| {
        let target = Target::resolve(&index, &app.store.snapshot().data_streams(), options)?;
        let stream =
            |name: &String| json!({ "name": name, "backing_indices": [name], "timestamp_field": "@timestamp" });
        let streams: Vec<Value> = target.streams.iter().map(stream).collect();
        let (mut indices, mut aliases) = (Vec::new(), Vec::new());
        if target.alerts {
            indices.push(json!({ "name": ALERTS_INDEX, "aliases": ALERTS_ALIASES, "attributes": ["hidden", "open"] }));
            aliases.extend(ALERTS_ALIASES.map(|name| json!({ "name": name, "indices": [ALERTS_INDEX] })));
        }
        Ok(Json(json!({ "indices": indices, "aliases": aliases, "data_streams": streams })))
    })
    .await
}
