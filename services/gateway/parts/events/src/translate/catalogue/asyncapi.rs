//! The AsyncAPI 3.0 document: a channel for each way to get events or bring them, a message for each type.

use super::schema::Definitions;
use super::{cloud_event_type, events, schema_name, summary, watch_name};
use crate::translate::cloudevents::{self, MEDIA_TYPE};
use crate::translate::webhooks;
use contracts::Entry;
use contracts::comments;
use prost_reflect::MessageDescriptor;
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

const SCHEMAS: &str = "#/components/schemas/";

const ABOUT: &str = "Every change of state on a Berth platform is an event: a snapshot of what changed, with its cause, its \
actor and a place in one total order. Events are read from a cursor (Server-Sent Events, WebSocket, gRPC) or sent to \
webhooks. A reader that was away gets exactly what it missed, or a gap that says from where to go on. A snapshot carries a \
revision: skip what is not newer than what you know, and an event that comes twice does no harm.";

/// The document.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(build);
    &DOCUMENT
}

/// The message that an event of another system is, as it was sent.
const FOREIGN: &str = "cloudevent";

fn build() -> Value {
    let mut schemas = Definitions::under(SCHEMAS);
    let mut messages = Map::new();
    let mut written = Map::new();
    for (entry, message) in events() {
        let name = schema_name(entry);
        let data = json!({"$ref": format!("{SCHEMAS}{name}.data")});
        written.insert(format!("{name}.data"), schemas.object(&message));
        written.insert(format!("{name}.record"), record(&mut schemas, entry, &data));
        written.insert(format!("{name}.cloudevent"), cloud_event(Some((entry, &data))));
        messages.insert(name, event_message(entry, &message));
    }
    let types: Vec<String> = messages.keys().cloned().collect();
    for (name, of) in [("gap", "berth.gateway.v1.Gap"), ("position", "berth.gateway.v1.Position")] {
        let Some(descriptor) = contracts::pool().get_message_by_name(of) else { continue };
        written.insert(name.to_owned(), schemas.object(&descriptor));
        let payload = json!({"$ref": format!("{SCHEMAS}{name}")});
        messages.insert(
            name.to_owned(),
            json!({
                "name": name,
                "title": name,
                "summary": comments::of(&descriptor.parent_file(), descriptor.path()),
                "contentType": "application/json",
                "payload": payload,
            }),
        );
    }
    written.insert("cloudevent".to_owned(), cloud_event(None));
    messages.insert(
        "cloudevent".to_owned(),
        json!({
            "name": "cloudevent",
            "title": "CloudEvent",
            "summary": "An event of another system in the JSON format of CloudEvents 1.0.",
            "contentType": MEDIA_TYPE,
            "payload": {"$ref": format!("{SCHEMAS}cloudevent")},
        }),
    );
    for (name, r#type, summary, data) in webhooks::OWN {
        let of_type = json!({"properties": {
            "type": {"const": r#type},
            "data": {"type": "object", "required": data, "additionalProperties": false,
                "properties": Value::Object(data.iter().map(|field| ((*field).to_owned(), json!({}))).collect())},
        }});
        let payload = json!({"allOf": [{"$ref": format!("{SCHEMAS}cloudevent")}, of_type]});
        messages.insert(
            name.to_owned(),
            json!({
                "name": r#type,
                "title": name,
                "summary": summary,
                "contentType": MEDIA_TYPE,
                "payload": payload,
            }),
        );
    }
    let query = query(&mut schemas);
    let mut all = schemas.into_map();
    all.extend(written);
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Berth",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": servers(),
        "channels": channels(&types, &query),
        "operations": operations(&types, &query),
        "components": {
            "messages": messages,
            "schemas": all,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token: of a login, or made by hand."},
                "account": {"type": "userPassword", "description": "User and password of the broker."},
            },
        },
    })
}

fn event_message(entry: &Entry, message: &MessageDescriptor) -> Value {
    let name = schema_name(entry);
    json!({
        "name": watch_name(entry),
        "title": entry.name,
        "summary": summary(message),
        "description": comments::of(&message.parent_file(), message.path()),
        "contentType": "application/json",
        "payload": {"oneOf": [
            {"$ref": format!("{SCHEMAS}{name}.record")},
            {"$ref": format!("{SCHEMAS}{name}.cloudevent")},
        ]},
    })
}

/// An event of one type with our own fields.
fn record(schemas: &mut Definitions, entry: &Entry, data: &Value) -> Value {
    let Some(descriptor) = contracts::pool().get_message_by_name("berth.gateway.v1.EventRecord") else {
        return json!({});
    };
    let mut schema = schemas.object(&descriptor);
    schema["properties"]["type"] = json!({"const": watch_name(entry)});
    schema["properties"]["data"] = data.clone();
    schema
}

