//! Kibana's API over real connections.

mod common;

use std::collections::BTreeSet;

use common::{PASSWORD, Request, Response, Service, basic};
use eqlipse_control::{Execution, ExecutionStatus, NewAlert, Role};
use serde_json::{Value, json};

const RULES: &str = "/api/detection_engine/rules";

fn send(service: &Service, method: &str, path: &str, body: &Value) -> Response {
    let request = Request::new(method, path).header("Content-Type", "application/json").header("kbn-xsrf", "true");
    request.body(body.to_string()).send(service.address)
}

fn rule(number: u32) -> Value {
    json!({
        "rule_id": format!("rule-{number}"),
        "name": format!("Rule {number} finds shells"),
        "description": "d",
        "risk_score": number,
        "severity": if number.is_multiple_of(2) { "high" } else { "low" },
        "type": "eql",
        "language": "eql",
        "query": "process where process.name == \"cmd.exe\"",
        "index": ["logs-*"],
        "tags": ["All", format!("Tag {number}")],
        "enabled": number.is_multiple_of(2),
    })
}

fn with_rules(count: u32) -> Service {
    let service = Service::start();
    for number in 1..=count {
        let made = send(&service, "POST", RULES, &rule(number));
        assert_eq!(made.status, 200, "{}", made.text());
    }
    service
}

