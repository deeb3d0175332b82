//! Users are managed over HTTP alone.

mod common;

use common::{PASSWORD, Request, Service, basic};
use serde_json::{Value, json};

/// A request of a user with JSON.
fn ask(service: &Service, user: &str, password: &str, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let request = Request::anonymous(method, path).header("Authorization", &basic(user, password));
    let request = request.header("Content-Type", "application/json").body(body.to_string());
    let answer = request.send(service.address);
    (answer.status, answer.json())
}

fn admin(service: &Service, method: &str, path: &str, body: &Value) -> (u16, Value) {
    ask(service, "admin", PASSWORD, method, path, body)
}

#[test]
fn the_audit_log_says_who_changed_what() {
    let service = Service::start();
    let templates = json!({ "index_patterns": ["logs-x-*"] });
    assert_eq!(admin(&service, "PUT", "/_index_template/mine", &templates).0, 200);
    assert_eq!(admin(&service, "PUT", "/_ingest/pipeline/p", &json!({ "processors": [] })).0, 200);
    assert_eq!(admin(&service, "DELETE", "/_ingest/pipeline/p", &json!({})).0, 200);
    // Of what is not there, nothing is removed.
    assert_eq!(admin(&service, "DELETE", "/_ingest/pipeline/p", &json!({})).0, 404);
    assert_eq!(admin(&service, "PUT", "/logs-new", &json!({})).0, 200);
    assert_eq!(admin(&service, "PUT", "/logs-new/_alias/all", &json!({})).0, 200);
    assert_eq!(admin(&service, "DELETE", "/logs-new", &json!({})).0, 200);
    let user = json!({ "password": "long enough", "roles": ["reader"] });
    assert_eq!(admin(&service, "POST", "/_security/user/ann", &user).0, 200);
    let (status, log) = admin(&service, "GET", "/api/audit?limit=7", &json!({}));
    let said = |entry: &Value| ["user", "action", "object"].map(|name| entry[name].as_str().unwrap().to_owned());
    let said: Vec<[String; 3]> = log.as_array().unwrap().iter().map(said).collect();
    let expected = [
        ["admin", "user_create", "ann"],
        ["admin", "index_delete", "logs-new"],
        ["admin", "alias_put", "all of logs-new"],
        ["admin", "index_create", "logs-new"],
        ["admin", "pipelines_delete", "p"],
        ["admin", "pipelines_put", "p"],
        ["admin", "index_templates_put", "mine"],
    ];
    assert_eq!((status, said), (200, expected.map(|entry| entry.map(str::to_owned)).to_vec()));
    assert!(!log.to_string().contains("long enough"));
    assert!(log[0]["time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn every_role_is_given_and_allows_what_it_says() {
    let service = Service::start();
    for role in ["admin", "author", "analyst", "reader", "ingest"] {
        let body = json!({ "password": "long enough", "roles": [role], "full_name": "A name" });
        let path = format!("/_security/user/{role}-1");
        assert_eq!(admin(&service, "POST", &path, &body), (200, json!({ "created": true })));
        let (status, me) =
            ask(&service, &format!("{role}-1"), "long enough", "GET", "/_security/_authenticate", &json!({}));
        assert_eq!((status, &me["roles"]), (200, &json!([role])));
        let (status, _) = ask(&service, &format!("{role}-1"), "long enough", "GET", "/_security/user", &json!({}));
        assert_eq!(status, if role == "admin" { 200 } else { 403 }, "{role}");
    }
    let (_, user) = admin(&service, "GET", "/_security/user/reader-1", &json!({}));
    let expected = json!({ "reader-1": { "username": "reader-1", "roles": ["reader"], "full_name": "A name", "email": null,
        "metadata": {}, "enabled": true } });
    assert_eq!(user, expected);
    // Another role, while the password stays.
    let change = json!({ "roles": ["analyst", "ingest"], "metadata": { "team": 7 } });
    assert_eq!(admin(&service, "PUT", "/_security/user/reader-1", &change), (200, json!({ "created": false })));
    let (_, me) = ask(&service, "reader-1", "long enough", "GET", "/_security/_authenticate", &json!({}));
    assert_eq!(me["roles"], json!(["analyst", "ingest"]));
    // Who one is says the same of them, to Elasticsearch's clients and to Kibana's.
    assert_eq!((&me["full_name"], &me["email"], &me["metadata"]), (&json!(null), &json!(null), &json!({ "team": 7 })));
    let (_, kibana) = ask(&service, "author-1", "long enough", "GET", "/internal/security/me", &json!({}));
    assert_eq!((&kibana["username"], &kibana["full_name"]), (&json!("author-1"), &json!("A name")));
    let (_, some) = admin(&service, "GET", "/_security/user/author-1,%20nobody,admin-1", &json!({}));
    assert_eq!(some.as_object().unwrap().keys().collect::<Vec<_>>(), ["admin-1", "author-1"]);
    let (_, roles) = admin(&service, "GET", "/_security/role", &json!({}));
    assert_eq!(roles.as_object().unwrap().len(), 5);
    let (_, two) = admin(&service, "GET", "/_security/role/reader,%20ingest", &json!({}));
    assert_eq!(two.as_object().unwrap().len(), 2);
    assert_eq!(admin(&service, "GET", "/_security/role/superuser", &json!({})), (404, json!({})));
}

#[test]
fn passwords_change_and_users_are_disabled_and_removed() {
    let service = Service::start();
    let login = |password: &str| ask(&service, "ann", password, "GET", "/_security/_authenticate", &json!({})).0;
    let ann = json!({ "password": "long enough", "roles": ["reader"] });
    admin(&service, "PUT", "/_security/user/ann", &ann);
    assert_eq!(login("long enough"), 200);
    // By oneself, then by an admin; of others, by no one else.
    let another = json!({ "password": "another one" });
    assert_eq!(ask(&service, "ann", "long enough", "POST", "/_security/user/_password", &another), (200, json!({})));
    assert_eq!((login("long enough"), login("another one")), (401, 200));
    assert_eq!(ask(&service, "ann", "another one", "POST", "/_security/user/admin/_password", &another).0, 403);
    assert_eq!(admin(&service, "PUT", "/_security/user/ann/_password", &ann).0, 400, "an unknown member");
    let third = json!({ "password": "the third one" });
    assert_eq!(admin(&service, "PUT", "/_security/user/ann/_password", &third), (200, json!({})));
    assert_eq!(login("the third one"), 200);
    let key = ask(&service, "ann", "the third one", "POST", "/_security/api_key", &json!({ "name": "k" })).1;
    let with_key = |method: &str, path: &str| {
        let header = format!("ApiKey {}", key["encoded"].as_str().unwrap());
        let request = Request::anonymous(method, path).header("Authorization", &header);
        request.header("Content-Type", "application/json").body(third.to_string()).send(service.address).status
    };
    assert_eq!(with_key("GET", "/_security/_authenticate"), 200);
    assert_eq!(with_key("POST", "/_security/user/_password"), 403, "a key is not its owner");
    assert_eq!(admin(&service, "PUT", "/_security/user/ann/_disable", &json!({})), (200, json!({})));
    assert_eq!((login("the third one"), with_key("GET", "/_security/_authenticate")), (401, 401));
    assert_eq!(admin(&service, "PUT", "/_security/user/ann/_enable", &json!({})), (200, json!({})));
    assert_eq!((login("the third one"), with_key("GET", "/_security/_authenticate")), (200, 200));
    assert_eq!(admin(&service, "DELETE", "/_security/user/ann", &json!({})), (200, json!({ "found": true })));
    assert_eq!((login("the third one"), with_key("GET", "/_security/_authenticate")), (401, 401));
    assert_eq!(admin(&service, "DELETE", "/_security/user/ann", &json!({})), (404, json!({ "found": false })));
    assert_eq!(admin(&service, "GET", "/_security/user/ann", &json!({})), (404, json!({})));
    assert_eq!(admin(&service, "PUT", "/_security/user/ann/_enable", &json!({})).0, 404);
}

#[test]
fn what_would_lock_all_out_or_is_no_user_is_refused() {
    let service = Service::start();
    for (path, body) in [
        ("/_security/user/admin", json!({ "roles": ["reader"] })),
        ("/_security/user/admin", json!({ "roles": ["admin"], "enabled": false })),
        ("/_security/user/admin/_disable", json!({})),
        ("/_security/user/ann", json!({ "roles": ["reader"] })),
        ("/_security/user/ann", json!({ "password": "short", "roles": ["reader"] })),
        ("/_security/user/ann", json!({ "password": "long enough", "roles": [] })),
        ("/_security/user/ann", json!({ "password": "long enough", "roles": ["superuser"] })),
        ("/_security/user/a%20b", json!({ "password": "long enough", "roles": ["reader"] })),
        ("/_security/user/%ff", json!({ "password": "long enough", "roles": ["reader"] })),
    ] {
        let (status, answer) = admin(&service, "PUT", path, &body);
        assert_eq!((status, &answer["status"]), (400, &json!(400)), "{path} {body}: {answer}");
    }
    assert_eq!(admin(&service, "DELETE", "/_security/user/admin", &json!({})).0, 400);
    let log = service.app().control.audit_log(100).unwrap();
    assert!(!format!("{log:?}").contains("long enough"));
}
