//! Queries against documents, golden answers of aggregations, and properties.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::aggs::Memory;
use super::*;

/// 2026-07-01T12:34:56.789Z
const NOW: i64 = 1_782_909_296_789;

fn matches(query: &Value, source: &Value) -> bool {
    let query = Query::parse(query, NOW).unwrap_or_else(|error| panic!("{query}: {error}"));
    query.matches(&Document { index: "logs-x", id: "id1", source: source.as_object().unwrap() })
}

fn error(query: Value) -> String {
    let error = Query::parse(&query, NOW).unwrap_err();
    format!("{}: {}", error.kind.name(), error.reason)
}

#[test]
fn queries_say_yes_or_no() {
    let source = json!({
        "@timestamp": "2026-07-01T12:00:00.000Z",
        "process": { "name": "cmd.exe", "pid": 42, "args": ["cmd.exe", "/c", "whoami"] },
        "source.ip": "10.1.2.3",
        "message": "The quick brown fox",
        "labels": { "flag": true, "n": "7" },
        "threat": { "indicator": [{ "type": "ip", "n": 1 }, { "type": "url", "n": 2 }] },
    });
    let yes = [
        json!({ "match_all": {} }),
        json!({ "term": { "process.name": "cmd.exe" } }),
        json!({ "term": { "process.name": { "value": "CMD.EXE", "case_insensitive": true, "boost": 2 } } }),
        json!({ "terms": { "process.args": ["x", "/c"], "boost": 1 } }),
        json!({ "term": { "source.ip": "10.0.0.0/8" } }),
        json!({ "range": { "process.pid": { "gt": 41, "lte": "42" } } }),
        json!({ "range": { "@timestamp": { "gte": "now-1h", "lt": "now" } } }),
        json!({ "range": { "@timestamp": { "lte": "2026-07-01" } } }),
        json!({ "range": { "@timestamp": { "gte": "01/07/2026", "format": "dd/MM/yyyy" } } }),
        json!({ "range": { "@timestamp": { "from": "2026-07-01T12:00:00Z", "to": null, "include_lower": true } } }),
        json!({ "exists": { "field": "process" } }),
        json!({ "exists": { "field": "lab*" } }),
        json!({ "match": { "message": "QUICK dog" } }),
        json!({ "match": { "message": { "query": "fox quick", "operator": "and" } } }),
        json!({ "match_phrase": { "message": "quick brown" } }),
        json!({ "match_phrase": { "message": { "query": "quick fox", "slop": 1 } } }),
        json!({ "match_phrase_prefix": { "message": "brown fo" } }),
        json!({ "match_phrase": { "process.name": "cmd.exe" } }),
        json!({ "match": { "process.name.text": "CMD.EXE" } }),
        json!({ "multi_match": { "query": "whoami", "fields": ["message^2", "process.args"] } }),
        json!({ "multi_match": { "query": "brown fox", "type": "phrase", "lenient": true } }),
        json!({ "multi_match": { "query": "42", "fields": ["process.*"] } }),
        json!({ "multi_match": { "query": "quick cmd.exe", "fields": ["message", "process.name.text"], "type": "cross_fields", "operator": "and" } }),
        json!({ "multi_match": { "query": "cmd.exe", "fields": ["message", "process.name"], "type": "cross_fields", "operator": "and" } }),
        json!({ "match": { "message": { "query": "quick", "fuzziness": 0, "analyzer": "standard" } } }),
        json!({ "wildcard": { "process.name": { "value": "C*.e?e", "case_insensitive": true } } }),
        json!({ "wildcard": { "process.name": "c*" } }),
        json!({ "prefix": { "process.name": "cmd" } }),
        json!({ "regexp": { "process.name": "c.d\\.exe" } }),
        json!({ "ids": { "values": ["id0", "id1"] } }),
        json!({ "term": { "_index": "logs-x" } }),
        json!({ "wildcard": { "_index": "logs-*" } }),
        json!({ "bool": {} }),
        json!({ "bool": { "should": [{ "match_none": {} }, { "term": { "labels.flag": true } }] } }),
        json!({ "bool": { "should": [{ "match_none": {} }], "must": { "match_all": {} } } }),
        json!({ "bool": { "should": [{ "match_all": {} }, { "match_all": {} }, { "match_none": {} }], "minimum_should_match": "-1" } }),
        json!({ "bool": { "must_not": [{ "term": { "labels.n": "8" } }] } }),
        json!({ "constant_score": { "filter": { "term": { "labels.n": 7 } } } }),
        json!({ "dis_max": { "queries": [{ "match_none": {} }, { "match_all": {} }] } }),
        json!({ "nested": { "path": "threat.indicator", "query": { "bool": { "must": [
            { "term": { "threat.indicator.type": "ip" } }, { "term": { "threat.indicator.n": 1 } }] } } } }),
    ];
    for query in yes {
        assert!(matches(&query, &source), "{query}");
    }
    let no = [
        json!({ "match_none": {} }),
        json!({ "term": { "process.name": "CMD.EXE" } }),
        json!({ "terms": { "process.name": [] } }),
        json!({ "term": { "source.ip": "192.168.0.0/16" } }),
        json!({ "range": { "@timestamp": { "gt": "2026-07-01" } } }),
        json!({ "range": { "@timestamp": { "lt": "2026-07-01T12:00:00Z" } } }),
        json!({ "exists": { "field": "process.nothing" } }),
        json!({ "match": { "message": { "query": "quick dog", "operator": "AND" } } }),
        json!({ "match": { "message": "" } }),
        json!({ "multi_match": { "query": "quick cmd.exe", "fields": ["message", "process.name.text"], "operator": "and" } }),
        json!({ "multi_match": { "query": "quick dog", "fields": ["message", "process.name.text"], "type": "cross_fields", "operator": "and" } }),
        json!({ "match_phrase": { "message": "fox quick" } }),
        json!({ "match": { "process.pid": { "query": "text", "lenient": true } } }),
        json!({ "wildcard": { "process.name": "C*" } }),
        json!({ "ids": { "values": ["id0"] } }),
        json!({ "bool": { "should": [{ "match_none": {} }], "must": { "match_all": {} }, "minimum_should_match": 1 } }),
        json!({ "bool": { "should": [{ "match_none": {} }], "minimum_should_match": 0 } }),
        json!({ "bool": { "should": [{ "match_none": {} }, { "match_none": {} }], "minimum_should_match": "30%" } }),
        json!({ "bool": { "should": { "match_none": {} }, "must_not": { "match_none": {} }, "minimum_should_match": "-1" } }),
        json!({ "nested": { "path": "threat.indicator", "query": { "bool": { "must": [
            { "term": { "threat.indicator.type": "ip" } }, { "term": { "threat.indicator.n": 2 } }] } } } }),
    ];
    for query in no {
        assert!(!matches(&query, &source), "{query}");
    }
}

