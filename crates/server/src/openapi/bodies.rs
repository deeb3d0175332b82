//! Bodies that parsers take apart by hand, as JSON Schema: the Query DSL, searches, actions on rules.
//!
//! A schema says what its parser takes and no more: where a parser refuses unknown members, so does the schema. What a
//! text must be in itself (a query of EQL, date math, a pattern) no schema says.
#![allow(dead_code, reason = "some schemas are part of others only")]

use std::borrow::Cow;

use serde_json::{Value, json};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Types that stand for schemas in annotations, and the schemas.
macro_rules! bodies {
    ($($(#[doc = $description:literal])* $name:ident = $schema:expr;)*) => {
        $(
            $(#[doc = $description])*
            pub(crate) enum $name {}

            // The document has the schema in place of this one.
            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    ObjectBuilder::new().into()
                }
            }

            impl ToSchema for $name {
                fn name() -> Cow<'static, str> {
                    Cow::Borrowed(stringify!($name))
                }
            }
        )*

        /// All schemas by name.
        pub(super) fn schemas() -> Vec<(&'static str, Value)> {
            vec![$((stringify!($name), described(concat!($($description),*).trim(), $schema))),*]
        }
    };
}

fn described(description: &str, mut schema: Value) -> Value {
    schema["description"] = description.into();
    schema
}

