//! Rules, in the form of Kibana's API.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use eqlipse_rules::{ProblemLevel, Rule, is_type_specific, validate};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::audit::add;
use crate::customized::customized_fields;
use crate::database::time_text;
use crate::{AuditEntry, Control, ControlError};

/// A rule that is kept.
#[derive(Clone, Debug)]
pub struct StoredRule {
    /// Its id here, a UUID; [`Rule::rule_id`] is the one that it has everywhere.
    pub id: String,
    /// The rule.
    pub rule: Arc<Rule>,
    /// Whether it runs.
    pub enabled: bool,
    /// The rule as Kibana's API gives it, with every default.
    pub document: Map<String, Value>,
    /// How often its parameters were changed.
    pub revision: u64,
    /// Whether it came with the service or a package, and not from people.
    pub immutable: bool,
    /// When it was made, in nanoseconds since the Unix epoch.
    pub created_at: i64,
    /// By whom.
    pub created_by: String,
    /// When it was changed last.
    pub updated_at: i64,
    /// By whom.
    pub updated_by: String,
}

/// What a rule is asked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKey<'a> {
    /// [`StoredRule::id`].
    Id(&'a str),
    /// [`Rule::rule_id`].
    RuleId(&'a str),
}

impl RuleKey<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Id(text) | Self::RuleId(text) => text,
        }
    }

    fn not_found(&self) -> ControlError {
        ControlError::NotFound { what: "rule", name: self.text().to_owned() }
    }
}

/// Fields that say how a rule is kept, not what it does.
pub(crate) const KEEPING: [&str; 10] = [
    "id",
    "created_at",
    "created_by",
    "updated_at",
    "updated_by",
    "revision",
    "immutable",
    "rule_source",
    "execution_summary",
    "enabled",
];

/// Fields that have a default, so that null would pass for it and change how a rule runs; Kibana refuses it.
const NEVER_NULL: [(&str, &str); 6] = [
    ("enabled", "boolean"),
    ("version", "number"),
    ("interval", "string"),
    ("from", "string"),
    ("to", "string"),
    ("max_signals", "number"),
];

