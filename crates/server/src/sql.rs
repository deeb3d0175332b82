//! `/api/sql`: SQL over events.
//!
//! The answer has the shape of Elasticsearch's `_sql`: `columns` with names and types, and `rows`. How long, how much memory
//! and how many rows is bounded by `limits.query_time`, `limits.sql_memory` and `limits.sql_rows`. A query ends when its
//! client leaves.

use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use eqlipse_control::Role;
use eqlipse_sql::{Events, SqlColumn, SqlError, SqlLimits, SqlPart, member_names};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::{Failure, Payload};
use crate::openapi::{EQLIPSE, schemas};
use crate::search::{MAX_RESPONSE_BYTES, Params};
use crate::state::{App, Caller};

/// Rows of an answer where nothing is said.
const DEFAULT_ROWS: usize = 1_000;
/// Queries at a time; the others wait in line.
pub const SQL_QUERIES: usize = 8;

/// The routes of this part.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(sql))
}

/// What is asked.
#[derive(Deserialize, ToSchema)]
#[schema(as = SqlBody)]
#[serde(deny_unknown_fields)]
struct Request {
    /// The query.
    query: String,
    /// At most so many rows; `limit` and `fetch_size` are other names for it.
    #[serde(alias = "limit", alias = "fetch_size")]
    size: Option<usize>,
}

/// How the answer is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Ndjson,
    Csv,
}

impl Format {
    fn of(params: &Params) -> Result<Self, Failure> {
        match params.get("format") {
            None | Some("json") => Ok(Self::Json),
            Some("ndjson") => Ok(Self::Ndjson),
            Some("csv") => Ok(Self::Csv),
            Some(other) => {
                Err(Failure::IllegalArgument(format!("[format] is {other}: json, ndjson and csv are known")))
            }
        }
    }
}

/// What came of a query.
#[derive(Default)]
struct Answer {
    columns: Vec<SqlColumn>,
    rows: Vec<Vec<Value>>,
    cut: Option<usize>,
}

/// Runs an SQL query over events.
///
/// Statements that read are taken. Data streams and index patterns are tables, `events` is everything; fields are columns.
#[utoipa::path(
    post, path = "/api/sql", tag = EQLIPSE,
    params(("format" = Option<String>, Query, description = "`json` where nothing is said, `ndjson` or `csv`")),
    request_body = Request,
    responses((
        status = 200,
        description = "Columns and rows",
        content((schemas::SqlReply = "application/json"), (String = "application/x-ndjson"), (String = "text/csv")),
    )),
)]
async fn sql(State(app): State<App>, caller: Caller, params: Params, body: Payload) -> Result<Response, Failure> {
    let started = Instant::now();
    caller.require(Role::Reader)?;
    params.only(&["format"])?;
    let format = Format::of(&params)?;
    let request: Request = serde_json::from_slice(body.bytes())
        .map_err(|error| Failure::IllegalArgument(format!("[request body]: {error}")))?;
    let rows = rows(&app, request.size)?;
    let places = app.sql_places.clone();
    let closed = |_| Failure::Unavailable("the service is stopping".to_owned());
    let _place = places.acquire_owned().await.map_err(closed)?;
    let limits = SqlLimits { rows: Some(rows), time: Some((app.config.limits.query_time.0, "limits.query_time")) };
    let answer = ask(&app, &request.query, limits).await?;
    Ok(write(answer, format, started))
}

/// How many rows the answer may have.
fn rows(app: &App, asked: Option<usize>) -> Result<usize, Failure> {
    let most = app.config.limits.sql_rows;
    match asked {
        Some(asked) if asked > most => {
            Err(Failure::IllegalArgument(format!("[size] is {asked}, and the limit is {most} (limits.sql_rows)")))
        }
        Some(asked) => Ok(asked),
        None => Ok(DEFAULT_ROWS.min(most)),
    }
}