/// A CloudEvent: one of ours, or of whoever brings it.
fn cloud_event(own: Option<(&Entry, &Value)>) -> Value {
    let text = |words: &str| json!({"type": "string", "minLength": 1, "description": words});
    let mut properties = Map::from_iter([
        ("specversion".to_owned(), json!({"const": "1.0"})),
        ("id".to_owned(), text("Unique among the events of its source.")),
        ("source".to_owned(), text("Which system the event is of.")),
        ("type".to_owned(), text("What happened.")),
        ("subject".to_owned(), text("What the event is about.")),
        (
            "time".to_owned(),
            json!({"type": "string", "format": "date-time", "description": "When it happened."}),
        ),
        ("datacontenttype".to_owned(), text("How `data` is written.")),
        ("dataschema".to_owned(), text("What the schema of `data` is called; GET /v1/schemas/{type} is it.")),
        ("data".to_owned(), json!({"description": "What the event carries."})),
    ]);
    let mut required = vec!["specversion", "id", "source", "type"];
    let Some((entry, data)) = own else {
        return json!({"type": "object", "properties": properties, "required": required});
    };
    let fixed = [
        ("source", format!("/berth/{}", entry.service)),
        ("type", cloud_event_type(entry)),
        ("datacontenttype", "application/json".to_owned()),
        ("dataschema", cloudevents::schema_uri(&schema_name(entry))),
    ];
    for (name, value) in fixed {
        properties.insert(name.to_owned(), json!({"const": value}));
    }
    properties.insert("data".to_owned(), data.clone());
    for (name, words) in [
        ("berthtenant", "Whose it is; \"platform\" = of no tenant."),
        ("berthsequence", "The cursor to go on from: \"incarnation:sequence\"."),
        ("correlationid", "The operation, or what else it belongs to."),
        ("causationid", "The message that led to it."),
        ("actor", "Who caused it."),
    ] {
        properties.insert(name.to_owned(), text(words));
    }
    required.extend(["time", "berthtenant", "berthsequence"]);
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// The query parameters of a subscription.
fn query(schemas: &mut Definitions) -> Value {
    let mut properties = Map::new();
    if let Some(request) = contracts::pool().get_message_by_name("berth.gateway.v1.WatchEventsRequest") {
        for field in request.fields() {
            properties.insert(field.name().to_owned(), schemas.field(&field));
        }
    }
    json!({"type": "object", "properties": properties})
}

fn servers() -> Value {
    let server = |protocol: &str, default: &str, words: &str, security: &str| {
        json!({
            "host": "{host}",
            "protocol": protocol,
            "description": words,
            "variables": {"host": {"default": default, "description": "Name or address, and port."}},
            "security": [{"$ref": format!("#/components/securitySchemes/{security}")}],
        })
    };
    let receiver = json!({
        "host": "{host}",
        "protocol": "https",
        "description": "Whatever address a webhook names.",
        "variables": {"host": {"default": "receiver.example.com", "description": "Of the receiver."}},
    });
    json!({
        "gateway": server("https", "localhost:7480", "The public port of the platform.", "token"),
        "gatewayWebSocket": server("wss", "localhost:7480", "The same port.", "token"),
        "receiver": receiver,
        "broker": server("nats", "localhost:4222", "The broker of the platform.", "account"),
    })
}

fn channels(types: &[String], query: &Value) -> Value {
    let of = |names: &mut dyn Iterator<Item = &str>| {
        let messages: Map<String, Value> = names
            .map(|name| (name.to_owned(), json!({"$ref": format!("#/components/messages/{name}")})))
            .collect();
        Value::Object(messages)
    };
    let events = || types.iter().map(String::as_str);
    let to_receivers = || events().chain([FOREIGN]).chain(webhooks::OWN.map(|(name, ..)| name));
    json!({
        "sse": {
            "address": "/v1/events",
            "title": "Server-Sent Events",
            "description": "`event` is the type of the event or \"gap\", `id` the cursor. A client that comes back with \
                `Last-Event-ID` goes on behind it.",
            "servers": [{"$ref": "#/servers/gateway"}],
            "messages": of(&mut events().chain(["gap", "position", FOREIGN])),
        },
        "websocket": {
            "address": "/v1/events/ws",
            "title": "WebSocket",
            "description": "Text frames: {\"event\": …}, {\"gap\": …} or {\"position\": …}; with format=cloudevents an event \
                is a CloudEvent by itself. The reason of the close frame is the cursor: \"after=incarnation:sequence\". \
                Codes: 1000 everything was read, 1001 the gateway stops, 1011 something broke, 1013 the reader was too \
                slow. Come back with `after`.",
            "servers": [{"$ref": "#/servers/gatewayWebSocket"}],
            "messages": of(&mut events().chain(["gap", "position", FOREIGN])),
            "bindings": {"ws": {"method": "GET", "query": query, "bindingVersion": "0.1.0"}},
        },
        "webhook": {
            "address": null,
            "title": "Webhooks",
            "description": "Each event is sent to the receivers of its tenant that asked for it, as a CloudEvent, signed, \
                until the receiver takes it.",
            "servers": [{"$ref": "#/servers/receiver"}],
            "messages": of(&mut to_receivers()),
        },
        "external": {
            "address": "ext.{tenant}.{subject}",
            "title": "Events of other systems",
            "description": "CloudEvents that any client of the broker brings into a tenant's part of the stream. They are \
                checked, and taken once for each source and id.",
            "servers": [{"$ref": "#/servers/broker"}],
            "parameters": {
                "tenant": {"description": "The tenant that the account may speak for."},
                "subject": {"description": "One token or more, chosen by the sender."},
            },
            "messages": of(&mut ["cloudevent"].into_iter()),
        },
    })
}

fn operations(types: &[String], query: &Value) -> Value {
    let of = |channel: &str, names: &mut dyn Iterator<Item = &str>| -> Vec<Value> {
        names.map(|name| json!({"$ref": format!("#/channels/{channel}/messages/{name}")})).collect()
    };
    let events = || types.iter().map(String::as_str);
    let to_receivers = || events().chain([FOREIGN]).chain(webhooks::OWN.map(|(name, ..)| name));
    json!({
        "sendAsServerSentEvents": {
            "action": "send",
            "title": "Read events as Server-Sent Events",
            "channel": {"$ref": "#/channels/sse"},
            "messages": of("sse", &mut events().chain(["gap", "position", FOREIGN])),
            "bindings": {"http": {"method": "GET", "query": query, "bindingVersion": "0.3.0"}},
        },
        "sendByWebSocket": {
            "action": "send",
            "title": "Read events by WebSocket",
            "channel": {"$ref": "#/channels/websocket"},
            "messages": of("websocket", &mut events().chain(["gap", "position", FOREIGN])),
        },
        "sendToWebhook": {
            "action": "send",
            "title": "Be sent events",
            "channel": {"$ref": "#/channels/webhook"},
            "messages": of("webhook", &mut to_receivers()),
            "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
        },
        "receiveExternal": {
            "action": "receive",
            "title": "Bring events of another system",
            "channel": {"$ref": "#/channels/external"},
            "messages": of("external", &mut ["cloudevent"].into_iter()),
        },
    })
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Every `$ref` in a document.
    pub fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    found.push(reference.clone());
                }
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_component_is_used() {
        let mut found = Vec::new();
        references(document(), &mut found);
        for reference in &found {
            let pointer = reference.strip_prefix('#').expect("a local reference");
            assert!(document().pointer(pointer).is_some(), "{reference} leads nowhere");
        }
        for kind in ["messages", "schemas", "securitySchemes"] {
            for name in document()["components"][kind].as_object().expect("components").keys() {
                let reference = format!("#/components/{kind}/{name}");
                assert!(found.contains(&reference), "{reference} is not used");
            }
        }
    }

    #[test]
    fn every_type_of_event_is_a_message_of_every_way_to_get_events() {
        let types = super::super::types();
        for channel in ["sse", "websocket", "webhook"] {
            let messages = document()["channels"][channel]["messages"].as_object().expect("messages");
            for event in &types {
                assert!(messages.contains_key(&event.r#type), "{} in {channel}", event.r#type);
            }
        }
        let message = &document()["components"]["messages"]["scheduler.v1.InstanceReady"];
        assert_eq!(
            (&message["name"], &message["title"]),
            (&json!("scheduler.InstanceReady"), &json!("InstanceReady"))
        );
        assert!(message["summary"].as_str().is_some_and(|words| !words.is_empty()));
    }

    /// The rules of AsyncAPI 3.0 that a reference check does not see.
    #[test]
    fn the_document_keeps_the_rules_of_asyncapi() {
        let document = document();
        assert_eq!(document["asyncapi"], "3.0.0");
        assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
        let key =
            |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        for (kind, all) in document["components"].as_object().expect("components") {
            for name in all.as_object().expect("named").keys() {
                assert!(key(name), "{kind} {name}");
            }
        }
        let channels = document["channels"].as_object().expect("channels");
        for (name, channel) in channels {
            assert!(channel["address"].is_string() || channel["address"].is_null(), "{name}");
            let address = channel["address"].as_str().unwrap_or_default();
            let expressions: Vec<&str> =
                address.split('{').skip(1).filter_map(|part| part.split('}').next()).collect();
            let parameters: Vec<&str> = channel["parameters"]
                .as_object()
                .map(|all| all.keys().map(String::as_str).collect())
                .unwrap_or_default();
            assert!(
                expressions.iter().all(|e| parameters.contains(e)) && expressions.len() == parameters.len()
            );
            for server in channel["servers"].as_array().expect("servers") {
                assert!(server["$ref"].as_str().is_some_and(|r| r.starts_with("#/servers/")), "{name}");
            }
        }
        for (name, operation) in document["operations"].as_object().expect("operations") {
            assert!(
                ["send", "receive"].contains(&operation["action"].as_str().unwrap_or_default()),
                "{name}"
            );
            let channel = operation["channel"]["$ref"].as_str().expect("a channel");
            // a message of an operation is one of its channel
            for message in operation["messages"].as_array().expect("messages") {
                let reference = message["$ref"].as_str().expect("a reference");
                assert!(reference.starts_with(&format!("{channel}/messages/")), "{reference} of {name}");
            }
        }
    }
}