impl Control {
    /// All rules, by `rule_id`.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn rules(&self) -> Result<Vec<StoredRule>, ControlError> {
        let rows = self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT * FROM rules ORDER BY rule_id")?;
            Ok(statement.query_map([], raw)?.collect::<Result<Vec<Raw>, _>>()?)
        })?;
        eqlipse_rules::on_all_cores(&rows, Raw::read).into_iter().collect()
    }

    /// A rule.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn rule(&self, key: &RuleKey<'_>) -> Result<Option<StoredRule>, ControlError> {
        self.read(|connection| select(connection, key)?.as_ref().map(Raw::read).transpose())
    }

    /// Adds a rule in the form of Kibana's API. Without a `rule_id` it gets one.
    ///
    /// # Errors
    /// If there is a rule with this `rule_id`, or the document is no rule.
    pub fn create_rule(
        &self,
        mut document: Map<String, Value>,
        by: &str,
        now: i64,
    ) -> Result<StoredRule, ControlError> {
        if document.get("rule_id").is_none_or(|id| id.is_null() || id == "") {
            document.insert("rule_id".to_owned(), Uuid::new_v4().to_string().into());
        }
        self.add_rule(document, None, by, now)
    }

    /// Adds a rule that comes with the service as `bundled`, the way people changed it: it counts as installed, and what
    /// differs as customized. Its `rule_id` and its version are those of the bundled one.
    ///
    /// # Errors
    /// If there is a rule with this `rule_id`, or the document is no rule.
    pub fn create_installed_rule(
        &self,
        mut document: Map<String, Value>,
        bundled: &Rule,
        by: &str,
        now: i64,
    ) -> Result<StoredRule, ControlError> {
        refuse_null(&document)?;
        document.insert("rule_id".to_owned(), bundled.rule_id.clone().into());
        document.insert("version".to_owned(), bundled.version.into());
        self.add_rule(document, Some(without_keeping(bundled.to_api_json())), by, now)
    }

    fn add_rule(
        &self,
        mut document: Map<String, Value>,
        base: Option<Map<String, Value>>,
        by: &str,
        now: i64,
    ) -> Result<StoredRule, ControlError> {
        refuse_null(&document)?;
        KEEPING.iter().filter(|field| **field != "enabled").for_each(|field| _ = document.shift_remove(*field));
        let rule = read_rule(document)?;
        self.change_rules(|transaction| {
            if select(transaction, &RuleKey::RuleId(&rule.rule_id))?.is_some() {
                return Err(ControlError::Conflict { what: "rule_id", name: rule.rule_id });
            }
            let keeping = Keeping::new(by, now, base);
            let stored = insert(transaction, rule, &keeping)?;
            audit_rule(transaction, &stored, "rule_create", by, now, None)?;
            Ok((stored, true))
        })
    }

    /// Replaces a rule: what the document does not say gets its default, except whether it is enabled, and its version.
    /// The `rule_id` stays; an installed rule also keeps its version, as that tells which one was installed.
    ///
    /// # Errors
    /// If there is no such rule, or the document is none.
    pub fn update_rule(
        &self,
        key: &RuleKey<'_>,
        document: Map<String, Value>,
        by: &str,
        now: i64,
    ) -> Result<StoredRule, ControlError> {
        refuse_null(&document)?;
        self.change_rule(key, by, now, "rule_update", |known| {
            let mut document = document;
            for field in ["enabled", "version"] {
                if let (None, Some(value)) = (document.get(field), known.get(field)) {
                    document.insert(field.to_owned(), value.clone());
                }
            }
            document
        })
    }

    /// Changes parts of a rule: members of the patch take the place of the rule's, null removes, except where it would
    /// change how the rule runs. Where the type changes, what only the old type has goes, and the patch must bring what the new one needs.
    ///
    /// # Errors
    /// If there is no such rule, or what comes out is none.
    pub fn patch_rule(
        &self,
        key: &RuleKey<'_>,
        patch: Map<String, Value>,
        by: &str,
        now: i64,
    ) -> Result<StoredRule, ControlError> {
        refuse_null(&patch)?;
        self.change_rule(key, by, now, "rule_patch", |known| {
            let mut document = known.clone();
            if patch.get("type").is_some_and(|new| Some(new) != known.get("type")) {
                document.retain(|field, _| !is_type_specific(field));
            }
            for (field, value) in patch {
                match value {
                    Value::Null => _ = document.shift_remove(&field),
                    value => _ = document.insert(field, value),
                }
            }
            document
        })
    }

    /// Changes a rule to what `edit` makes of it as it is then: nobody else's change is lost. `None` leaves it as it is,
    /// and is given back.
    ///
    /// # Errors
    /// If there is no such rule, or what comes out is none.
    pub fn edit_rule(
        &self,
        key: &RuleKey<'_>,
        by: &str,
        now: i64,
        edit: impl FnOnce(&StoredRule) -> Option<Map<String, Value>>,
    ) -> Result<Option<StoredRule>, ControlError> {
        self.change_rules(|transaction| {
            let raw = select(transaction, key)?.ok_or_else(|| key.not_found())?;
            let known = raw.read()?;
            let Some(document) = edit(&known) else { return Ok((None, false)) };
            let stored = rewrite(transaction, &raw, &known, document, Change { action: "rule_patch", by, now })?;
            Ok((Some(stored), true))
        })
    }

    fn change_rule(
        &self,
        key: &RuleKey<'_>,
        by: &str,
        now: i64,
        action: &str,
        edit: impl FnOnce(&Map<String, Value>) -> Map<String, Value>,
    ) -> Result<StoredRule, ControlError> {
        self.change_rules(|transaction| {
            let raw = select(transaction, key)?.ok_or_else(|| key.not_found())?;
            let known = raw.read()?;
            let document = edit(&known.document);
            Ok((rewrite(transaction, &raw, &known, document, Change { action, by, now })?, true))
        })
    }

    /// Removes a rule. Its alerts and its ledger stay.
    ///
    /// # Errors
    /// If there is no such rule.
    pub fn delete_rule(&self, key: &RuleKey<'_>, by: &str, now: i64) -> Result<StoredRule, ControlError> {
        self.change_rules(|transaction| {
            let known = select(transaction, key)?.ok_or_else(|| key.not_found())?.read()?;
            transaction.execute("DELETE FROM rules WHERE id = ?1", [&known.id])?;
            transaction.execute("DELETE FROM windows WHERE rule = ?1", [&known.id])?;
            audit_rule(transaction, &known, "rule_delete", by, now, None)?;
            Ok((known, true))
        })
    }

    /// Has rules run, or not, and returns them. Ids without a rule are passed over; a rule that is so already stays
    /// untouched.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn set_enabled(
        &self,
        ids: &[String],
        enabled: bool,
        by: &str,
        now: i64,
    ) -> Result<Vec<StoredRule>, ControlError> {
        let action = if enabled { "rule_enable" } else { "rule_disable" };
        self.change_rules(|transaction| {
            let (mut rules, mut is_changed) = (Vec::new(), false);
            for id in ids {
                let Some(raw) = select(transaction, &RuleKey::Id(id))? else { continue };
                let known = raw.read()?;
                if known.enabled == enabled {
                    rules.push(known);
                    continue;
                }
                let mut rule = Rule::clone(&known.rule);
                rule.enabled = enabled;
                let stored = update(transaction, rule, &Keeping::of(&known, raw.base()?, by, now))?;
                audit_rule(transaction, &stored, action, by, now, None)?;
                rules.push(stored);
                is_changed = true;
            }
            Ok((rules, is_changed))
        })
    }

    /// Does the work, which says whether it changed a rule. Whoever sees the new generation sees the change.
    pub(crate) fn change_rules<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<(T, bool), ControlError>,
    ) -> Result<T, ControlError> {
        let (done, is_changed) = self.write(work)?;
        if is_changed {
            self.0.rules_generation.fetch_add(1, Ordering::SeqCst);
        }
        Ok(done)
    }
}