bodies! {
    /// A query of Elasticsearch's Query DSL: an object with the name of one query.
    QueryDsl = one_of_names(json!({
        "match_all": options(json!({})),
        "match_none": options(json!({})),
        "bool": options(json!({
            "must": queries(), "filter": queries(), "should": queries(), "must_not": queries(), "mustNot": queries(),
            "minimum_should_match": { "type": ["integer", "string", "number", "boolean"] },
            "adjust_pure_negative": flag(),
        })),
        "constant_score": required(&["filter"], options(json!({ "filter": query() }))),
        "nested": required(&["path", "query"], options(json!({
            "path": { "type": "string" }, "query": query(), "score_mode": {}, "ignore_unmapped": {},
        }))),
        "dis_max": required(&["queries"], options(json!({ "queries": queries(), "tie_breaker": {} }))),
        "term": of_a_field(),
        "terms": of_a_field(),
        "range": of_a_field(),
        "exists": required(&["field"], options(json!({ "field": { "type": "string", "minLength": 1 } }))),
        "wildcard": of_a_field(),
        "prefix": of_a_field(),
        "regexp": of_a_field(),
        "match": of_a_field(),
        "match_phrase": of_a_field(),
        "match_phrase_prefix": of_a_field(),
        "match_bool_prefix": of_a_field(),
        "multi_match": required(&["query"], options(json!({
            "query": scalar(),
            "fields": one_or_more(scalar()),
            "type": {},
            "operator": {}, "minimum_should_match": {}, "slop": {}, "lenient": {}, "zero_terms_query": {},
            "fuzziness": {}, "tie_breaker": {}, "analyzer": {}, "auto_generate_synonyms_phrase_query": {},
            "max_expansions": {},
        }))),
        "ids": required(&["values"], options(json!({ "values": one_or_more(scalar()) }))),
    }));

    /// Aggregations by name. Those that make buckets may have further ones below `aggs`.
    Aggregations = json!({
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "minProperties": 1,
            "properties": {
                "aggs": reference("Aggregations"),
                "aggregations": reference("Aggregations"),
                "meta": {},
                "filter": query(),
                "filters": with(json!({ "filters": {}, "other_bucket": {}, "other_bucket_key": {}, "keyed": {} })),
                "terms": of_values(json!({
                    "size": count(), "order": {}, "min_doc_count": count(), "include": {}, "exclude": {}, "format": {},
                    "shard_size": {}, "shard_min_doc_count": {}, "show_term_doc_count_error": {}, "collect_mode": {},
                    "execution_hint": {}, "value_type": {},
                })),
                "date_histogram": of_values(json!({
                    "fixed_interval": {}, "calendar_interval": {}, "interval": {}, "time_zone": {}, "format": {},
                    "offset": {}, "min_doc_count": count(), "extended_bounds": {}, "hard_bounds": {}, "keyed": {},
                    "order": {},
                })),
                "histogram": of_values(json!({
                    "interval": {}, "offset": {}, "min_doc_count": count(), "keyed": {}, "order": {},
                })),
                "missing": of_values(json!({})),
                "min": of_values(json!({ "format": {} })),
                "max": of_values(json!({ "format": {} })),
                "avg": of_values(json!({ "format": {} })),
                "sum": of_values(json!({ "format": {} })),
                "stats": of_values(json!({ "format": {} })),
                "value_count": of_values(json!({ "format": {} })),
                "cardinality": of_values(json!({ "precision_threshold": count(), "execution_hint": {}, "format": {} })),
            },
            "additionalProperties": false,
        },
    });

    /// A key to sort by, or several: `"@timestamp"`, `{"@timestamp": "desc"}`, `{"@timestamp": {"order": "desc"}}`.
    Sort = one_or_more(json!({ "anyOf": [
        { "type": "string" },
        { "type": "object", "additionalProperties": { "anyOf": [
            { "type": "string" },
            with(json!({
                "order": {}, "missing": {}, "mode": {}, "format": {}, "unmapped_type": {}, "numeric_type": {},
                "ignore_unmapped": {},
            })),
        ] } },
    ] }));

    /// What is shown of a document: all, nothing, or fields by names and patterns.
    SourceFilter = json!({ "anyOf": [
        { "type": ["boolean", "null"] },
        one_or_more(json!({ "type": "string" })),
        with(json!({ "includes": names(), "include": names(), "excludes": names(), "exclude": names() })),
    ] });

    /// Fields to show: names, patterns, or objects with a format.
    Fields = json!({ "type": "array", "items": field_to_show() });

    /// A search.
    SearchBody = with(json!({
        "query": query(),
        "post_filter": query(),
        "aggs": reference("Aggregations"),
        "aggregations": reference("Aggregations"),
        "sort": reference("Sort"),
        "from": count(),
        "size": count(),
        "search_after": { "type": ["array", "null"] },
        "track_total_hits": {},
        "_source": reference("SourceFilter"),
        "fields": one_or_more(field_to_show()),
        "docvalue_fields": one_or_more(field_to_show()),
        "version": flag(),
        "timeout": {},
        "terminate_after": count(),
        "track_scores": flag(), "stats": {}, "ext": {}, "indices_boost": {}, "stored_fields": {},
        "explain": not_shown(), "profile": not_shown(), "seq_no_primary_term": not_shown(),
        "collapse": not_supported(), "highlight": not_supported(), "knn": not_supported(), "min_score": not_supported(),
        "pit": not_supported(), "rank": not_supported(), "rescore": not_supported(), "retriever": not_supported(),
        "runtime_mappings": not_supported(), "script_fields": not_supported(), "suggest": not_supported(),
    }));

    /// What is counted; all where nothing is said.
    CountBody = with(json!({ "query": query() }));

    /// A line with an object that says where to search, then a line with the search, and so on.
    MultiSearchBody = json!({ "type": "string", "minLength": 1 });

    /// A line with an action (`{"create": {"_index": …, "_id": …}}`), then a line with the event, and so on.
    BulkBody = json!({ "type": "string", "minLength": 1 });

    /// Which fields are asked for.
    FieldCapsBody = with(json!({
        "fields": {},
        "index_filter": not_supported(),
        "runtime_mappings": not_supported(),
    }));

    /// A search in the Event Query Language.
    EqlBody = required(&["query"], with(json!({
        "query": { "type": "string", "minLength": 1, "description": "Of events, a sequence or a sample" },
        "filter": described("Events that the query does not see are those that this does not pass.", query_object()),
        "size": count(),
        "fetch_size": count(),
        "event_category_field": { "type": "string" },
        "timestamp_field": { "type": "string" },
        "tiebreaker_field": { "type": "string" },
        "case_sensitive": flag(),
        "result_position": { "enum": ["head", "tail"] },
        "fields": reference("Fields"),
        "max_samples_per_key": count(),
        "keep_alive": {}, "keep_on_completion": {}, "wait_for_completion_timeout": {},
        "allow_partial_search_results": {}, "allow_partial_sequence_results": {},
        "ccs_minimize_roundtrips": {}, "project_routing": {},
        "runtime_mappings": not_supported(), "index_filter": not_supported(),
    })));

    /// A detection rule as Kibana has it. What it must have beside these depends on its type.
    RuleBody = json!({
        "type": "object",
        "required": ["name", "description", "risk_score", "severity", "type"],
        "properties": rule_properties(),
    });

    /// Parts of a detection rule; the others stay as they are. It is named by `id` or `rule_id`.
    RulePatch = json!({ "type": "object", "properties": rule_properties() });

    /// An action on the rules that `ids` or `query` name.
    RulesAction = required(&["action"], json!({
        "type": "object",
        "properties": {
            "action": { "enum": [
                "enable", "disable", "delete", "duplicate", "export", "edit", "run", "fill_gaps",
            ] },
            "run": past("A stretch of the past that rules are run over, for `run`"),
            "fill_gaps": past("A stretch of the past whose missed windows are evaluated, for `fill_gaps`"),
            "ids": { "type": ["array", "null"], "items": { "type": "string" }, "minItems": 1, "maxItems": 100 },
            "query": { "type": ["string", "null"], "description": "A filter in KQL" },
            "edit": { "description": "What is changed, for `edit`", "type": "array", "items": {
                "type": "object", "required": ["type", "value"], "properties": {
                    "type": { "type": "string" },
                    "overwrite_data_views": { "type": "boolean", "description": "Rules with a data view are edited too" },
                },
            } },
            "duplicate": { "description": "For `duplicate`", "type": ["object", "null"], "properties": {
                "include_exceptions": { "type": "boolean", "default": true },
            } },
        },
    }));

    /// The rules that are exported; all where nothing is said.
    ExportBody = json!({
        "type": ["object", "null"],
        "properties": { "objects": { "type": ["array", "null"], "items": {
            "type": "object", "required": ["rule_id"], "properties": { "rule_id": { "type": "string" } },
        } } },
    });

    /// A detection rule that is run without being kept.
    PreviewBody = json!({
        "type": "object",
        "required": ["name", "description", "risk_score", "severity", "type"],
        "properties": {
            "invocationCount": { "description": "How many windows", "default": 1 },
            "timeframeEnd": { "type": "string", "format": "date-time", "description": "The end of the last window" },
        },
    });

    /// The new status of alerts that are named by `signal_ids` or `query`.
    AlertStatusBody = json!({
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": { "enum": ["open", "acknowledged", "closed"] },
            "reason": { "description": "Why they were closed" },
            "signal_ids": strings(),
            "query": query(),
        },
        "oneOf": [{ "required": ["signal_ids"] }, { "required": ["query"] }],
    });

    /// Tags to add to alerts, and to remove from them.
    AlertTagsBody = alert_lists("tags", "tags_to_add", "tags_to_remove");

    /// Users to assign alerts to, and to take them from.
    AlertAssigneesBody = alert_lists("assignees", "add", "remove");

    /// A template, policy or pipeline: kept as it is, to be found again.
    KeptBody = json!({ "type": "object" });

    /// An index: its aliases are kept, settings and mappings change nothing.
    IndexBody = json!({ "type": "object", "properties": { "aliases": { "type": "object" } } });

    /// What is said of an alias is kept with it.
    AliasBody = json!({ "type": "object" });

    /// Aliases to add and to remove.
    AliasesBody = json!({
        "type": "object",
        "required": ["actions"],
        "properties": { "actions": { "type": "array", "minItems": 1, "items": {
            "type": "object",
            "minProperties": 1,
            "properties": { "add": alias_action(), "remove": alias_action() },
        } } },
    });

    /// An event, in the Elastic Common Schema or as its shipper writes it.
    Event = json!({ "type": "object" });
}

