//! The OpenAPI 3.1 document of `/api/v1`, made from the routes and from the types that they take and give.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use muster_api::types::Problem;
use muster_ca::operator::Permission;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::route::{Gives, Method, Needs, Route, Shape};
use super::routes;

/// The same for every Muster of one version, and so for everybody.
pub(super) const ROUTES: &[Route] =
    &[
        Route::get("/openapi.json", Permission::Read, "This description.", || {
            get(document)
        })
        .needs(Needs::Nothing),
    ];

const ABOUT: &str = "Muster's own API. Times are RFC 3339 in UTC; serial numbers and fingerprints are hexadecimal. \
    Whatever changes something takes `dry_run=true`: it is judged as always, answered with what would be, and nothing \
    is changed. An answer that is no success says why, and what would help.";

/// What stands in braces in a path: what it is, and its values where there are only some.
const PLACES: &[(&str, &str, &[&str])] = &[
    ("serial", "A certificate's serial number, hexadecimal.", &[]),
    (
        "name",
        "A name: of the device, authority, provisioner or operator that the path speaks of.",
        &[],
    ),
    ("id", "What it is called by where it is listed.", &[]),
    ("file", "A CRL as an epoch names it, such as `default-1`.", &[]),
    (
        "act",
        "What shall happen to the device.",
        &["revoke", "suspend", "resume", "retire", "rearm"],
    ),
    (
        "step",
        "The next step of a roll-over that `muster ca rollover start` began.",
        &["activate", "finish"],
    ),
    (
        "verdict",
        "Whether the second operator agrees.",
        &["agree", "reject"],
    ),
    (
        "format",
        "Which file.",
        &["zip", "pem", "crt", "ca.crt", "der", "k8s", "h"],
    ),
];

async fn document() -> Response {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| make().to_string().into());
    ([(CONTENT_TYPE, "application/json")], TEXT.clone()).into_response()
}

fn make() -> Value {
    let settings = || {
        SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
    };
    let mut taken = settings().into_generator();
    let mut given = settings().for_serialize().into_generator();
    let mut paths = Map::new();
    for route in routes() {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_lowercase()] = operation(route, &mut taken, &mut given);
    }
    let problem = given.subschema_for::<Problem>();
    let mut schemas = given.take_definitions(true);
    // What is absent is left out, and never `null`.
    for schema in schemas
        .values_mut()
        .filter_map(|schema| <&mut Schema>::try_from(schema).ok())
    {
        RecursiveTransform(without_null).transform(schema);
    }
    schemas.extend(taken.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Muster",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/api/v1" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": { "Problem": {
                "description": "It was refused, or went wrong: nothing was changed.",
                "content": { "application/json": { "schema": problem } },
            }},
            "parameters": { "DryRun": {
                "name": "dry_run", "in": "query",
                "description": "Only say what would be done.",
                "schema": { "type": "boolean", "default": false },
            }},
            "securitySchemes": {
                "key": { "type": "http", "scheme": "bearer", "description": "An operator's API key: `muster user create`." },
                "certificate": { "type": "mutualTLS", "description": "The device's own certificate." },
            },
        },
    })
}

fn operation(route: &Route, taken: &mut SchemaGenerator, given: &mut SchemaGenerator) -> Value {
    let mut operation = json!({
        "operationId": id(route),
        "tags": [route.path.split('/').nth(1).unwrap_or_default()],
        "summary": route.does.trim_end_matches('.'),
        "responses": {
            "200": { "description": "Done.", "content": content(route.gives, given) },
            "default": { "$ref": "#/components/responses/Problem" },
        },
    });
    let mut parameters: Vec<Value> = places(route.path).map(place).collect();
    if let Some(query) = route.query {
        parameters.extend(query_parameters(query, taken));
    }
    if route.method != Method::Get {
        parameters.push(json!({ "$ref": "#/components/parameters/DryRun" }));
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some((shape, example)) = route.body {
        // The text is ours, and every example is sent to a server by a test.
        let example: Value = serde_json::from_str(example).unwrap_or_default();
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": shape(taken), "example": example } },
        });
    }
    let (security, words) = match route.needs {
        Needs::Permission(_) => (json!([{ "key": [] }]), roles(route.needs)),
        Needs::Certificate => (json!([{ "certificate": [] }]), "For the device itself.".into()),
        Needs::Token => (json!([]), "For whoever has the enrolment token.".into()),
        Needs::Nothing => (json!([]), "For everybody.".into()),
    };
    operation["security"] = security;
    operation["description"] = words.into();
    operation["x-roles"] = route.needs.roles().iter().map(|role| role.as_str()).collect();
    operation
}

fn roles(needs: Needs) -> String {
    let roles: Vec<_> = needs.roles().iter().map(|role| role.as_str()).collect();
    format!("For operators with one of the roles {}.", roles.join(", "))
}

/// `GET /devices/{name}` is `get_devices_name`.
fn id(route: &Route) -> String {
    let path = route.path.replace(['{', '}'], "").replace(['/', '.'], "_");
    format!("{}{path}", route.method.as_str().to_lowercase())
}

fn places(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{').and_then(|part| part.strip_suffix('}')))
}

fn place(name: &str) -> Value {
    let known = PLACES.iter().find(|(known, ..)| *known == name);
    let (_, words, values) = known.unwrap_or(&("", "", &[]));
    let mut schema = json!({ "type": "string" });
    if !values.is_empty() {
        schema["enum"] = json!(values);
    }
    json!({ "name": name, "in": "path", "required": true, "description": words, "schema": schema })
}

/// The fields of a query, each as a parameter.
fn query_parameters(query: Shape, generator: &mut SchemaGenerator) -> Vec<Value> {
    let schema = query(generator);
    let required = schema.get("required").cloned().unwrap_or_default();
    let required = |name: &String| required.as_array().is_some_and(|all| all.contains(&json!(name)));
    let fields = schema.get("properties").and_then(Value::as_object);
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = Schema::try_from(schema.clone()).unwrap_or_default();
        without_null(&mut schema);
        schema.remove("default");
        let words = schema.remove("description").unwrap_or_default();
        json!({ "name": name, "in": "query", "required": required(name), "description": words, "schema": schema })
    };
    fields.into_iter().flatten().map(parameter).collect()
}

fn content(gives: Gives, generator: &mut SchemaGenerator) -> Value {
    match gives {
        Gives::Json(shape) => json!({ "application/json": { "schema": shape(generator) } }),
        Gives::List { page, row } => json!({
            "application/json": { "schema": page(generator) },
            "application/jsonl": { "schema": row(generator) },
            "text/csv": { "schema": { "type": "string" } },
        }),
        Gives::File => json!({ "*/*": { "schema": { "type": "string" } } }),
        Gives::Document => json!({ "application/json": { "schema": { "type": "object" } } }),
    }
}

fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|one| one != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".into(), only);
        }
    }
}
