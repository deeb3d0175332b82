//! SQL over real connections.

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::{PASSWORD, Request, Response, Service, basic};
use eqlipse_control::Role;
use eqlipse_server::config::{Size, Time};
use serde_json::{Value, json};

/// Events of two data streams, the older half in segments.
fn service() -> Service {
    filled(Service::start())
}

fn filled(service: Service) -> Service {
    let mut body = String::new();
    for number in 0..40 {
        let stream = if number % 4 == 3 { "logs-other-default" } else { "logs-test-default" };
        let document = json!({
            "@timestamp": format!("2026-11-25T10:{number:02}:00.000Z"),
            "event": { "category": "process", "type": if number % 2 == 0 { json!(["start", "info"]) } else { json!("end") } },
            "process": { "name": if number % 2 == 0 { "cmd.exe" } else { "powershell.exe" }, "pid": number },
            "message": format!("=Process \"{number}\", started"),
        });
        body.push_str(&format!(
            "{}\n{document}\n",
            json!({ "create": { "_index": stream, "_id": format!("id-{number}") } })
        ));
        if number == 19 {
            assert_eq!(service.post("/_bulk", &body).json()["errors"], false);
            service.app().store.flush().unwrap();
            body.clear();
        }
    }
    assert_eq!(service.post("/_bulk", &body).json()["errors"], false);
    service
}

fn ask(service: &Service, path: &str, body: &Value) -> Response {
    Request::new("POST", path).header("Content-Type", "application/json").body(body.to_string()).send(service.address)
}

fn sql(service: &Service, query: &str) -> Value {
    let answer = ask(service, "/api/sql", &json!({ "query": query }));
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    answer.json()
}

