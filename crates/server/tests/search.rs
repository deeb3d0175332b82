//! Searches over real connections, of events in recent chunks and in segments, and of alerts.

mod common;

use common::{Request, Response, Service};
use eqlipse_control::NewAlert;
use serde_json::{Map, Value, json};

/// Events of two data streams, the older half in segments.
fn service() -> Service {
    let service = Service::start();
    let mut body = String::new();
    for number in 0..40 {
        let stream = if number % 4 == 3 { "logs-other-default" } else { "logs-test-default" };
        let document = json!({
            "@timestamp": format!("2026-11-25T10:{number:02}:00.000Z"),
            "event": { "category": "process", "type": "start" },
            "host": { "name": format!("host-{}", number % 3) },
            "process": { "name": if number % 2 == 0 { "cmd.exe" } else { "powershell.exe" }, "pid": number, "entity_id": number.to_string() },
            "source.ip": format!("10.0.{number}.1"),
            "message": format!("Process number {number} started"),
        });
        body.push_str(&format!(
            "{}\n{document}\n",
            json!({ "create": { "_index": stream, "_id": format!("id-{number}") } })
        ));
        if number == 19 {
            assert_eq!(service.post("/_bulk", &body).status, 200);
            service.app().store.flush().unwrap();
            body.clear();
        }
    }
    assert_eq!(service.post("/_bulk", &body).json()["errors"], false);
    service
}

fn ask(service: &Service, path: &str, body: Value) -> Response {
    Request::new("POST", path).header("Content-Type", "application/json").body(body.to_string()).send(service.address)
}