#[test]
fn what_is_unknown_is_named() {
    assert_eq!(error(json!({ "matsch": {} })), "parsing_exception: unknown query [matsch] did you mean [match]?");
    assert_eq!(error(json!({ "geo_shape": {} })), "parsing_exception: unknown query [geo_shape]");
    assert_eq!(error(json!({ "bool": { "musst": [] } })), "parsing_exception: [bool] query does not support [musst]");
    assert_eq!(
        error(json!({ "term": "x" })),
        "parsing_exception: [term] query malformed, no start_object after query name"
    );
    let two = json!({ "term": { "a": 1, "b": 2 } });
    assert_eq!(error(two), "parsing_exception: [term] query doesn't support multiple fields, found [a] and [b]");
    assert_eq!(
        error(json!({ "range": { "a": { "above": 1 } } })),
        "parsing_exception: [range] query does not support [above]"
    );
    assert_eq!(error(json!({ "exists": {} })), "parsing_exception: [exists] must be provided with a [field]");
    assert_eq!(error(json!({})), "illegal_argument_exception: query malformed, empty clause found");
    let two = json!({ "match_all": {}, "term": {} });
    assert_eq!(
        error(two),
        "parsing_exception: [match_all] malformed query, expected [END_OBJECT] but found [FIELD_NAME] ([term])"
    );
    let mut deep = json!({ "match_all": {} });
    for _ in 0..40 {
        deep = json!({ "bool": { "must": deep } });
    }
    assert!(error(deep).contains("maximum nested depth"));
    for (query, wanted) in [
        (
            json!({ "match": { "process.name": { "query": "cmd", "fuzziness": "AUTO" } } }),
            "[fuzziness] is not supported",
        ),
        (json!({ "match": { "message": { "query": "cmd", "analyzer": "english" } } }), "\"english\" is not supported"),
        (json!({ "multi_match": { "query": "a", "fields": ["message"], "analyzer": "english" } }), "is not supported"),
        (
            json!({ "multi_match": { "query": "a b", "type": "cross_fields", "operator": "and" } }),
            "over the pattern [*]",
        ),
    ] {
        assert!(error(query.clone()).contains(wanted), "{query}");
    }
    let date = error(json!({ "range": { "@timestamp": { "gte": "then" } } }));
    assert!(date.starts_with("parse_exception: failed to parse date field [then]"), "{date}");
}