fn message(response: &Response) -> String {
    response.json()["message"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn rules_are_made_read_changed_and_removed() {
    let service = with_rules(1);
    let made = service.get(&format!("{RULES}?rule_id=rule-1")).json();
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!((&made["interval"], &made["max_signals"], &made["revision"]), (&json!("5m"), &json!(100), &json!(0)));
    assert_eq!((&made["created_by"], &made["related_integrations"]), (&json!("admin"), &json!([])));
    let again = send(&service, "POST", RULES, &rule(1));
    assert_eq!(
        (again.status, again.json()),
        (409, json!({ "message": "rule_id: \"rule-1\" already exists", "status_code": 409 }))
    );
    let patched = send(&service, "PATCH", RULES, &json!({ "id": id, "name": "New", "enabled": true })).json();
    assert_eq!((&patched["name"], &patched["revision"], &patched["enabled"]), (&json!("New"), &json!(1), &json!(true)));
    let mut put = rule(1);
    put.as_object_mut().unwrap().retain(|key, _| !["tags", "enabled"].contains(&key.as_str()));
    let put = send(&service, "PUT", RULES, &put).json();
    assert_eq!(
        (&put["tags"], &put["enabled"], &put["name"]),
        (&json!([]), &json!(true), &json!("Rule 1 finds shells"))
    );
    for field in ["enabled", "interval"] {
        let null = send(&service, "PATCH", RULES, &json!({ "id": id, field: null }));
        assert_eq!(null.status, 400, "{}", null.text());
        assert!(message(&null).starts_with(&format!("[request body]: {field}: Expected ")), "{}", null.text());
    }
    assert_eq!(service.get(&format!("{RULES}?id={id}")).json()["enabled"], true);
    let bad = send(&service, "POST", RULES, &json!({ "name": "x", "type": "eql" }));
    assert_eq!((bad.status, &bad.json()["error"]), (400, &json!("Bad Request")));
    assert!(message(&bad).starts_with("[request body]: "), "{}", bad.text());
    let mut query = rule(2);
    query["query"] = "process where".into();
    assert_eq!(send(&service, "POST", RULES, &query).status, 400);
    assert_eq!(message(&service.get(RULES)), "either \"id\" or \"rule_id\" must be set");
    assert_eq!(service.get(&format!("/s/default{RULES}?id={id}")).status, 200);
    assert_eq!(service.get(&format!("/s/other{RULES}?id={id}")).status, 404);
    assert_eq!(send(&service, "DELETE", &format!("{RULES}?id={id}"), &json!({})).status, 200);
    let gone = service.get(&format!("{RULES}?id={id}"));
    assert_eq!((gone.status, message(&gone)), (404, format!("id: \"{id}\" not found")));
}

#[test]
fn changes_need_the_header_and_the_role() {
    let service = with_rules(1);
    let plain = service.post(RULES, rule(2).to_string());
    assert_eq!((plain.status, message(&plain)), (400, "Request must contain a kbn-xsrf header.".to_owned()));
    service.app().control.create_user("reader", PASSWORD, &BTreeSet::from([Role::Reader]), "admin", 0).unwrap();
    let as_reader = |method: &str, path: &str| {
        let request = Request::anonymous(method, path)
            .header("Authorization", &basic("reader", PASSWORD))
            .header("kbn-xsrf", "x");
        request.body("{}").send(service.address).status
    };
    assert_eq!(as_reader("GET", &format!("{RULES}/_find")), 200);
    for (method, path) in [
        ("POST", RULES),
        ("PATCH", RULES),
        ("DELETE", &*format!("{RULES}?rule_id=rule-1")),
        ("POST", "/api/detection_engine/signals/status"),
    ] {
        assert_eq!(as_reader(method, path), 403, "{method} {path}");
    }
    let anonymous = Request::anonymous("GET", "/api/status").send(service.address);
    assert_eq!((anonymous.status, &anonymous.json()["statusCode"]), (401, &json!(401)));
}

#[test]
fn roles_may_do_what_is_theirs_alone() {
    let service = with_rules(1);
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Admin) {
        service.app().control.create_user(role.as_str(), PASSWORD, &BTreeSet::from([role]), "admin", 0).unwrap();
    }
    const SIGNALS: &str = "/api/detection_engine/signals";
    let (import, bulk, preview) =
        (format!("{RULES}/_import"), format!("{RULES}/_bulk_action"), format!("{RULES}/preview"));
    let [search, status, tags, assignees] =
        ["search", "status", "tags", "assignees"].map(|call| format!("{SIGNALS}/{call}"));
    let rules = [
        ("POST", RULES),
        ("PUT", RULES),
        ("PATCH", RULES),
        ("DELETE", RULES),
        ("POST", &import),
        ("POST", &bulk),
        ("PUT", "/api/detection_engine/rules/prepackaged"),
    ];
    let alerts = [("POST", &*status), ("POST", &tags), ("POST", &assignees), ("PATCH", "/api/note")];
    let reads = [
        ("GET", RULES),
        ("POST", &*search),
        ("GET", "/api/note"),
        ("GET", "/api/ledger"),
        ("POST", "/api/backtest"),
        ("POST", &preview),
        ("POST", "/api/explain"),
        ("POST", "/api/sql"),
        ("POST", "/logs-*/_eql/search"),
        ("POST", "/logs-*/_search"),
        ("GET", "/logs-*/_count"),
        ("GET", "/api/dead_letters"),
    ];
    let events =
        [("POST", "/_bulk"), ("POST", "/logs-a/_doc"), ("POST", "/ingest"), ("POST", "/api/dead_letters/_replay")];
    let all = [
        ("GET", "/api/audit"),
        ("GET", "/_security/user"),
        ("PUT", "/_security/user/x"),
        ("DELETE", "/_security/user/x"),
        ("PUT", "/_security/user/x/_disable"),
    ];
    let who = |role: Role, call: &(&str, &str)| {
        let request = Request::anonymous(call.0, call.1).header("Authorization", &basic(role.as_str(), PASSWORD));
        let request = request.header("kbn-xsrf", "x").header("Content-Type", "application/json");
        // Which role an action needs depends on it.
        let body = if call.1 == bulk { "{\"action\":\"enable\",\"query\":\"\"}" } else { "{}" };
        request.body(body).send(service.address).status
    };
    // What is asked for makes no sense, and is refused for that: this is about who may ask.
    let check = |calls: &[(&str, &str)], roles: &[Role]| {
        for (call, role) in calls.iter().flat_map(|call| Role::ALL.map(|role| (call, role))) {
            let (may, status) = (roles.contains(&role) || role == Role::Admin, who(role, call));
            assert_eq!(status != 403, may, "{call:?} of {role:?}: {status}");
        }
    };
    check(&rules, &[Role::Author]);
    check(&alerts, &[Role::Analyst]);
    check(&reads, &[Role::Reader, Role::Analyst, Role::Author]);
    check(&events, &[Role::Ingest]);
    check(&all, &[]);
}

#[test]
fn rules_are_found() {
    let service = with_rules(5);
    let find = |query: &str| service.get(&format!("{RULES}/_find?{query}")).json();
    let all = find("per_page=2&page=2&sort_field=name&sort_order=asc");
    assert_eq!((&all["page"], &all["perPage"], &all["total"]), (&json!(2), &json!(2), &json!(5)));
    assert_eq!(all["data"][0]["rule_id"], "rule-3");
    let count = |filter: &str| {
        let encoded: String = filter.bytes().map(|byte| format!("%{byte:02X}")).collect();
        find(&format!("filter={encoded}"))["total"].as_u64().unwrap()
    };
    assert_eq!(count("alert.attributes.enabled: true"), 2);
    assert_eq!(count("alert.attributes.tags: \"Tag 3\" OR alert.attributes.tags: \"Tag 4\""), 2);
    assert_eq!(
        count("alert.attributes.tags: (\"Tag 3\" OR \"All\") AND NOT alert.attributes.params.severity: high"),
        3
    );
    assert_eq!(count("alert.attributes.name: \"finds shells\""), 5);
    assert_eq!(count("alert.attributes.name: nothing"), 0);
    assert_eq!(count("alert.attributes.params.ruleId: rule-*"), 5);
    assert_eq!(count("alert.attributes.params.immutable: true"), 0);
    assert_eq!(count("alert.attributes.params.riskScore >= 4"), 2);
    assert_eq!(count("alert.attributes.alertTypeId: \"siem.eqlRule\""), 5);
    let bad = service.get(&format!("{RULES}/_find?filter=a%3A"));
    assert_eq!((bad.status, &bad.json()["status_code"]), (400, &json!(400)));
    assert_eq!(service.get(&format!("{RULES}/_find?per_page=10001")).status, 400);
    let tags = service.get("/api/detection_engine/tags").json();
    assert_eq!(tags, json!(["All", "Tag 1", "Tag 2", "Tag 3", "Tag 4", "Tag 5"]));
    let counts = service.get("/api/detection_engine/rules/prepackaged/_status").json();
    assert_eq!((&counts["rules_custom_installed"], &counts["rules_installed"]), (&json!(5), &json!(0)));
}

#[test]
fn rules_are_ordered_by_their_last_executions() {
    let service = with_rules(5);
    let id = |n: u32| service.get(&format!("{RULES}?rule_id=rule-{n}")).json()["id"].as_str().unwrap().to_owned();
    let run = json!({ "action": "run", "ids": [id(2)], "run": { "start_date": ago(10), "end_date": ago(5) } });
    assert_eq!(send(&service, "POST", &format!("{RULES}/_bulk_action"), &run).status, 200);
    asked_for(&service, "rule-2", "manual", 1);
    let control = &service.app().control;
    let known = control.ledger(&id(2), 1).unwrap().remove(0);
    let last = |n: u32, status: ExecutionStatus, started: i64, took: i64| Execution {
        uuid: n.to_string(),
        rule: id(n),
        rule_id: format!("rule-{n}"),
        status,
        started,
        finished: started + took,
        ..known.clone()
    };
    // Those that are enabled run by themselves; the fifth one never ran.
    let lasts =
        [last(1, ExecutionStatus::Failed, 1_000_000, 9_000_000), last(3, ExecutionStatus::Succeeded, 2_000_000, 0)];
    control.commit_execution(&lasts, &[]).unwrap();
    let ordered = |field: &str, order: &str| {
        let path = format!(
            "{RULES}/_find?filter=alert.attributes.enabled%3Afalse&sort_order={order}&sort_field=execution_summary.last_execution.{field}"
        );
        let found = service.get(&path);
        let rules: Vec<Value> = found.json()["data"].as_array().cloned().unwrap_or_default();
        (found.status, rules.iter().map(|rule| rule["rule_id"].as_str().unwrap()[5..].to_owned()).collect::<String>())
    };
    for (field, ascending, descending) in [
        ("date", "135", "315"),
        ("status", "315", "135"),
        ("metrics.total_search_duration_ms", "315", "135"),
        ("metrics.total_indexing_duration_ms", "135", "135"),
        ("metrics.execution_gap_duration_s", "135", "135"),
    ] {
        assert_eq!(ordered(field, "asc"), (200, ascending.to_owned()), "{field}");
        assert_eq!(ordered(field, "desc"), (200, descending.to_owned()), "{field}");
    }
    assert_eq!(ordered("message", "asc").0, 400);
}

#[test]
fn a_rule_is_previewed() {
    let service = Service::with(|config| config.schedule.rule_events = 3);
    let times = ["11:54:30", "11:54:31", "11:54:32", "11:58:00"];
    let events = times.map(|time| {
        let time = format!("2026-11-25T{time}Z");
        json!({ "@timestamp": time, "event": { "category": "process" }, "process": { "name": "cmd.exe" } }).to_string()
    });
    assert_eq!(service.post("/_bulk", common::creates(events)).json()["errors"], false);
    let preview = |extra: Value| {
        let mut draft = rule(1);
        draft.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let done = send(&service, "POST", &format!("{RULES}/preview"), &draft);
        assert_eq!(done.status, 200, "{}", done.text());
        done.json()
    };
    let end = "2026-11-25T12:00:00Z";
    let done = preview(json!({ "max_signals": 2, "invocationCount": 4, "timeframeEnd": end, "from": "now-6m" }));
    let logs = done["logs"].as_array().unwrap();
    let said = |kind: &str| logs.iter().map(|log| log[kind].as_array().unwrap().len()).collect::<Vec<_>>();
    // The last window has more events than a rule may look at.
    assert_eq!((said("warnings"), said("errors")), (vec![0, 0, 1, 0], vec![0, 0, 0, 1]));
    assert_eq!(logs[2]["warnings"][0], "max_signals was reached: 1 more were found");
    assert!(logs[3]["errors"][0].as_str().unwrap().contains("schedule.rule_events"), "{done}");
    let started: Vec<&str> = logs.iter().map(|log| log["startedAt"].as_str().unwrap()).collect();
    assert_eq!((started[0], started[3]), ("2026-11-25T11:45:00.000Z", "2026-11-25T12:00:00.000Z"));
    assert_eq!((done["alerts"].as_array().unwrap().len(), &done["isAborted"]), (2, &json!(false)));

    // A rule of a type that does not run.
    let done = preview(json!({ "type": "query", "language": "kuery", "query": "*", "timeframeEnd": end }));
    let logs = done["logs"].as_array().unwrap();
    assert_eq!((logs.len(), logs[0]["errors"].as_array().unwrap().len()), (1, 1), "{done}");
    assert_eq!((&done["alerts"], &logs[0]["startedAt"]), (&json!([]), &json!("2026-11-25T12:00:00.000Z")));
}

fn import(service: &Service, query: &str, name: &str, text: &str) -> Response {
    let body = format!(
        "--limit\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: application/octet-stream\r\n\r\n{text}\r\n--limit--\r\n"
    );
    Request::new("POST", &format!("{RULES}/_import{query}"))
        .header("Content-Type", "multipart/form-data; boundary=limit")
        .header("kbn-xsrf", "true")
        .body(body)
        .send(service.address)
}

#[test]
fn rules_go_out_and_come_in() {
    let service = with_rules(3);
    let exported = send(
        &service,
        "POST",
        &format!("{RULES}/_export"),
        &json!({ "objects": [{ "rule_id": "rule-1" }, { "rule_id": "none" }] }),
    );
    assert_eq!(exported.header("content-disposition"), Some("attachment; filename=\"export.ndjson\""));
    let text = exported.text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (lines.len(), &lines[0]["rule_id"], &lines[1]["missing_rules"]),
        (2, &json!("rule-1"), &json!([{ "rule_id": "none" }]))
    );
    let all = send(&service, "POST", &format!("{RULES}/_export?exclude_export_details=true"), &Value::Null).text();
    assert_eq!(all.lines().count(), 3);
    let again = import(&service, "", "rules.ndjson", &all).json();
    assert_eq!(
        (&again["success"], &again["success_count"], &again["rules_count"]),
        (&json!(false), &json!(0), &json!(3))
    );
    assert_eq!(
        again["errors"][0],
        json!({ "rule_id": "rule-1", "error": { "status_code": 409, "message": "rule_id: \"rule-1\" already exists" } })
    );
    let over = import(
        &service,
        "?overwrite=true&overwrite_exceptions=false",
        "rules.ndjson",
        &all.replace("finds shells", "finds more"),
    )
    .json();
    assert_eq!((&over["success"], &over["success_count"]), (&json!(true), &json!(3)));
    assert_eq!(service.get(&format!("{RULES}?rule_id=rule-2")).json()["name"], "Rule 2 finds more");
    let other = with_rules(0);
    let fresh = import(
        &other,
        "",
        "rules.ndjson",
        &format!("{text}{{broken\n{}\n{}\n", json!({ "rule_id": "bad", "type": "eql" }), json!({ "list_id": "l" })),
    );
    let fresh = fresh.json();
    assert_eq!((&fresh["success_count"], &fresh["rules_count"]), (&json!(1), &json!(3)));
    assert_eq!((fresh["errors"].as_array().unwrap().len(), &fresh["exceptions_success"]), (2, &json!(false)));
    let (one, two) = (rule(7).to_string(), rule(7).to_string());
    let twice = import(&other, "", "rules.ndjson", &format!("{one}\n{two}\n")).json();
    assert!(twice["errors"][0]["error"]["message"].as_str().unwrap().contains("More than one rule with rule-id"));
    let wrong = import(&other, "", "rules.json", &one);
    assert_eq!((wrong.status, message(&wrong)), (400, "Invalid file extension .json".to_owned()));
    assert_eq!(send(&other, "POST", &format!("{RULES}/_import"), &json!({})).status, 400);
}

