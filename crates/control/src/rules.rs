//! Rules, in the form of Kibana's API.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use eqlipse_rules::{LoadedRule, ProblemLevel, Rule, validate};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::database::{add_audit, time_text};
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

/// What installing rules did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallReport {
    /// Rules that are new.
    pub installed: usize,
    /// Rules of which a newer version came.
    pub updated: usize,
    /// Rules that are there in this version, or were changed by people.
    pub unchanged: usize,
    /// Rules that were not taken: `rule_id`, and why.
    pub failed: Vec<(String, String)>,
}

/// Fields that say how a rule is kept, not what it does.
const KEEPING: [&str; 10] = [
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
    pub fn create_rule(&self, document: Map<String, Value>, by: &str, now: i64) -> Result<StoredRule, ControlError> {
        self.change_rules(|transaction| {
            let mut document = document;
            if !document.get("rule_id").is_some_and(|id| id.as_str().is_some_and(|id| !id.is_empty())) {
                document.insert("rule_id".to_owned(), Uuid::new_v4().to_string().into());
            }
            KEEPING.iter().filter(|field| **field != "enabled").for_each(|field| _ = document.shift_remove(*field));
            let rule = read_rule(document)?;
            if select(transaction, &RuleKey::RuleId(&rule.rule_id))?.is_some() {
                return Err(ControlError::Conflict { what: "rule_id", name: rule.rule_id });
            }
            let keeping =
                Keeping { id: Uuid::new_v4().to_string(), revision: 0, immutable: false, by, now, made: None };
            let stored = store(transaction, rule, &keeping)?;
            add_audit(transaction, &AuditEntry::new(now, by, "rule_create", &stored.rule.rule_id, &stored.rule.name))?;
            Ok(stored)
        })
    }

    /// Replaces a rule: what the document does not say gets its default, except whether it is enabled, and its version.
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
        self.edit_rule(key, by, now, "rule_update", |known| {
            let mut document = document;
            for field in ["enabled", "version"] {
                if let (None, Some(value)) = (document.get(field), known.get(field)) {
                    document.insert(field.to_owned(), value.clone());
                }
            }
            document
        })
    }

    /// Changes parts of a rule: members of the patch take the place of the rule's, null removes.
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
        self.edit_rule(key, by, now, "rule_patch", |known| {
            let mut document = known.clone();
            for (field, value) in patch {
                match value {
                    Value::Null => _ = document.shift_remove(&field),
                    value => _ = document.insert(field, value),
                }
            }
            document
        })
    }

    fn edit_rule(
        &self,
        key: &RuleKey<'_>,
        by: &str,
        now: i64,
        action: &str,
        edit: impl FnOnce(&Map<String, Value>) -> Map<String, Value>,
    ) -> Result<StoredRule, ControlError> {
        self.change_rules(|transaction| {
            let known = select(transaction, key)?.ok_or_else(|| key.not_found())?.read()?;
            let mut document = edit(&known.document);
            for field in KEEPING.iter().filter(|field| **field != "enabled") {
                document.shift_remove(*field);
            }
            document.insert("rule_id".to_owned(), known.rule.rule_id.clone().into());
            let rule = read_rule(document)?;
            let is_same = without_keeping(&rule.to_api_json()) == without_keeping(&known.document);
            let revision = known.revision + u64::from(!is_same);
            let made = Some((known.created_at, known.created_by.clone()));
            let keeping = Keeping { id: known.id, revision, immutable: known.immutable, by, now, made };
            let stored = store(transaction, rule, &keeping)?;
            add_audit(transaction, &AuditEntry::new(now, by, action, &stored.rule.rule_id, &stored.rule.name))?;
            Ok(stored)
        })
    }

    /// Removes a rule. Its alerts stay.
    ///
    /// # Errors
    /// If there is no such rule.
    pub fn delete_rule(&self, key: &RuleKey<'_>, by: &str, now: i64) -> Result<StoredRule, ControlError> {
        self.change_rules(|transaction| {
            let known = select(transaction, key)?.ok_or_else(|| key.not_found())?.read()?;
            transaction.execute("DELETE FROM rules WHERE id = ?1", [&known.id])?;
            add_audit(transaction, &AuditEntry::new(now, by, "rule_delete", &known.rule.rule_id, &known.rule.name))?;
            Ok(known)
        })
    }

    /// Has rules run, or not, and returns them. Ids without a rule are passed over.
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
        self.change_rules(|transaction| {
            let mut changed = Vec::new();
            for id in ids {
                let Some(known) = select(transaction, &RuleKey::Id(id))? else { continue };
                let known = known.read()?;
                let mut rule = Rule::clone(&known.rule);
                rule.enabled = enabled;
                let made = Some((known.created_at, known.created_by));
                let keeping =
                    Keeping { id: known.id, revision: known.revision, immutable: known.immutable, by, now, made };
                let stored = store(transaction, rule, &keeping)?;
                let action = if enabled { "rule_enable" } else { "rule_disable" };
                add_audit(transaction, &AuditEntry::new(now, by, action, &stored.rule.rule_id, &stored.rule.name))?;
                changed.push(stored);
            }
            Ok(changed)
        })
    }

    /// Adds rules that come with the service or in files, and brings those that are there to a newer version. Whether a
    /// rule that is there is enabled stays as it is, and so does one that people made.
    ///
    /// # Errors
    /// If the database cannot be read or written. Rules that are not taken are in the report.
    pub fn install(
        &self,
        rules: &[LoadedRule],
        enabled: bool,
        by: &str,
        now: i64,
    ) -> Result<InstallReport, ControlError> {
        self.change_rules(|transaction| {
            let mut report = InstallReport::default();
            for LoadedRule { rule, .. } in rules {
                let known = select(transaction, &RuleKey::RuleId(&rule.rule_id))?.map(|raw| raw.read()).transpose()?;
                let mut new = rule.clone();
                new.enabled = known.as_ref().map_or(enabled, |known| known.enabled);
                if let Some(known) = &known
                    && (!known.immutable
                        || known.rule.version > new.version
                        || without_keeping(&known.document) == without_keeping(&new.to_api_json()))
                {
                    report.unchanged += 1;
                    continue;
                }
                let id = known.as_ref().map_or_else(|| Uuid::new_v4().to_string(), |known| known.id.clone());
                let revision = known.as_ref().map_or(0, |known| known.revision + 1);
                let made = known.as_ref().map(|known| (known.created_at, known.created_by.clone()));
                store(transaction, new, &Keeping { id, revision, immutable: true, by, now, made })?;
                match known {
                    Some(_) => report.updated += 1,
                    None => report.installed += 1,
                }
            }
            if report.installed + report.updated > 0 {
                let detail = format!("{} installed, {} updated", report.installed, report.updated);
                add_audit(transaction, &AuditEntry::new(now, by, "rules_install", "", detail))?;
            }
            Ok(report)
        })
    }

    fn change_rules<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        let done = self.write(work)?;
        self.0.rules_generation.fetch_add(1, Ordering::SeqCst);
        Ok(done)
    }
}

