//! The OpenAPI document, made of the annotations by which routes are registered.
//!
//! ```text
//! #[utoipa::path(…)]  handler ──routes!──> OpenApiRouter ──┬──> axum's router
//!                                                          └──> paths ──finish──> /api/openapi.json
//! ```
//!
//! An annotation says what belongs to its handler alone: summary, parameters, bodies. What holds for a whole API is added
//! here, once ([`document`]): errors in the shape of the API, credentials, ids of operations. Bodies that handlers take
//! apart or put together as JSON values are described in `schemas` and `bodies`.

pub(crate) mod bodies;
pub(crate) mod schemas;

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use crate::http::Shape;
use crate::state::{App, Caller};

/// The tags of operations: whose API they are.
pub(crate) const ELASTICSEARCH: &str = "Elasticsearch";
/// See [`ELASTICSEARCH`].
pub(crate) const KIBANA: &str = "Kibana";
/// See [`ELASTICSEARCH`].
pub(crate) const EQLIPSE: &str = "eqlipse";

/// Below it, Kibana's API is there once more: the one space that there is.
pub(crate) const SPACE: &str = "/s/default";

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// More paths for a handler.
pub(crate) trait AlsoAt {
    /// Serves and documents the handler at a further path, whose parameters are among those of the first.
    fn also_at(self, path: &str) -> Self;
}

impl AlsoAt for UtoipaMethodRouter<App> {
    fn also_at(mut self, path: &str) -> Self {
        // The form with most parameters is the one that the annotation has.
        let first = self.1.paths.iter().max_by_key(|(path, _)| path.matches('{').count());
        if let Some(mut item) = first.map(|(_, item)| item.clone()) {
            let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
            for operation in operations.into_iter().flatten() {
                if let Some(parameters) = &mut operation.parameters {
                    parameters.retain(|parameter| is_parameter_of(path, &json!(parameter)));
                }
            }
            self.1.paths.insert(path.to_owned(), item);
        }
        self
    }
}

fn is_parameter_of(path: &str, parameter: &Value) -> bool {
    parameter["in"] != "path" || parameter["name"].as_str().is_some_and(|name| path.contains(&format!("{{{name}}}")))
}

/// The route of the document itself.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(serve))
}