#[test]
fn many_rules_are_changed_at_once() {
    let service = with_rules(4);
    let act = |query: &str, body: Value| send(&service, "POST", &format!("{RULES}/_bulk_action{query}"), &body);
    let ids: Vec<Value> =
        (1..=2).map(|n| service.get(&format!("{RULES}?rule_id=rule-{n}")).json()["id"].clone()).collect();
    let enabled =
        act("", json!({ "action": "enable", "query": "alert.attributes.enabled: false", "edit": null })).json();
    assert_eq!((&enabled["success"], &enabled["rules_count"]), (&json!(true), &json!(2)));
    assert_eq!(enabled["attributes"]["summary"], json!({ "failed": 0, "succeeded": 2, "skipped": 0, "total": 2 }));
    assert_eq!(enabled["attributes"]["results"]["updated"][0]["enabled"], true);
    let edit = json!({ "action": "edit", "ids": ids, "edit": [
        { "type": "add_tags", "value": ["New"] }, { "type": "delete_tags", "value": ["All"] },
        { "type": "add_index_patterns", "value": ["winlogbeat-*"] },
        { "type": "set_schedule", "value": { "interval": "10m", "lookback": "2m" } },
        { "type": "set_investigation_fields", "value": { "field_names": ["host.name"] } },
    ] });
    let dry = act("?dry_run=true", edit.clone()).json();
    assert_eq!(
        (&dry["attributes"]["summary"]["succeeded"], &dry["attributes"]["results"]["updated"]),
        (&json!(2), &json!([]))
    );
    assert_eq!(service.get(&format!("{RULES}?rule_id=rule-1")).json()["interval"], "5m");
    let done = act("", edit.clone()).json();
    let changed = &done["attributes"]["results"]["updated"][0];
    assert_eq!((&changed["tags"], &changed["index"]), (&json!(["Tag 1", "New"]), &json!(["logs-*", "winlogbeat-*"])));
    assert_eq!((&changed["interval"], &changed["from"]), (&json!("10m"), &json!("now-720s")));
    let skipped = act("", edit).json();
    assert_eq!(
        (&skipped["attributes"]["summary"]["skipped"], &skipped["attributes"]["results"]["skipped"][0]["skip_reason"]),
        (&json!(2), &json!("RULE_NOT_MODIFIED"))
    );
    let copies =
        act("", json!({ "action": "duplicate", "ids": [ids[0]], "duplicate": { "include_exceptions": false } })).json();
    let copy = &copies["attributes"]["results"]["created"][0];
    assert_eq!((&copy["name"], &copy["enabled"]), (&json!("Rule 1 finds shells [Duplicate]"), &json!(false)));
    let partly = act("", json!({ "action": "delete", "ids": [ids[0], "none"] }));
    assert_eq!((partly.status, message(&partly)), (500, "Bulk edit partially failed".to_owned()));
    assert_eq!(partly.json()["attributes"]["errors"][0]["rules"], json!([{ "id": "none" }]));
    let empty =
        act("", json!({ "action": "edit", "query": "", "edit": [{ "type": "set_index_patterns", "value": [] }] }));
    assert_eq!((empty.status, message(&empty)), (500, "Bulk edit failed".to_owned()));
    assert_eq!(act("", json!({ "action": "export", "query": "" })).text().lines().count(), 5);
    assert_eq!(act("", json!({ "action": "explode" })).status, 400);
    assert_eq!(act("", json!({ "action": "delete", "ids": vec!["x"; 101] })).status, 400);
}

