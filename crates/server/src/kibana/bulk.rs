//! One action on many rules.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use eqlipse_control::{Control, ControlError, Role, RuleKey, StoredRule};
use eqlipse_rules::{Interval, RuleType};
use eqlipse_schedule::ScheduleError;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::manual::{self, Job, Work};
use super::rules::filtered;
use super::{MAX_RULES, engine, export};
use crate::http::{Failure, Payload};
use crate::openapi::bodies::RulesAction;
use crate::openapi::{KIBANA, schemas};
use crate::search::Params;
use crate::state::{App, Caller};

/// How many ids a request may name.
const MAX_IDS: usize = 100;
/// How far back rules are run.
const MAX_LOOK_BACK: i64 = 90 * 86_400_000_000_000;
/// The most windows of it that a rule is run over.
const MAX_WINDOWS: i64 = 100_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(bulk_action))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Enable,
    Disable,
    Delete,
    Duplicate,
    Export,
    Edit,
    Run,
    FillGaps,
}

impl Action {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "enable" => Self::Enable,
            "disable" => Self::Disable,
            "delete" => Self::Delete,
            "duplicate" => Self::Duplicate,
            "export" => Self::Export,
            "edit" => Self::Edit,
            "run" => Self::Run,
            "fill_gaps" => Self::FillGaps,
            _ => return None,
        })
    }
}

fn invalid(reason: impl std::fmt::Display) -> Failure {
    Failure::IllegalArgument(format!("[request body]: {reason}"))
}

/// Does one thing with many rules.
///
/// The status is 500 where it failed for some of them, as in Kibana.
#[utoipa::path(
    post, path = "/api/detection_engine/rules/_bulk_action", tag = KIBANA,
    params(("dry_run" = Option<bool>, Query, description = "Nothing is changed")),
    request_body = RulesAction,
    responses(
        (status = 200, description = "What became of the rules; for `export`, the rules", content(
            (schemas::RulesActionReply = "application/json"), (String = "application/ndjson"),
        )),
        (status = 500, description = "It failed for some of the rules", body = schemas::RulesActionFailed),
    ),
)]
async fn bulk_action(
    State(app): State<App>,
    caller: Caller,
    params: Params,
    body: Payload,
) -> Result<Response, Failure> {
    let dry_run = params.flag("dry_run")?.unwrap_or(false);
    let body: Map<String, Value> = body.json()?;
    let text = body.get("action").and_then(Value::as_str).unwrap_or_default();
    let known = "enable, disable, delete, duplicate, export, edit, run, fill_gaps";
    let action = Action::parse(text).ok_or_else(|| invalid(format!("action: [{text}] is none of {known}")))?;
    caller.require(if action == Action::Export { Role::Reader } else { Role::Author })?;
    app.blocking(move |app| {
        let edits = match action {
            Action::Edit => edits(body.get("edit"))?,
            _ => Vec::new(),
        };
        let range = match action {
            Action::Run => Some(Range::read(body.get("run"), "run")?),
            Action::FillGaps => Some(Range::read(body.get("fill_gaps"), "fill_gaps")?),
            _ => None,
        };
        let with_exceptions = action != Action::Duplicate || keeps_exceptions(body.get("duplicate"))?;
        let (rules, missing) = selected(&app.control, &body)?;
        if action == Action::Export {
            if dry_run {
                return Err(engine(StatusCode::BAD_REQUEST, "Export action doesn't support dry_run mode"));
            }
            return Ok(export::download(export::lines(rules, &missing, false), "rules_export.ndjson"));
        }
        let mut run = Run { app, by: caller.name(), dry_run, done: Done::default() };
        for id in missing {
            run.done.fail("Rule not found", 500, &json!({ "id": id }));
        }
        match action {
            Action::Enable | Action::Disable => run.enable(rules, action == Action::Enable)?,
            Action::Delete => run.delete(rules)?,
            Action::Duplicate => run.duplicate(rules, with_exceptions)?,
            Action::Edit => run.edit(rules, &edits)?,
            Action::Run => run.start(rules, range, false)?,
            Action::FillGaps => run.start(rules, range, true)?,
            Action::Export => {}
        }
        if !dry_run {
            app.scheduler.wake();
        }
        Ok(run.done.answer(dry_run))
    })
    .await
}

