//! The operations of the document.

use super::schema::{Schemas, is_sealed};
use crate::domain::permissions::{self, Scope};
use crate::rest::call::is_accepted;
use crate::rest::router::{Shape, shape};
use contracts::Method;
use contracts::comments;
use prost_reflect::FieldDescriptor;
use serde_json::{Map, Value, json};

/// All paths; schemas are collected on the way.
pub fn all(schemas: &mut Schemas) -> Map<String, Value> {
    let mut paths = Map::new();
    for method in contracts::methods() {
        let item = paths.entry(method.path.clone()).or_insert_with(|| json!({}));
        if let Value::Object(item) = item {
            item.insert(method.http_method.to_lowercase(), operation(schemas, method));
        }
    }
    paths
}

fn operation(schemas: &mut Schemas, method: &Method) -> Value {
    let service = method.descriptor.parent_service();
    let words = comments::of(&method.descriptor.parent_file(), method.descriptor.path());
    let mut operation = json!({
        "operationId": method.descriptor.name(),
        "tags": [service.name()],
        "summary": words.split(". ").next().unwrap_or(&words),
        "description": format!("{words}\n\n{}", needs(method)),
        "parameters": parameters(schemas, method),
        "responses": responses(schemas, method),
    });
    if is_open(method)
        && let Value::Object(object) = &mut operation
    {
        object.insert("security".to_owned(), json!([]));
    }
    if let (Some(body), Value::Object(object)) = (body(schemas, method), &mut operation) {
        object.insert("requestBody".to_owned(), body);
    }
    operation
}

/// Whether the method is called without a token.
fn is_open(method: &Method) -> bool {
    permissions::find(&method.permission).is_some_and(|rule| rule.scope == Scope::Anyone)
}

fn needs(method: &Method) -> String {
    match permissions::find(&method.permission).map(|rule| rule.scope) {
        Some(Scope::Anyone) => "Needs no token.".to_owned(),
        Some(Scope::Everyone) => "Needs a token, whatever it permits.".to_owned(),
        _ => format!("Needs the permission `{}`.", method.permission),
    }
}

fn in_path(method: &Method) -> Vec<String> {
    method.path.split('{').skip(1).filter_map(|part| part.split('}').next()).map(str::to_owned).collect()
}

/// Methods without a body take their fields in the query.
fn takes_query(method: &Method) -> bool {
    matches!(shape(method), Shape::Unary | Shape::Events | Shape::Lines)
        && matches!(method.http_method.as_str(), "GET" | "DELETE")
}

fn parameters(schemas: &mut Schemas, method: &Method) -> Vec<Value> {
    let named = in_path(method);
    let mut parameters = Vec::new();
    let input = method.descriptor.input();
    for field in input.fields().filter(|f| !is_sealed(f)) {
        let name = field.name().to_owned();
        if named.contains(&name) {
            parameters.push(parameter(schemas, &field, "path"));
        } else if takes_query(method) || (shape(method) == Shape::Upload && name == "size_bytes") {
            parameters.push(parameter(schemas, &field, "query"));
        }
    }
    if shape(method) == Shape::Events {
        parameters.push(json!({
            "name": "Last-Event-ID",
            "in": "header",
            "description": "Id of the last event seen, \"incarnation:sequence\"; goes before the cursor in the query.",
            "schema": {"type": "string"},
        }));
    }
    if !is_open(method) {
        parameters.push(json!({"$ref": "#/components/parameters/Tenant"}));
    }
    if method.descriptor.output().get_field_by_name("outcome").is_some() {
        parameters.push(json!({"$ref": "#/components/parameters/Prefer"}));
    }
    if method.mutating && !method.descriptor.is_client_streaming() {
        parameters.push(json!({"$ref": "#/components/parameters/IdempotencyKey"}));
    }
    parameters
}

fn parameter(schemas: &mut Schemas, field: &FieldDescriptor, place: &str) -> Value {
    let mut schema = schemas.field(field);
    let mut words = Value::Null;
    if let Value::Object(object) = &mut schema {
        words = object.remove("description").unwrap_or_default();
    }
    if field.is_map() {
        // one value for each entry
        schema = json!({"type": "array", "items": {"type": "string", "pattern": "^[^=]+=.*$"}});
        words = format!("{} Each as key=value.", words.as_str().unwrap_or_default()).trim().into();
    }
    let mut parameter =
        json!({"name": field.name(), "in": place, "required": place == "path", "schema": schema});
    if let Value::Object(object) = &mut parameter
        && !words.is_null()
    {
        object.insert("description".to_owned(), words);
    }
    parameter
}

