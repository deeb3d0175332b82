//! Elasticsearch's API over real connections: what comes in, and what shippers ask around it.

mod common;

use std::collections::BTreeSet;

use common::{Request, Service, creates, event, gzip};
use eqlipse_control::Role;
use eqlipse_server::config::Time;
use eqlipse_testkit::evtx_writer::{EvtxEvent, Payload, Value as EvtxValue, write_evtx};
use serde_json::{Value, json};

#[test]
fn the_server_introduces_itself_as_elasticsearch() {
    let service = Service::start();
    let root = service.get("/");
    assert_eq!(root.status, 200);
    assert_eq!(root.header("x-elastic-product"), Some("Elasticsearch"));
    let root = root.json();
    assert!(root["version"]["number"].as_str().unwrap().starts_with("9."));
    assert_eq!(root["version"]["build_flavor"], "default");
    assert_eq!(root["tagline"], "You Know, for Search");
    let head = Request::new("HEAD", "/").send(service.address);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(service.get("/_license").json()["license"]["status"], "active");
    assert_eq!(service.get("/_xpack").json()["features"]["ilm"]["enabled"], true);
    assert_eq!(service.get("/_cluster/health").json()["status"], "green");
    let nodes = service.get("/_nodes/http").json();
    let address = nodes["nodes"]["eqlipse"]["http"]["publish_address"].as_str().unwrap().to_owned();
    assert_eq!(address, service.address.to_string());
    let here = |change: fn(&mut eqlipse_server::Config)| {
        let service = Service::with(|config| {
            config.server.listen = "0.0.0.0:0".parse().unwrap();
            config.server.insecure = true;
            change(config);
        });
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], service.address.port()));
        let nodes = Request::new("GET", "/_nodes/http").send(address).json();
        nodes["nodes"]["eqlipse"]["http"]["publish_address"].as_str().unwrap().to_owned()
    };
    // Nobody reaches 0.0.0.0.
    assert_eq!(here(|_| {}), "eqlipse:80");
    assert_eq!(here(|config| config.server.publish = Some("events.test:9280".to_owned())), "events.test:9280");
    assert!(service.get("/_cat/health").text().contains("green"));
    assert_eq!(service.get("/_cat/nodes?format=json").json()[0]["master"], "*");
    assert_eq!(service.get("/_security/_authenticate").json()["username"], "admin");
}

#[test]
fn headers_of_compatible_clients_are_taken_and_given_back() {
    let service = Service::start();
    let kind = "application/vnd.elasticsearch+json; compatible-with=9";
    let ask = |accept: &str| Request::new("GET", "/").header("Accept", accept).send(service.address);
    let answer = ask(kind);
    assert_eq!(answer.header("content-type"), Some("application/vnd.elasticsearch+json;compatible-with=9"));
    assert_eq!(ask("application/json").header("content-type"), Some("application/json"));
    let wrong = ask("application/vnd.elasticsearch+json; compatible-with=7");
    assert_eq!((wrong.status, &*wrong.error().0), (400, "media_type_header_exception"));
    let bulk = Request::new("POST", "/_bulk")
        .header("Content-Type", "application/vnd.elasticsearch+x-ndjson; compatible-with=9")
        .header("X-Opaque-Id", "mine")
        .body(creates([event("a")]))
        .send(service.address);
    assert_eq!((bulk.status, bulk.header("x-opaque-id")), (200, Some("mine")));
    assert!(bulk.header("x-request-id").is_some());
}

