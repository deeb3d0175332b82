//! Rules that come with the service, in packages or in files.

use std::collections::HashSet;

use eqlipse_rules::{LoadedRule, Rule};
use rusqlite::Transaction;

use crate::audit::add;
use crate::customized::merge;
use crate::rules::{Keeping, Raw, RuleKey, check_query, insert, select, update, without_keeping};
use crate::{AuditEntry, Control, ControlError};

/// What installing rules did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstallReport {
    /// Rules that are new.
    pub installed: usize,
    /// Rules of which another version came.
    pub updated: usize,
    /// Rules that are there in this version or a newer one, or that people made.
    pub unchanged: usize,
    /// Rules that were not taken: `rule_id`, and why.
    pub failed: Vec<(String, String)>,
}

/// What became of one rule.
enum Outcome {
    Installed,
    Updated,
    Unchanged,
}

impl Control {
    /// Adds rules that come with the service or in files, and brings those that are there to the version that came. As
    /// in a hunt, a rule that Kibana would refuse is taken with a default in place of what it refuses, if its query can
    /// run.
    ///
    /// Whether a rule that is there is enabled stays as it is, and so does what people changed in it; a rule that
    /// people made is left alone. A version that is older than the installed one is not taken. Installing the same
    /// rules again changes nothing.
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
            let mut seen = HashSet::new();
            for LoadedRule { rule, .. } in rules {
                let outcome = match seen.insert(&rule.rule_id) {
                    true => install(transaction, rule, enabled, by, now),
                    false => {
                        Err(ControlError::Invalid("another rule with this rule_id was installed just before".into()))
                    }
                };
                match outcome {
                    Ok(Outcome::Installed) => report.installed += 1,
                    Ok(Outcome::Updated) => report.updated += 1,
                    Ok(Outcome::Unchanged) => report.unchanged += 1,
                    Err(ControlError::Invalid(reason)) => report.failed.push((rule.rule_id.clone(), reason)),
                    Err(error) => return Err(error),
                }
            }
            let is_changed = report.installed + report.updated > 0;
            if is_changed {
                let detail = format!("{} installed, {} updated", report.installed, report.updated);
                add(transaction, &AuditEntry::new(now, by, "rules_install", "", detail))?;
            }
            Ok((report, is_changed))
        })
    }
}

fn install(
    transaction: &Transaction<'_>,
    rule: &Rule,
    enabled: bool,
    by: &str,
    now: i64,
) -> Result<Outcome, ControlError> {
    let base = without_keeping(rule.to_api_json());
    let Some(raw) = select(transaction, &RuleKey::RuleId(&rule.rule_id))? else {
        check_query(rule)?;
        let mut rule = rule.clone();
        rule.enabled = enabled;
        insert(transaction, rule, &Keeping::new(by, now, Some(base)))?;
        return Ok(Outcome::Installed);
    };
    // Nearly always at a start: then nothing is read at all.
    if raw.has_base(&serde_json::to_string(&base)?) {
        return Ok(Outcome::Unchanged);
    }
    upgrade(transaction, &raw, rule, base, by, now)
}

fn upgrade(
    transaction: &Transaction<'_>,
    raw: &Raw,
    rule: &Rule,
    base: serde_json::Map<String, serde_json::Value>,
    by: &str,
    now: i64,
) -> Result<Outcome, ControlError> {
    let known = raw.read()?;
    if !known.immutable || known.rule.version > rule.version {
        return Ok(Outcome::Unchanged);
    }
    let mut document = match raw.base()? {
        Some(old) => without_keeping(merge(&old, &known.document, &base)),
        None => base.clone(),
    };
    document.insert("enabled".to_owned(), known.enabled.into());
    let new = Rule::from_json(document).map_err(|error| ControlError::Invalid(error.to_string()))?;
    check_query(&new)?;
    let mut keeping = Keeping::of(&known, Some(base), by, now);
    keeping.revision += 1;
    update(transaction, new, &keeping)?;
    Ok(Outcome::Updated)
}

#[cfg(test)]
mod tests {
    use eqlipse_rules::Origin;
    use serde_json::{Value, json};