#[test]
fn queries_imply_times() {
    let times = |query: Value| Query::parse(&query, NOW).unwrap().implied_times("@timestamp");
    let range = json!({ "range": { "@timestamp": { "gte": 10, "lt": 20 } } });
    assert_eq!(times(range.clone()), (Some(10), Some(19)));
    let and = json!({ "bool": { "filter": [range.clone(), { "range": { "@timestamp": { "gt": 12 } } }, { "match_all": {} }] } });
    assert_eq!(times(and), (Some(13), Some(19)));
    let or = json!({ "bool": { "should": [range.clone(), { "match_all": {} }] } });
    assert_eq!(times(or), (None, None));
    assert_eq!(times(json!({ "bool": { "must_not": range.clone() } })), (None, None));
    let is_only_times = |query: Value| Query::parse(&query, NOW).unwrap().is_only_times("@timestamp");
    assert!(is_only_times(json!({ "bool": { "filter": range.clone() } })));
    assert!(!is_only_times(json!({ "bool": { "filter": range, "minimum_should_match": 1 } })), "nothing passes");
}

#[test]
fn sources_are_filtered() {
    let source = json!({ "a": { "b": 1, "c": 2 }, "d": [{ "e": 1, "f": 2 }], "g.h": 3, "i": {} });
    let filtered = |filter: Value| {
        let filter = SourceFilter::parse(&filter).unwrap();
        filter.apply(source.as_object().unwrap().clone()).map(Value::Object)
    };
    assert_eq!(filtered(json!(false)), None);
    assert_eq!(filtered(json!(true)), Some(source.clone()));
    assert_eq!(filtered(json!("a.b")), Some(json!({ "a": { "b": 1 } })));
    assert_eq!(filtered(json!(["a", "d.e"])), Some(json!({ "a": { "b": 1, "c": 2 }, "d": [{ "e": 1 }] })));
    assert_eq!(
        filtered(json!({ "includes": ["*.h", "a.*"], "excludes": ["a.c"] })),
        Some(json!({ "a": { "b": 1 }, "g.h": 3 }))
    );
    assert!(SourceFilter::parse(&json!({ "only": [] })).is_err());
}

#[test]
fn fields_are_lists_of_values() {
    let source = json!({ "@timestamp": "2026-07-01T12:00:00.5Z", "process": { "name": "x", "args": ["a", "b"] } });
    let document = Document { index: "i", id: "1", source: source.as_object().unwrap() };
    let fields =
        FieldsToShow::parse(&json!(["process.*", { "field": "@timestamp", "format": "epoch_millis" }])).unwrap();
    let shown = fields.of(&document).map(Value::Object);
    let wanted = json!({ "@timestamp": ["1782907200500"], "process.args": ["a", "b"], "process.name": ["x"] });
    assert_eq!(shown, Some(wanted));
    // Asked for twice, a field is there once, in the last format.
    let twice = json!(["*", "process.args", "proc*", { "field": "@timestamp", "format": "yyyy" }, "@timestamp"]);
    let shown = FieldsToShow::parse(&twice).unwrap().of(&document).map(Value::Object);
    let wanted =
        json!({ "@timestamp": ["2026-07-01T12:00:00.500Z"], "process.args": ["a", "b"], "process.name": ["x"] });
    assert_eq!(shown, Some(wanted));
}

