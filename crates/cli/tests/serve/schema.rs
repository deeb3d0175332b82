//! schemathesis makes requests of the OpenAPI document, good and bad ones, and holds the answers against it.
//!
//! `EQLIPSE_TEST_EXAMPLES=200` is the long form: so many made-up requests for each operation, and beside them those at the
//! edges of its schemas.

use std::process::Command;

use serde_json::json;

use crate::bench::{Bench, PASSWORD, now};
use crate::clients::{missing, python};

/// What is not asked at all. Bodies of several JSON texts, one a line, are nothing that schemathesis can make: real clients
/// send these. And what changes users would change the login that all other requests are made with.
const UNASKED: &str = "_bulk$|_msearch$|^/_security/user";

/// What is not checked: whether a body of the right form is taken. A query, a rule or a time is a text in which the schema
/// sees no sense, so most that are made up are refused, as they should be.
const UNCHECKED: &str = "positive_data_acceptance";

#[test]
fn every_answer_is_as_the_openapi_document_says() {
    let program = python().with_file_name("st");
    if !program.exists() {
        return missing("the OpenAPI document", "schemathesis");
    }
    // Whatever is sent, it comes from one address and has the wrong credentials now and then.
    let bench = Bench::new().set("EQLIPSE_AUTH_LOGIN_FAILURES", "1000000");
    let bench = bench.rule("schema", "process where process.name == \"a.exe\"", 100);
    let service = bench.start();
    let event =
        |name: &str| json!({ "@timestamp": now(), "event": { "category": "process" }, "process": { "name": name } });
    service.bulk("logs-schema-default", &[event("a.exe"), event("b.exe")]);
    let (phases, examples) = match std::env::var("EQLIPSE_TEST_EXAMPLES") {
        Ok(examples) => ("examples,coverage,fuzzing", examples),
        Err(_) => ("examples,fuzzing", "1".to_owned()),
    };
    let output = Command::new(&program)
        .current_dir(bench.path(""))
        .args(["run", &format!("http://{}/api/openapi.json", service.address)])
        .args(["--auth", &format!("admin:{PASSWORD}")])
        .args(["--phases", phases, "--max-examples", &examples])
        .args(["--checks", "all", "--exclude-checks", UNCHECKED])
        .args(["--exclude-path-regex", UNASKED])
        .args(["--generation-deterministic", "--workers", "2"])
        .args(["--continue-on-failure", "--no-color", "--warnings", "off", "--request-timeout", "30"])
        .output()
        .expect("schemathesis runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    // It still works, for the same user.
    assert_eq!(service.send("GET", "/_security/_authenticate", "").status, 200);
    service.stop();
}