#[test]
fn edits_at_the_same_time_are_all_kept() {
    let service = with_rules(2);
    let id = service.get(&format!("{RULES}?rule_id=rule-2")).json()["id"].clone();
    let address = service.address;
    let act = |body: Value| {
        let request = Request::new("POST", &format!("{RULES}/_bulk_action")).header("kbn-xsrf", "true");
        let done = request.header("Content-Type", "application/json").body(body.to_string()).send(address);
        assert_eq!(done.status, 200, "{}", done.text());
    };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (act, id) = (&act, &id);
            scope.spawn(move || {
                for number in 0..10 {
                    let edit = json!([{ "type": "add_tags", "value": [format!("{thread}-{number}")] }]);
                    act(json!({ "action": "edit", "ids": [id], "edit": edit }));
                }
            });
        }
        scope.spawn(|| act(json!({ "action": "disable", "ids": [id] })));
    });
    let rule = service.get(&format!("{RULES}?rule_id=rule-2")).json();
    assert_eq!((rule["tags"].as_array().unwrap().len(), &rule["enabled"]), (42, &json!(false)));
}

#[test]
fn edits_that_do_not_fit_a_rule_leave_it() {
    let service = Service::start();
    let exceptions = json!([{ "id": "1", "list_id": "l", "type": "detection", "namespace_type": "single" }]);
    let ids: Vec<Value> = [
        json!({ "rule_id": "indexed", "to": "now-1m", "exceptions_list": exceptions }),
        json!({ "rule_id": "data_view", "index": null, "data_view_id": "view" }),
        json!({ "rule_id": "esql", "index": null, "type": "esql", "language": "esql", "query": "FROM logs-*" }),
    ]
    .into_iter()
    .map(|extra| {
        let mut rule = rule(1);
        rule.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let made = send(&service, "POST", RULES, &rule);
        assert_eq!(made.status, 200, "{}", made.text());
        made.json()["id"].clone()
    })
    .collect();
    let act = |query: &str, body: Value| send(&service, "POST", &format!("{RULES}/_bulk_action{query}"), &body);
    let edit = |query: &str, ids: &[Value], edit: Value| {
        let done = act(query, json!({ "action": "edit", "ids": ids, "edit": [edit] }));
        (done.status, done.json()["attributes"].clone())
    };

    let add = json!({ "type": "add_index_patterns", "value": ["new-*"] });
    for query in ["?dry_run=true", ""] {
        let (status, done) = edit(query, &ids, add.clone());
        assert_eq!(
            (status, &done["summary"]),
            (500, &json!({ "failed": 1, "succeeded": 1, "skipped": 1, "total": 3 }))
        );
        let error = &done["errors"][0];
        assert_eq!((&error["err_code"], &error["rules"][0]["id"]), (&json!("ESQL_INDEX_PATTERN"), &ids[2]));
        assert_eq!((&error["status_code"], done["errors"].as_array().unwrap().len()), (&json!(500), 1));
        // In a dry run there are no rules in the answer.
        assert_eq!(done["results"]["skipped"].as_array().unwrap().len(), usize::from(query.is_empty()));
    }
    let (_, kept) = edit("", &ids[1..2], json!({ "type": "delete_index_patterns", "value": ["new-*"] }));
    assert_eq!(kept["summary"]["skipped"], 1);
    let over = json!({ "type": "set_index_patterns", "value": ["other-*"], "overwrite_data_views": true });
    let (_, done) = edit("", &ids[1..2], over);
    let changed = &done["results"]["updated"][0];
    assert_eq!((&changed["index"], changed.get("data_view_id")), (&json!(["other-*"]), None));

    let schedule = json!({ "type": "set_schedule", "value": { "interval": "10m", "lookback": "2m" } });
    let (_, done) = edit("", &ids[..1], schedule);
    let changed = &done["results"]["updated"][0];
    assert_eq!((&changed["from"], &changed["to"]), (&json!("now-720s"), &json!("now-1m")));

    let copied = |duplicate: Value| {
        let copies = act("", json!({ "action": "duplicate", "ids": [ids[0]], "duplicate": duplicate }));
        (copies.status, copies.json()["attributes"]["results"]["created"][0]["exceptions_list"].clone())
    };
    assert_eq!(copied(json!({ "include_exceptions": false, "include_expired_exceptions": false })), (200, json!([])));
    assert_eq!(copied(json!({ "include_exceptions": true })), (200, exceptions.clone()));
    assert_eq!(copied(json!(null)), (200, exceptions));
    assert_eq!(copied(json!({ "include_exceptions": "no" })).0, 400);
    let nothing = act("", json!({ "action": "delete", "ids": [] }));
    assert_eq!((nothing.status, service.get(&format!("{RULES}/_find")).json()["total"].clone()), (400, json!(6)));
}