/// Reads a document, and refuses what Kibana would refuse.
fn read_rule(document: Map<String, Value>) -> Result<Rule, ControlError> {
    let rule = Rule::from_json(document).map_err(|error| ControlError::Invalid(error.to_string()))?;
    let problem = validate(&rule).into_iter().find(|problem| problem.level == ProblemLevel::Error);
    if let Some(problem) = problem {
        return Err(ControlError::Invalid(problem.to_string()));
    }
    if let Some(eql) = rule.eql() {
        let checked = eqlipse_eql::parse(&eql.query).map(|query| eqlipse_eql::check(&query, &eqlipse_eql::Catalogue));
        let diagnostics = checked.unwrap_or_else(|errors| errors);
        if let Some(error) = diagnostics.iter().find(|diagnostic| diagnostic.is_error()) {
            return Err(ControlError::Invalid(format!("query: {}", error.message)));
        }
    }
    Ok(rule)
}

fn without_keeping(document: &Map<String, Value>) -> Map<String, Value> {
    let kept = document.iter().filter(|(field, _)| !KEEPING.contains(&field.as_str()));
    kept.map(|(field, value)| (field.clone(), value.clone())).collect()
}

/// How a rule is to be kept.
struct Keeping<'a> {
    id: String,
    revision: u64,
    immutable: bool,
    by: &'a str,
    now: i64,
    /// When and by whom it was made; now, where it is new.
    made: Option<(i64, String)>,
}