/// The rules that a request names by `ids` or `query`, and the ids among them that are no rule's.
fn selected(control: &Control, body: &Map<String, Value>) -> Result<(Vec<StoredRule>, Vec<String>), Failure> {
    let ids = body.get("ids").filter(|ids| !ids.is_null());
    let query = body.get("query").filter(|query| !query.is_null());
    if ids.is_some() && query.is_some() {
        let reason = "Both query and ids are sent. Define either ids or query in request payload.";
        return Err(engine(StatusCode::BAD_REQUEST, reason));
    }
    let Some(ids) = ids else {
        let query = query.map_or(Some(""), Value::as_str).ok_or_else(|| invalid("query: Expected string"))?;
        let rules = filtered(control, query)?;
        if rules.len() > MAX_RULES {
            let reason = format!("More than {MAX_RULES} rules matched the filter query. Try to narrow it down.");
            return Err(engine(StatusCode::BAD_REQUEST, reason));
        }
        return Ok((rules, Vec::new()));
    };
    let ids = texts(ids).ok_or_else(|| invalid("ids: Expected array of strings"))?;
    if ids.is_empty() {
        return Err(invalid("ids: Array must contain at least 1 element(s)"));
    }
    if ids.len() > MAX_IDS {
        let reason = format!("More than {MAX_IDS} ids sent for bulk edit action.");
        return Err(engine(StatusCode::BAD_REQUEST, reason));
    }
    let (mut rules, mut missing) = (Vec::new(), Vec::new());
    for id in ids {
        match control.rule(&RuleKey::Id(&id))? {
            Some(rule) => rules.push(rule),
            None => missing.push(id),
        }
    }
    Ok((rules, missing))
}

/// Whether copies of rules have their exception lists.
fn keeps_exceptions(duplicate: Option<&Value>) -> Result<bool, Failure> {
    match duplicate.and_then(|duplicate| duplicate.get("include_exceptions")) {
        None => Ok(true),
        Some(flag) => flag.as_bool().ok_or_else(|| invalid("duplicate.include_exceptions: Expected boolean")),
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|value| value.as_str().map(str::to_owned)).collect()
}

/// What became of the rules.
#[derive(Default)]
struct Done {
    updated: Vec<Value>,
    created: Vec<Value>,
    deleted: Vec<Value>,
    skipped: Vec<Value>,
    /// By message, status, and Kibana's code if it has one.
    errors: BTreeMap<(String, u16, Option<&'static str>), Vec<Value>>,
    succeeded: usize,
}

impl Done {
    fn fail(&mut self, message: impl Into<String>, status: u16, rule: &Value) {
        self.errors.entry((message.into(), status, None)).or_default().push(rule.clone());
    }

    fn fail_with(&mut self, message: impl Into<String>, code: Option<&'static str>, rule: &Value) {
        self.errors.entry((message.into(), 500, code)).or_default().push(rule.clone());
    }

    fn skip(&mut self, rule: &StoredRule, reason: &str) {
        self.skipped.push(json!({ "id": rule.id, "name": rule.rule.name, "skip_reason": reason }));
    }