fn reference(name: &str) -> Value {
    super::reference("schemas", name)
}

fn query() -> Value {
    reference("QueryDsl")
}

/// The same where something is said of it.
fn query_object() -> Value {
    json!({ "allOf": [query()] })
}

fn queries() -> Value {
    one_or_more(query())
}

fn one_or_more(item: Value) -> Value {
    json!({ "anyOf": [item, { "type": "array", "items": item }] })
}

/// An object with these members and no others.
fn with(properties: Value) -> Value {
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// The same with what every query may have and what changes nothing here.
fn options(mut properties: Value) -> Value {
    properties["boost"] = json!({});
    properties["_name"] = json!({});
    with(properties)
}

fn required(names: &[&str], mut schema: Value) -> Value {
    schema["required"] = json!(names);
    schema
}

fn past(what: &str) -> Value {
    json!({
        "type": "object", "description": what, "required": ["start_date"], "properties": {
            "start_date": { "type": "string", "format": "date-time" },
            "end_date": { "type": "string", "format": "date-time" },
        },
    })
}

fn one_of_names(properties: Value) -> Value {
    let mut schema = with(properties);
    schema["minProperties"] = 1.into();
    schema["maxProperties"] = 1.into();
    schema
}

/// What an aggregation says of the values of a field.
fn of_values(mut properties: Value) -> Value {
    properties["field"] = scalar();
    properties["missing"] = json!({});
    required(&["field"], with(properties))
}

/// A field's name with what is said of it: the value alone, or an object.
fn of_a_field() -> Value {
    json!({ "type": "object", "minProperties": 1 })
}

fn scalar() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

fn names() -> Value {
    one_or_more(json!({ "type": ["string", "null"] }))
}

fn field_to_show() -> Value {
    json!({ "anyOf": [
        { "type": "string" },
        required(&["field"], with(json!({ "field": { "type": "string" }, "format": {}, "include_unmapped": {} }))),
    ] })
}

/// A truth value, also as text.
fn flag() -> Value {
    json!({ "enum": [true, false, "true", "false"] })
}

/// A whole number, 0 or more, also as text.
fn count() -> Value {
    json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string", "pattern": "^\\s*\\+?[0-9]+\\s*$" }] })
}

fn not_supported() -> Value {
    json!({ "description": "Not supported: refused unless it is empty", "enum": [{}, null] })
}

fn not_shown() -> Value {
    json!({ "description": "Not supported: refused unless it is false", "enum": [false, "false"] })
}

fn strings() -> Value {
    json!({ "type": "array", "items": { "type": "string" } })
}

fn rule_properties() -> Value {
    json!({
        "id": { "type": "string", "description": "The id here" },
        "rule_id": { "type": "string", "description": "The id that stays the same between installations" },
        "name": { "type": "string" },
        "description": { "type": "string" },
        "type": { "type": "string", "description": "eql, query, threshold, …" },
        "severity": { "enum": ["low", "medium", "high", "critical"] },
        "risk_score": { "type": "number", "minimum": 0, "maximum": 100 },
        "enabled": { "type": "boolean" },
        "query": { "type": "string" },
        "language": { "type": "string" },
        "index": strings(),
        "interval": { "type": "string", "examples": ["5m"] },
        "from": { "type": "string", "examples": ["now-9m"] },
        "to": { "type": "string", "examples": ["now"] },
        "max_signals": { "type": "integer", "minimum": 1 },
        "tags": strings(),
    })
}

fn alert_lists(of: &str, add: &str, remove: &str) -> Value {
    json!({
        "type": "object",
        "required": ["ids", of],
        "properties": {
            "ids": { "type": "array", "items": { "type": "string" }, "minItems": 1 },
            of: {
                "type": "object",
                "required": [add, remove],
                "properties": { add: strings(), remove: strings() },
            },
        },
    })
}

fn alias_action() -> Value {
    json!({
        "type": "object",
        "required": ["index", "alias"],
        "properties": { "index": { "type": "string" }, "alias": { "type": "string" } },
    })
}