#[test]
fn hits_are_sorted() {
    let documents = [
        json!({ "process.pid": 3, "host.name": "b" }),
        json!({ "host.name": "a" }),
        json!({ "process.pid": [9, 1], "host.name": "a" }),
    ];
    let order = |sort: Value| {
        let sort = Sort::parse(&sort).unwrap();
        let mut keys: Vec<(usize, Key)> = documents
            .iter()
            .enumerate()
            .map(|(place, source)| {
                (place, sort.key(&Document { index: "i", id: "x", source: source.as_object().unwrap() }, place as i64))
            })
            .collect();
        keys.sort_by(|a, b| sort.compare(&a.1, &b.1));
        let places: Vec<usize> = keys.iter().map(|(place, _)| *place).collect();
        let shown = keys.iter().map(|(_, key)| sort.json(key)).collect::<Vec<_>>();
        for (key, shown) in keys.iter().map(|(_, key)| key).zip(&shown) {
            assert_eq!(sort.compare(&sort.after(shown).unwrap(), key), std::cmp::Ordering::Equal);
        }
        (places, Value::Array(shown))
    };
    assert_eq!(order(json!(["process.pid"])), (vec![2, 0, 1], json!([[1], [3], [i64::MAX]])));
    assert_eq!(order(json!([{ "process.pid": "desc" }])), (vec![2, 0, 1], json!([[9], [3], [i64::MIN]])));
    assert_eq!(order(json!({ "process.pid": { "order": "asc", "missing": "_first" } })).0, [1, 2, 0]);
    assert_eq!(order(json!([{ "process.pid": { "missing": 2 } }])).0, [2, 1, 0]);
    assert_eq!(order(json!(["host.name", { "_doc": "desc" }])), (vec![2, 1, 0], json!([["a", 2], ["a", 1], ["b", 0]])));
    assert!(
        Sort::parse(&json!([{ "a": { "direction": "asc" } }]))
            .unwrap_err()
            .reason
            .contains("[field_sort] unknown field [direction]")
    );
    assert!(
        Sort::parse(&json!(["a"]))
            .unwrap()
            .after(&json!([]))
            .unwrap_err()
            .reason
            .contains("search_after has 0 value(s) but sort has 1.")
    );
}

fn aggregate(aggs: &Value, documents: &[Value]) -> Value {
    let aggs = Aggregations::parse(aggs, NOW).unwrap_or_else(|error| panic!("{aggs}: {error}"));
    let memory = Memory::default();
    // Two collectors, so that merging is tested too.
    let mut collectors = [aggs.collector(), aggs.collector()];
    for (place, source) in documents.iter().enumerate() {
        let document = Document { index: "i", id: "x", source: source.as_object().unwrap() };
        collectors[place % 2].add(&aggs, &document, &memory).unwrap();
    }
    let [mut one, other] = collectors;
    one.merge(&aggs, other);
    let names: Vec<String> = aggs.render(one.clone(), false).unwrap().keys().cloned().collect();
    let typed = aggs.render(one.clone(), true).unwrap();
    assert!(typed.keys().zip(&names).all(|(typed, name)| typed.split_once('#').unwrap().1 == name), "{typed:?}");
    Value::Object(aggs.render(one, false).unwrap())
}

fn sample() -> Vec<Value> {
    vec![
        json!({ "@timestamp": "2026-07-01T10:00:00Z", "host.name": "a", "process.pid": 1, "ok": true }),
        json!({ "@timestamp": "2026-07-01T10:30:00Z", "host.name": "b", "process.pid": 2, "source.ip": "10.0.0.1" }),
        json!({ "@timestamp": "2026-07-01T13:00:00Z", "host.name": ["a", "a"], "process.pid": [3, 4], "source.ip": "9.0.0.1" }),
        json!({ "@timestamp": "2026-07-02T00:00:00Z", "ok": false }),
    ]
}

#[test]
fn terms_are_counted() {
    let answer = aggregate(
        &json!({ "hosts": { "terms": { "field": "host.name" }, "aggs": { "pids": { "sum": { "field": "process.pid" } } } } }),
        &sample(),
    );
    let wanted = json!({ "hosts": { "doc_count_error_upper_bound": 0, "sum_other_doc_count": 0, "buckets": [
        { "key": "a", "doc_count": 2, "pids": { "value": 8.0 } },
        { "key": "b", "doc_count": 1, "pids": { "value": 2.0 } },
    ] } });
    assert_eq!(answer, wanted);
    let answer = aggregate(
        &json!({ "hosts": { "terms": { "field": "host.name", "size": 1, "missing": "none", "order": { "_key": "desc" } } } }),
        &sample(),
    );
    assert_eq!(answer["hosts"]["buckets"], json!([{ "key": "none", "doc_count": 1 }]));
    assert_eq!(answer["hosts"]["sum_other_doc_count"], 3);
    let by = json!({ "hosts": { "terms": { "field": "host.name", "order": { "m": "asc" } }, "aggs": { "m": { "max": { "field": "process.pid" } } } } });
    assert_eq!(aggregate(&by, &sample())["hosts"]["buckets"][0]["key"], "b");
    let first = |order: Value| {
        let below = json!({
            "s": { "stats": { "field": "process.pid" } },
            "ok": { "filter": { "exists": { "field": "ok" } }, "aggs": { "a.b": { "max": { "field": "process.pid" } } } },
        });
        let by = json!({ "hosts": { "terms": { "field": "host.name", "order": order, "show_term_doc_count_error": true }, "aggs": below } });
        let bucket = aggregate(&by, &sample())["hosts"]["buckets"][0].clone();
        assert_eq!(bucket["doc_count_error_upper_bound"], 0);
        bucket["key"].clone()
    };
    assert_eq!((first(json!({ "s.min": "desc" })), first(json!({ "s.min": "asc" }))), (json!("b"), json!("a")));
    assert_eq!((first(json!({ "ok": "desc" })), first(json!({ "ok._count": "asc" }))), (json!("a"), json!("b")));
    assert_eq!(first(json!({ "ok>a.b": "desc" })), "a");
    let ips =
        aggregate(&json!({ "ips": { "terms": { "field": "source.ip", "order": { "_key": "asc" } } } }), &sample());
    assert_eq!(
        ips["ips"]["buckets"],
        json!([{ "key": "9.0.0.1", "doc_count": 1 }, { "key": "10.0.0.1", "doc_count": 1 }])
    );
    let truths = aggregate(&json!({ "ok": { "terms": { "field": "ok" } } }), &sample());
    assert_eq!(truths["ok"]["buckets"][0], json!({ "key": 0, "key_as_string": "false", "doc_count": 1 }));
    let only = aggregate(
        &json!({ "h": { "terms": { "field": "host.name", "include": "b.*", "exclude": ["x"] } } }),
        &sample(),
    );
    assert_eq!(only["h"]["buckets"], json!([{ "key": "b", "doc_count": 1 }]));
}

