//! Notes on alerts: Kibana's calls for them. They are kept with the alert, as they were written: nobody edits or removes
//! what somebody has found.

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
use crate::state::{App, Caller};

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

fn notes_of(app: &App, alert: &str) -> Result<Option<Vec<AlertNote>>, Failure> {
    Ok(app.control.notes_of(alert)?)
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
        let ids = std::slice::from_ref(&event_id);
        let change = AlertChange::Note(note);
        let found = app.control.change_alerts(ids, &change, caller.name(), crate::now());
        let notes = match found.map_err(|error| refused(error, None))? {
            0 => None,
            _ => notes_of(app, &event_id)?,
        };
        match notes.as_deref() {
            Some([others @ .., last]) => Ok(Json(json!({ "note": shown(&event_id, others.len(), last) }))),
            _ => Err(engine(StatusCode::NOT_FOUND, format!("alert \"{event_id}\" not found"))),
        }
    })
    .await
}

/// Shows the notes of alerts, in the order in which they were written.
#[utoipa::path(
    get, path = "/api/note", tag = KIBANA,
    params(("documentIds" = Vec<String>, Query, description = "The ids of alerts")),
    responses((status = 200, description = "Their notes", body = schemas::NotesReply)),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Result<Json<Value>, Failure> {
    caller.require(Role::Reader)?;
    app.blocking(move |app| {
        let (ids, others): (Vec<_>, Vec<_>) =
            parameters.into_iter().partition(|(name, _)| ["documentIds", "documentIds[]"].contains(&&**name));
        if let Some((other, _)) = others.first() {
            return Err(Failure::IllegalArgument(format!("[request query]: {other} is not known: documentIds is")));
        }
        if ids.is_empty() || ids.len() > MAX_ASKED {
            return Err(Failure::IllegalArgument(format!(
                "[request query]: 1 to {MAX_ASKED} documentIds are expected"
            )));
        }
        let mut notes = Vec::new();
        for (_, id) in &ids {
            let of_alert = notes_of(app, id)?.unwrap_or_default();
            notes.extend(of_alert.iter().enumerate().map(|(number, note)| shown(id, number, note)));
        }
        Ok(Json(json!({ "totalCount": notes.len(), "notes": notes })))
    })
    .await
}

/// Alerts whose notes one request shows, at most.
const MAX_ASKED: usize = 1_000;