fn search(service: &Service, path: &str, body: Value) -> Value {
    let answer = ask(service, path, body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["hits"]["hits"].as_array().unwrap().iter().map(|hit| hit["_id"].as_str().unwrap()).collect()
}

#[test]
fn searches_find_what_is_asked_for() {
    let service = service();
    let all = search(&service, "/_search", json!({}));
    assert_eq!(all["hits"]["total"], json!({ "value": 40, "relation": "eq" }));
    assert_eq!((all["hits"]["hits"].as_array().unwrap().len(), &all["hits"]["max_score"]), (10, &json!(1.0)));
    let in_order = search(&service, "/logs-test-default/_search", json!({}));
    assert_eq!(ids(&in_order)[..4], ["id-0", "id-1", "id-2", "id-4"], "as they came");
    assert_eq!((&all["timed_out"], &all["_shards"]["total"]), (&json!(false), &json!(2)));
    let some = search(
        &service,
        "/logs-test-*/_search",
        json!({
            "query": { "bool": { "filter": [
                { "range": { "@timestamp": { "gte": "2026-11-25T10:10:00Z", "lt": "2026-11-25T10:30:00Z" } } },
                { "term": { "process.name": "cmd.exe" } },
                { "term": { "source.ip": "10.0.0.0/16" } },
            ], "must_not": { "terms": { "host.name": ["host-0"] } } } },
            "sort": [{ "@timestamp": { "order": "desc" } }],
            "_source": ["process.pid"], "fields": ["host.name"], "size": 3,
        }),
    );
    assert_eq!(some["hits"]["total"]["value"], 7);
    let first = &some["hits"]["hits"][0];
    let wanted = json!({ "_index": "logs-test-default", "_id": "id-28", "_score": null, "_source": { "process": { "pid": 28 } },
        "fields": { "host.name": ["host-1"] }, "sort": [1_795_602_480_000i64] });
    assert_eq!(*first, wanted);
    let after = search(
        &service,
        "/logs-test-default/_search?size=2&_source=false",
        json!({
            "query": { "match": { "message": "number" } }, "sort": [{ "process.pid": "asc" }], "search_after": [4],
        }),
    );
    assert_eq!(ids(&after), ["id-5", "id-6"]);
    assert!(after["hits"]["hits"][0].get("_source").is_none());
    let by_id = search(&service, "/_search", json!({ "query": { "ids": { "values": ["id-39", "id-1", "none"] } } }));
    assert_eq!(ids(&by_id), ["id-1", "id-39"]);
    let counted = search(&service, "/_search", json!({ "size": 1, "track_total_hits": 5 }));
    assert_eq!(counted["hits"]["total"], json!({ "value": 5, "relation": "gte" }));
    let as_int = search(&service, "/_search?rest_total_hits_as_int=true&filter_path=hits.total", json!({}));
    assert_eq!(as_int, json!({ "hits": { "total": 40 } }));
    let bounded = ask(&service, "/_search?rest_total_hits_as_int=true", json!({ "track_total_hits": 5 }));
    assert!(bounded.error().1.ends_with("is not accurate, got 5"), "{}", bounded.text());
    let none = search(&service, "/_search?rest_total_hits_as_int=true&track_total_hits=false&size=0", json!({}));
    assert_eq!(none["hits"]["total"], -1);
    // The sort in the URL is that of the body's search_after.
    let after = search(&service, "/_search?sort=process.pid:desc&size=2", json!({ "search_after": [4] }));
    assert_eq!(ids(&after), ["id-3", "id-2"]);
    assert_eq!(ask(&service, "/_search?sort=process.pid&from=1", json!({ "search_after": [4] })).status, 400);
    let few = search(&service, "/_search", json!({ "terminate_after": 3 }));
    assert_eq!((few["hits"]["total"]["value"].as_u64(), &few["terminated_early"]), (Some(3), &json!(true)));
}

#[test]
fn searches_count_and_aggregate() {
    let service = service();
    assert_eq!(search(&service, "/_count", json!({}))["count"], 40);
    assert_eq!(
        search(&service, "/logs-other-*/_count", json!({ "query": { "prefix": { "process.name": "power" } } }))["count"],
        10
    );
    let answer = search(
        &service,
        "/_search",
        json!({ "size": 0, "aggs": {
        "hosts": { "terms": { "field": "host.name" }, "aggs": { "pids": { "max": { "field": "process.pid" } } } },
        "time": { "date_histogram": { "field": "@timestamp", "fixed_interval": "30m" } },
        "names": { "cardinality": { "field": "process.name" } },
        "streams": { "terms": { "field": "_index" } },
    } }),
    );
    assert_eq!(answer["hits"]["hits"], json!([]));
    let aggregations = &answer["aggregations"];
    assert_eq!(
        aggregations["hosts"]["buckets"][0],
        json!({ "key": "host-0", "doc_count": 14, "pids": { "value": 39.0 } })
    );
    assert_eq!(
        aggregations["time"]["buckets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|bucket| bucket["doc_count"].as_u64().unwrap())
            .collect::<Vec<_>>(),
        [30, 10]
    );
    assert_eq!(aggregations["names"]["value"], 2);
    assert_eq!(aggregations["streams"]["buckets"][0], json!({ "key": "logs-test-default", "doc_count": 30 }));
    let lines = format!(
        "{}\n{}\n{{}}\n{}\n{}\n{}\n",
        json!({ "index": "logs-other-default" }),
        json!({ "size": 0 }),
        json!({ "query": { "x": {} } }),
        json!({ "index": "none" }),
        json!({})
    );
    let answer = service.post("/logs-*/_msearch", &lines).json();
    assert_eq!(answer["responses"][0]["hits"]["total"]["value"], 10);
    assert_eq!((&answer["responses"][0]["status"], &answer["responses"][1]["status"]), (&json!(200), &json!(400)));
    assert_eq!(answer["responses"][2]["error"]["type"], "index_not_found_exception");
    // What the URL says holds for all searches, and headers say otherwise; booleans may be text there.
    let first = |url: &str, header: Value, search: Value| {
        let answer = service.post(&format!("/none/_msearch{url}"), format!("{header}\n{search}\n"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["responses"][0].clone()
    };
    let status = |url: &str, header: Value| first(url, header, json!({}))["status"].clone();
    assert_eq!((status("", json!({})), status("?ignore_unavailable=true", json!({}))), (json!(404), json!(200)));
    assert_eq!(status("", json!({ "ignore_unavailable": "true" })), 200);
    assert_eq!(status("?ignore_unavailable=true", json!({ "ignore_unavailable": "false" })), 404);
    let aggs = json!({ "size": 0, "aggs": { "hosts": { "terms": { "field": "host.name" } } } });
    let typed = first("?rest_total_hits_as_int=true&typed_keys=true", json!({ "index": ["logs-*"] }), aggs.clone());
    assert_eq!(typed["hits"]["total"], 40);
    assert_eq!(typed["aggregations"]["sterms#hosts"]["buckets"][0]["key"], "host-0");
    let late =
        first("", json!({ "index": "logs-*", "allow_partial_search_results": false }), json!({ "timeout": "0ms" }));
    assert_eq!((&late["status"], &late["error"]["phase"]), (&json!(429), &json!("query")));
    for header in [json!({ "indx": "logs-*" }), json!({ "ignore_unavailable": "yes" }), json!({ "index": 5 })] {
        assert_eq!(service.post("/_msearch", format!("{header}\n{{}}\n")).status, 400, "{header}");
    }
    let unknown = service.post("/_msearch", "{\"indx\":\"x\"}\n{}\n").error();
    assert_eq!(unknown.1, "key [indx] is not supported in the metadata section");
    let typed = search(&service, "/_search?typed_keys=true", aggs);
    assert_eq!(typed["aggregations"]["sterms#hosts"]["buckets"][0]["doc_count"], 14);
}

#[test]
fn hits_say_what_they_passed_and_how_well() {
    let service = service();
    let named = json!({ "bool": {
        "should": [
            { "term": { "host.name": { "value": "host-0", "_name": "first host" } } },
            { "range": { "process.pid": { "lt": 2, "_name": "early" } } },
        ],
        "_name": "all of it",
    } });
    let hits = |sort: Value, more: &str| {
        let path = format!("/logs-test-default/_search?size=3{more}");
        let answer = search(&service, &path, json!({ "query": named, "sort": sort }));
        (answer["hits"]["max_score"].clone(), answer["hits"]["hits"].as_array().unwrap().clone())
    };
    let (highest, found) = hits(json!(["process.pid"]), "");
    let names: Vec<&Value> = found.iter().map(|hit| &hit["matched_queries"]).collect();
    let wanted = [
        json!(["all of it", "first host", "early"]),
        json!(["all of it", "early"]),
        json!(["all of it", "first host"]),
    ];
    assert_eq!(names, wanted.iter().collect::<Vec<_>>());
    assert_eq!((&highest, &found[0]["_score"]), (&Value::Null, &Value::Null));
    let (highest, found) = hits(json!(["process.pid", "_score"]), "");
    assert_eq!((&highest, &found[0]["_score"], &found[0]["sort"]), (&Value::Null, &json!(1.0), &json!([0, 1])));
    let (highest, found) = hits(json!(["_score", "process.pid"]), "");
    assert_eq!((&highest, &found[0]["_score"]), (&json!(1.0), &json!(1.0)));
    let (highest, found) = hits(json!(["process.pid"]), "&track_scores=true");
    assert_eq!((&highest, &found[0]["_score"]), (&json!(1.0), &json!(1.0)));
    let (_, found) = hits(json!(["_score"]), "");
    assert!(found[0].get("sort").is_none(), "{}", found[0]);
    for name in ["explain", "profile", "seq_no_primary_term"] {
        let refused = ask(&service, "/_search", json!({ name: true }));
        assert_eq!((refused.status, refused.error().1), (400, format!("[{name}] is not supported")));
        assert_eq!(ask(&service, "/_search", json!({ name: false })).status, 200);
    }
    assert_eq!(ask(&service, "/_search?explain=true", json!({})).status, 400);
    let nanos = json!({ "sort": [{ "@timestamp": { "numeric_type": "date_nanos" } }] });
    assert_eq!(ask(&service, "/_search", nanos).status, 400);
}

#[test]
fn pages_go_on_where_they_ended_though_events_move() {
    let service = service();
    let page = |after: Option<&Value>| {
        let mut body = json!({ "size": 7, "sort": ["host.name", "_seq_no"], "_source": false });
        if let Some(after) = after {
            body["search_after"] = after.clone();
        }
        search(&service, "/_search", body)["hits"]["hits"].as_array().unwrap().clone()
    };
    let mut seen = Vec::new();
    let mut last = None;
    loop {
        let hits = page(last.as_ref());
        let Some(hit) = hits.last() else { break };
        last = Some(hit["sort"].clone());
        seen.extend(hits.iter().map(|hit| hit["_id"].as_str().unwrap().to_owned()));
        // Recent events become segments, each stream its own.
        service.app().store.flush().unwrap();
    }
    let mut wanted: Vec<u32> = (0..40).collect();
    wanted.sort_by_key(|number| (number % 3, *number));
    assert_eq!(seen, wanted.iter().map(|number| format!("id-{number}")).collect::<Vec<_>>());
}

#[test]
fn what_is_wrong_is_named() {
    let service = service();
    let error = |path: &str, body: Value| {
        let answer = ask(&service, path, body);
        (answer.status, answer.error().0, answer.error().1)
    };
    let unknown = error("/_search", json!({ "query": { "matsch": {} } }));
    assert_eq!(
        unknown,
        (400, "parsing_exception".to_owned(), "unknown query [matsch] did you mean [match]?".to_owned())
    );
    assert!(
        error("/_search", json!({ "qery": {} }))
            .2
            .contains("unknown key [qery] in the search request did you mean [query]?")
    );
    let window = error("/_search", json!({ "from": 9_999, "size": 2 }));
    assert_eq!((window.0, window.1.as_str()), (400, "illegal_argument_exception"));
    let date = json!({ "query": { "range": { "@timestamp": { "gte": "then" } } } });
    for (path, query, kind) in [
        ("/_search", date.clone(), "parse_exception"),
        ("/_count", date, "parse_exception"),
        ("/_search", json!({ "query": { "term": { "process.pid": "x" } } }), "query_shard_exception"),
        ("/_search", json!({ "size": 10_001 }), "illegal_argument_exception"),
    ] {
        let failed = ask(&service, path, query).json()["error"].clone();
        let whole = (&failed["type"], &failed["reason"], &failed["phase"], &failed["grouped"]);
        let wanted = json!(["search_phase_execution_exception", "all shards failed", "query", true]);
        assert_eq!(json!([whole.0, whole.1, whole.2, whole.3]), wanted);
        for cause in [&failed["root_cause"][0], &failed["failed_shards"][0]["reason"], &failed["caused_by"]] {
            assert_eq!(cause["type"], kind, "{failed}");
        }
    }
    let late = ask(&service, "/_search?allow_partial_search_results=false", json!({ "timeout": "0ms" }));
    assert_eq!((late.status, &*late.error().0), (429, "search_timeout_exception"));
    assert_eq!(search(&service, "/_search", json!({ "timeout": "0ms" }))["timed_out"], true);
    assert!(window.2.contains("[10000] but was [10001]"), "{}", window.2);
    assert_eq!(error("/nothing/_search", json!({})).0, 404);
    assert_eq!(error("/_search?sise=1", json!({})).2, "request [/_search] contains unrecognized parameter: [sise]");
    assert_eq!(error("/_search", json!({ "collapse": { "field": "x" } })).2, "[collapse] is not supported");
    assert_eq!(error("/_count", json!({ "size": 1 })).2, "request does not support [size]");
    let eql = error("/logs-*/_eql/search", json!({ "query": "process where" }));
    assert_eq!((eql.0, eql.1.as_str()), (400, "parsing_exception"));
    assert!(eql.2.starts_with("line 1:"), "{}", eql.2);
    assert!(
        error("/logs-*/_eql/search", json!({ "query": "any where true", "sise": 1 }))
            .2
            .contains("[eql/search] unknown field [sise]")
    );
    assert!(error("/logs-*/_eql/search", json!({ "query": "any where true", "size": 10_001 })).2.contains("10000"));
}

#[test]
fn eql_searches_find_events_and_sequences() {
    let service = service();
    let eql = |path: &str, body: Value| search(&service, path, body);
    let answer = eql(
        "/logs-*/_eql/search",
        json!({ "query": "process where process.pid > 30 and process.name == \"cmd.exe\"", "size": 2 }),
    );
    assert_eq!(
        (&answer["is_partial"], &answer["is_running"], &answer["timed_out"]),
        (&json!(false), &json!(false), &json!(false))
    );
    let events: Vec<&str> =
        answer["hits"]["events"].as_array().unwrap().iter().map(|event| event["_id"].as_str().unwrap()).collect();
    // Where there are more, the last ones.
    assert_eq!(events, ["id-36", "id-38"]);
    assert_eq!(answer["hits"]["events"][0]["_source"]["process"]["pid"], 36);
    let head = eql(
        "/logs-*/_eql/search",
        json!({ "query": "any where true", "size": 1, "result_position": "head", "fields": ["process.pid"] }),
    );
    assert_eq!(head["hits"]["events"][0]["fields"], json!({ "process.pid": [0] }));
    let other = eql("/logs-other-default/_eql/search", json!({ "query": "any where true", "size": 100 }));
    assert_eq!(other["hits"]["events"].as_array().unwrap().len(), 10);
    let time = json!({ "range": { "@timestamp": { "gte": "2026-11-25T10:10:00Z", "lte": "2026-11-25T10:25:00Z" } } });
    let sequence = json!({
        "query": "sequence by host.name with maxspan=10m [process where process.name == \"cmd.exe\"] ![process where process.pid == 13] [process where process.name == \"powershell.exe\"]",
        "filter": time, "size": 100, "tiebreaker_field": "process.entity_id", "keep_on_completion": true,
    });
    let windowed = eql("/logs-*/_eql/search", sequence.clone());
    let sequences = windowed["hits"]["sequences"].as_array().unwrap();
    assert!(!sequences.is_empty());
    for sequence in sequences {
        let events = sequence["events"].as_array().unwrap();
        assert_eq!((events.len(), &events[1]["missing"], &events[1]["_id"]), (3, &json!(true), &json!("")));
        assert_eq!(sequence["join_keys"][0], events[0]["_source"]["host"]["name"]);
        let pid = events[0]["_source"]["process"]["pid"].as_u64().unwrap();
        assert!((10..=25).contains(&pid), "{pid}");
    }
    // Another filter of the same meaning takes the other way.
    let mut copied = sequence;
    copied["filter"] = json!({ "bool": { "filter": [time, { "exists": { "field": "host.name" } }] } });
    let copied = eql("/logs-*/_eql/search", copied);
    assert_eq!(copied["hits"], windowed["hits"]);
    let filtered =
        eql("/logs-*/_eql/search", json!({ "query": "any where true", "filter": { "term": { "process.pid": 7 } } }));
    assert_eq!(filtered["hits"]["events"][0]["_id"], "id-7");
    let one = eql("/nothing,logs-other-default/_eql/search", json!({ "query": "any where true", "size": 100 }));
    assert_eq!(one["hits"]["events"].as_array().unwrap().len(), 10, "what is not there is passed over");
    for (path, status) in [
        ("/nothing-*/_eql/search", 404),
        ("/nothing/_eql/search", 404),
        ("/nothing,logs-*/_eql/search?ignore_unavailable=false", 404),
    ] {
        let none = ask(&service, path, json!({ "query": "any where true" }));
        assert_eq!((none.status, &*none.error().0), (status, "index_not_found_exception"), "{path}");
    }
    let filtered =
        ask(&service, "/logs-*/_eql/search", json!({ "query": "any where true", "index_filter": { "match_all": {} } }));
    assert_eq!((filtered.status, &*filtered.error().1), (400, "[index_filter] is not supported"));
    let folded = eql(
        "/logs-*/_eql/search",
        json!({ "query": "any where process.name == \"CMD.EXE\"", "case_sensitive": false, "size": 1 }),
    );
    assert_eq!(folded["hits"]["events"].as_array().unwrap().len(), 1);
    assert_eq!(service.get("/_eql/search/none").status, 404);
}

fn alert(id: &str, severity: &str, minute: u32) -> NewAlert {
    let document = json!({ "kibana.alert.uuid": id, "kibana.alert.severity": severity, "kibana.alert.workflow_status": "open",
        "kibana.alert.risk_score": 73, "event.category": "process", "@timestamp": format!("2026-11-25T11:{minute:02}:00Z") });
    let Value::Object(document) = document else { unreachable!() };
    let time = i64::from(minute) * 60_000_000_000;
    NewAlert {
        id: id.to_owned(),
        rule: "r".to_owned(),
        rule_id: "rule".to_owned(),
        time,
        building_block_of: None,
        document,
    }
}

#[test]
fn alerts_are_an_index() {
    let service = service();
    let made = [alert("a", "high", 1), alert("b", "low", 2), alert("c", "high", 3)];
    service.app().control.commit_execution(&[], &made).unwrap();
    for index in
        [".alerts-security.alerts-default", ".siem-signals-*", ".internal.alerts-security.alerts-default-000001"]
    {
        let found = search(
            &service,
            &format!("/{index}/_search"),
            json!({ "query": { "term": { "kibana.alert.severity": "high" } }, "sort": ["@timestamp:desc"] }),
        );
        assert_eq!(ids(&found), ["c", "a"]);
        assert_eq!(found["hits"]["hits"][0]["_index"], ".internal.alerts-security.alerts-default-000001");
    }
    assert_eq!(search(&service, "/_count", json!({}))["count"], 40, "hidden");
    assert_eq!(search(&service, "/logs-*,.alerts-security.alerts-*/_count", json!({}))["count"], 43);
    let eql = search(
        &service,
        "/.alerts-security.alerts-default/_eql/search",
        json!({ "query": "process where kibana.alert.severity == \"low\"" }),
    );
    assert_eq!(eql["hits"]["events"][0]["_id"], "b");
    assert_eq!(
        (&eql["hits"]["events"][0]["_source"]["kibana.alert.uuid"], &eql["is_partial"]),
        (&json!("b"), &json!(false))
    );
}

#[test]
fn indices_and_fields_are_listed() {
    let service = service();
    let rows = service.get("/_cat/indices?format=json&h=index,docs.count&s=index").json();
    assert_eq!(
        rows,
        json!([{ "index": "logs-other-default", "docs.count": "10" }, { "index": "logs-test-default", "docs.count": "30" }])
    );
    let text = service.get("/_cat/indices/logs-test*?v&h=index,dc").text();
    assert_eq!(text, "index             dc\nlogs-test-default 30\n");
    let names = |parameters: &str| {
        let rows = service.get(&format!("/_cat/indices?format=json&{parameters}")).json();
        rows.as_array()
            .unwrap()
            .iter()
            .map(|row| row["index"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let (other, test) = ("logs-other-default", "logs-test-default");
    assert_eq!(names("s=docs.count:desc,index"), [test, other]);
    assert_eq!(names("s=rep,index:desc"), [test, other]);
    assert_eq!(names("s=store.size"), [other, test], "10 events are smaller than 30");
    assert_eq!((names("health=green").len(), names("health=red").len()), (2, 0));
    let bytes = |unit: &str| -> u64 {
        let text = service.get(&format!("/_cat/indices/{test}?h=ss&bytes={unit}")).text();
        text.trim().parse().unwrap()
    };
    assert_eq!((bytes("kb"), bytes("gb")), (bytes("b") / 1024, 0));
    let rows = service.get("/_cat/indices?format=json&h=idx,docsCount,creation.date,nothing,pri*").json();
    let wanted = json!({ "idx": other, "docsCount": "10", "creation.date": null, "pri": "1" });
    assert_eq!(
        rows[0].as_object().unwrap().keys().collect::<Vec<_>>(),
        ["idx", "docsCount", "creation.date", "pri", "pri.store.size"]
    );
    assert!(wanted.as_object().unwrap().iter().all(|(key, value)| rows[0][key] == *value), "{rows}");
    for (parameters, status) in [("s=nothing", 400), ("bytes=x", 400), ("health=blue", 400), ("format=yaml", 400)] {
        assert_eq!(service.get(&format!("/_cat/indices?{parameters}")).status, status, "{parameters}");
    }
    assert!(service.get("/_cat/indices?help").text().contains("docs.count"));
    let accepts = |accept: &str| {
        let answer = Request::new("GET", "/_cat/indices").header("Accept", accept).send(service.address);
        answer.header("content-type").unwrap().starts_with("application/json")
    };
    // As Elasticsearch's client for Python sends it.
    assert!(accepts("application/json") && !accepts("text/plain,application/json"));
    let resolved = service.get("/_resolve/index/logs-o*,.siem-signals-default").json();
    assert_eq!(resolved["data_streams"][0]["name"], "logs-other-default");
    assert_eq!(resolved["aliases"][1]["name"], ".siem-signals-default");
    let caps = service.get("/logs-*/_field_caps?fields=process.p*,message,source.ip,_id").json();
    assert_eq!(caps["indices"], json!(["logs-other-default", "logs-test-default"]));
    assert_eq!(caps["fields"]["process.pid"]["long"]["aggregatable"], true);
    assert_eq!(caps["fields"]["message"]["text"]["aggregatable"], false);
    assert!(
        caps["fields"]["source.ip"]["ip"].is_object() && caps["fields"]["_id"]["keyword"]["metadata_field"] == true
    );
    let seen = service.get("/logs-*/_field_caps?fields=*&include_empty_fields=false").json();
    assert!(seen["fields"].as_object().map_or(0, Map::len) < 15);
}

#[test]
fn fields_have_the_types_of_their_values_and_alerts_have_theirs() {
    let service = service();
    service.app().control.commit_execution(&[], &[alert("a", "high", 1)]).unwrap();
    let event = json!({ "@timestamp": "2026-11-25T10:00:00Z", "own": { "load": 0.5, "on": true, "count": 7 } });
    let line = json!({ "create": { "_index": "logs-third-default" } });
    assert_eq!(service.post("/_bulk", format!("{line}\n{event}\n")).json()["errors"], false);
    let caps = |path: &str, body: Value| search(&service, &format!("/{path}"), body)["fields"].clone();
    let types = |fields: &Value, name: &str| -> Vec<String> {
        fields[name].as_object().map(|types| types.keys().cloned().collect()).unwrap_or_default()
    };
    let fields = caps(".alerts-security.alerts-*/_field_caps", json!({ "fields": "kibana.alert.*" }));
    assert_eq!(types(&fields, "kibana.alert.severity"), ["keyword"]);
    assert_eq!(types(&fields, "kibana.alert.risk_score"), ["double"]);
    let fields = caps("logs-*/_field_caps?fields=*", json!({}));
    for (name, wanted) in [("event.risk_score", "double"), ("process.pid", "long"), ("_id", "keyword")] {
        assert_eq!(types(&fields, name), [wanted], "{name}");
    }
    assert!(types(&caps("logs-*/_field_caps?fields=*&filters=-metadata", json!({})), "_id").is_empty());
    let fields = caps("logs-*/_field_caps?fields=own.*&include_unmapped=true", json!({}));
    for (name, wanted) in [("own.load", "double"), ("own.on", "boolean"), ("own.count", "long")] {
        assert_eq!(types(&fields, name), [wanted, "unmapped"], "{name}");
        assert_eq!(fields[name][wanted]["indices"], json!(["logs-third-default"]));
        assert_eq!(fields[name]["unmapped"]["indices"], json!(["logs-other-default", "logs-test-default"]));
    }
    for body in [json!({ "index_filter": { "match_all": {} } }), json!({ "runtime_mappings": { "a": {} } })] {
        assert_eq!(ask(&service, "/logs-*/_field_caps?fields=*", body).status, 400);
    }
    assert_eq!(service.get("/logs-*/_field_caps?fields=*&filters=none").status, 400);
    let mapping = service.get("/logs-third-default/_mapping").json();
    let properties = &mapping["logs-third-default"]["mappings"]["properties"];
    assert_eq!(properties["own"]["properties"]["load"], json!({ "type": "double" }));
    assert_eq!(properties["@timestamp"], json!({ "type": "date" }));
}

#[test]
fn what_was_made_can_be_searched() {
    let service = service();
    let count = |service: &Service, path: &str| search(service, &format!("/{path}/_count"), json!({}))["count"].clone();
    for path in ["/made", "/_data_stream/logs-made-default"] {
        assert_eq!(service.put(path, "").status, 200, "{path}");
    }
    for name in ["made", "logs-made-default"] {
        assert_eq!(count(&service, name), 0, "{name}");
        let found = search(&service, &format!("/{name}/_search"), json!({}));
        assert_eq!((&found["hits"]["total"]["value"], &found["_shards"]["total"]), (&json!(0), &json!(1)));
        let none = search(&service, &format!("/{name}/_eql/search"), json!({ "query": "any where true" }));
        assert_eq!(none["hits"]["events"], json!([]));
        assert_eq!(service.get(&format!("/_cat/indices/{name}?h=index,docs.count")).text(), format!("{name} 0\n"));
    }
    assert_eq!(service.put("/logs-test-*/_alias/tests", "").status, 200);
    assert_eq!(count(&service, "tests"), 30);
    let by_alias = search(&service, "/tes*/_search", json!({ "size": 1, "query": { "term": { "process.pid": 39 } } }));
    assert_eq!(by_alias["hits"]["total"]["value"], 0, "of the other stream");
    // Several at once, as in a path; what each search would go through is bounded.
    assert_eq!(service.put("/logs-test-*,nothing,,/_alias/several", "").status, 200);
    assert_eq!(count(&service, "several"), 30);
    assert_eq!(Request::new("DELETE", "/*/_alias/several").send(service.address).status, 200);
    let commas = json!({ "actions": [{ "add": { "index": ",".repeat(1 << 20), "alias": "commas" } }] });
    assert_eq!(service.post("/_aliases", commas.to_string()).status, 400);
    let many: Vec<String> = (0..300).map(|number| format!("*{number}*")).collect();
    let many = json!({ "actions": [{ "add": { "index": many.join(","), "alias": "many" } }] });
    assert_eq!(service.post("/_aliases", many.to_string()).status, 400);
    assert_eq!(service.put(&format!("/x/_alias/{}", "y".repeat(300)), "").status, 400);
    let filtered = service.put("/logs-*/_alias/some", json!({ "filter": { "match_all": {} } }).to_string());
    assert_eq!(filtered.status, 400);
    assert_eq!(service.get("/logs-test-default").json()["logs-test-default"]["aliases"], json!({ "tests": {} }));
    let alerts = ".internal.alerts-security.alerts-default-000001";
    let shown = service.get("/.alerts-security.alerts-default").json();
    assert_eq!(shown[alerts]["aliases"][".alerts-security.alerts-default"]["is_write_index"], true);
    assert!(service.get("/.alerts-security.alerts-default/_mapping").json()[alerts].is_object());
    assert!(service.get("/_alias/.alerts-security.alerts-default").json()[alerts].is_object());
    assert_eq!(Request::new("DELETE", "/logs-test-default").send(service.address).status, 400);
    assert_eq!(Request::new("DELETE", "/made").send(service.address).status, 200);
    assert_eq!(ask(&service, "/made/_search", json!({})).status, 404);
    // What has events is there after a start too, also where they are recent.
    let service = Service::on(service.stop(), |_| {});
    for path in ["/logs-other-default", "/_data_stream/logs-other-default", "/logs-other-default/_settings"] {
        assert_eq!(service.get(path).status, 200, "{path}");
    }
    assert_eq!(count(&service, "logs-other-default"), 10);
}

#[test]
fn who_may_not_read_finds_nothing() {
    let service = service();
    let roles = std::collections::BTreeSet::from([eqlipse_control::Role::Ingest]);
    service.app().control.create_user("sender", "a password of tests", &roles, "admin", 0).unwrap();
    let sender = |path: &str| {
        Request::anonymous("POST", path)
            .header("Authorization", &common::basic("sender", "a password of tests"))
            .header("kbn-xsrf", "x")
            .body("{}")
            .send(service.address)
            .status
    };
    for path in [
        "/_search",
        "/_count",
        "/logs-*/_eql/search",
        "/_msearch",
        "/_field_caps?fields=*",
        "/api/detection_engine/signals/search",
    ] {
        assert_eq!(sender(path), 403, "{path}");
    }
}

#[test]
fn eql_searches_are_kept_for_their_owner_until_they_are_deleted() {
    let service = service();
    let query = |more: Value| {
        let mut body = json!({ "query": "process where process.pid > 37", "size": 5 });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        search(&service, "/logs-*/_eql/search", body)
    };
    assert_eq!(query(json!({ "wait_for_completion_timeout": "1m" })).get("id"), None, "it ended in time");
    // Nobody waits for it; it is asked for later.
    let running = query(json!({ "wait_for_completion_timeout": "0s", "keep_alive": "1m" }));
    assert_eq!((&running["is_running"], &running["is_partial"]), (&json!(true), &json!(true)));
    let path = format!("/_eql/search/{}", running["id"].as_str().unwrap());
    let ended = service.get(&path).json();
    assert_eq!(
        (&ended["id"], &ended["is_running"], &ended["hits"]["total"]["value"]),
        (&running["id"], &json!(false), &json!(2))
    );
    let status = format!("/_eql/search/status/{}", running["id"].as_str().unwrap());
    let until = |answer: Value| answer["expiration_time_in_millis"].as_i64().unwrap();
    let first = service.get(&status).json();
    assert_eq!((&first["is_running"], &first["completion_status"]), (&json!(false), &json!(200)));
    service.get(&format!("{path}?keep_alive=10d&wait_for_completion_timeout=1s"));
    assert!(until(service.get(&status).json()) > until(first) + 9 * 86_400_000);
    let kept = query(json!({ "keep_on_completion": true }));
    assert_eq!((&kept["is_running"], kept["id"].is_string()), (&json!(false), true));
    // Another reader sees nothing of it.
    let roles = std::collections::BTreeSet::from([eqlipse_control::Role::Reader]);
    service.app().control.create_user("other", "a password of tests", &roles, "admin", 0).unwrap();
    let other = common::basic("other", "a password of tests");
    for method in ["GET", "DELETE"] {
        let answer = Request::anonymous(method, &path).header("Authorization", &other).send(service.address);
        assert_eq!(answer.status, 404, "{method}");
    }
    let delete = || Request::new("DELETE", &path).send(service.address);
    assert_eq!(delete().json(), json!({ "acknowledged": true }));
    assert_eq!((delete().status, service.get(&path).status, service.get(&status).status), (404, 404, 404));
    // An error is what the search came to.
    let wrong = ask(&service, "/logs-*/_eql/search", json!({ "query": "any where true", "keep_alive": "soon" }));
    assert_eq!(wrong.status, 400);
    let wrong = json!({ "query": "process where", "wait_for_completion_timeout": "0s" });
    let id = search(&service, "/logs-*/_eql/search", wrong)["id"].as_str().unwrap().to_owned();
    assert_eq!(service.get(&format!("/_eql/search/{id}")).status, 400);
}

/// Spoils what a Parquet file holds; its ends stay.
fn ruin(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let end = bytes.len() - 8;
    let footer = u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap());
    bytes[4..end - footer as usize].fill(0xff);
    std::fs::write(path, bytes).unwrap();
}

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn what_cannot_be_read_is_said_or_is_an_error() {
    let service = service();
    let segments = files_below(&service.folder.path().join("data/events/segments/logs-other-default"));
    segments.iter().filter(|path| path.extension().is_some_and(|end| end == "parquet")).for_each(|path| ruin(path));
    let eql = |parameters: &str, query: &str| {
        ask(&service, &format!("/logs-*/_eql/search{parameters}"), json!({ "query": query, "size": 100 }))
    };
    let events = eql("", "any where true").json();
    assert_eq!((&events["is_partial"], events["hits"]["events"].as_array().unwrap().len()), (&json!(true), 35));
    assert_eq!(events["shard_failures"][0]["reason"]["type"], "corrupt_index_exception");
    let sequence = "sequence by host.name [any where true] [any where true]";
    let without = eql("", sequence).json();
    assert_eq!((&without["is_partial"], &without["hits"]["sequences"]), (&json!(true), &json!([])));
    assert!(without["shard_failures"].is_array());
    let with = eql("?allow_partial_sequence_results=true", sequence).json();
    assert!(!with["hits"]["sequences"].as_array().unwrap().is_empty());
    let refused = eql("?allow_partial_search_results=false", "any where true");
    assert_eq!((refused.status, &*refused.error().0), (500, "corrupt_index_exception"));
    let some = search(&service, "/logs-*/_search", json!({}));
    assert_eq!((&some["_shards"]["failed"], &some["hits"]["total"]["value"]), (&json!(1), &json!(35)));
    let refused = ask(&service, "/logs-*/_search?allow_partial_search_results=false", json!({}));
    assert_eq!((refused.status, &*refused.json()["error"]["reason"].to_string()), (500, "\"Partial shards failure\""));
}