#[test]
fn histograms_have_no_holes() {
    let answer = aggregate(
        &json!({ "t": { "date_histogram": { "field": "@timestamp", "fixed_interval": "1h" } } }),
        &sample()[..3],
    );
    let bucket = |time: &str, key: i64, count: u64| json!({ "key_as_string": time, "key": key, "doc_count": count });
    let wanted = json!([
        bucket("2026-07-01T10:00:00.000Z", 1_782_900_000_000, 2),
        bucket("2026-07-01T11:00:00.000Z", 1_782_903_600_000, 0),
        bucket("2026-07-01T12:00:00.000Z", 1_782_907_200_000, 0),
        bucket("2026-07-01T13:00:00.000Z", 1_782_910_800_000, 1),
    ]);
    assert_eq!(answer["t"]["buckets"], wanted);
    let days = json!({ "t": { "date_histogram": { "field": "@timestamp", "calendar_interval": "day", "format": "yyyy-MM-dd", "min_doc_count": 1 } } });
    let names: Vec<Value> = aggregate(&days, &sample())["t"]["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| bucket["key_as_string"].clone())
        .collect();
    assert_eq!(names, ["2026-07-01", "2026-07-02"]);
    let zone = json!({ "t": { "date_histogram": { "field": "@timestamp", "calendar_interval": "day", "time_zone": "-01:00" } } });
    let buckets = &aggregate(&zone, &sample())["t"]["buckets"];
    assert_eq!(buckets[0], bucket("2026-07-01T00:00:00.000-01:00", 1_782_867_600_000, 4));
    // The day on which clocks are put back in Paris has 25 hours, and one of them twice.
    let autumn: Vec<Value> =
        (0..26).map(|hour| json!({ "@timestamp": 1_792_879_200_000i64 + hour * 3_600_000 })).collect();
    let paris = |interval: &str| {
        let aggs = json!({ "t": { "date_histogram": { "field": "@timestamp", "calendar_interval": interval, "time_zone": "Europe/Paris" } } });
        aggregate(&aggs, &autumn)["t"]["buckets"].clone()
    };
    assert_eq!(paris("day")[0], bucket("2026-10-25T00:00:00.000+02:00", 1_792_879_200_000, 25));
    assert_eq!(paris("day")[1], bucket("2026-10-26T00:00:00.000+01:00", 1_792_969_200_000, 1));
    assert_eq!(paris("hour").as_array().unwrap().len(), 26);
    let bounds = json!({ "t": { "date_histogram": { "field": "@timestamp", "calendar_interval": "day",
        "extended_bounds": { "min": "2026-06-30", "max": "2026-07-03" } } } });
    assert_eq!(aggregate(&bounds, &sample())["t"]["buckets"].as_array().unwrap().len(), 4);
    assert_eq!(aggregate(&bounds, &[])["t"]["buckets"].as_array().unwrap().len(), 4);
    // The bucket that an end lies in: what lies in it before the end stays, and the bucket of the last end does not.
    let hard = json!({ "t": { "date_histogram": { "field": "@timestamp", "fixed_interval": "1h",
        "hard_bounds": { "min": "2026-07-01T10:15:00Z", "max": "2026-07-01T13:30:00Z" } } } });
    assert_eq!(
        aggregate(&hard, &sample())["t"]["buckets"],
        json!([bucket("2026-07-01T10:00:00.000Z", 1_782_900_000_000, 2)])
    );
    let offset = json!({ "t": { "date_histogram": { "field": "@timestamp", "calendar_interval": "day", "offset": "+6h",
        "extended_bounds": { "min": "2026-07-01T03:00:00Z", "max": "2026-07-02T03:00:00Z" } } } });
    let keys: Vec<Value> = aggregate(&offset, &sample()[..1])["t"]["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bucket| bucket["key_as_string"].clone())
        .collect();
    assert_eq!(keys, ["2026-07-01T06:00:00.000Z", "2026-07-02T06:00:00.000Z"]);
    let numbers = aggregate(&json!({ "h": { "histogram": { "field": "process.pid", "interval": 2 } } }), &sample());
    let wanted =
        json!([{ "key": 0.0, "doc_count": 1 }, { "key": 2.0, "doc_count": 2 }, { "key": 4.0, "doc_count": 1 }]);
    assert_eq!(numbers["h"]["buckets"], wanted);
}

#[test]
fn names_have_their_types() {
    let aggs = json!({
        "hosts": { "terms": { "field": "host.name" }, "aggs": { "pids": { "max": { "field": "process.pid" } } } },
        "numbers": { "terms": { "field": "process.pid" } },
        "halves": { "terms": { "field": "own.half" } },
        "none": { "terms": { "field": "own.none" } },
        "t": { "date_histogram": { "field": "@timestamp", "calendar_interval": "day" }, "aggs": { "f": { "filter": { "match_all": {} } } } },
    });
    let aggs = Aggregations::parse(&aggs, NOW).unwrap();
    let mut collector = aggs.collector();
    for mut source in sample() {
        source["own"] = json!({ "half": [1, 0.5] });
        let document = Document { index: "i", id: "x", source: source.as_object().unwrap() };
        collector.add(&aggs, &document, &Memory::default()).unwrap();
    }
    let answer = Value::Object(aggs.render(collector, true).unwrap());
    let names: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(names, ["sterms#hosts", "lterms#numbers", "dterms#halves", "umterms#none", "date_histogram#t"]);
    assert_eq!(answer["sterms#hosts"]["buckets"][0]["max#pids"]["value"], 4.0);
    assert_eq!(answer["date_histogram#t"]["buckets"][0]["filter#f"]["doc_count"], 3);
}

#[test]
fn numbers_and_filters() {
    let aggs = json!({
        "min": { "min": { "field": "process.pid" } },
        "max": { "max": { "field": "@timestamp" } },
        "avg": { "avg": { "field": "process.pid" } },
        "count": { "value_count": { "field": "process.pid" } },
        "distinct": { "cardinality": { "field": "host.name" } },
        "stats": { "stats": { "field": "nothing" } },
        "times": { "stats": { "field": "@timestamp", "format": "yyyy-MM-dd" } },
        "some": { "filter": { "term": { "host.name": "a" } }, "aggs": { "n": { "value_count": { "field": "ok" } } } },
        "each": { "filters": { "filters": { "a": { "term": { "host.name": "a" } }, "b": { "term": { "host.name": "b" } } }, "other_bucket_key": "rest" } },
        "none": { "missing": { "field": "host.name" }, "meta": { "x": 1 } },
    });
    let wanted = json!({
        "min": { "value": 1.0 },
        "max": { "value": 1_782_950_400_000.0, "value_as_string": "2026-07-02T00:00:00.000Z" },
        "avg": { "value": 2.5 },
        "count": { "value": 4 },
        "distinct": { "value": 2 },
        "stats": { "count": 0, "min": null, "max": null, "avg": null, "sum": 0.0 },
        "times": { "count": 4, "min": 1_782_900_000_000.0, "max": 1_782_950_400_000.0, "avg": 1_782_915_750_000.0, "sum": 7_131_663_000_000.0,
            "min_as_string": "2026-07-01", "max_as_string": "2026-07-02", "avg_as_string": "2026-07-01", "sum_as_string": "2195-12-29" },
        "some": { "doc_count": 2, "n": { "value": 1 } },
        "each": { "buckets": { "a": { "doc_count": 2 }, "b": { "doc_count": 1 }, "rest": { "doc_count": 1 } } },
        "none": { "doc_count": 1, "meta": { "x": 1 } },
    });
    assert_eq!(aggregate(&aggs, &sample()), wanted);
}

#[test]
fn aggregations_that_make_no_sense_are_refused() {
    let error = |aggs: Value| Aggregations::parse(&aggs, NOW).unwrap_err().reason;
    assert_eq!(error(json!({ "a": { "term": {} } })), "Unknown aggregation type [term] did you mean [terms]?");
    assert_eq!(
        error(json!({ "a": { "terms": { "feld": "x" } } })),
        "Required one of fields [field, script], but none were specified. [terms]"
    );
    assert_eq!(error(json!({ "a": { "terms": { "field": "x", "sise": 1 } } })), "[terms] unknown field [sise]");
    assert_eq!(error(json!({ "a": {} })), "Missing definition for aggregation [a]");
    let below = json!({ "a": { "min": { "field": "x" }, "aggs": { "b": { "min": { "field": "x" } } } } });
    assert_eq!(error(below), "Aggregator [a] of type [min] cannot accept sub-aggregations");
    let ordered = |path: &str| {
        let below = json!({ "b": { "stats": { "field": "y" } }, "c": { "max": { "field": "y" } }, "d": { "terms": { "field": "y" } } });
        error(json!({ "a": { "terms": { "field": "x", "order": { path: "asc" } }, "aggs": below } }))
    };
    for (path, wanted) in [
        ("x", "The provided aggregation [x] either does not exist"),
        ("b", "When ordering on a multi-value metrics aggregation a metric name must be specified."),
        ("b.median", "Unknown metric name [median] on multi-value metrics aggregation [b]"),
        ("c.max", "Ordering on a single-value metrics aggregation can only be done on its value."),
        ("d", "Buckets can only be sorted on a sub-aggregator path"),
        ("d>c", "Buckets can only be sorted on a sub-aggregator path"),
    ] {
        let reason = ordered(path);
        assert!(reason.contains(&format!("Invalid aggregation order path [{path}]. {wanted}")), "{reason}");
    }
    assert!(error(json!({ "a": { "terms": { "field": "x", "min_doc_count": 0 } } })).contains("0 is not supported"));
    let bounds = |key: &str, min: &str| {
        json!({ "a": { "date_histogram": { "field": "@timestamp", "fixed_interval": "1d", key: { "min": min, "max": "2026-07-01" },
            "hard_bounds": { "min": "2026-06-01", "max": "2026-07-01" } } } })
    };
    assert!(
        error(bounds("extended_bounds", "2026-07-02"))
            .starts_with("[extended_bounds.min][1782950400000] cannot be greater")
    );
    assert!(error(bounds("extended_bounds", "2026-05-01")).contains("inside hard bounds"));
    let many = json!({ "t": { "date_histogram": { "field": "@timestamp", "fixed_interval": "1ms" } } });
    let aggs = Aggregations::parse(&many, NOW).unwrap();
    let mut collector = aggs.collector();
    for source in sample() {
        let document = Document { index: "i", id: "x", source: source.as_object().unwrap() };
        collector.add(&aggs, &document, &Memory::default()).unwrap();
    }
    assert_eq!(aggs.render(collector, false).unwrap_err().kind, DslErrorKind::TooManyBuckets);
}

/// Documents with one number and one text.
fn documents() -> impl Strategy<Value = Vec<(Option<i64>, Option<String>)>> {
    proptest::collection::vec((proptest::option::of(-20i64..20), proptest::option::of("[ab]{0,2}")), 0..30)
}

fn written(documents: &[(Option<i64>, Option<String>)]) -> Vec<Value> {
    documents.iter().map(|(number, text)| json!({ "process": { "pid": number }, "host.name": text })).collect()
}

fn queries() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        "[ab]{0,2}".prop_map(|text| json!({ "term": { "host.name": text } })),
        (-20i64..20, -20i64..20)
            .prop_map(|(low, high)| json!({ "range": { "process.pid": { "gte": low, "lt": high } } })),
        Just(json!({ "exists": { "field": "process.pid" } })),
        "[ab*?]{0,3}".prop_map(|text| json!({ "wildcard": { "host.name": text } })),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let list = proptest::collection::vec(inner, 0..3);
        (list.clone(), list.clone(), list, proptest::option::of(0i64..3)).prop_map(
            |(must, should, must_not, minimum)| {
                let mut bool = json!({ "must": must, "should": should, "must_not": must_not });
                if let Some(minimum) = minimum {
                    bool["minimum_should_match"] = minimum.into();
                }
                json!({ "bool": bool })
            },
        )
    })
}