#[test]
fn bulk_answers_item_by_item() {
    let service = Service::start();
    let body = format!(
        "{{\"create\":{{\"_index\":\"logs-a-b\",\"_id\":\"one\"}}}}\n{e}\n{{\"index\":{{\"_index\":\"logs-a-b\"}}}}\n{e}\n\
         {{\"create\":{{\"_index\":\"logs-a-b\",\"_id\":\"one\"}}}}\n{e}\n{{\"create\":{{}}}}\n{{broken\n\
         {{\"delete\":{{\"_id\":\"one\"}}}}\n{{\"update\":{{\"_id\":\"one\"}}}}\n{{\"doc\":{{}}}}\n{{\"create\":{{\"_index\":\"UPPER\"}}}}\n{e}\n",
        e = event("a")
    );
    let answer = service.post("/logs-c-d/_bulk?refresh=true", body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["errors"], true);
    assert!(answer["took"].is_u64());
    let items = answer["items"].as_array().unwrap();
    let created = json!({ "create": { "_index": "logs-a-b", "_id": "one", "_version": 1, "result": "created",
        "forced_refresh": true, "_shards": { "total": 1, "successful": 1, "failed": 0 }, "_seq_no": 0,
        "_primary_term": 1, "status": 201 } });
    assert_eq!(items[0], created);
    assert_eq!(items[1]["index"]["_id"].as_str().unwrap().len(), 20);
    let errors: Vec<(u64, &str)> = items[2..]
        .iter()
        .map(|item| item.as_object().unwrap().values().next().unwrap())
        .map(|item| (item["status"].as_u64().unwrap(), item["error"]["type"].as_str().unwrap()))
        .collect();
    assert_eq!(
        errors,
        [
            (409, "version_conflict_engine_exception"),
            (400, "document_parsing_exception"),
            (400, "illegal_argument_exception"),
            (400, "illegal_argument_exception"),
            (400, "invalid_index_name_exception"),
        ]
    );
    assert_eq!(items[3]["create"]["_index"], "logs-c-d");
    let metric = |result: &str| service.metric(&format!("eqlipse_ingest_documents_total{{result=\"{result}\"}}"));
    assert_eq!((metric("stored"), metric("conflict"), metric("refused")), (2.0, 1.0, 4.0));
    // The delete has no document; the conflict is there already.
    assert_eq!(service.metric("eqlipse_dead_letters_total"), 3.0);
    assert_eq!(service.app().store.snapshot().events(), 2);
    let folder = service.stop();
    let mut files = std::fs::read_dir(folder.path().join("data/dead-letter")).unwrap();
    let text = std::fs::read_to_string(files.next().unwrap().unwrap().path()).unwrap();
    let letters: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&letters[0]["document"], &letters[0]["index"]), (&json!("{broken"), &json!("logs-c-d")));
    assert_eq!((&letters[2]["index"], letters.len()), (&json!("UPPER"), 3));
    assert!(letters[0]["reason"].as_str().unwrap().contains("failed to parse"));
}