/// What is done to a rule, by whom and when.
struct Change<'a> {
    action: &'a str,
    by: &'a str,
    now: i64,
}

/// Writes a document over a rule that is there. What says how the rule is kept stays, except whether it is enabled.
fn rewrite(
    transaction: &Transaction<'_>,
    raw: &Raw,
    known: &StoredRule,
    mut document: Map<String, Value>,
    Change { action, by, now }: Change<'_>,
) -> Result<StoredRule, ControlError> {
    KEEPING.iter().filter(|field| **field != "enabled").for_each(|field| _ = document.shift_remove(*field));
    document.insert("rule_id".to_owned(), known.rule.rule_id.clone().into());
    if known.immutable {
        document.insert("version".to_owned(), known.rule.version.into());
    }
    let rule = read_rule(document)?;
    let changed = changed_fields(&known.document, &rule.to_api_json());
    let mut keeping = Keeping::of(known, raw.base()?, by, now);
    keeping.revision += u64::from(!changed.is_empty());
    let stored = update(transaction, rule, &keeping)?;
    audit_rule(transaction, &stored, action, by, now, Some(&changed))?;
    Ok(stored)
}

fn audit_rule(
    transaction: &Transaction<'_>,
    rule: &StoredRule,
    action: &str,
    by: &str,
    now: i64,
    changed: Option<&[String]>,
) -> Result<(), ControlError> {
    let mut detail = json!({ "id": rule.id, "name": rule.rule.name });
    if let Some(changed) = changed {
        detail["changed"] = json!(changed);
    }
    add(transaction, &AuditEntry::new(now, by, action, &rule.rule.rule_id, detail.to_string()))
}

/// Refuses null where it would stand for a default.
fn refuse_null(document: &Map<String, Value>) -> Result<(), ControlError> {
    match NEVER_NULL.iter().find(|(field, _)| document.get(*field).is_some_and(Value::is_null)) {
        Some((field, kind)) => Err(ControlError::Invalid(format!("{field}: Expected {kind}, received null"))),
        None => Ok(()),
    }
}

/// Reads a document, and refuses what Kibana would refuse.
fn read_rule(document: Map<String, Value>) -> Result<Rule, ControlError> {
    let rule = Rule::from_json(document).map_err(|error| ControlError::Invalid(error.to_string()))?;
    check_rule(&rule)?;
    Ok(rule)
}

fn check_rule(rule: &Rule) -> Result<(), ControlError> {
    let problem = validate(rule).into_iter().find(|problem| problem.level == ProblemLevel::Error);
    if let Some(problem) = problem {
        return Err(ControlError::Invalid(problem.to_string()));
    }
    check_query(rule)
}

/// Finds out whether the query of an EQL rule can run.
pub(crate) fn check_query(rule: &Rule) -> Result<(), ControlError> {
    if let Some(eql) = rule.eql() {
        let checked = eqlipse_eql::parse(&eql.query).map(|query| eqlipse_eql::check(&query, &eqlipse_eql::Catalogue));
        let diagnostics = checked.unwrap_or_else(|errors| errors);
        if let Some(error) = diagnostics.iter().find(|diagnostic| diagnostic.is_error()) {
            return Err(ControlError::Invalid(format!("query: {}", error.message)));
        }
    }
    Ok(())
}

