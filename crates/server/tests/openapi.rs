//! The OpenAPI document as the service gives it.

mod common;

use common::{Request, Service};

#[test]
fn the_document_needs_a_login_and_is_the_same_as_without_a_service() {
    let service = Service::start();
    assert_eq!(Request::anonymous("GET", "/api/openapi.json").send(service.address).status, 401);
    let answer = service.get("/api/openapi.json");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.json(), eqlipse_server::openapi::document());
    let folder = service.folder.path().display().to_string();
    assert!(!answer.text().contains(&folder) && !answer.text().contains(common::PASSWORD));
    assert_eq!(service.get("/s/default/api/openapi.json").json()["openapi"], "3.1.0");
}

/// Errors that axum makes of its own have the API's shape too.
#[test]
fn what_cannot_be_read_of_a_url_is_an_error_in_the_shape_of_the_api() {
    let service = Service::start();
    for path in ["/_alias/%ff", "/%ff/_search", "/%ff/_doc/%ff", "/_ingest/pipeline/%c3%28", "/_search?size=%ff%ff"] {
        let answer = service.get(path);
        assert!([400, 405].contains(&answer.status), "{path}: {}", answer.status);
        assert_eq!(answer.json()["status"], answer.status, "{path}");
    }
    let answer = service.get("/api/spaces/space/%ff");
    assert_eq!((answer.status, &answer.json()["statusCode"]), (400, &serde_json::json!(400)));
}