/// A name as it stands in a path.
fn in_path(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn every_index_name_that_elasticsearch_allows_is_taken_and_kept() {
    let long = ["~".repeat(255), "\u{65e5}".repeat(85)];
    let names = ["logs-a+b@c=d~e!f-x", "~", "!7e", "=a&b$(c)'%20", "caf\u{e9}.", "...", "nul", &long[0], &long[1]];
    let mut service = Service::start();
    let key = json!({ "name": "k", "role_descriptors": { "k": {
        "index": [{ "names": ["logs-a+b@c=d~*"], "privileges": ["create_doc"] }] } } });
    let key = service.post("/_security/api_key", key.to_string()).json();
    let key = format!("ApiKey {}", key["encoded"].as_str().unwrap());
    let by_key = |address, name: &str| {
        let path = format!("/{}/_doc", in_path(name));
        Request::anonymous("POST", &path).header("Authorization", &key).body(event("k")).send(address).status
    };
    assert_eq!((by_key(service.address, names[0]), by_key(service.address, names[1])), (201, 403));
    for name in names {
        let action = json!({ "create": { "_index": name } });
        let answer = service.post("/_bulk", format!("{action}\n{}\n", event("a"))).json();
        assert_eq!(answer["errors"], false, "{answer}");
        assert_eq!(service.put(&format!("/_data_stream/{}", in_path(name)), "").status, 200);
        let created = service.put(&format!("/{}/_create/a%20b~c", in_path(name)), event("b"));
        assert_eq!((created.status, &created.json()["_index"]), (201, &json!(name)));
        // Whoever follows it arrives.
        let location = created.header("location").unwrap();
        assert!(location.ends_with("/_doc/a%20b%7Ec") && location.is_ascii(), "{location}");
    }
    let are_there = |service: &Service, state: &str| {
        for name in names {
            let expected = if name == names[0] { 3 } else { 2 };
            let found = service.post(&format!("/{}/_search", in_path(name)), "").json();
            assert_eq!(found["hits"]["total"]["value"], expected, "{state} {name}: {found}");
            assert_eq!(found["hits"]["hits"][0]["_index"], name);
            let query = json!({ "query": format!("SELECT count(*), min(_index) FROM \"{name}\"") }).to_string();
            let sql = Request::new("POST", "/api/sql").header("Content-Type", "application/json").body(query);
            assert_eq!(sql.send(service.address).json()["rows"], json!([[expected, name]]), "{state} {name}");
        }
        // All but the one that a dot hides.
        let streams = service.get("/_data_stream").json();
        assert_eq!(streams["data_streams"].as_array().unwrap().len(), names.len() - 1, "{streams}");
        let pattern = in_path("*~*,-~*");
        assert_eq!(service.post(&format!("/{pattern}/_search"), "").json()["hits"]["total"]["value"], 3);
    };
    are_there(&service, "in memory");
    service = Service::on(service.stop(), |_| {});
    are_there(&service, "in segments");
    let checked = service.app().store.check();
    assert!(checked.problems.is_empty() && checked.orphans.is_empty(), "{:?}", checked.problems);
    let folder = service.stop();
    // As `eqlipse store` has it.
    let mut config = common::config(folder.path());
    config.store.retention_age = Some(Time::seconds(1));
    let view = eqlipse_server::view(&config).unwrap();
    assert!(view.damaged.is_empty() && view.snapshot.data_streams().keys().eq(BTreeSet::from(names)));
    drop(view);
    let offline = eqlipse_server::Offline::open(&config).unwrap();
    assert!(offline.recovered.missing.is_empty());
    let later = jiff::Timestamp::now().as_nanosecond() as i64 + 60_000_000_000;
    assert_eq!(offline.store.prune(later).unwrap(), names.len() as u64);
    assert_eq!(offline.store.snapshot().events(), 0);
    offline.close().unwrap();
}

#[test]
fn other_index_names_are_refused_in_elasticsearchs_words() {
    let service = Service::start();
    let refused = |name: &str, fault: &str| {
        let expected = ("invalid_index_name_exception".to_owned(), format!("Invalid index name [{name}], {fault}"));
        let action = json!({ "create": { "_index": name } });
        let answer = service.post("/_bulk", format!("{action}\n{}\n", event("a"))).json();
        let error = &answer["items"][0]["create"]["error"];
        assert_eq!((&error["type"], &error["reason"]), (&json!(expected.0), &json!(expected.1)));
        for (method, path) in [("POST", format!("/{}/_doc", in_path(name))), ("PUT", format!("/{}", in_path(name)))] {
            let answer = Request::new(method, &path).body("{\"a\":1}").send(service.address);
            assert_eq!((answer.status, answer.error()), (400, expected.clone()), "{method} {path}");
        }
        let answer = service.put(&format!("/_data_stream/{}", in_path(name)), "");
        assert_eq!((answer.status, answer.error()), (400, expected));
    };
    let characters = r#"must not contain the following characters [' ','"','*',',','/','<','>','?','\','|']"#;
    for name in ["a b", "a\"", "a*", "a,b", "a/b", "<a", "a>", "a?", "a\\b", "a|b"] {
        refused(name, characters);
    }
    refused("a#b", "must not contain '#'");
    refused("a:b", "must not contain ':'");
    for name in ["_a", "-a", "+a"] {
        refused(name, "must not start with '_', '-', or '+'");
    }
    for name in [".", ".."] {
        refused(name, "must not be '.' or '..'");
    }
    refused("Logs", "must be lowercase");
    refused("caf\u{c9}", "must be lowercase");
    refused(&"a".repeat(256), "index name is too long, (256 > 255)");
    assert_eq!(service.app().store.snapshot().events(), 0);
}

#[test]
fn answers_can_be_filtered() {
    let service = Service::start();
    let body = creates([event("a"), "[]".to_owned()]);
    let answer = service.post("/_bulk?filter_path=errors,items.*.error.type", &body).json();
    assert_eq!(
        answer,
        json!({ "errors": true, "items": [{ "create": { "error": { "type": "document_parsing_exception" } } }] })
    );
    let answer = service.post("/_bulk?filter_path=errors%2Citems.*.status", &body).json();
    assert_eq!(answer["items"], json!([{ "create": { "status": 201 } }, { "create": { "status": 400 } }]));
    assert_eq!(
        service.get("/?filter_path=version.build_flavor").json(),
        json!({ "version": { "build_flavor": "default" } })
    );
    // Errors are said whole.
    let refused = Request::anonymous("GET", "/?filter_path=version").send(service.address);
    assert_eq!((refused.status, &*refused.error().0), (401, "security_exception"));
}

#[test]
fn malformed_bulk_requests_are_refused_as_a_whole_with_the_line() {
    let service = Service::start();
    let refused = |body: &str, kind: &str, reason: &str| {
        let answer = service.post("/_bulk", body);
        assert_eq!(answer.status, 400);
        let error = answer.error();
        assert!(error.0 == kind && error.1.contains(reason), "{error:?}");
    };
    let good = creates([event("a")]);
    refused("", "parse_exception", "request body is required");
    refused(
        &format!("{good}{{\"index\":1}}\n{{}}\n"),
        "illegal_argument_exception",
        "Malformed action/metadata line [3]",
    );
    refused(&format!("{good}nothing\n"), "illegal_argument_exception", "line [3]");
    refused(good.trim_end(), "illegal_argument_exception", "terminated by a newline");
    refused("{\"index\":{}}\n{}\n", "action_request_validation_exception", "index is missing");
    let answer = service.post("/_bulk?refresh=maybe", &good);
    assert_eq!((answer.status, &*answer.error().0), (400, "illegal_argument_exception"));
    assert_eq!(service.app().store.snapshot().events(), 0);
}

#[test]
fn single_documents_come_in() {
    let service = Service::start();
    let answer = service.post("/logs-x-y/_doc", event("a"));
    assert_eq!(answer.status, 201);
    let id = answer.json()["_id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), Some(&*format!("/logs-x-y/_doc/{id}")));
    assert_eq!(answer.json()["result"], "created");
    assert!(answer.json().get("status").is_none());
    assert_eq!(service.put("/logs-x-y/_create/one", "{\n \"@timestamp\": \"2026-11-25T10:00:00Z\"\n}").status, 201);
    let again = service.put("/logs-x-y/_doc/one?op_type=create", event("a"));
    assert_eq!((again.status, &*again.error().0), (409, "version_conflict_engine_exception"));
    let broken = service.post("/logs-x-y/_doc", "{");
    assert_eq!((broken.status, &*broken.error().0), (400, "document_parsing_exception"));
    assert_eq!(service.post("/logs-x-y/_doc/two?if_seq_no=1", event("a")).status, 400);
    assert_eq!(Request::new("DELETE", "/logs-x-y/_doc/one").send(service.address).status, 405);
}

#[test]
fn bodies_may_be_packed() {
    let service = Service::start();
    let send = |body: &[u8], encoding: &str| {
        Request::new("POST", "/_bulk").header("Content-Encoding", encoding).body(body).send(service.address)
    };
    let body = creates((0..100).map(|number| event(&format!("n{number}"))));
    assert_eq!(send(&gzip(body.as_bytes()), "gzip").json()["items"].as_array().unwrap().len(), 100);
    assert_eq!(send(&gzip(body.as_bytes())[..50], "gzip").status, 400);
    assert_eq!(send(body.as_bytes(), "br").status, 415);
    assert_eq!(service.app().store.snapshot().events(), 100);
    assert_eq!(service.metric("eqlipse_http_body_bytes"), 0.0);
}

#[test]
fn what_clients_put_is_found_again() {
    let service = Service::start();
    let head = |path: &str| Request::new("HEAD", path).send(service.address).status;
    let cases = [
        ("/_index_template/filebeat", json!({ "index_patterns": ["filebeat-*"] }), "/index_templates/0/index_template"),
        ("/_component_template/logs@x", json!({ "template": {} }), "/component_templates/0/component_template"),
        ("/_template/old", json!({ "order": 1 }), "/old"),
        ("/_ingest/pipeline/winlogbeat-9", json!({ "processors": [] }), "/winlogbeat-9"),
    ];
    for (path, body, pointer) in cases {
        assert_eq!((service.get(path).status, head(path)), (404, 404), "{path}");
        let put = service.put(path, body.to_string());
        assert_eq!((put.status, put.json()), (200, json!({ "acknowledged": true })), "{path}");
        assert_eq!(service.get(path).json().pointer(pointer), Some(&body), "{path}");
        assert_eq!(head(path), 200);
        assert_eq!(Request::new("DELETE", path).send(service.address).status, 200);
        assert_eq!(service.get(path).status, 404);
    }
    let missing = service.get("/_ilm/policy/filebeat");
    assert_eq!((missing.status, &*missing.error().0), (404, "resource_not_found_exception"));
    service.put("/_ilm/policy/filebeat", "{\"policy\":{\"phases\":{}}}");
    assert_eq!(service.get("/_ilm/policy/filebeat").json()["filebeat"]["policy"], json!({ "phases": {} }));
    assert_eq!(service.put("/_ilm/policy/x", "no json").status, 400);

    let missing = service.get("/_data_stream/filebeat-9");
    assert_eq!((missing.status, &*missing.error().0), (404, "index_not_found_exception"));
    assert_eq!(service.put("/_data_stream/filebeat-9", "").status, 200);
    assert_eq!(service.put("/_data_stream/filebeat-9", "").status, 400);
    assert_eq!(service.get("/_data_stream/filebeat-*").json()["data_streams"][0]["name"], "filebeat-9");
    assert_eq!(head("/logstash-1"), 404);
    let made = service.put("/logstash-1", "{\"aliases\":{\"logstash\":{\"is_write_index\":true}}}");
    assert_eq!(made.json(), json!({ "acknowledged": true, "shards_acknowledged": true, "index": "logstash-1" }));
    assert_eq!((head("/logstash-1"), head("/_alias/logstash"), head("/_alias/other")), (200, 200, 404));
    assert_eq!(service.get("/_alias/logstash").json()["logstash-1"]["aliases"]["logstash"]["is_write_index"], true);
    assert_eq!(service.get("/logstash-1/_settings").json()["logstash-1"]["settings"]["index"]["number_of_shards"], "1");
    assert_eq!(service.get("/logstash-1/_mapping").status, 200);

    // What has events is there, and is not removed by request.
    service.post("/_bulk", creates([event("a")]));
    assert_eq!(head("/logs-test-default"), 200);
    assert_eq!(Request::new("DELETE", "/logs-test-default").send(service.address).status, 400);
    assert_eq!(Request::new("DELETE", "/logstash-1").send(service.address).status, 200);
    assert_eq!(head("/logstash-1"), 404);
}

#[test]
fn what_clients_put_is_there_after_a_restart() {
    let service = Service::start();
    // Beats 7 put index and alias once, send to the alias, and stop for good where the index is there without it.
    service.put("/filebeat-7-1", "{\n  \"aliases\": { \"filebeat-7\": { \"is_write_index\": true } }\n}");
    service.post("/filebeat-7/_doc", event("a"));
    service.put("/_ilm/policy/filebeat", "{\"policy\":{\"phases\":{}}}");
    service.put("/_template/gone", "{}");
    Request::new("DELETE", "/_template/gone").send(service.address);
    let service = Service::on(service.stop(), |_| {});
    let head = |path: &str| Request::new("HEAD", path).send(service.address).status;
    assert_eq!((head("/filebeat-7"), head("/_alias/filebeat-7"), head("/filebeat-7-1")), (200, 200, 200));
    let aliases = service.get("/_alias/filebeat-7").json();
    assert_eq!(aliases["filebeat-7-1"]["aliases"]["filebeat-7"], json!({ "is_write_index": true }));
    assert_eq!((head("/_ilm/policy/filebeat"), head("/_template/gone")), (200, 404));
}

#[test]
fn a_slash_at_the_end_of_a_path_means_nothing() {
    let service = Service::start();
    // As Fluent Bit sends it where it has a pipeline.
    let sent = service.post("/_bulk/?pipeline=x&filter_path=errors", creates([event("a")]));
    assert_eq!((sent.status, sent.json()), (200, json!({ "errors": false })));
    assert_eq!(service.get("/").status, 200);
    assert_eq!(service.get("/_cluster/health/").json()["status"], "green");
}

#[test]
fn unknown_paths_and_methods_are_refused_in_the_shape_of_their_api() {
    let service = Service::start();
    let unknown = service.get("/_what/is/this");
    assert_eq!((unknown.status, &*unknown.error().0), (400, "illegal_argument_exception"));
    let kibana = service.get("/api/what/is/this");
    assert_eq!((kibana.status, kibana.json()["statusCode"].clone()), (404, json!(404)));
    let method = Request::new("DELETE", "/_bulk").send(service.address);
    assert_eq!(method.status, 405);
    assert_eq!(method.json()["error"], "Incorrect HTTP method for uri [/_bulk] and method [DELETE]");
    assert!(method.header("allow").unwrap().contains("POST"));
}

#[test]
fn api_keys_are_made_used_and_taken_back() {
    let service = Service::start();
    let body = json!({ "name": "beats", "expiration": "1d", "role_descriptors": { "beats": {
        "cluster": ["monitor"], "index": [{ "names": ["logs-*"], "privileges": ["auto_configure", "create_doc"] }] } } });
    let made = service.post("/_security/api_key", body.to_string()).json();
    assert!(made["expiration"].is_u64());
    let by_key = |method: &str, path: &str| {
        let key = format!("ApiKey {}", made["encoded"].as_str().unwrap());
        Request::anonymous(method, path).header("Authorization", &key)
    };
    let who = by_key("GET", "/_security/_authenticate").send(service.address).json();
    assert_eq!((&who["roles"], &who["authentication_type"]), (&json!(["ingest"]), &json!("api_key")));
    assert_eq!(by_key("POST", "/_bulk").body(creates([event("a")])).send(service.address).status, 200);
    // Elsewhere it may not write, whichever way.
    let elsewhere = "{\"create\":{\"_index\":\"metrics-x\"}}\n{}\n".to_owned() + &creates([event("b")]);
    let mixed = by_key("POST", "/_bulk").body(elsewhere).send(service.address).json();
    assert_eq!(
        (&mixed["items"][0]["create"]["status"], &mixed["items"][1]["create"]["status"]),
        (&json!(403), &json!(201))
    );
    assert_eq!(mixed["items"][0]["create"]["error"]["type"], "security_exception");
    assert_eq!(by_key("POST", "/metrics-x/_doc").body("{}").send(service.address).status, 403);
    assert_eq!(by_key("PUT", "/metrics-x/_create/1").body("{}").send(service.address).status, 403);
    let upload = |index: &str| {
        by_key("POST", &format!("/ingest?index={index}")).body("{\"a\":1}\n").send(service.address).json()
    };
    assert_eq!((upload("logs-y")["stored"].clone(), upload("metrics-x")["refused"].clone()), (json!(1), json!(1)));
    assert_eq!(by_key("POST", "/_security/api_key").body("{\"name\":\"x\"}").send(service.address).status, 400);
    let listed = service.get(&format!("/_security/api_key?id={}", made["id"].as_str().unwrap())).json();
    assert_eq!(listed["api_keys"][0]["name"], "beats");
    assert_eq!(listed["api_keys"][0]["role_descriptors"]["ingest"]["indices"][0]["names"], json!(["logs-*"]));
    assert!(!listed.to_string().contains(made["api_key"].as_str().unwrap()));
    let gone = Request::new("DELETE", "/_security/api_key").body(json!({ "ids": [made["id"]] }).to_string());
    assert_eq!(gone.send(service.address).json()["invalidated_api_keys"], json!([made["id"]]));
    assert_eq!(by_key("GET", "/").send(service.address).status, 401);
}

#[test]
fn roles_bound_what_one_may_do() {
    let service = Service::start();
    let roles = BTreeSet::from([Role::Reader]);
    service.app().control.create_user("reader", "reader's password", &roles, "test", 0).unwrap();
    let reader = common::basic("reader", "reader's password");
    let ask = |method: &str, path: &str, body: &str| {
        Request::anonymous(method, path).header("Authorization", &reader).body(body).send(service.address)
    };
    assert_eq!(ask("GET", "/", "").status, 200);
    let refused = ask("POST", "/_bulk", &creates([event("a")]));
    assert_eq!((refused.status, &*refused.error().0), (403, "security_exception"));
    assert_eq!(ask("PUT", "/_index_template/x", "{}").status, 403);
    assert_eq!(ask("POST", "/ingest", "{}").status, 403);
}

#[test]
fn whole_files_come_in() {
    let service = Service::start();
    let events: Vec<EvtxEvent> = (1..=3).map(evtx_event).collect();
    let evtx = write_evtx(&events).unwrap();
    for upload in [evtx.clone(), gzip(&evtx)] {
        let answer = service.post("/ingest?index=logs-winlog-default&name=system.evtx", upload);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        assert_eq!((&answer["stored"], &answer["refused"]), (&json!(3), &json!(0)), "{answer}");
        assert!(answer["inputs"][0]["format"].as_str().unwrap().contains("evtx"), "{answer}");
    }
    let snapshot = service.app().store.snapshot();
    let always = eqlipse_store::TimeRange::default();
    let part = snapshot.parts(&always).next().unwrap();
    let hit: Value = serde_json::from_slice(&part.hit(0).unwrap()).unwrap();
    assert_eq!(
        (&hit["_index"], hit["_source"]["event"]["code"].clone()),
        (&json!("logs-winlog-default"), json!("4688")),
        "{hit}"
    );

    let lines = format!("{}\n{}\nbroken\n", event("a"), event("b"));
    let answer = service.post("/ingest", lines).json();
    assert_eq!((&answer["stored"], &answer["skipped"]), (&json!(2), &json!(1)), "{answer}");
    assert_eq!(answer["inputs"][0]["first_skipped"][0]["place"], "line 3");
    let answer = service.post("/ingest?index=logs-x-y", format!("[{},{}]", event("a"), event("b"))).json();
    assert_eq!(answer["stored"], 2, "{answer}");
    let answer = service.post("/ingest", b"\x7fELF no log at all");
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(service.post("/ingest?indx=x", "{}").status, 400);
    assert_eq!(service.app().store.snapshot().events(), 10);
}

/// A process that started, as Windows' security log has it.
fn evtx_event(record_id: u64) -> EvtxEvent {
    EvtxEvent {
        provider: "Microsoft-Windows-Security-Auditing".to_owned(),
        channel: "Security".to_owned(),
        computer: "pc.example.test".to_owned(),
        event_id: 4688,
        record_id,
        time: "2026-03-03T08:00:00Z".parse().unwrap(),
        payload: Payload::EventData(vec![(
            "NewProcessName".to_owned(),
            EvtxValue::text("C:\\Windows\\System32\\cmd.exe"),
        )]),
        ..EvtxEvent::default()
    }
}