/// A document without what says how the rule is kept.
pub(crate) fn without_keeping(mut document: Map<String, Value>) -> Map<String, Value> {
    document.retain(|field, _| !KEEPING.contains(&field.as_str()));
    document
}

/// The parameters that differ, by name.
fn changed_fields(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<String> {
    let names = old.keys().chain(new.keys().filter(|field| !old.contains_key(*field)));
    let differs = |field: &&String| !KEEPING.contains(&field.as_str()) && old.get(*field) != new.get(*field);
    names.filter(differs).cloned().collect()
}

/// How a rule is to be kept.
pub(crate) struct Keeping<'a> {
    pub id: String,
    pub revision: u64,
    pub immutable: bool,
    /// What an installed rule said then; not known for those that were installed by the first layout.
    pub base: Option<Map<String, Value>>,
    pub created_at: i64,
    pub created_by: String,
    pub by: &'a str,
    pub now: i64,
}

impl<'a> Keeping<'a> {
    /// Of a new rule: one that people made, or an installed one, which has a base.
    pub fn new(by: &'a str, now: i64, base: Option<Map<String, Value>>) -> Self {
        let (id, created_by) = (Uuid::new_v4().to_string(), by.to_owned());
        Self { id, revision: 0, immutable: base.is_some(), base, created_at: now, created_by, by, now }
    }

    /// Of a rule that is there.
    pub fn of(known: &StoredRule, base: Option<Map<String, Value>>, by: &'a str, now: i64) -> Self {
        let StoredRule { revision, immutable, created_at, .. } = *known;
        let (id, created_by) = (known.id.clone(), known.created_by.clone());
        Self { id, revision, immutable, base, created_at, created_by, by, now }
    }

    fn source(&self, document: &Map<String, Value>) -> Value {
        if !self.immutable {
            return json!({ "type": "internal" });
        }
        let fields = self.base.as_ref().map_or_else(Vec::new, |base| customized_fields(base, document));
        let named: Vec<Value> = fields.iter().map(|field| json!({ "field_name": field })).collect();
        json!({
            "type": "external", "is_customized": !fields.is_empty(), "customized_fields": named,
            "has_base_version": self.base.is_some(),
        })
    }

    fn complete(self: &Keeping<'a>, mut rule: Rule) -> StoredRule {
        rule.saved_object_id = Some(self.id.clone());
        rule.revision = u32::try_from(self.revision).unwrap_or(u32::MAX);
        rule.immutable = self.immutable;
        rule.execution_summary = None;
        let mut document = rule.to_api_json();
        document.insert("rule_source".to_owned(), self.source(&document));
        for (field, value) in [
            ("created_at", time_text(self.created_at)),
            ("created_by", self.created_by.clone()),
            ("updated_at", time_text(self.now)),
            ("updated_by", self.by.to_owned()),
        ] {
            document.insert(field.to_owned(), value.into());
        }
        StoredRule {
            id: self.id.clone(),
            enabled: rule.enabled,
            rule: Arc::new(rule),
            document,
            revision: self.revision,
            immutable: self.immutable,
            created_at: self.created_at,
            created_by: self.created_by.clone(),
            updated_at: self.now,
            updated_by: self.by.to_owned(),
        }
    }
}

/// Adds a rule.
pub(crate) fn insert(
    transaction: &Transaction<'_>,
    rule: Rule,
    keeping: &Keeping<'_>,
) -> Result<StoredRule, ControlError> {
    let sql = "INSERT INTO rules (id, rule_id, enabled, document, created_at, created_by, updated_at, updated_by, base)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    write_row(transaction, sql, keeping.complete(rule), keeping)
}