async fn ask(app: &App, query: &str, limits: SqlLimits) -> Result<Answer, Failure> {
    // The snapshot lives as long as the query reads it.
    let mut run = app.sql.start(Events::of_snapshot(&app.store.snapshot()), query, limits);
    let mut answer = Answer::default();
    let mut bytes = 0;
    while let Some(part) = run.next().await {
        match part.map_err(failure)? {
            SqlPart::Columns(columns) => answer.columns = columns,
            SqlPart::Rows(rows) => {
                bytes += rows.iter().flatten().map(size).sum::<usize>();
                if bytes > MAX_RESPONSE_BYTES {
                    let reason = format!(
                        "the answer would be larger than the limit of {MAX_RESPONSE_BYTES} bytes: ask for fewer rows (size) or columns"
                    );
                    return Err(Failure::IllegalArgument(reason));
                }
                answer.rows.extend(rows);
            }
            SqlPart::Cut(limit) => answer.cut = Some(limit),
        }
    }
    Ok(answer)
}

/// About how many bytes a value takes as text.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 3,
        Value::Array(values) => 2 + values.iter().map(size).sum::<usize>(),
        Value::Object(members) => 2 + members.iter().map(|(name, value)| name.len() + 4 + size(value)).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}

fn failure(error: SqlError) -> Failure {
    match error {
        SqlError::Time { limit, setting } => Failure::Timeout { limit, setting },
        SqlError::Memory { .. } => {
            Failure::Overloaded { reason: error.to_string(), retry_after: std::time::Duration::from_secs(10) }
        }
        SqlError::At { .. } | SqlError::Query(_) => Failure::IllegalArgument(error.to_string()),
        SqlError::Read { .. } | SqlError::Recent(_) | SqlError::Failed(_) => Failure::Internal(error.to_string()),
    }
}

fn write(answer: Answer, format: Format, started: Instant) -> Response {
    let Answer { columns, rows, cut } = answer;
    match format {
        Format::Json => {
            let columns = columns.iter().map(|column| json!({ "name": column.name, "type": column.ty }));
            let mut body = json!({
                "took": u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
                "columns": columns.collect::<Value>(),
                "rows": rows,
                "truncated": cut.is_some(),
            });
            if let Some(limit) = cut {
                body["size"] = limit.into();
            }
            Json(body).into_response()
        }
        Format::Ndjson => with_type("application/x-ndjson", ndjson(&columns, rows), cut),
        Format::Csv => with_type("text/csv; charset=utf-8", csv(&columns, &rows), cut),
    }
}

fn with_type(content_type: &'static str, body: Vec<u8>, cut: Option<usize>) -> Response {
    let mut response = ([(CONTENT_TYPE, content_type)], Body::from(body)).into_response();
    if let Some(limit) = cut {
        response.headers_mut().insert("x-eqlipse-truncated", limit.into());
    }
    response
}

fn ndjson(columns: &[SqlColumn], rows: Vec<Vec<Value>>) -> Vec<u8> {
    let (mut body, names) = (Vec::new(), member_names(columns));
    for row in rows {
        let cells = names.iter().cloned().zip(row).filter(|(_, cell)| !cell.is_null());
        body.extend(Value::Object(cells.collect::<Map<_, _>>()).to_string().into_bytes());
        body.push(b'\n');
    }
    body
}

/// As RFC 4180 has it. What a spreadsheet would take for a formula is made text.
fn csv(columns: &[SqlColumn], rows: &[Vec<Value>]) -> Vec<u8> {
    let mut body = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        body.push_str(&cells.collect::<Vec<_>>().join(","));
        body.push_str("\r\n");
    };
    // A name like @timestamp is no formula.
    line(&mut columns.iter().map(|column| match column.name.strip_prefix('@') {
        Some(rest) if rest.chars().all(|letter| letter.is_ascii_alphanumeric()) => quoted(&column.name),
        _ => harmless(&column.name),
    }));
    for row in rows {
        line(&mut row.iter().map(|cell| match cell {
            Value::Null => String::new(),
            Value::String(text) => harmless(text),
            other => quoted(&other.to_string()),
        }));
    }
    body.into_bytes()
}

/// A text that no spreadsheet takes for a formula.
fn harmless(text: &str) -> String {
    match text.trim_start_matches(' ').starts_with(['=', '+', '-', '@', '\t', '\r', '|', '%', '＝', '＋', '－', '＠'])
    {
        true => quoted(&format!("'{text}")),
        false => quoted(text),
    }
}

fn quoted(text: &str) -> String {
    match text.contains(['"', ',', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}