/// The definition of the queries above, written another way.
fn plain(query: &Value, number: Option<i64>, text: Option<&str>) -> bool {
    let (name, body) = query.as_object().unwrap().iter().next().unwrap();
    match name.as_str() {
        "term" => body["host.name"].as_str() == text && text.is_some(),
        "range" => number.is_some_and(|number| {
            number >= body["process.pid"]["gte"].as_i64().unwrap()
                && number < body["process.pid"]["lt"].as_i64().unwrap()
        }),
        "exists" => number.is_some(),
        "wildcard" => text.is_some_and(|text| {
            let pattern = body["host.name"].as_str().unwrap().replace('*', ".*").replace('?', ".");
            eqlipse_engine::text::Regex::new(&pattern, eqlipse_engine::text::Fold::None).unwrap().matches(text)
        }),
        _ => {
            let list = |key: &str| body[key].as_array().cloned().unwrap_or_default();
            let holds = |query: &Value| plain(query, number, text);
            let (must, should, must_not) = (list("must"), list("should"), list("must_not"));
            if must.is_empty() && should.is_empty() && must_not.is_empty() {
                return true;
            }
            let passed = should.iter().filter(|query| holds(query)).count() as i64;
            must.iter().all(holds)
                && !must_not.iter().any(holds)
                && passed >= body["minimum_should_match"].as_i64().unwrap_or(0)
                && (passed > 0 || should.is_empty() || !must.is_empty())
        }
    }
}