/// Writes a rule over the one of this id. One that was off goes on from now: what it missed is a gap.
pub(crate) fn update(
    transaction: &Transaction<'_>,
    rule: Rule,
    keeping: &Keeping<'_>,
) -> Result<StoredRule, ControlError> {
    if rule.enabled {
        let sql = "UPDATE windows SET last = max(last, ?2), whole = max(last, ?2)
             WHERE rule = ?1 AND EXISTS (SELECT 1 FROM rules WHERE id = ?1 AND NOT enabled)";
        transaction.prepare_cached(sql)?.execute(params![keeping.id, keeping.now])?;
    }
    let sql = "UPDATE rules SET rule_id = ?2, enabled = ?3, document = ?4, created_at = ?5, created_by = ?6,
         updated_at = ?7, updated_by = ?8, base = ?9 WHERE id = ?1";
    write_row(transaction, sql, keeping.complete(rule), keeping)
}

fn write_row(
    transaction: &Transaction<'_>,
    sql: &str,
    stored: StoredRule,
    keeping: &Keeping<'_>,
) -> Result<StoredRule, ControlError> {
    transaction.prepare_cached(sql)?.execute(params![
        stored.id,
        stored.rule.rule_id,
        stored.enabled,
        serde_json::to_string(&stored.document)?,
        stored.created_at,
        stored.created_by,
        stored.updated_at,
        stored.updated_by,
        keeping.base.as_ref().map(serde_json::to_string).transpose()?,
    ])?;
    Ok(stored)
}

/// A row of the table.
pub(crate) struct Raw {
    id: String,
    document: String,
    created_at: i64,
    created_by: String,
    updated_at: i64,
    updated_by: String,
    base: Option<String>,
}

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok(Raw {
        id: row.get("id")?,
        document: row.get("document")?,
        created_at: row.get("created_at")?,
        created_by: row.get("created_by")?,
        updated_at: row.get("updated_at")?,
        updated_by: row.get("updated_by")?,
        base: row.get("base")?,
    })
}

pub(crate) fn select(connection: &rusqlite::Connection, key: &RuleKey<'_>) -> Result<Option<Raw>, ControlError> {
    let sql = match key {
        RuleKey::Id(_) => "SELECT * FROM rules WHERE id = ?1",
        RuleKey::RuleId(_) => "SELECT * FROM rules WHERE rule_id = ?1",
    };
    Ok(connection.prepare_cached(sql)?.query_row([key.text()], raw).optional()?)
}

impl Raw {
    pub fn read(&self) -> Result<StoredRule, ControlError> {
        let damaged = |said: String| ControlError::Damaged(format!("rule {}: {said}", self.id));
        let document: Map<String, Value> =
            serde_json::from_str(&self.document).map_err(|error| damaged(error.to_string()))?;
        let rule = Rule::from_json(document.clone()).map_err(|error| damaged(error.to_string()))?;
        Ok(StoredRule {
            id: self.id.clone(),
            enabled: rule.enabled,
            revision: u64::from(rule.revision),
            immutable: rule.immutable,
            rule: Arc::new(rule),
            document,
            created_at: self.created_at,
            created_by: self.created_by.clone(),
            updated_at: self.updated_at,
            updated_by: self.updated_by.clone(),
        })
    }

    /// What it said when it was installed, if that is known.
    pub fn base(&self) -> Result<Option<Map<String, Value>>, ControlError> {
        Ok(self.base.as_deref().map(serde_json::from_str).transpose()?)
    }

