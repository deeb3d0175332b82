//! Which indices there are: `_cat/indices`, `_resolve/index`.

use std::cmp::Ordering;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use eqlipse_control::Role;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{ALERTS_ALIASES, ALERTS_INDEX, Known, Options, Params, Target};
use crate::http::{Failure, IndexPath, is_match};
use crate::openapi::{AlsoAt, ELASTICSEARCH, schemas};
use crate::state::{App, Caller};

/// A column of `_cat/indices`.
struct Column {
    name: &'static str,
    /// Other names by which it may be asked for.
    aliases: &'static [&'static str],
    about: &'static str,
    /// It is there where nothing is asked for.
    by_default: bool,
}

const fn column(name: &'static str, aliases: &'static [&'static str], about: &'static str) -> Column {
    Column { name, aliases, about, by_default: true }
}

const COLUMNS: [Column; 12] = [
    column("health", &["h"], "current health status"),
    column("status", &["s"], "open/close status"),
    column("index", &["i", "idx"], "index name"),
    column("uuid", &["id"], "index uuid"),
    column("pri", &["p", "shards.primary", "shardsPrimary"], "number of primary shards"),
    column("rep", &["r", "shards.replica", "shardsReplica"], "number of replica shards"),
    column("docs.count", &["dc", "docsCount"], "available docs"),
    column("docs.deleted", &["dd", "docsDeleted"], "deleted docs"),
    Column { by_default: false, ..column("creation.date", &["cd"], "index creation date; it is not known here") },
    Column { by_default: false, ..column("creation.date.string", &["cds"], "the same as text") },
    column("store.size", &["ss", "storeSize"], "store size of primaries & replicas"),
    column("pri.store.size", &["pss"], "store size of primaries"),
];

/// What stands in a column. Those of one column are all of a kind, or nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    Nothing,
    Text(String),
    Count(u64),
    Bytes(u64),
}

impl Cell {
    /// As text; sizes in a unit, or as people read them.
    fn shown(&self, unit: Option<u64>) -> Option<String> {
        match (self, unit) {
            (Self::Nothing, _) => None,
            (Self::Text(text), _) => Some(text.clone()),
            (Self::Count(count), _) => Some(count.to_string()),
            (Self::Bytes(bytes), Some(unit)) => Some((bytes / unit).to_string()),
            (Self::Bytes(bytes), None) => Some(readable(*bytes)),
        }
    }
}

/// A cell for each column.
type Row = [Cell; COLUMNS.len()];

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
    if params.flag("help")?.unwrap_or(false) {
        return Ok(text(help()));
    }
    let options = Options::of(&params)?;
    let columns = columns(params.get("h"));
    let (unit, order) = (unit(params.get("bytes"))?, order(params.get("s"))?);
    let as_json = as_json(params.get("format"), &headers)?;
    let is_healthy = match params.get("health") {
        None | Some("green") => true,
        Some("yellow" | "red") => false,
        Some(other) => return Err(Failure::IllegalArgument(format!("unknown cluster health status [{other}]"))),
    };
    let with_names = params.flag("v")?.unwrap_or(false);
    let mut rows = app.blocking(move |app| rows(app, &index, options)).await?;
    rows.retain(|_| is_healthy);
    rows.sort_by(|a, b| {
        let each = order.iter().map(|(place, descending)| {
            let order = a[*place].cmp(&b[*place]);
            if *descending { order.reverse() } else { order }
        });
        each.fold(Ordering::Equal, Ordering::then)
    });
    let cells =
        |row: &Row| -> Vec<Option<String>> { columns.iter().map(|(place, _)| row[*place].shown(unit)).collect() };
    let rows: Vec<Vec<Option<String>>> = rows.iter().map(cells).collect();
    let titles: Vec<String> = columns.into_iter().map(|(_, title)| title).collect();
    if as_json {
        let object = |row: Vec<Option<String>>| titles.iter().cloned().zip(row.into_iter().map(Value::from)).collect();
        return Ok(Json(rows.into_iter().map(object).collect::<Vec<Map<String, Value>>>()).into_response());
    }
    let lines = rows.into_iter().map(|row| row.into_iter().map(Option::unwrap_or_default).collect());
    Ok(text(table(with_names.then_some(titles).into_iter().chain(lines).collect())))
}

fn text(text: String) -> Response {
    ([(CONTENT_TYPE, "text/plain; charset=UTF-8")], text).into_response()
}

/// Whether the answer is JSON: as `format` says, or the only media type that is accepted. Of several, as clients send
/// them, Elasticsearch takes none.
fn as_json(format: Option<&str>, headers: &HeaderMap) -> Result<bool, Failure> {
    match format {
        Some("json") => Ok(true),
        Some("text" | "txt") => Ok(false),
        Some(format) => {
            Err(Failure::IllegalArgument(format!("the format [{format}] is not supported: text and json are")))
        }
        None => {
            let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
            Ok(accept.contains("json") && !accept.contains(','))
        }
    }
}