proptest! {
    #[test]
    fn queries_equal_their_definition(query in queries(), documents in documents()) {
        let parsed = Query::parse(&query, NOW).unwrap();
        for ((number, text), source) in documents.iter().zip(written(&documents)) {
            let document = Document { index: "i", id: "x", source: source.as_object().unwrap() };
            prop_assert_eq!(parsed.matches(&document), plain(&query, *number, text.as_deref()), "{} {}", query, source);
        }
    }

    #[test]
    fn aggregations_equal_their_definition(documents in documents()) {
        let aggs = json!({ "hosts": { "terms": { "field": "host.name", "size": 100, "order": { "_key": "asc" } }, "aggs": {
            "sum": { "sum": { "field": "process.pid" } }, "pids": { "cardinality": { "field": "process.pid" } } } } });
        let mut wanted: BTreeMap<&str, (u64, Vec<i64>)> = BTreeMap::new();
        for (number, text) in &documents {
            if let Some(text) = text {
                let entry = wanted.entry(text).or_default();
                entry.0 += 1;
                entry.1.extend(*number);
            }
        }
        let wanted: Vec<Value> = wanted.into_iter().map(|(key, (count, mut numbers))| {
            let sum = numbers.iter().sum::<i64>() as f64;
            numbers.sort_unstable();
            numbers.dedup();
            json!({ "key": key, "doc_count": count, "sum": { "value": sum }, "pids": { "value": numbers.len() } })
        }).collect();
        prop_assert_eq!(&aggregate(&aggs, &written(&documents))["hosts"]["buckets"], &Value::Array(wanted));
    }

    #[test]
    fn nothing_panics(text in "\\PC{0,40}", number: f64, key in "[a-z_@.*]{0,12}") {
        let values = [json!(text), json!(number), json!(null), json!([text]), json!({ &key: text }), json!({ &key: { &key: number } })];
        let names = ["bool", "term", "terms", "range", "exists", "match", "match_phrase", "multi_match", "wildcard", "regexp", "ids", "nested", "dis_max"];
        let document: Map<String, Value> = Map::from_iter([(key.clone(), json!([text, number, { &key: [null, text] }]))]);
        let document = Document { index: "i", id: "x", source: &document };
        for value in &values {
            for name in names {
                for query in [json!({ name: value }), json!({ name: { &key: value } }), json!({ name: { &key: { "gte": value, "query": value } } })] {
                    if let Ok(query) = Query::parse(&query, NOW) {
                        query.matches(&document);
                        query.implied_times("@timestamp");
                    }
                }
            }
            _ = Sort::parse(value).map(|sort| sort.json(&sort.key(&document, 1)));
            _ = SourceFilter::parse(value).map(|filter| filter.apply(document.source.clone()));
            _ = FieldsToShow::parse(value).map(|fields| fields.of(&document));
            for name in ["terms", "date_histogram", "histogram", "filters", "cardinality"] {
                let aggs = json!({ "a": { name: { "field": &key, "interval": value, "missing": value, "filters": value } } });
                if let Ok(aggs) = Aggregations::parse(&aggs, NOW) {
                    let mut collector = aggs.collector();
                    _ = collector.add(&aggs, &document, &Memory::default());
                    _ = aggs.render(collector, true);
                }
            }
        }
    }
}