    /// Whether it was installed from just this text.
    pub fn has_base(&self, text: &str) -> bool {
        self.base.as_deref() == Some(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{open, rule as document};

    #[test]
    fn rules_live_their_life() {
        let (folder, control) = open();
        let first = control.rules_generation();
        let made = control.create_rule(document(json!({})), "ann", 5).unwrap();
        assert_eq!((made.enabled, made.revision, made.document["interval"].as_str()), (false, 0, Some("5m")));
        assert_eq!(made.document["created_at"], "1970-01-01T00:00:00.000Z");
        assert!(control.rules_generation() > first);
        let conflict = control.create_rule(document(json!({})), "ann", 5);
        assert!(matches!(conflict, Err(ControlError::Conflict { .. })));
        let other = control.create_rule(document(json!({ "rule_id": null, "id": "mine" })), "ann", 5).unwrap();
        assert!(other.id != "mine" && other.rule.rule_id.len() == 36);

        let key = RuleKey::RuleId("x-1");
        assert!(control.set_enabled(&[made.id.clone(), "no".to_owned()], true, "bob", 6).unwrap()[0].enabled);
        let patch = document(json!({ "tags": ["a"], "note": "n" }));
        let patched = control.patch_rule(&key, patch, "bob", 7).unwrap();
        assert_eq!((patched.revision, patched.enabled, patched.created_by.as_str()), (1, true, "ann"));
        let same = control.patch_rule(&RuleKey::Id(&made.id), Map::new(), "bob", 8).unwrap();
        assert_eq!(same.revision, 1);
        let updated = control.update_rule(&key, document(json!({ "interval": "1m" })), "bob", 9).unwrap();
        assert_eq!((updated.revision, updated.enabled, updated.rule.tags.len()), (2, true, 0));
        assert_eq!(updated.document.get("note"), None);
        drop(control);

        let control = Control::open(&folder.path().join("control.sqlite")).unwrap();
        let read = control.rule(&key).unwrap().unwrap();
        assert_eq!((read.document, read.updated_by.as_str()), (updated.document, "bob"));
        assert_eq!(control.rules().unwrap().len(), 2);
        control.delete_rule(&key, "bob", 10).unwrap();
        assert!(control.rule(&key).unwrap().is_none());
        assert!(matches!(control.delete_rule(&key, "bob", 10), Err(ControlError::NotFound { .. })));
        let actions: Vec<String> = control.audit_log(3).unwrap().into_iter().map(|entry| entry.action).collect();
        assert_eq!(actions, ["rule_delete", "rule_update", "rule_patch"]);
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        let (_folder, control) = open();
        for (extra, said) in [
            (json!({ "query": "process where" }), "query"),
            (json!({ "severity": "dire" }), "severity"),
            (json!({ "type": "odd" }), "type"),
            (json!({ "name": "" }), "name"),
            (json!({ "rule_id": 5 }), "rule_id"),
            (json!({ "from": "now+1h" }), "from"),
            (json!({ "query": "process where pid == \"x\" and foo(" }), "query"),
        ] {
            let error = control.create_rule(document(extra), "ann", 0).unwrap_err();
            assert!(matches!(&error, ControlError::Invalid(message) if message.contains(said)), "{error}");
        }
        assert!(control.rules().unwrap().is_empty() && control.audit_log(9).unwrap().is_empty());
    }

    #[test]
    fn null_is_no_default() {
        let (_folder, control) = open();
        let installed = rule_of(json!({ "rule_id": "x-2" }));
        let made = control.create_rule(document(json!({ "enabled": true, "version": 7 })), "ann", 0).unwrap();
        let key = RuleKey::Id(&made.id);
        for (field, _) in NEVER_NULL {
            let null = json!({ field: null });
            let Value::Object(patch) = null.clone() else { unreachable!() };
            for refused in [
                control.patch_rule(&key, patch, "bob", 1),
                control.update_rule(&key, document(null.clone()), "bob", 1),
                control.create_rule(document(json!({ "rule_id": "x-3", field: null })), "bob", 1),
                control.create_installed_rule(document(null), &installed, "bob", 1),
            ] {
                let error = refused.unwrap_err();
                assert!(matches!(&error, ControlError::Invalid(said) if said.starts_with(field)), "{field}: {error}");
            }
        }
        let rules = control.rules().unwrap();
        assert_eq!((rules.len(), &rules[0].document), (1, &made.document));
    }

    #[test]
    fn an_edit_sees_the_rule_as_it_is_and_may_leave_it() {
        let (_folder, control) = open();
        let made = control.create_rule(document(json!({ "enabled": true })), "ann", 0).unwrap();
        let key = RuleKey::Id(&made.id);
        control.set_enabled(std::slice::from_ref(&made.id), false, "bob", 1).unwrap();
        let Value::Object(note) = json!({ "note": "n" }) else { unreachable!() };
        let noted = control.patch_rule(&key, note, "bob", 2).unwrap();
        let generation = control.rules_generation();
        let same = control.edit_rule(&key, "cem", 3, |known| {
            assert_eq!(known.document, noted.document);
            None
        });
        assert!(same.unwrap().is_none());
        assert_eq!((control.rules_generation(), control.audit_log(9).unwrap().len()), (generation, 3));
        let edited = control.edit_rule(&key, "cem", 4, |known| {
            let mut document = known.document.clone();
            document.insert("tags".to_owned(), json!(["t"]));
            Some(document)
        });
        let edited = edited.unwrap().unwrap();
        assert_eq!((&edited.document["note"], &edited.document["tags"]), (&json!("n"), &json!(["t"])));
        assert_eq!((edited.enabled, edited.revision, edited.updated_by.as_str()), (false, 2, "cem"));
        assert!(control.edit_rule(&RuleKey::Id("no"), "cem", 5, |_| None).is_err());
    }

    #[test]
    fn a_bundled_rule_may_come_as_people_changed_it() {
        let (_folder, control) = open();
        let bundled = rule_of(json!({ "version": 3 }));
        let changed = document(json!({ "version": 2, "tags": ["mine"], "immutable": false, "enabled": true }));
        let made = control.create_installed_rule(changed.clone(), &bundled, "ann", 1).unwrap();
        check(&control, &made);
        assert!(made.immutable && made.enabled);
        assert_eq!((&made.document["immutable"], &made.document["version"]), (&json!(true), &json!(3)));
        let source = &made.document["rule_source"];
        assert_eq!((&source["type"], &source["is_customized"]), (&json!("external"), &json!(true)));
        assert_eq!(source["customized_fields"], json!([{ "field_name": "tags" }]));
        let again = control.create_installed_rule(changed, &bundled, "ann", 1);
        assert!(matches!(again, Err(ControlError::Conflict { .. })));
        // The next version finds what people changed.
        let origin = eqlipse_rules::Origin::file("x");
        let next = rule_of(json!({ "version": 4, "name": "new" }));
        let next = eqlipse_rules::LoadedRule { rule: next, origin, content_hash: String::new() };
        assert_eq!(control.install(&[next], true, "eqlipse", 2).unwrap().updated, 1);
        let upgraded = control.rule(&RuleKey::Id(&made.id)).unwrap().unwrap();
        assert_eq!((&upgraded.document["name"], &upgraded.document["tags"]), (&json!("new"), &json!(["mine"])));
    }

    fn rule_of(extra: Value) -> Rule {
        Rule::from_json(document(extra)).unwrap()
    }

    #[test]
    fn a_change_of_type_leaves_nothing_behind() {
        let (_folder, control) = open();
        let made = control.create_rule(document(json!({ "tiebreaker_field": "x", "note": "n" })), "ann", 0).unwrap();
        let patch = json!({ "type": "query", "query": "host.name: *", "language": "kuery" });
        let Value::Object(patch) = patch else { unreachable!() };
        let patched = control.patch_rule(&RuleKey::Id(&made.id), patch, "ann", 1).unwrap();
        assert_eq!(patched.document.get("tiebreaker_field"), None);
        assert_eq!((&patched.document["note"], &patched.document["type"]), (&json!("n"), &json!("query")));
        let entry = control.audit_log(1).unwrap().remove(0);
        assert!(entry.detail.contains("tiebreaker_field"), "{}", entry.detail);
    }

    #[test]
    fn only_what_changes_is_noted() {
        let (_folder, control) = open();
        let made = control.create_rule(document(json!({})), "ann", 0).unwrap();
        let ids = [made.id.clone()];
        let generation = control.rules_generation();
        assert_eq!(control.set_enabled(&ids, false, "bob", 1).unwrap()[0].updated_by, "ann");
        assert_eq!((control.rules_generation(), control.audit_log(9).unwrap().len()), (generation, 1));
        assert_eq!(control.set_enabled(&ids, true, "bob", 2).unwrap()[0].updated_by, "bob");
        assert_eq!((control.rules_generation(), control.audit_log(9).unwrap().len()), (generation + 1, 2));
        assert!(control.patch_rule(&RuleKey::Id("no"), Map::new(), "bob", 3).is_err());
        assert_eq!(control.rules_generation(), generation + 1);
    }

    #[test]
    fn a_new_rule_is_complete() {
        let (_folder, control) = open();
        let made = control.create_rule(document(json!({})), "ann", 1_700_000_000_123_456_789).unwrap().document;
        for (field, value) in [
            ("enabled", json!(false)),
            ("interval", json!("5m")),
            ("to", json!("now")),
            ("max_signals", json!(100)),
            ("setup", json!("")),
            ("version", json!(1)),
            ("revision", json!(0)),
            ("immutable", json!(false)),
            ("rule_source", json!({ "type": "internal" })),
            ("created_at", json!("2023-11-14T22:13:20.123Z")),
            ("updated_by", json!("ann")),
        ] {
            assert_eq!(made[field], value, "{field}");
        }
        for field in [
            "tags",
            "author",
            "false_positives",
            "references",
            "threat",
            "actions",
            "exceptions_list",
            "severity_mapping",
            "risk_score_mapping",
            "related_integrations",
            "required_fields",
        ] {
            assert_eq!(made[field], json!([]), "{field}");
        }
        assert_eq!(made.get("execution_summary"), None);
    }

    /// Some settings of a rule, each good by itself.
    fn settings() -> impl Strategy<Value = Map<String, Value>> {
        let texts = || prop::collection::vec("\\PC{0,8}", 0..3);
        let one = prop_oneof![
            texts().prop_map(|list| ("tags", json!(list))),
            texts().prop_map(|list| ("false_positives", json!(list))),
            "\\PC{1,12}x".prop_map(|text| ("name", json!(text))),
            "\\PC{0,12}".prop_map(|text| ("note", json!(text))),
            (1..1_000_u32).prop_map(|number| ("max_signals", json!(number))),
            (0..=100_u8).prop_map(|number| ("risk_score", json!(number))),
            (1..9_u8).prop_map(|number| ("interval", json!(format!("{number}m")))),
            any::<bool>().prop_map(|flag| ("enabled", json!(flag))),
            prop::sample::select(vec!["low", "high"]).prop_map(|text| ("severity", json!(text))),
            prop::sample::select(vec!["file where true", "sequence [any where true] [any where true]"])
                .prop_map(|text| ("query", json!(text))),
            Just(("timestamp_override", json!("event.ingested"))),
            Just((
                "exceptions_list",
                json!([{ "id": "1", "list_id": "l", "type": "detection", "namespace_type": "single" }])
            )),
            "\\PC{0,4}".prop_map(|text| ("meta", json!({ "from": text, "nested": [1, null] }))),
        ];
        prop::collection::vec(one, 0..6)
            .prop_map(|fields| fields.into_iter().map(|(field, value)| (field.to_owned(), value)).collect())
    }

    /// What every stored rule must be: the document and the rule say the same, here and after reading it again.
    fn check(control: &Control, stored: &StoredRule) {
        let read = control.rule(&RuleKey::Id(&stored.id)).unwrap().unwrap();
        assert_eq!(read.document, stored.document);
        assert_eq!(*read.rule, Rule::from_json(stored.document.clone()).unwrap());
        assert_eq!((read.enabled, read.revision, read.immutable), (stored.enabled, stored.revision, stored.immutable));
        assert_eq!(read.document["enabled"], read.enabled);
        assert_eq!(read.document["revision"], read.revision);
        assert_eq!(read.document["id"], read.id);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// What is written is what is read; a patch changes what it names and nothing else, an update resets the rest.
        #[test]
        fn rules_are_kept_as_they_were_written(first in settings(), patch in settings(), second in settings()) {
            let (_folder, control) = open();
            let made = control.create_rule(document(first.clone().into()), "ann", 1).unwrap();
            check(&control, &made);
            let key = RuleKey::RuleId("x-1");
            for (field, value) in &first {
                prop_assert_eq!(&made.document[field], value);
            }

            let patched = control.patch_rule(&key, patch.clone(), "bob", 2).unwrap();
            check(&control, &patched);
            for (field, value) in without_keeping(made.document.clone()) {
                prop_assert_eq!(&patched.document[&field], patch.get(&field).unwrap_or(&value));
            }
            for (field, value) in &patch {
                prop_assert_eq!(&patched.document[field], value);
            }
            let is_same = without_keeping(patched.document.clone()) == without_keeping(made.document.clone());
            prop_assert_eq!(patched.revision, u64::from(!is_same));

            let updated = control.update_rule(&key, document(second.clone().into()), "bob", 3).unwrap();
            check(&control, &updated);
            let mut wanted = document(second.into());
            wanted.insert("rule_id".to_owned(), "x-2".into());
            let fresh = control.create_rule(wanted.clone(), "ann", 4).unwrap();
            let mut same = without_keeping(fresh.document);
            same.insert("rule_id".to_owned(), "x-1".into());
            prop_assert_eq!(without_keeping(updated.document.clone()), same);
            prop_assert_eq!(updated.enabled, wanted.get("enabled").map_or(patched.enabled, |flag| flag == true));

            // Sending back what was given changes nothing.
            let echoed = control.update_rule(&key, updated.document.clone(), "cem", 5).unwrap();
            prop_assert_eq!(echoed.revision, updated.revision);
            prop_assert_eq!(without_keeping(echoed.document), without_keeping(updated.document));
        }
    }
}