fn message(answer: &Response) -> String {
    answer.json()["message"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn rows_have_columns_with_types() {
    let service = service();
    let answer = sql(
        &service,
        "SELECT process.name, count(*) AS n, avg(process.pid) AS mean, max(@timestamp) AS last FROM \"logs-*\" \
         WHERE event.type = 'start' OR event.type = 'end' GROUP BY process.name ORDER BY n, 1",
    );
    assert_eq!(
        answer["columns"],
        json!([
            { "name": "process.name", "type": "keyword" },
            { "name": "n", "type": "long" },
            { "name": "mean", "type": "double" },
            { "name": "last", "type": "datetime" },
        ])
    );
    let rows =
        json!([["cmd.exe", 20, 19.0, "2026-11-25T10:38:00Z"], ["powershell.exe", 20, 20.0, "2026-11-25T10:39:00Z"],]);
    assert_eq!((&answer["rows"], &answer["truncated"]), (&rows, &json!(false)));
    assert!(answer["took"].is_u64(), "{answer}");
    let source = sql(&service, "SELECT _id, _index, _source FROM events WHERE process.pid = 3");
    assert_eq!(source["columns"][2], json!({ "name": "_source", "type": "object" }));
    assert_eq!(source["rows"][0][0], "id-3");
    assert_eq!(
        (&source["rows"][0][1], &source["rows"][0][2]["process"]["pid"]),
        (&json!("logs-other-default"), &json!(3))
    );
}

#[test]
fn other_formats() {
    let service = service();
    let query = json!({ "query": "SELECT process.pid, message, event.type, user.name FROM events WHERE process.pid < 2 ORDER BY 1" });
    let csv = ask(&service, "/api/sql?format=csv", &query);
    assert_eq!(
        csv.text(),
        "process.pid,message,event.type,user.name\r\n\
         0,\"'=Process \"\"0\"\", started\",\"[\"\"start\"\",\"\"info\"\"]\",\r\n\
         1,\"'=Process \"\"1\"\", started\",\"[\"\"end\"\"]\",\r\n"
    );
    let ndjson = ask(&service, "/api/sql?format=ndjson", &query).text();
    let lines: Vec<Value> = ndjson.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[1], json!({ "process.pid": 1, "message": "=Process \"1\", started", "event.type": ["end"] }));
    assert_eq!(ask(&service, "/api/sql?format=xml", &query).status, 400);
}

#[test]
fn limits_are_named() {
    let service = filled(Service::with(|config| {
        config.limits.sql_rows = 30;
        config.limits.sql_memory = Size::mebibytes(1);
        config.limits.query_time = Time(Duration::from_millis(400));
    }));
    let cut = sql(&service, "SELECT process.pid FROM events ORDER BY process.pid");
    assert_eq!(
        (cut["rows"].as_array().unwrap().len(), &cut["truncated"], &cut["size"]),
        (30, &json!(true), &json!(30))
    );
    let few = ask(&service, "/api/sql", &json!({ "query": "SELECT 1 FROM events", "size": 2 })).json();
    assert_eq!((few["rows"].clone(), few["size"].clone()), (json!([[1], [1]]), json!(2)));
    let much = ask(&service, "/api/sql", &json!({ "query": "SELECT 1 FROM events", "size": 31 }));
    assert!(much.status == 400 && message(&much).contains("limits.sql_rows"), "{}", much.text());
    let cross = "events a, events b, events c, events d, events e";
    let slow = json!({ "query": "SELECT sum(value % 7) FROM generate_series(1, 1000000000000)" });
    let slow = ask(&service, "/api/sql", &slow);
    assert!(slow.status == 504 && message(&slow).contains("limits.query_time"), "{}", slow.text());
    let large = json!({ "query": format!("SELECT array_agg(a.message || b.message) FROM {cross}") });
    let large = ask(&service, "/api/sql", &large);
    assert!(large.status == 429 && message(&large).contains("limits.sql_memory"), "{}", large.text());
    // What failed holds nothing on to.
    assert_eq!(sql(&service, "SELECT count(*) FROM events")["rows"], json!([[40]]));
}

#[test]
fn faults_are_explained() {
    let service = service();
    for (body, expected) in [
        (
            json!({ "query": "SELECT proces.name FROM events" }),
            "line 1:8: unknown column proces.name: did you mean process.name?",
        ),
        (json!({ "query": "DROP TABLE events" }), "only SELECT"),
        (json!({ "query": "COPY events TO '/tmp/x.csv'" }), "only SELECT"),
        (json!({ "query": "SELECT 1 FROM nowhere" }), "no data stream"),
        (json!({ "query": "" }), "empty"),
        (json!({ "querry": "SELECT 1" }), "querry"),
        (json!([]), "[request body]"),
    ] {
        let answer = ask(&service, "/api/sql", &body);
        assert!(answer.status == 400 && message(&answer).contains(expected), "{body}: {}", answer.text());
    }
}

#[test]
fn who_may_read_may_ask() {
    let service = service();
    for (role, status) in [(Role::Reader, 200), (Role::Analyst, 200), (Role::Ingest, 403)] {
        let name = role.as_str();
        service.app().control.create_user(name, PASSWORD, &BTreeSet::from([role]), "admin", 0).unwrap();
        let answer = Request::anonymous("POST", "/api/sql")
            .header("Content-Type", "application/json")
            .header("Authorization", &basic(name, PASSWORD))
            .body(json!({ "query": "SELECT count(*) FROM events" }).to_string())
            .send(service.address);
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
    }
}

#[test]
fn a_query_ends_with_its_client() {
    let service = service();
    let cross = (0..7).map(|number| format!("events e{number}")).collect::<Vec<_>>().join(", ");
    let body = json!({ "query": format!("SELECT count(*) FROM {cross} WHERE e0.process.pid + e1.process.pid > e2.process.pid + e6.process.pid") }).to_string();
    // As many as may run at a time, and then some: if they ran on, none after them would get its turn.
    for _ in 0..20 {
        Request::new("POST", "/api/sql").header("Content-Type", "application/json").body(&body).leave(service.address);
    }
    let start = Instant::now();
    assert_eq!(sql(&service, "SELECT count(*) FROM events")["rows"], json!([[40]]));
    assert!(start.elapsed() < Duration::from_secs(45), "{:?}", start.elapsed());
}