    fn answer(self, dry_run: bool) -> Response {
        let failed: usize = self.errors.values().map(Vec::len).sum();
        let skipped = self.skipped.len();
        let total = failed + self.succeeded + skipped;
        let shown = |rules: Vec<Value>| if dry_run { Vec::new() } else { rules };
        let mut attributes = json!({
            "results": {
                "updated": shown(self.updated),
                "created": shown(self.created),
                "deleted": shown(self.deleted),
                "skipped": shown(self.skipped),
            },
            "summary": { "failed": failed, "succeeded": self.succeeded, "skipped": skipped, "total": total },
        });
        if failed == 0 {
            return Json(json!({ "success": true, "rules_count": total, "attributes": attributes })).into_response();
        }
        let errors = self.errors.into_iter().map(|((message, status, code), rules)| {
            let mut error = json!({ "message": message, "status_code": status, "rules": rules });
            if let Some(code) = code {
                error["err_code"] = code.into();
            }
            error
        });
        attributes["errors"] = errors.collect();
        let message = if self.succeeded > 0 { "Bulk edit partially failed" } else { "Bulk edit failed" };
        let body = json!({ "message": message, "status_code": 500, "attributes": attributes });
        (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response()
    }
}

struct Run<'a> {
    app: &'a App,
    by: &'a str,
    dry_run: bool,
    done: Done,
}

fn named(rule: &StoredRule) -> Value {
    json!({ "id": rule.id, "name": rule.rule.name })
}

impl Run<'_> {
    /// Notes what became of a rule. Only what is wrong with the service itself ends the whole.
    fn note(
        &mut self,
        rule: &StoredRule,
        done: Result<StoredRule, ControlError>,
        list: fn(&mut Done) -> &mut Vec<Value>,
    ) -> Result<(), Failure> {
        match done {
            Ok(stored) => {
                self.done.succeeded += 1;
                list(&mut self.done).push(Value::Object(stored.document));
            }
            Err(error @ (ControlError::Invalid(_) | ControlError::Conflict { .. })) => {
                self.done.fail(error.to_string(), 400, &named(rule))
            }
            Err(error @ ControlError::NotFound { .. }) => self.done.fail(error.to_string(), 404, &named(rule)),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn enable(&mut self, rules: Vec<StoredRule>, enabled: bool) -> Result<(), Failure> {
        let changed = if self.dry_run {
            rules
        } else {
            let ids: Vec<String> =
                rules.iter().filter(|rule| rule.enabled != enabled).map(|rule| rule.id.clone()).collect();
            let mut changed = self.app.control.set_enabled(&ids, enabled, self.by, crate::now())?;
            changed.extend(rules.into_iter().filter(|rule| rule.enabled == enabled));
            changed
        };
        self.done.succeeded += changed.len();
        self.done.updated.extend(changed.into_iter().map(|rule| Value::Object(rule.document)));
        Ok(())
    }

    fn delete(&mut self, rules: Vec<StoredRule>) -> Result<(), Failure> {
        for rule in rules {
            let done = match self.dry_run {
                true => Ok(rule.clone()),
                false => self.app.control.delete_rule(&RuleKey::Id(&rule.id), self.by, crate::now()),
            };
            self.note(&rule, done, |done| &mut done.deleted)?;
        }
        Ok(())
    }

    fn duplicate(&mut self, rules: Vec<StoredRule>, with_exceptions: bool) -> Result<(), Failure> {
        for rule in rules {
            let mut copy = rule.document.clone();
            for field in ["id", "rule_id", "rule_source", "related_integrations_inherited"] {
                copy.shift_remove(field);
            }
            copy.insert("name".to_owned(), format!("{} [Duplicate]", rule.rule.name).into());
            copy.insert("enabled".to_owned(), false.into());
            copy.insert("immutable".to_owned(), false.into());
            copy.insert("version".to_owned(), 1.into());
            if !with_exceptions {
                copy.insert("exceptions_list".to_owned(), json!([]));
            }
            let done = match self.dry_run {
                true => Ok(rule.clone()),
                false => self.app.control.create_rule(copy, self.by, crate::now()),
            };
            self.note(&rule, done, |done| &mut done.created)?;
        }
        Ok(())
    }

    fn edit(&mut self, rules: Vec<StoredRule>, edits: &[Edit]) -> Result<(), Failure> {
        for rule in rules {
            let mut refusal = None;
            let mut edit = |known: &StoredRule| {
                edited(known, edits).unwrap_or_else(|refused| {
                    refusal = Some(refused);
                    None
                })
            };
            let done = match self.dry_run {
                true => Ok(edit(&rule).map(|_| rule.clone())),
                false => self.app.control.edit_rule(&RuleKey::Id(&rule.id), self.by, crate::now(), edit),
            };
            match (refusal, done.transpose()) {
                (Some(Refusal { message, code }), _) => self.done.fail_with(message, code, &named(&rule)),
                (None, Some(done)) => self.note(&rule, done, |done| &mut done.updated)?,
                (None, None) => self.done.skip(&rule, "RULE_NOT_MODIFIED"),
            }
        }
        Ok(())
    }
}

/// The stretch of the past that rules are to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    from: i64,
    to: i64,
}

impl Range {
    fn read(value: Option<&Value>, name: &str) -> Result<Self, Failure> {
        let time = |field: &str| -> Result<Option<i64>, Failure> {
            let Some(value) = value.and_then(|value| value.get(field)) else { return Ok(None) };
            let time = value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
            let time = time.and_then(|time| i64::try_from(time.as_nanosecond()).ok());
            time.map(Some).ok_or_else(|| invalid(format!("{name}.{field}: Invalid datetime")))
        };
        let now = crate::now();
        let from = time("start_date")?.ok_or_else(|| invalid(format!("{name}.start_date: Required")))?;
        let to = time("end_date")?.unwrap_or(now);
        let refuse = |reason: &str| Err(engine(StatusCode::BAD_REQUEST, reason));
        if from > now || to > now {
            return refuse("Backfill cannot be scheduled for the future");
        }
        if to <= from {
            return refuse("Backfill end must be greater than backfill start");
        }
        // From now, wherever it ends: what is older is beyond most retentions.
        if now.saturating_sub(from) > MAX_LOOK_BACK {
            return refuse("Backfill cannot look back more than 90 days");
        }
        Ok(Self { from, to })
    }
}

impl Run<'_> {
    /// Has rules run over a stretch of the past, or over what they missed of it, in the background.
    fn start(&mut self, rules: Vec<StoredRule>, range: Option<Range>, only_gaps: bool) -> Result<(), Failure> {
        let Some(Range { from, to }) = range else { return Ok(()) };
        let mut jobs = Vec::new();
        for rule in rules {
            if !rule.enabled {
                let (message, code) = match only_gaps {
                    true => ("Cannot bulk fill gaps for a disabled rule", "RULE_FILL_GAPS_DISABLED_RULE"),
                    false => ("Cannot schedule manual rule run for a disabled rule", "MANUAL_RULE_RUN_DISABLED_RULE"),
                };
                self.done.fail_with(message, Some(code), &named(&rule));
                continue;
            }
            let key = RuleKey::Id(&rule.id);
            let work = match only_gaps {
                false => {
                    let interval = i64::try_from(rule.rule.interval.seconds()).unwrap_or(i64::MAX).max(1);
                    let windows = (to - from) / 1_000_000_000 / interval;
                    if windows > MAX_WINDOWS {
                        self.done.fail(format!("More than {MAX_WINDOWS} windows in this range"), 400, &named(&rule));
                        continue;
                    }
                    Work::Range { from, to }
                }
                true => match self.app.scheduler.gaps(&key, from, to) {
                    Ok(gaps) if gaps.is_empty() => {
                        self.done.skip(&rule, "NO_GAPS_TO_FILL");
                        continue;
                    }
                    Ok(gaps) => Work::Windows(gaps),
                    Err(ScheduleError::Rule(reason)) => {
                        self.done.fail(reason, 500, &named(&rule));
                        continue;
                    }
                    Err(error) => return Err(Failure::Internal(error.to_string())),
                },
            };
            self.done.succeeded += 1;
            jobs.push(Job { id: rule.id.clone(), rule_id: rule.rule.rule_id.clone(), work });
            self.done.updated.push(Value::Object(rule.document));
        }
        match self.dry_run || jobs.is_empty() {
            true => Ok(()),
            false => manual::start(self.app, jobs, self.by),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Add,
    Delete,
    Set,
}

/// One change of a rule.
#[derive(Clone, Debug, PartialEq)]
enum Edit {
    Tags(How, Vec<String>),
    IndexPatterns { how: How, patterns: Vec<String>, overwrite_data_views: bool },
    InvestigationFields(How, Vec<String>),
    Timeline { id: Value, title: Value },
    Schedule { interval: Interval, lookback: Interval },
    Actions { how: How, actions: Vec<Value>, throttle: Option<Value> },
}

fn edits(value: Option<&Value>) -> Result<Vec<Edit>, Failure> {
    let list = value.and_then(Value::as_array).filter(|list| !list.is_empty());
    list.ok_or_else(|| invalid("edit: Expected array with at least one edit"))?.iter().map(edit).collect()
}

fn edit(value: &Value) -> Result<Edit, Failure> {
    let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
    let content = value.get("value").unwrap_or(&Value::Null);
    let list = |content: &Value| {
        texts(content).ok_or_else(|| invalid(format!("edit.value of [{kind}]: Expected array of strings")))
    };
    let fields = || list(content.get("field_names").unwrap_or(&Value::Null));
    let span = |name: &str| {
        let text = content.get(name).and_then(Value::as_str).unwrap_or_default();
        Interval::parse(text).map_err(|error| invalid(format!("edit.value.{name}: {error}")))
    };
    let index_patterns = |how| {
        let overwrite = value.get("overwrite_data_views").map_or(Some(false), Value::as_bool);
        let overwrite = overwrite.ok_or_else(|| invalid("edit.overwrite_data_views: Expected boolean"))?;
        Ok(Edit::IndexPatterns { how, patterns: list(content)?, overwrite_data_views: overwrite })
    };
    let actions = |how| {
        let actions = content.get("actions").and_then(Value::as_array);
        let actions = actions.ok_or_else(|| invalid("edit.value.actions: Required"))?.clone();
        Ok(Edit::Actions { how, actions, throttle: content.get("throttle").cloned() })
    };
    match kind {
        "add_tags" => Ok(Edit::Tags(How::Add, list(content)?)),
        "delete_tags" => Ok(Edit::Tags(How::Delete, list(content)?)),
        "set_tags" => Ok(Edit::Tags(How::Set, list(content)?)),
        "add_index_patterns" => index_patterns(How::Add),
        "delete_index_patterns" => index_patterns(How::Delete),
        "set_index_patterns" => index_patterns(How::Set),
        "add_investigation_fields" => Ok(Edit::InvestigationFields(How::Add, fields()?)),
        "delete_investigation_fields" => Ok(Edit::InvestigationFields(How::Delete, fields()?)),
        "set_investigation_fields" => Ok(Edit::InvestigationFields(How::Set, fields()?)),
        "set_timeline" => {
            let part = |name: &str| content.get(name).filter(|value| value.is_string()).cloned();
            match (part("timeline_id"), part("timeline_title")) {
                (Some(id), Some(title)) => Ok(Edit::Timeline { id, title }),
                _ => Err(invalid("edit.value: timeline_id and timeline_title are required")),
            }
        }
        "set_schedule" => Ok(Edit::Schedule { interval: span("interval")?, lookback: span("lookback")? }),
        "add_rule_actions" => actions(How::Add),
        "set_rule_actions" => actions(How::Set),
        other => Err(invalid(format!("edit.type: [{other}] is no known edit"))),
    }
}

fn changed<T: PartialEq + Clone>(known: Vec<T>, how: How, values: &[T]) -> Vec<T> {
    let mut list = if how == How::Set { Vec::new() } else { known };
    match how {
        How::Delete => list.retain(|value| !values.contains(value)),
        How::Add | How::Set => {
            for value in values {
                if !list.contains(value) {
                    list.push(value.clone());
                }
            }
        }
    }
    list
}

/// Why a rule cannot be edited, with Kibana's code if it has one.
struct Refusal {
    message: String,
    code: Option<&'static str>,
}

/// What edits make of a rule; `None` if that is what it was.
fn edited(rule: &StoredRule, edits: &[Edit]) -> Result<Option<Map<String, Value>>, Refusal> {
    let mut document = rule.document.clone();
    edits.iter().try_for_each(|edit| edit.apply(rule, &mut document))?;
    Ok(Some(document).filter(|document| *document != rule.document))
}

/// Sets a field, or removes it.
fn put(document: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    match value {
        Some(value) => _ = document.insert(field.to_owned(), value),
        None => _ = document.shift_remove(field),
    }
}

impl Edit {
    /// Changes a rule's document.
    fn apply(&self, rule: &StoredRule, document: &mut Map<String, Value>) -> Result<(), Refusal> {
        let known = |document: &Map<String, Value>, name: &str| document.get(name).and_then(texts).unwrap_or_default();
        match self {
            Self::Tags(how, tags) => {
                let tags = changed(known(document, "tags"), *how, tags);
                put(document, "tags", Some(tags.into()));
            }
            Self::IndexPatterns { how, patterns, overwrite_data_views } => {
                refuse_without_index(rule, *how)?;
                if document.contains_key("data_view_id") && !overwrite_data_views {
                    return Ok(());
                }
                if *overwrite_data_views {
                    put(document, "data_view_id", None);
                }
                let old = known(document, "index");
                let patterns = changed(old.clone(), *how, patterns);
                if patterns == old {
                    return Ok(());
                }
                if patterns.is_empty() {
                    let message = "Mutated params invalid: Index patterns can't be empty".to_owned();
                    return Err(Refusal { message, code: None });
                }
                put(document, "index", Some(patterns.into()));
            }
            Self::InvestigationFields(how, names) => {
                let fields = document.get("investigation_fields").and_then(|fields| fields.get("field_names"));
                let fields = changed(fields.and_then(texts).unwrap_or_default(), *how, names);
                let value = (!fields.is_empty()).then(|| json!({ "field_names": fields }));
                put(document, "investigation_fields", value);
            }
            Self::Timeline { id, title } => {
                let set = |value: &Value| Some(value.clone()).filter(|value| value != "");
                put(document, "timeline_id", set(id));
                put(document, "timeline_title", set(title));
            }
            Self::Schedule { interval, lookback } => {
                let reach = interval.seconds().saturating_add(lookback.seconds());
                put(document, "interval", Some(interval.to_string().into()));
                put(document, "from", Some(format!("now-{reach}s").into()));
                let mut meta = document.get("meta").and_then(Value::as_object).cloned().unwrap_or_default();
                meta.insert("from".to_owned(), lookback.to_string().into());
                put(document, "meta", Some(meta.into()));
            }
            Self::Actions { how, actions, throttle } => {
                let known = document.get("actions").and_then(Value::as_array).cloned().unwrap_or_default();
                put(document, "actions", Some(changed(known, *how, actions).into()));
                if let Some(throttle) = throttle {
                    put(document, "throttle", Some(throttle.clone()).filter(|throttle| !throttle.is_null()));
                }
            }
        }
        Ok(())
    }
}

/// Refuses an edit of the index patterns of a rule whose type has none.
fn refuse_without_index(rule: &StoredRule, how: How) -> Result<(), Refusal> {
    let (kind, code) = match rule.rule.rule_type() {
        RuleType::MachineLearning => ("Machine learning", "MACHINE_LEARNING_INDEX_PATTERN"),
        RuleType::Esql => ("ES|QL", "ESQL_INDEX_PATTERN"),
        _ => return Ok(()),
    };
    let done = match how {
        How::Add => "added",
        How::Delete => "deleted",
        How::Set => "overwritten",
    };
    let message = format!("Index patterns can't be {done}. {kind} rule doesn't have index patterns property");
    Err(Refusal { message, code: Some(code) })
}