/// A time so many minutes ago.
fn ago(minutes: i64) -> String {
    let now = eqlipse_server::now() - minutes * 60_000_000_000;
    jiff::Timestamp::from_nanosecond(i128::from(now)).unwrap().to_string()
}

/// The executions of a rule that somebody asked for, once there are so many.
fn asked_for(service: &Service, rule_id: &str, kind: &str, wanted: usize) -> Vec<Value> {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let ledger = service.get(&format!("/api/ledger?rule_id={rule_id}&limit=10000")).json();
        let of_kind: Vec<Value> =
            ledger.as_array().unwrap().iter().filter(|run| run["kind"] == kind).cloned().collect();
        if of_kind.len() >= wanted {
            return of_kind;
        }
        assert!(std::time::Instant::now() < until, "{ledger}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn what_was_left_to_run_is_run_after_a_restart() {
    let service = with_rules(2);
    let control = service.app().control.clone();
    let rule = control.rule(&eqlipse_control::RuleKey::RuleId("rule-2")).unwrap().unwrap();
    // As a service that was stopped leaves it.
    let now = eqlipse_server::now();
    let (from, to) = (now - 3_600_000_000_000, now - 1_800_000_000_000);
    let window = json!({ "end": to, "window": { "from": from, "to": to } });
    let jobs = json!([
        { "id": rule.id, "rule_id": "rule-2", "work": { "range": { "from": from, "to": to } } },
        { "id": "gone", "rule_id": "gone", "work": { "range": { "from": from, "to": to } } },
        { "id": rule.id, "rule_id": "rule-2", "work": { "windows": [window] } },
    ]);
    control.add_manual_run(&jobs.to_string()).unwrap();
    control.add_manual_run("of another version").unwrap();
    drop(control);
    let service = Service::on(service.stop(), |_| {});
    assert!(asked_for(&service, "rule-2", "manual", 6).len() >= 6);
    assert_eq!(asked_for(&service, "rule-2", "backfill", 1).len(), 1);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !service.app().control.manual_runs().unwrap().is_empty() {
        assert!(std::time::Instant::now() < until, "it is not done");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    service.stop();
}

#[test]
fn rules_are_run_over_the_past() {
    let service = with_rules(2);
    let act = |query: &str, body: Value| send(&service, "POST", &format!("{RULES}/_bulk_action{query}"), &body);
    let id = |n: u32| service.get(&format!("{RULES}?rule_id=rule-{n}")).json()["id"].as_str().unwrap().to_owned();
    let event = json!({
        "@timestamp": ago(120), "event": { "category": "process" }, "process": { "name": "cmd.exe" },
    });
    let body = format!("{{\"create\":{{\"_index\":\"logs-test-default\"}}}}\n{event}\n");
    assert_eq!(service.post("/_bulk", body).json()["errors"], false);
    let range = json!({ "start_date": ago(180), "end_date": ago(60) });
    let run = json!({ "action": "run", "ids": [id(1), id(2)], "run": range });
    let dry = act("?dry_run=true", run.clone());
    assert_eq!((dry.status, &dry.json()["attributes"]["results"]["updated"]), (500, &json!([])));
    let done = act("", run);
    assert_eq!(done.status, 500);
    let attributes = done.json()["attributes"].clone();
    assert_eq!(attributes["summary"], json!({ "failed": 1, "succeeded": 1, "skipped": 0, "total": 2 }));
    let expected = json!([{
        "message": "Cannot schedule manual rule run for a disabled rule", "status_code": 500,
        "err_code": "MANUAL_RULE_RUN_DISABLED_RULE", "rules": [{ "id": id(1), "name": "Rule 1 finds shells" }],
    }]);
    assert_eq!(attributes["errors"], expected);
    assert_eq!(attributes["results"]["updated"][0]["rule_id"], "rule-2");
    // Two hours, every five minutes.
    let runs = asked_for(&service, "rule-2", "manual", 24);
    let alerts: u64 = runs.iter().map(|run| run["alerts"].as_u64().unwrap()).sum();
    assert_eq!((alerts, runs.iter().filter(|run| run["status"] == "succeeded").count()), (1, runs.len()));

    let fill = |ids: Value| act("", json!({ "action": "fill_gaps", "ids": ids, "fill_gaps": range }));
    let nothing = fill(json!([id(2)])).json();
    let skipped = json!([{ "id": id(2), "name": "Rule 2 finds shells", "skip_reason": "NO_GAPS_TO_FILL" }]);
    assert_eq!((&nothing["success"], &nothing["attributes"]["results"]["skipped"]), (&json!(true), &skipped));
    let control = &service.app().control;
    let rule = control.rule(&eqlipse_control::RuleKey::RuleId("rule-2")).unwrap().unwrap();
    let failed = control.ledger(&rule.id, 1).unwrap().remove(0);
    let start = eqlipse_server::now() - 130 * 60_000_000_000;
    let failed = eqlipse_control::Execution {
        uuid: "failed".to_owned(),
        kind: eqlipse_control::WindowKind::OnTime,
        from: start,
        to: start + 60_000_000_000,
        scheduled: start + 60_000_000_000,
        status: eqlipse_control::ExecutionStatus::Failed,
        ..failed
    };
    control.commit_execution(&[failed], &[]).unwrap();
    let disabled = fill(json!([id(1), id(2)]));
    assert_eq!(disabled.status, 500);
    let attributes = disabled.json()["attributes"].clone();
    assert_eq!(attributes["errors"][0]["err_code"], "RULE_FILL_GAPS_DISABLED_RULE");
    assert_eq!(attributes["results"]["updated"][0]["rule_id"], "rule-2");
    let filled = asked_for(&service, "rule-2", "backfill", 1);
    assert_eq!((filled.len(), &filled[0]["status"]), (1, &json!("succeeded")));
    assert_eq!(fill(json!([id(2)])).json()["attributes"]["summary"]["skipped"], 1);

    let refused = |action: &str, from: String, to: String| {
        let answer = act("", json!({ "action": action, "query": "", action: { "start_date": from, "end_date": to } }));
        assert_eq!(answer.status, 400, "{}", answer.text());
        message(&answer)
    };
    for action in ["run", "fill_gaps"] {
        let moment = ago(5);
        assert_eq!(refused(action, moment.clone(), moment), "Backfill end must be greater than backfill start");
        assert_eq!(refused(action, ago(5), ago(-5)), "Backfill cannot be scheduled for the future");
        for (from, until) in [(91, 0), (92, 91)] {
            let said = refused(action, ago(from * 1440), ago(until * 1440 + 5));
            assert_eq!(said, "Backfill cannot look back more than 90 days");
        }
        assert!(refused(action, "yesterday".to_owned(), ago(5)).contains("Invalid datetime"));
    }
    assert_eq!(act("", json!({ "action": "run", "query": "" })).status, 400);
}

#[test]
fn alerts_are_worked_on() {
    let service = Service::start();
    let alert = |id: &str, severity: &str| {
        let document = json!({ "kibana.alert.uuid": id, "kibana.alert.severity": severity, "kibana.alert.workflow_status": "open",
            "kibana.alert.workflow_tags": [], "@timestamp": "2026-11-25T11:00:00Z" });
        let Value::Object(document) = document else { unreachable!() };
        NewAlert {
            id: id.to_owned(),
            rule: "r".to_owned(),
            rule_id: "rule".to_owned(),
            time: 1,
            building_block_of: None,
            document,
        }
    };
    service.app().control.commit_execution(&[], &[alert("a", "high"), alert("b", "low"), alert("c", "high")]).unwrap();
    let post =
        |path: &str, body: Value| send(&service, "POST", &format!("/api/detection_engine/signals/{path}"), &body);
    let closed =
        post("status", json!({ "status": "closed", "signal_ids": ["a", "none"], "reason": "false_positive" })).json();
    assert_eq!((&closed["updated"], &closed["failures"]), (&json!(1), &json!([])));
    let by_query = post(
        "status",
        json!({ "status": "acknowledged", "query": { "term": { "kibana.alert.severity": "low" } }, "conflicts": "proceed" }),
    );
    assert_eq!(by_query.json()["updated"], 1);
    assert_eq!(
        post("tags", json!({ "ids": ["a"], "tags": { "tags_to_add": ["x"], "tags_to_remove": [] } })).json()["updated"],
        1
    );
    assert_eq!(
        post("assignees", json!({ "ids": ["a"], "assignees": { "add": ["ann"], "remove": [] } })).json()["updated"],
        1
    );
    let note = |body: Value| send(&service, "PATCH", "/api/note", &body);
    for text in ["seen", "again"] {
        let written = note(json!({ "note": { "eventId": "a", "note": text, "timelineId": "" } })).json();
        assert_eq!((&written["note"]["note"], &written["note"]["createdBy"]), (&json!(text), &json!("admin")));
    }
    let notes = service.get("/api/note?documentIds=b&documentIds=a&documentIds=none&documentIds=a").json();
    assert_eq!((&notes["totalCount"], &notes["notes"][1]["note"]), (&json!(2), &json!("again")));
    assert_eq!((&notes["notes"][0]["eventId"], &notes["notes"][0]["noteId"]), (&json!("a"), &json!("a-0")));
    assert!(notes["notes"][0]["created"].as_i64().unwrap() > 1_700_000_000_000);
    assert_eq!(note(json!({ "note": { "eventId": "none", "note": "x" } })).status, 404);
    let again = note(json!({ "noteId": "a-0", "note": { "eventId": "a", "note": "other" } }));
    assert_eq!(again.status, 400, "{}", again.text());
    for path in ["/api/note", "/api/note?documentIds=a&page=1"] {
        assert_eq!(service.get(path).status, 400, "{path}");
    }
    let found = post("search", json!({ "query": { "terms": { "kibana.alert.workflow_status": ["closed"] } }, "aggs": { "s": { "terms": { "field": "kibana.alert.severity" } } } })).json();
    assert_eq!(found["hits"]["total"]["value"], 1);
    let source = &found["hits"]["hits"][0]["_source"];
    assert_eq!(
        (&source["kibana.alert.workflow_reason"], &source["kibana.alert.workflow_tags"]),
        (&json!("false_positive"), &json!(["x"]))
    );
    assert_eq!(source["kibana.alert.workflow_assignee_ids"], json!(["ann"]));
    assert_eq!(found["aggregations"]["s"]["buckets"][0]["key"], "high");
    for (path, body) in [
        ("status", json!({ "status": "gone", "signal_ids": ["a"] })),
        ("status", json!({ "status": "open" })),
        ("tags", json!({ "ids": ["a"], "tags": { "tags_to_add": ["x"], "tags_to_remove": ["x"] } })),
        ("tags", json!({ "ids": [], "tags": { "tags_to_add": [], "tags_to_remove": [] } })),
        ("search", json!({ "query": { "x": {} } })),
        ("search", json!({})),
    ] {
        assert_eq!(post(path, body.clone()).status, 400, "{path} {body}");
    }
}

#[test]
fn clients_learn_where_they_are() {
    let service = Service::start();
    let status = service.get("/api/status").json();
    assert!(status["version"]["number"].as_str().unwrap().starts_with("9."));
    assert_eq!(status["status"]["overall"]["level"], "available");
    assert_eq!(service.get("/api/spaces/space").json()[0]["id"], "default");
    assert_eq!(service.get("/internal/security/me").json()["username"], "admin");
    let privileges = service.get("/api/detection_engine/privileges").json();
    assert_eq!((&privileges["is_authenticated"], &privileges["has_all_requested"]), (&json!(true), &json!(true)));
    assert_eq!(service.get("/api/detection_engine/index").json()["name"], ".alerts-security.alerts-default");
    assert_eq!(service.get("/s/default/api/status").status, 200);
    assert_eq!(
        service.get("/api/nothing").json(),
        json!({ "statusCode": 404, "error": "Not Found", "message": "Not Found" })
    );
}

#[test]
fn a_backtest_says_what_a_rule_would_have_found() {
    let service = with_rules(1);
    let now = jiff::Timestamp::now();
    let event = |days: i64, host: &str, name: &str| {
        let time = now - jiff::SignedDuration::from_hours(24 * days);
        json!({ "@timestamp": time.to_string(), "event": { "category": "process" }, "host": { "name": host },
            "process": { "name": name } })
        .to_string()
    };
    let events = [
        event(1, "one", "cmd.exe"),
        event(1, "two", "cmd.exe"),
        event(3, "one", "cmd.exe"),
        event(1, "one", "other.exe"),
        event(30, "one", "cmd.exe"),
    ];
    service.post("/_bulk", common::creates(events));
    let backtest = |body: Value| {
        let request = Request::new("POST", "/api/backtest").header("Content-Type", "application/json");
        request.body(body.to_string()).send(service.address)
    };
    let found = backtest(json!({ "rule_id": "rule-1", "days": 7 })).json();
    assert_eq!((&found["alerts"], &found["looked_at"]), (&json!(3), &json!(3)));
    let day = |days: i64| (now - jiff::SignedDuration::from_hours(24 * days)).to_string()[..10].to_owned();
    let per_day = json!([{ "day": day(3), "count": 1 }, { "day": day(1), "count": 2 }]);
    assert_eq!(found["alerts_per_day"], per_day);
    let hosts = json!([{ "value": "one", "count": 2 }, { "value": "two", "count": 1 }]);
    assert_eq!(found["noisiest"][0], json!({ "field": "host.name", "values": hosts }));
    // One that is not kept.
    let mut draft = rule(9);
    draft["query"] = "process where process.name == \"other.exe\"".into();
    assert_eq!(backtest(json!({ "rule": draft, "days": 7 })).json()["alerts"], 1);
    assert_eq!(backtest(json!({ "rule_id": "none", "days": 7 })).status, 404);
    for body in [json!({ "days": 7 }), json!({ "rule_id": "rule-1", "days": 0 }), json!({ "rule_id": "rule-1" })] {
        assert_eq!(backtest(body.clone()).status, 400, "{body}");
    }
}

#[test]
fn what_looks_at_many_events_ends_in_time() {
    let service = Service::with(|config| config.limits.query_time = "1ms".parse().unwrap());
    let now = jiff::Timestamp::now();
    let event =
        json!({ "@timestamp": now.to_string(), "event": { "category": "process" }, "message": "x".repeat(200) });
    for _ in 0..10 {
        service.post("/_bulk", common::creates((0..2_000).map(|_| event.to_string())));
    }
    for (path, body) in [
        ("/api/backtest", json!({ "rule": rule(1), "days": 7 })),
        ("/api/explain", json!({ "query": "process where process.name == \"x\"" })),
    ] {
        let answer = send(&service, "POST", path, &body);
        assert!(answer.status != 200 && answer.text().contains("limits.query_time"), "{path}: {}", answer.text());
    }
}

#[test]
fn rules_are_explained_and_judged() {
    let service = with_rules(1);
    let now = jiff::Timestamp::now();
    let event = json!({ "@timestamp": now.to_string(), "event": { "category": "process" }, "host.name": "h", "process": { "name": "cmd.exe" } });
    service.post("/_bulk", common::creates([event.to_string()]));
    let explain = |body: Value| {
        Request::new("POST", "/api/explain")
            .header("Content-Type", "application/json")
            .body(body.to_string())
            .send(service.address)
    };
    let fired = explain(json!({ "rule_id": "rule-1" })).json();
    assert_eq!((&fired["fired"], &fired["alerts"], &fired["data"]["events"]), (&json!(true), &json!(1), &json!(1)));
    let not = explain(
        json!({ "query": "process where process.name == \"other.exe\"", "index": ["logs-*"], "from": "now-1h" }),
    )
    .json();
    assert_eq!((&not["fired"], &not["stages"][0]["matched"]), (&json!(false), &json!(0)));
    assert_eq!(explain(json!({ "rule_id": "none" })).status, 404);
    assert_eq!(explain(json!({ "query": "process where" })).status, 400);
    assert_eq!(explain(json!({})).status, 400);
    assert_eq!(explain(json!({ "query": "any where true", "form": "now" })).status, 400);
    send(&service, "PATCH", RULES, &json!({ "rule_id": "rule-1", "enabled": true }));
    let readiness = service.get("/api/readiness").json();
    assert_eq!((&readiness["totals"]["ready"], &readiness["data"]["events"]), (&json!(1), &json!(1)));
}

#[test]
fn bundled_rules_are_counted_and_installed_again() {
    let bundled = [1, 2].map(|number| {
        let Value::Object(mut document) = rule(number) else { unreachable!() };
        document.insert("version".to_owned(), 3.into());
        let rule = eqlipse_rules::Rule::from_json(document).unwrap();
        eqlipse_rules::LoadedRule { rule, origin: eqlipse_rules::Origin::file("x"), content_hash: String::new() }
    });
    let service = Service::with_bundled(bundled.to_vec(), |config| config.rules.bundled = true);
    send(&service, "POST", RULES, &rule(3));
    let counts = || {
        let status = service.get(&format!("{RULES}/prepackaged/_status")).json();
        ["rules_custom_installed", "rules_installed", "rules_not_installed", "rules_not_updated"]
            .map(|name| status[name].as_u64().unwrap())
    };
    assert_eq!(counts(), [1, 2, 0, 0]);
    send(&service, "DELETE", &format!("{RULES}?rule_id=rule-2"), &json!({}));
    assert_eq!(counts(), [1, 1, 1, 0]);
    let installed = send(&service, "PUT", &format!("{RULES}/prepackaged"), &json!({})).json();
    assert_eq!((&installed["rules_installed"], &installed["rules_updated"]), (&json!(1), &json!(0)));
    assert_eq!(counts(), [1, 2, 0, 0]);
    // One that comes from elsewhere is the same rule, with what people changed in it.
    send(&service, "DELETE", &format!("{RULES}?rule_id=rule-2"), &json!({}));
    let mut changed = rule(2);
    changed["name"] = "Changed".into();
    let imported = import(&service, "", "rules.ndjson", &changed.to_string()).json();
    assert_eq!((&imported["success"], counts()), (&json!(true), [1, 2, 0, 0]));
    let known = service.get(&format!("{RULES}?rule_id=rule-2")).json();
    assert_eq!((&known["name"], &known["immutable"], &known["version"]), (&json!("Changed"), &json!(true), &json!(3)));
    assert_eq!(known["rule_source"]["customized_fields"], json!([{ "field_name": "name" }]));
}