fn help() -> String {
    let lines = COLUMNS.iter().map(|column| {
        let aliases = column.aliases.join(",");
        [column.name, "|", &aliases, "|", column.about].map(str::to_owned).to_vec()
    });
    table(lines.collect())
}

/// How many bytes the unit of sizes has, if there is to be one.
fn unit(asked: Option<&str>) -> Result<Option<u64>, Failure> {
    let Some(asked) = asked else { return Ok(None) };
    let power = match asked {
        "b" => 0,
        "k" | "kb" => 1,
        "m" | "mb" => 2,
        "g" | "gb" => 3,
        "t" | "tb" => 4,
        "p" | "pb" => 5,
        other => return Err(Failure::IllegalArgument(format!("Unknown value for bytes: [{other}]"))),
    };
    Ok(Some(1 << (10 * power)))
}

/// The place of a column, by one of its names.
fn place(name: &str) -> Option<usize> {
    COLUMNS.iter().position(|column| column.name == name || column.aliases.contains(&name))
}

/// The columns that are asked for, each by the name that it is asked for by. Those that are not known are passed over.
fn columns(asked: Option<&str>) -> Vec<(usize, String)> {
    let named = |(place, column): (usize, &Column)| (place, column.name.to_owned());
    let Some(asked) = asked else {
        return COLUMNS.iter().enumerate().filter(|(_, column)| column.by_default).map(named).collect();
    };
    let mut columns: Vec<(usize, String)> = Vec::new();
    for name in asked.split(',').map(str::trim) {
        let found = match name.contains('*') {
            true => COLUMNS.iter().enumerate().filter(|(_, column)| is_match(name, column.name)).map(named).collect(),
            false => place(name).map(|place| (place, name.to_owned())).into_iter().collect::<Vec<_>>(),
        };
        columns.extend(
            found.into_iter().filter(|(_, title)| !columns.iter().any(|(_, known)| known == title)).collect::<Vec<_>>(),
        );
    }
    columns
}

/// What rows are sorted by: `store.size:desc,index`. True is downwards.
fn order(asked: Option<&str>) -> Result<Vec<(usize, bool)>, Failure> {
    let key = |key: &str| {
        let (name, order) = key.split_once(':').unwrap_or((key, "asc"));
        let unknown = || Failure::IllegalArgument(format!("Unable to sort by unknown sort key `{name}`"));
        Ok((place(name).ok_or_else(unknown)?, order == "desc"))
    };
    asked.into_iter().flat_map(|asked| asked.split(',')).map(|text| key(text.trim())).collect()
}

fn rows(app: &App, index: &str, options: Options) -> Result<Vec<Row>, Failure> {
    let known = Known::of(app, &app.store.snapshot());
    let target = Target::resolve(index, &known, options)?;
    let row = |name: &str, events: u64, bytes: Option<u64>| -> Row {
        let text = |text: &str| Cell::Text(text.to_owned());
        let size = bytes.map_or(Cell::Nothing, Cell::Bytes);
        [
            text("green"),
            text("open"),
            text(name),
            text(name),
            Cell::Count(1),
            Cell::Count(0),
            Cell::Count(events),
            Cell::Count(0),
            Cell::Nothing,
            Cell::Nothing,
            size.clone(),
            size,
        ]
    };
    let mut rows = Vec::new();
    for name in &target.streams {
        let size = known.streams.get(name).copied().unwrap_or_default();
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

/// Lines of cells, one below the other.
fn table(lines: Vec<Vec<String>>) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|place| lines.iter().map(|line| line[place].chars().count()).max().unwrap_or(0)).collect();
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
        let known = Known::of(app, &app.store.snapshot());
        let target = Target::resolve(&index, &known, options)?;
        let stream =
            |name: &String| json!({ "name": name, "backing_indices": [name], "timestamp_field": "@timestamp" });
        let streams: Vec<Value> = target.streams.iter().map(stream).collect();
        let alias = |(name, of): (&String, &Vec<String>)| json!({ "name": name, "indices": of });
        let aliases = known.aliases.iter().filter(|(name, _)| index.split(',').any(|part| is_match(part.trim(), name)));
        let (mut indices, mut aliases) = (Vec::new(), aliases.map(alias).collect::<Vec<Value>>());
        if target.alerts {
            indices.push(json!({ "name": ALERTS_INDEX, "aliases": ALERTS_ALIASES, "attributes": ["hidden", "open"] }));
            aliases.extend(ALERTS_ALIASES.map(|name| json!({ "name": name, "indices": [ALERTS_INDEX] })));
        }
        Ok(Json(json!({ "indices": indices, "aliases": aliases, "data_streams": streams })))
    })
    .await
}
