//! The OpenAPI 3.1 document, made from the same descriptors as the routes: what is not routed is not documented,
//! and the other way round.

mod paths;
mod schema;

use contracts::comments;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

const ABOUT: &str = "Instances, images and hosts of a Berth platform. The same operations are offered over gRPC on \
the same port.\n\nFields have the names of the protobuf definitions. Fields at their default value are shown in \
answers; messages that are not set are left out. Whole numbers of 64 bits are JSON numbers up to 2^53 and strings \
beyond; both forms are taken in requests. Bytes are base64. Times are microseconds since 1970-01-01T00:00:00Z.\n\n\
What takes time answers 202 with the id of an operation: wait for it at /v1/operations/{operation}/wait. Send an \
Idempotency-Key with what changes something: the same request with the same key is done once and answered again. \
Errors are problem documents (RFC 9457).";

/// The document.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(build);
    &DOCUMENT
}

fn build() -> Value {
    let mut schemas = schema::Schemas::default();
    let paths = paths::all(&mut schemas);
    let mut components = schemas.into_map();
    components.insert("Problem".to_owned(), problem());
    let tags: Vec<Value> = contracts::pool()
        .services()
        .filter(|service| contracts::methods().iter().any(|m| m.descriptor.parent_service() == service))
        .map(|service| json!({"name": service.name(), "description": comments::of(&service.parent_file(), service.path())}))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Berth",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token: of a login, or made by hand."},
            },
            "parameters": {
                "Tenant": {
                    "name": "Berth-Tenant",
                    "in": "header",
                    "required": false,
                    "description": "The tenant to act in, for callers who may act in several; \"platform\" = among what belongs to none. Otherwise one's own, or \"default\".",
                    "schema": {"type": "string", "maxLength": 63},
                },
                "Prefer": {
                    "name": "Prefer",
                    "in": "header",
                    "required": false,
                    "description": "`wait=5`: the answer comes when the operation has come to its end, with what it came to, or after so many seconds (RFC 7240).",
                    "schema": {"type": "string"},
                    "example": "wait=5",
                },
                "IdempotencyKey": {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "required": false,
                    "description": "The same request with the same key is done once and answered again; another request with the same key is refused.",
                    "schema": {"type": "string", "maxLength": crate::domain::idempotency::KEY_LIMIT},
                },
            },
            "responses": {
                "Problem": {
                    "description": "What went wrong, and what would be right.",
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                },
            },
        },
    })
}