    use super::*;
    use crate::StoredRule;
    use crate::testing::{open, rule};

    fn loaded(extra: Value) -> LoadedRule {
        let rule = Rule::from_json(rule(extra)).unwrap();
        LoadedRule { rule, origin: Origin::file("x"), content_hash: String::new() }
    }

    fn install(control: &Control, extra: Value) -> InstallReport {
        control.install(&[loaded(extra)], true, "eqlipse", 1).unwrap()
    }

    fn only(control: &Control) -> StoredRule {
        let mut rules = control.rules().unwrap();
        assert_eq!(rules.len(), 1);
        rules.remove(0)
    }

    #[test]
    fn rules_are_installed_and_upgraded() {
        let (_folder, control) = open();
        assert_eq!(install(&control, json!({ "version": 3, "name": "a" })).installed, 1);
        let generation = control.rules_generation();
        assert_eq!(install(&control, json!({ "version": 3, "name": "a" })).unchanged, 1);
        assert_eq!(install(&control, json!({ "version": 2, "name": "b" })).unchanged, 1);
        assert_eq!(control.rules_generation(), generation);
        let id = only(&control).id;
        control.set_enabled(std::slice::from_ref(&id), false, "ann", 2).unwrap();
        assert_eq!(install(&control, json!({ "version": 4, "name": "c" })).updated, 1);
        let stored = only(&control);
        assert_eq!((stored.id, stored.enabled, stored.rule.name.as_str()), (id, false, "c"));
        assert_eq!((stored.immutable, stored.revision, stored.created_at), (true, 1, 1));
        assert_eq!(stored.document["rule_source"]["is_customized"], false);
        // A file that was changed without another version.
        assert_eq!(install(&control, json!({ "version": 4, "name": "d" })).updated, 1);
        assert_eq!(only(&control).rule.name, "d");
    }

    #[test]
    fn what_people_changed_outlives_an_upgrade() {
        let (_folder, control) = open();
        install(&control, json!({ "version": 1 }));
        let Value::Object(patch) = json!({ "tags": ["mine"], "query": "file where true", "version": 7 }) else {
            unreachable!()
        };
        let patched = control.patch_rule(&RuleKey::RuleId("x-1"), patch, "ann", 2).unwrap();
        let named = json!([{ "field_name": "query" }, { "field_name": "tags" }]);
        assert_eq!(patched.document["rule_source"]["customized_fields"], named);
        assert_eq!(patched.document["version"], 1);
        assert_eq!(install(&control, json!({ "version": 1 })).unchanged, 1);
        assert_eq!(only(&control).document, patched.document);
        assert_eq!(install(&control, json!({ "version": 2, "query": "any where false", "name": "new" })).updated, 1);
        let upgraded = only(&control);
        assert_eq!(
            (upgraded.rule.tags.as_slice(), upgraded.rule.name.as_str()),
            (["mine".to_owned()].as_slice(), "new")
        );
        assert_eq!(upgraded.document["query"], "file where true");
        assert_eq!((upgraded.document["version"].as_u64(), upgraded.revision), (Some(2), 2));
        assert_eq!(upgraded.document["rule_source"]["customized_fields"], named);
    }

    #[test]
    fn what_people_made_stays_and_what_is_no_rule_is_named() {
        let (_folder, control) = open();
        let mine = control.create_rule(rule(json!({})), "ann", 1).unwrap();
        let broken = loaded(json!({ "rule_id": "x-2", "query": "process where" }));
        let twice = [loaded(json!({ "name": "a" })), broken, loaded(json!({ "name": "b" }))];
        let report = control.install(&twice, true, "eqlipse", 2).unwrap();
        assert_eq!((report.installed, report.updated, report.unchanged), (0, 0, 1));
        let failed: Vec<&str> = report.failed.iter().map(|(rule, _)| rule.as_str()).collect();
        assert_eq!(failed, ["x-2", "x-1"]);
        assert!(report.failed[0].1.starts_with("query: "), "{report:?}");
        assert_eq!(only(&control).document, mine.document);
    }
}