fn store(transaction: &Transaction<'_>, mut rule: Rule, keeping: &Keeping<'_>) -> Result<StoredRule, ControlError> {
    let Keeping { id, revision, immutable, by, now, made } = keeping;
    let (created_at, created_by) = made.clone().unwrap_or_else(|| (*now, (*by).to_owned()));
    rule.saved_object_id = Some(id.clone());
    rule.revision = u32::try_from(*revision).unwrap_or(u32::MAX);
    rule.immutable = *immutable;
    let mut document = rule.to_api_json();
    document.shift_remove("execution_summary");
    let source = match immutable {
        true => json!({ "type": "external", "is_customized": false }),
        false => json!({ "type": "internal" }),
    };
    document.insert("rule_source".to_owned(), source);
    for (field, value) in [
        ("created_at", time_text(created_at)),
        ("created_by", created_by.clone()),
        ("updated_at", time_text(*now)),
        ("updated_by", (*by).to_owned()),
    ] {
        document.insert(field.to_owned(), value.into());
    }
    let text = serde_json::to_string(&document)?;
    transaction.execute(
        "INSERT OR REPLACE INTO rules VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![id, rule.rule_id, rule.enabled, text, created_at, created_by, now, by],
    )?;
    Ok(StoredRule {
        id: id.clone(),
        enabled: rule.enabled,
        rule: Arc::new(rule),
        document,
        revision: *revision,
        immutable: *immutable,
        created_at,
        created_by,
        updated_at: *now,
        updated_by: (*by).to_owned(),
    })
}

/// A row of the table.
struct Raw {
    id: String,
    document: String,
    created_at: i64,
    created_by: String,
    updated_at: i64,
    updated_by: String,
}

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok(Raw {
        id: row.get("id")?,
        document: row.get("document")?,
        created_at: row.get("created_at")?,
        created_by: row.get("created_by")?,
        updated_at: row.get("updated_at")?,
        updated_by: row.get("updated_by")?,
    })
}

fn select(connection: &rusqlite::Connection, key: &RuleKey<'_>) -> Result<Option<Raw>, ControlError> {
    let sql = match key {
        RuleKey::Id(_) => "SELECT * FROM rules WHERE id = ?1",
        RuleKey::RuleId(_) => "SELECT * FROM rules WHERE rule_id = ?1",
    };
    Ok(connection.prepare_cached(sql)?.query_row([key.text()], raw).optional()?)
}

impl Raw {
    fn read(&self) -> Result<StoredRule, ControlError> {
        let document: Map<String, Value> = serde_json::from_str(&self.document)?;
        let rule = Rule::from_json(document.clone())
            .map_err(|error| ControlError::Damaged(format!("rule {}: {error}", self.id)))?;
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(extra: Value) -> Map<String, Value> {
        let mut document = json!({
            "rule_id": "x-1", "name": "n", "description": "d", "severity": "low", "risk_score": 21, "type": "eql",
            "language": "eql", "query": "process where true", "index": ["logs-*"], "from": "now-9m",
        });
        let (Value::Object(document), Value::Object(extra)) = (&mut document, extra) else { unreachable!() };
        document.extend(extra);
        std::mem::take(document)
    }

    fn open() -> (tempfile::TempDir, Control) {
        let folder = tempfile::tempdir().unwrap();
        let control = Control::open(&folder.path().join("control.sqlite")).unwrap();
        (folder, control)
    }

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
        ] {
            let error = control.create_rule(document(extra), "ann", 0).unwrap_err();
            assert!(matches!(&error, ControlError::Invalid(message) if message.contains(said)), "{error}");
        }
        assert!(control.rules().unwrap().is_empty() && control.audit_log(9).unwrap().is_empty());
    }

    #[test]
    fn rules_are_installed_and_upgraded() {
        let (_folder, control) = open();
        let loaded = |version: u32, name: &str| {
            let rule = Rule::from_json(document(json!({ "version": version, "name": name }))).unwrap();
            LoadedRule { rule, origin: eqlipse_rules::Origin::file("x"), content_hash: String::new() }
        };
        let install = |rule| control.install(&[rule], true, "eqlipse", 1).unwrap();
        assert_eq!(install(loaded(3, "a")).installed, 1);
        assert_eq!(install(loaded(3, "a")).unchanged, 1);
        assert_eq!(install(loaded(2, "b")).unchanged, 1);
        let id = control.rules().unwrap()[0].id.clone();
        control.set_enabled(&[id.clone()], false, "ann", 2).unwrap();
        assert_eq!(install(loaded(4, "c")).updated, 1);
        let stored = control.rules().unwrap().remove(0);
        assert_eq!((stored.id, stored.enabled, stored.rule.name.as_str()), (id, false, "c"));
        assert!(stored.immutable);
    }
}