fn problem() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let mut properties = Map::new();
    properties.insert("type".to_owned(), text("The kind of problem: \"urn:berth:problem:not_found\"."));
    properties.insert("title".to_owned(), text("The kind in words."));
    properties.insert("status".to_owned(), json!({"type": "integer", "description": "The HTTP status."}));
    properties.insert("detail".to_owned(), text("What exactly is wrong and what would be right."));
    properties.insert("code".to_owned(), text("Stable code: \"NO_HOST_HAS_ROOM\"."));
    let reasons = json!({"type": "array", "items": {"type": "string"}, "description": "Details, most important first."});
    properties.insert("reasons".to_owned(), reasons);
    properties.insert("field".to_owned(), text("Path of the field of the request that is wrong."));
    json!({
        "type": "object",
        "description": "A problem document (RFC 9457).",
        "required": ["type", "title", "status", "detail", "code", "reasons"],
        "properties": properties,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    found.push(reference.clone());
                }
                fields.values().for_each(|v| references(v, found));
            }
            Value::Array(items) => items.iter().for_each(|v| references(v, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_schema_is_used() {
        let document = document();
        let mut found = Vec::new();
        references(document, &mut found);
        assert!(found.len() > 50);
        for reference in &found {
            let pointer = reference.strip_prefix('#').expect("a local reference");
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        for name in document["components"]["schemas"].as_object().expect("schemas").keys() {
            assert!(found.contains(&format!("#/components/schemas/{name}")), "{name} is not used");
        }
    }

    #[test]
    fn every_method_is_documented_under_its_own_name() {
        let mut names = BTreeSet::new();
        for method in contracts::methods() {
            let operation = &document()["paths"][&method.path][&method.http_method.to_lowercase()];
            assert_eq!(operation["operationId"], method.descriptor.name(), "{}", method.path);
            assert!(
                names.insert(method.descriptor.name().to_owned()),
                "{} is there twice",
                method.descriptor.name()
            );
            assert!(
                operation["summary"].as_str().is_some_and(|s| !s.is_empty()),
                "{} has no words",
                method.path
            );
            assert!(operation["responses"]["default"].is_object());
            let keyed = operation["parameters"]
                .as_array()
                .is_some_and(|all| all.iter().any(|p| p["$ref"] == "#/components/parameters/IdempotencyKey"));
            let takes_key = method.mutating && !method.descriptor.is_client_streaming();
            assert_eq!(keyed, takes_key, "{}", method.path);
        }
        let count: usize = document()["paths"]
            .as_object()
            .expect("paths")
            .values()
            .map(|item| item.as_object().map_or(0, Map::len))
            .sum();
        assert_eq!(count, contracts::methods().len());
    }

    #[test]
    fn what_takes_no_token_says_so() {
        let login = &document()["paths"]["/v1/login"]["post"];
        assert_eq!(login["security"], json!([]));
        assert!(login["description"].as_str().is_some_and(|words| words.contains("no token")));
        let list = &document()["paths"]["/v1/instances"]["get"];
        assert_eq!(list.get("security"), None);
        assert!(list["parameters"].to_string().contains("parameters/Tenant"));
    }

    #[test]
    fn what_is_declared_of_fields_is_told() {
        let schema = &document()["components"]["schemas"]["scheduler.v1.CreateSshKeyRequest"];
        assert_eq!(schema["required"], json!(["name", "public_key"]));
        let name = &schema["properties"]["name"];
        assert_eq!((&name["minLength"], &name["maxLength"]), (&json!(1), &json!(63)));
        let pattern = name["pattern"].as_str().expect("a pattern");
        for (text, right) in [("web-1", true), ("1web", false), ("web-", false), ("Web", false)] {
            assert_eq!(kernel::names::name(text).is_ok(), right);
            assert_eq!(looks_like(pattern, text), right, "{text}");
        }
        let create = &document()["paths"]["/v1/ssh-keys"]["post"];
        assert!(create["parameters"].to_string().contains("parameters/Prefer"));
        let update = &document()["paths"]["/v1/ssh-keys/{name}"]["put"]["requestBody"];
        assert!(
            !update.to_string().contains("\"name\""),
            "what stands in the path is not asked for in the body"
        );
    }

    /// The pattern of names is the only one; a validator of JSON Schema knows how to read it.
    fn looks_like(pattern: &str, text: &str) -> bool {
        let schema = json!({"type": "string", "pattern": pattern});
        jsonschema::validator_for(&schema).expect("a schema").is_valid(&json!(text))
    }

    #[test]
    fn every_name_in_a_path_is_a_parameter() {
        for (path, item) in document()["paths"].as_object().expect("paths") {
            let in_path: BTreeSet<String> =
                path.split('{').skip(1).filter_map(|p| p.split('}').next()).map(str::to_owned).collect();
            for operation in item.as_object().expect("an item").values() {
                let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
                let named: BTreeSet<String> = parameters
                    .iter()
                    .filter(|p| p["in"] == "path")
                    .filter_map(|p| p["name"].as_str().map(str::to_owned))
                    .collect();
                assert_eq!(in_path, named, "{path}");
                assert!(parameters.iter().filter(|p| p["in"] == "path").all(|p| p["required"] == true));
            }
        }
    }

    #[test]
    fn comments_of_the_definitions_are_the_descriptions() {
        let create = &document()["components"]["schemas"]["gateway.v1.CreateInstanceRequest"];
        let name = create["properties"]["name"]["description"].as_str().expect("a description");
        assert!(name.contains("unique per tenant"), "{name}");
        assert!(document().to_string().len() > 20_000);
    }

    #[test]
    fn nothing_sealed_is_documented() {
        assert!(!document().to_string().contains("common.v1.Sealed"));
    }
}
