//! What people changed in installed rules, and how that outlives an upgrade.

use serde_json::{Map, Value};

/// What people set for their place, not for the rule: it makes no rule a customized one, and upgrades leave it.
const LOCAL: [&str; 6] = ["actions", "exceptions_list", "response_actions", "throttle", "meta", "namespace"];

/// Fields that say something together only: who changes one keeps them all.
const GROUPS: [&[&str]; 8] = [
    &["query", "language", "filters", "saved_id", "event_category_override", "timestamp_field", "tiebreaker_field"],
    &["index", "data_view_id"],
    &["interval", "from", "to"],
    &["timestamp_override", "timestamp_override_fallback_disabled"],
    &["timeline_id", "timeline_title"],
    &["threat_query", "threat_language", "threat_filters"],
    &["new_terms_fields", "history_window_start"],
    &["severity", "risk_score"],
];

/// Fields of either document.
fn all_fields<'a>(left: &'a Map<String, Value>, right: &'a Map<String, Value>) -> impl Iterator<Item = &'a str> {
    left.keys().chain(right.keys().filter(|field| !left.contains_key(*field))).map(String::as_str)
}

/// The fields in which a rule differs from what was installed, by name.
pub(crate) fn customized_fields(base: &Map<String, Value>, document: &Map<String, Value>) -> Vec<String> {
    let counts = |field: &str| field != "version" && !LOCAL.contains(&field) && !crate::rules::KEEPING.contains(&field);
    let differs = |field: &&str| counts(field) && base.get(*field) != document.get(*field);
    let mut fields: Vec<String> = all_fields(base, document).filter(differs).map(str::to_owned).collect();
    fields.sort_unstable();
    fields
}

/// The new version of a rule with what people changed in the old one. Where both changed a field, theirs stays; a rule
/// whose type is another now is taken as it comes.
pub(crate) fn merge(
    base: &Map<String, Value>,
    document: &Map<String, Value>,
    new: &Map<String, Value>,
) -> Map<String, Value> {
    let mut merged = new.clone();
    let customized = match base.get("type") == new.get("type") {
        true => customized_fields(base, document),
        false => Vec::new(),
    };
    let is_kept = |field: &str| {
        let is_customized = |name: &str| customized.iter().any(|customized| customized == name);
        let group = GROUPS.iter().find(|group| group.contains(&field));
        let is_local = LOCAL.contains(&field) && base.get(field) != document.get(field);
        is_local || group.map_or_else(|| is_customized(field), |group| group.iter().any(|name| is_customized(name)))
    };
    for field in all_fields(document, new).filter(|field| is_kept(field)) {
        match document.get(field) {
            Some(value) => _ = merged.insert(field.to_owned(), value.clone()),
            None => _ = merged.shift_remove(field),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { unreachable!() };
        map
    }

    #[test]
    fn fields_that_belong_together_stay_together() {
        let base = map(json!({ "type": "query", "query": "a", "language": "kuery", "tags": ["x"], "actions": [] }));
        let known =
            map(json!({ "type": "query", "query": "b", "language": "kuery", "tags": ["x"], "actions": [{ "id": 1 }] }));
        let new = map(json!({ "type": "query", "query": "c", "language": "lucene", "tags": ["y"], "actions": [] }));
        assert_eq!(customized_fields(&base, &known), ["query"]);
        let wanted =
            json!({ "type": "query", "query": "b", "language": "kuery", "tags": ["y"], "actions": [{ "id": 1 }] });
        assert_eq!(merge(&base, &known, &new), map(wanted));
        let mut other = new.clone();
        other.insert("type".to_owned(), "eql".into());
        assert_eq!(merge(&base, &known, &other)["query"], "c");
    }

    fn document() -> impl Strategy<Value = Map<String, Value>> {
        let field = prop::sample::select(vec!["name", "tags", "query", "language", "interval", "from", "note", "meta"]);
        prop::collection::btree_map(field, 0..3_u8, 0..8)
            .prop_map(|fields| fields.into_iter().map(|(field, value)| (field.to_owned(), value.into())).collect())
    }

    proptest! {
        #[test]
        fn merging_loses_no_change(base in document(), known in document(), new in document()) {
            let merged = merge(&base, &known, &new);
            for field in customized_fields(&base, &known) {
                prop_assert_eq!(merged.get(&field), known.get(&field));
            }
            for (field, value) in &merged {
                prop_assert!(known.get(field) == Some(value) || new.get(field) == Some(value));
            }
            // Who changed nothing gets the new version, and where nothing new came, all changes stay.
            prop_assert_eq!(&merge(&base, &base, &new), &new);
            prop_assert_eq!(&merge(&base, &known, &base), &known);
        }
    }
}