fn body(schemas: &mut Schemas, method: &Method) -> Option<Value> {
    match shape(method) {
        Shape::Upload => Some(json!({
            "required": true,
            "description": "The bytes of the file.",
            "content": {"application/octet-stream": {"schema": {}}},
        })),
        Shape::Unary if method.body == contracts::Body::CloudEvents => Some(cloud_events()),
        Shape::Unary if !takes_query(method) => {
            let named = in_path(method);
            let input = method.descriptor.input();
            let left = input.fields().any(|f| !named.contains(&f.name().to_owned()));
            // nothing is left to say: no body
            left.then(|| {
                let schema = schemas.message(&input, &named);
                json!({"required": true, "content": {"application/json": {"schema": schema}}})
            })
        }
        _ => None,
    }
}

/// A CloudEvent in one of three modes.
fn cloud_events() -> Value {
    let text = |description: &str| json!({"type": "string", "minLength": 1, "description": description});
    let event = json!({
        "type": "object",
        "required": ["specversion", "id", "source", "type"],
        "properties": {
            "specversion": {"const": crate::domain::cloud_event::VERSION},
            "id": text("Together with the source it tells the event from all others."),
            "source": text("Where it happened: a URI-reference."),
            "type": text("What happened."),
            "subject": text("What it is about, within the source."),
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": text("Media type of the data."),
            "dataschema": {"type": "string", "format": "uri"},
            "data": {"description": "Any JSON value."},
            "data_base64": {"type": "string", "contentEncoding": "base64"},
        },
        "additionalProperties": {"type": ["string", "boolean", "integer", "null"]},
    });
    let batch = json!({
        "type": "array", "items": event, "minItems": 1, "maxItems": kernel::limits::EVENTS_AT_ONCE,
    });
    json!({
        "required": true,
        "description": "A CloudEvent, or an array of them. With any other content type the attributes are headers \
                        (`ce-specversion`, `ce-id`, `ce-source`, `ce-type`, …, percent-encoded) and the body is the data.",
        "content": {
            "application/cloudevents+json": {"schema": event},
            "application/cloudevents-batch+json": {"schema": batch},
            "*/*": {"schema": {}},
        },
    })
}

fn responses(schemas: &mut Schemas, method: &Method) -> Value {
    let output = method.descriptor.output();
    let problem = json!({"$ref": "#/components/responses/Problem"});
    let (status, answer) = match shape(method) {
        Shape::Socket => {
            let words = "A WebSocket: binary messages both ways, what is typed and what the guest writes.";
            ("101", json!({"description": words}))
        }
        Shape::Events | Shape::EventSocket => {
            let schema = schemas.message(&output, &[]);
            let words = "Server-Sent Events. `event` is the type of the event or \"gap\", `id` the cursor \
                         \"incarnation:sequence\", `data` the content of `event`, `cloud_event` or `gap`. With \
                         `Accept: application/x-ndjson` one JSON object a line.";
            let content = json!({
                "text/event-stream": {"schema": schema},
                "application/x-ndjson": {"schema": schema},
            });
            ("200", json!({"description": words, "content": content}))
        }
        Shape::Lines => {
            let schema = schemas.message(&output, &[]);
            let words = "One JSON object a line, or CSV with a line of titles when `Accept` says text/csv. An answer \
                         that breaks off is not whole.";
            let lines = json!({"application/x-ndjson": {"schema": schema}, "text/csv": {"schema": {"type": "string"}}});
            ("200", json!({"description": words, "content": lines}))
        }
        Shape::Unary | Shape::Upload | Shape::Handshake => {
            let status = if is_accepted(method) { "202" } else { "200" };
            let words = comments::of(&output.parent_file(), output.path());
            let schema = match output.get_field_by_name(&method.response_body) {
                Some(field) => schemas.field(&field),
                None => schemas.message(&output, &[]),
            };
            (status, json!({"description": words, "content": {"application/json": {"schema": schema}}}))
        }
    };
    json!({status: answer, "default": problem})
}