/// This document.
///
/// It is the same for all callers, and there is nothing of the service's data in it. It needs a login all the same, as
/// `/api/status` does: who has none learns nothing of what runs here.
#[utoipa::path(
    get, path = "/api/openapi.json", tag = EQLIPSE,
    responses((status = 200, description = "The OpenAPI document of the service", body = schemas::Document)),
)]
async fn serve(_: Caller) -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());
    ([(axum::http::header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

/// The OpenAPI document of all routes.
pub fn document() -> Value {
    let paths = crate::http::routes().into_openapi();
    let mut document = json!(paths);
    document["info"] = json!({
        "title": "eqlipse",
        "version": env!("CARGO_PKG_VERSION"),
        "description": DESCRIPTION,
        "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
    });
    document["tags"] = json!([
        { "name": ELASTICSEARCH, "description": "As Elasticsearch has it: events come in, and are searched." },
        { "name": KIBANA, "description": "As Kibana has it: detection rules and alerts." },
        { "name": EQLIPSE, "description": "What only eqlipse has." },
    ]);
    components(&mut document["components"]);
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        finish_path(path, item);
    }
    document
}

const DESCRIPTION: &str = "\
The detection service `eqlipse serve`. Paths and bodies are Elasticsearch's and Kibana's where these have them.

* A path that answers GET answers HEAD too.
* Elasticsearch's answers are filtered by `filter_path`; `pretty`, `human` and `error_trace` are taken and change nothing.
* To a client that accepts `application/vnd.elasticsearch+json; compatible-with=8` or `9`, Elasticsearch's answers have \
that type.
* Bodies may be gzip (`Content-Encoding`).
* Kibana's paths are also below `/s/default`, the one space that there is.";

fn components(components: &mut Value) {
    components["securitySchemes"] = json!({
        "basic": { "type": "http", "scheme": "basic", "description": "A user and a password" },
        "apiKey": {
            "type": "apiKey", "in": "header", "name": "Authorization",
            "description": "`ApiKey` and the `encoded` of `POST /_security/api_key`",
        },
    });
    for (name, schema) in bodies::schemas() {
        components["schemas"][name] = schema;
    }
    for shape in [Shape::Elastic, Shape::Kibana] {
        components["schemas"][error_name(shape)] = error_schema(shape);
        for error in &ERRORS {
            components["responses"][response_name(shape, error.status)] = json!({
                "description": error.description,
                "content": { "application/json": { "schema": reference("schemas", error_name(shape)) } },
            });
        }
    }
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

fn error_name(shape: Shape) -> &'static str {
    match shape {
        Shape::Elastic => "ElasticsearchError",
        Shape::Kibana => "KibanaError",
    }
}

fn response_name(shape: Shape, status: u16) -> String {
    format!("{}{status}", error_name(shape))
}

/// The body of [`crate::http::Failure`].
fn error_schema(shape: Shape) -> Value {
    let status = json!({ "type": "integer", "minimum": 400, "maximum": 599 });
    let cause = json!({
        "type": "object",
        "required": ["type", "reason"],
        "properties": { "type": { "type": "string" }, "reason": { "type": "string" } },
    });
    match shape {
        Shape::Elastic => json!({
            "description": "An error of Elasticsearch's API",
            "type": "object",
            "required": ["error", "status"],
            "properties": {
                "error": {
                    "type": "object",
                    "required": ["root_cause", "type", "reason"],
                    "properties": {
                        "type": { "type": "string", "description": "Elasticsearch's name for it" },
                        "reason": { "type": "string", "description": "What is wrong" },
                        "root_cause": { "type": "array", "items": cause },
                    },
                },
                "status": status,
            },
        }),
        Shape::Kibana => json!({
            "description": "An error of Kibana's API: of its own, or of the detection engine",
            "anyOf": [
                {
                    "type": "object",
                    "required": ["statusCode", "error", "message"],
                    "properties": { "statusCode": status, "error": { "type": "string" }, "message": { "type": "string" } },
                },
                {
                    "type": "object",
                    "required": ["status_code", "message"],
                    "properties": { "status_code": status, "message": { "type": "string" } },
                },
            ],
        }),
    }
}

/// An error that many operations answer.
struct SharedError {
    status: u16,
    description: &'static str,
    /// Which operations may answer it.
    belongs_to: fn(&Traits) -> bool,
}

/// What an operation has, as far as errors depend on it.
struct Traits {
    is_open: bool,
    has_body: bool,
    has_path_parameter: bool,
}

const ERRORS: [SharedError; 9] = [
    SharedError { status: 400, description: "A parameter, header or body that makes no sense", belongs_to: |_| true },
    SharedError { status: 401, description: "No credentials, or wrong ones", belongs_to: |of| !of.is_open },
    SharedError {
        status: 403,
        description: "The caller has none of the roles that may do it",
        belongs_to: |of| !of.is_open,
    },
    SharedError { status: 404, description: "There is none of this name", belongs_to: |of| of.has_path_parameter },
    SharedError { status: 413, description: "The body is longer than a limit", belongs_to: |of| of.has_body },
    SharedError {
        status: 415,
        description: "A content type or encoding that is not understood",
        belongs_to: |of| of.has_body,
    },
    SharedError {
        status: 429,
        description: "Memory is short for a moment, or there were too many failed logins: again after `Retry-After` seconds",
        belongs_to: |of| !of.is_open,
    },
    SharedError {
        status: 503,
        description: "It cannot be done now: the disk is full, the body did not arrive in time, or the service stops",
        belongs_to: |of| !of.is_open,
    },
    SharedError { status: 504, description: "It took longer than it may", belongs_to: |_| true },
];

/// Paths that answer without credentials.
fn is_open(path: &str) -> bool {
    path.starts_with("/health/")
}

fn finish_path(path: &str, item: &mut Value) {
    let shape = Shape::of_path(path);
    if shape == Shape::Kibana {
        item["servers"] = json!([{ "url": "/" }, { "url": SPACE }]);
    }
    for method in METHODS {
        let Some(operation) = item.get_mut(method).and_then(Value::as_object_mut) else { continue };
        operation.insert("operationId".to_owned(), operation_id(method, path).into());
        without_null_parameters(operation);
        let traits = Traits {
            is_open: is_open(path),
            has_body: operation.contains_key("requestBody"),
            has_path_parameter: path.contains('{'),
        };
        if !traits.is_open {
            operation.insert("security".to_owned(), json!([{ "basic": [] }, { "apiKey": [] }]));
        }
        for error in ERRORS.iter().filter(|error| (error.belongs_to)(&traits)) {
            let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { continue };
            let response = || reference("responses", &response_name(shape, error.status));
            responses.entry(error.status.to_string()).or_insert_with(response);
        }
        with_error_bodies(operation, shape);
    }
}

/// Errors that an annotation only names have the body of the API's errors.
fn with_error_bodies(operation: &mut Map<String, Value>, shape: Shape) {
    for (status, response) in operation.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten() {
        if status.starts_with(['4', '5']) && response.get("content").is_none() && response.get("$ref").is_none() {
            response["content"] = json!({ "application/json": { "schema": reference("schemas", error_name(shape)) } });
        }
    }
}

/// `post_index_search`
fn operation_id(method: &str, path: &str) -> String {
    let words = path.split(['/', '.', '-']).map(|word| word.trim_matches(['{', '}', '_']));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let words = if words.is_empty() { "root".to_owned() } else { words.join("_") };
    format!("{method}_{words}")
}

/// An optional parameter is left out, not null.
fn without_null_parameters(operation: &mut Map<String, Value>) {
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        let kind = &mut parameter["schema"]["type"];
        if let Some(kinds) = kind.as_array() {
            let mut kinds = kinds.iter().filter(|kind| *kind != "null");
            if let Some(only) = kinds.next().cloned() {
                *kind = only;
            }
        }
    }
}

/// Documents the header that Kibana asks for where a call changes something.
pub(crate) fn with_xsrf_header(mut router: OpenApiRouter<App>) -> OpenApiRouter<App> {
    use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
    use utoipa::openapi::{ObjectBuilder, Required, Type};
    let header = ParameterBuilder::new()
        .name("kbn-xsrf")
        .parameter_in(ParameterIn::Header)
        .required(Required::True)
        .description(Some("Anything: no other site's page can make a browser send it."))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build();
    for item in router.get_openapi_mut().paths.paths.values_mut() {
        let changing = [&mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in changing.into_iter().flatten() {
            operation.parameters.get_or_insert_default().push(header.clone().into());
        }
    }
    router
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Calls a function with every object in a value.
    fn each_object(value: &Value, of: &mut impl FnMut(&Map<String, Value>)) {
        match value {
            Value::Object(map) => {
                of(map);
                map.values().for_each(|value| each_object(value, of));
            }
            Value::Array(values) => values.iter().for_each(|value| each_object(value, of)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_component_is_used() {
        let document = document();
        let mut used = BTreeSet::new();
        each_object(&document, &mut |map| used.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned)));
        for name in &used {
            assert!(document.pointer(&name[1..]).is_some(), "{name} leads nowhere");
        }
        for kind in ["schemas", "responses"] {
            for name in document["components"][kind].as_object().unwrap().keys() {
                assert!(used.contains(&format!("#/components/{kind}/{name}")), "nothing uses {name}");
            }
        }
    }

    /// Methods and paths as axum's router itself has them: all there is to see of it is what it writes for debugging.
    fn routed() -> BTreeSet<(String, String)> {
        let (router, _) = crate::http::routes().split_for_parts();
        let text = format!("{router:?}");
        let (text, _) = text.split_once("fallback_router:").unwrap();
        let (routes, paths) = text.split_once("paths: {").unwrap();
        let by_id = |text: &str| -> Vec<(String, String)> {
            let parts = text.split("RouteId(").skip(1).filter_map(|part| part.split_once("): "));
            parts.map(|(id, rest)| (id.to_owned(), rest.to_owned())).collect()
        };
        let paths: BTreeMap<String, String> =
            by_id(paths).into_iter().map(|(id, rest)| (id, rest.split('"').nth(1).unwrap().to_owned())).collect();
        let mut all = BTreeSet::new();
        for (id, handlers) in by_id(routes) {
            let has = |method: &&&str| !handlers.contains(&format!("{method}: None"));
            all.extend(METHODS.iter().filter(has).map(|method| ((*method).to_owned(), paths[&id].clone())));
        }
        all
    }

    #[test]
    fn what_is_routed_is_documented_and_what_is_documented_is_routed() {
        let document = document();
        let mut documented = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            let servers = item["servers"].as_array().cloned().unwrap_or_else(|| vec![json!({ "url": "/" })]);
            for server in servers {
                let prefix = server["url"].as_str().unwrap().trim_end_matches('/').to_owned();
                let methods = METHODS.iter().filter(|method| item.get(**method).is_some());
                documented.extend(methods.map(|method| ((*method).to_owned(), format!("{prefix}{path}"))));
            }
        }
        let routed = routed();
        assert!(routed.len() > 100, "{routed:?}");
        assert_eq!(
            routed.difference(&documented).collect::<Vec<_>>(),
            Vec::<&(String, String)>::new(),
            "not documented"
        );
        assert_eq!(documented.difference(&routed).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "not routed");
    }

    #[test]
    fn every_operation_has_an_id_a_summary_a_tag_and_an_answer() {
        let document = document();
        let mut ids = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in METHODS {
                let Some(operation) = item.get(method) else { continue };
                let text = |name: &str| operation[name].as_str().unwrap_or_default().to_owned();
                assert!(ids.insert(text("operationId")), "{method} {path}: {} is not its own", text("operationId"));
                assert!(text("summary").ends_with('.'), "{method} {path}: {:?} is no summary", text("summary"));
                assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{method} {path}");
                let answers = operation["responses"].as_object().unwrap();
                assert!(answers.keys().any(|status| status.starts_with('2')) || answers.contains_key("404"), "{path}");
                for (name, _) in path.split('{').skip(1).filter_map(|rest| rest.split_once('}')) {
                    let parameters = operation["parameters"].as_array().unwrap();
                    let is_it = |parameter: &Value| parameter["name"] == name && parameter["in"] == "path";
                    assert_eq!(parameters.iter().filter(|parameter| is_it(parameter)).count(), 1, "{path}: {name}");
                }
            }
        }
        assert!(ids.len() > 100, "{}", ids.len());
    }
}
