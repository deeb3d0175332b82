//! Notes on alerts: Kibana's calls for them. They are kept with the alert, as they were written: nobody edits or removes
//! what somebody has found.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use eqlipse_control::{AlertChange, AlertNote, Role};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{engine, refused};
use crate::http::{Failure, Payload};
use crate::openapi::{KIBANA, schemas};
use crate::search::Params;
use crate::state::{App, Caller};

/// Alerts whose notes one request shows, at most, and what these may come to: more than those of one alert.
const MAX_ASKED: usize = 100;
const MAX_BYTES: usize = 64 << 20;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, add))
}

/// A note to be written.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NoteBody {
    note: NewNote,
    /// A note that is there; it cannot be changed.
    note_id: Option<String>,
}

/// What a note says, and of what.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NewNote {
    /// The alert's id.
    event_id: String,
    /// The text.
    note: String,
}

/// As Kibana shows it. Of an alert, the first note has the number 0.
fn shown(alert: &str, number: usize, note: &AlertNote) -> Value {
    json!({
        "noteId": format!("{alert}-{number}"),
        "version": "1",
        "eventId": alert,
        "timelineId": "",
        "note": note.text,
        "created": note.created_at.div_euclid(1_000_000),
        "createdBy": note.created_by,
        "updated": note.created_at.div_euclid(1_000_000),
        "updatedBy": note.created_by,
    })
}

/// Adds a note to an alert.
#[utoipa::path(
    patch, path = "/api/note", tag = KIBANA,
    request_body = NoteBody,
    responses((status = 200, description = "The note", body = schemas::NoteReply), (status = 404, description = "There is no such alert")),
)]
async fn add(State(app): State<App>, caller: Caller, body: Payload) -> Result<Json<Value>, Failure> {
    caller.require(Role::Analyst)?;
    app.blocking(move |app| {
        let NoteBody { note: NewNote { event_id, note }, note_id } = body.json()?;
        if note_id.is_some_and(|id| !id.is_empty()) {
            return Err(engine(
                StatusCode::BAD_REQUEST,
                "notes stay as they were written: add another one, without noteId",
            ));
        }
        let (ids, change) = (std::slice::from_ref(&event_id), AlertChange::Note(note.clone()));
        let found = app.control.change_alerts(ids, &change, caller.name(), crate::now());
        let notes = match found.map_err(|error| refused(error, None))? {
            0 => Vec::new(),
            _ => app.control.notes_of(&event_id)?,
        };
        // Somebody else may have written one meanwhile.
        let is_it = |(_, other): &(usize, &AlertNote)| other.text == note && other.created_by == caller.name();
        match notes.iter().enumerate().rev().find(is_it) {
            Some((number, note)) => Ok(Json(json!({ "note": shown(&event_id, number, note) }))),
            None => Err(engine(StatusCode::NOT_FOUND, format!("alert \"{event_id}\" not found"))),
        }
    })
    .await
}

/// Shows the notes of alerts, in the order in which they were written.
#[utoipa::path(
    get, path = "/api/note", tag = KIBANA,
    params(("documentIds" = String, Query, description = "The id of an alert; to show those of several, it may be there up to 100 times")),
    responses((status = 200, description = "Their notes", body = schemas::NotesReply)),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    parameters: Params,
    Query(all): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    parameters.only(&["documentIds"])?;
    let ids: BTreeSet<String> = all.into_iter().filter(|(name, _)| name == "documentIds").map(|(_, id)| id).collect();
    if ids.is_empty() || ids.len() > MAX_ASKED {
        return Err(Failure::IllegalArgument(format!("[request query]: 1 to {MAX_ASKED} documentIds are expected")));
    }
    app.blocking(move |app| {
        let (mut notes, mut bytes) = (Vec::new(), 0);
        for id in &ids {
            let of_alert = app.control.notes_of(id)?;
            bytes += of_alert.iter().map(|note| note.text.len()).sum::<usize>();
            if bytes > MAX_BYTES {
                return Err(Failure::IllegalArgument("these alerts have too many notes: ask for fewer".to_owned()));
            }
            notes.extend(of_alert.iter().enumerate().map(|(number, note)| shown(id, number, note)));
        }
        Ok(Json(json!({ "totalCount": notes.len(), "notes": notes })))
    })
    .await
}
