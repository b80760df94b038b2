//! The catalogue of events: every type there is, what its events carry (JSON Schema 2020-12) and every way to get them
//! (AsyncAPI 3). Made from the descriptors that the events themselves are made from.

mod asyncapi;
mod schema;

pub use asyncapi::document as asyncapi;

use contracts::Entry;
use contracts::comments;
use contracts::gateway::v1::EventType;
use kernel::Kind;
use prost_reflect::MessageDescriptor;
use schema::Definitions;
use serde_json::{Value, json};

/// All types, by name.
pub fn types() -> Vec<EventType> {
    let mut types: Vec<EventType> = events()
        .map(|(entry, message)| EventType {
            r#type: schema_name(entry),
            name: watch_name(entry),
            cloud_event_type: cloud_event_type(entry),
            summary: summary(&message),
            schema: schema_path(entry),
        })
        .collect();
    types.sort_by(|a, b| a.r#type.cmp(&b.r#type));
    types
}

/// What the `data` of events of a type is, by any of the type's names.
pub fn schema(name: &str) -> Option<Value> {
    let (entry, message) = events().find(|(entry, _)| {
        [schema_name(entry), watch_name(entry), cloud_event_type(entry)].iter().any(|known| known == name)
    })?;
    let mut definitions = Definitions::under("#/$defs/");
    let mut schema = definitions.object(&message);
    if let Value::Object(fields) = &mut schema {
        fields.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        fields.insert("$id".to_owned(), json!(schema_path(entry)));
        fields.insert("title".to_owned(), json!(entry.name));
        fields.insert("$defs".to_owned(), Value::Object(definitions.into_map()));
    }
    Some(schema)
}

/// Every type of event with its descriptor.
fn events() -> impl Iterator<Item = (&'static Entry, MessageDescriptor)> {
    let known =
        |entry: &'static Entry| Some((entry, contracts::pool().get_message_by_name(entry.full_name)?));
    contracts::CATALOGUE.iter().filter(|entry| entry.kind == Kind::Event).filter_map(known)
}

/// "scheduler.v1.InstanceReady".
fn schema_name(entry: &Entry) -> String {
    format!("{}.{}.{}", entry.service, entry.version, entry.name)
}

/// "scheduler.InstanceReady".
fn watch_name(entry: &Entry) -> String {
    format!("{}.{}", entry.service, entry.name)
}

/// "io.berth.scheduler.v1.InstanceReady".
fn cloud_event_type(entry: &Entry) -> String {
    format!("io.berth.{}", schema_name(entry))
}

/// "/v1/schemas/scheduler.v1.InstanceReady".
fn schema_path(entry: &Entry) -> String {
    format!("/v1/schemas/{}", schema_name(entry))
}

/// The first sentence of what the definition says about a message.
fn summary(message: &MessageDescriptor) -> String {
    let words = comments::of(&message.parent_file(), message.path());
    match words.split_once(". ") {
        Some((first, _)) => format!("{first}."),
        None => words,
    }
}

#[cfg(test)]
mod sample;

#[cfg(test)]
mod tests {
    use super::*;
    use gateway_api::translate::redact;
    use prost::Message as _;

    /// Every type, as it is shown when nothing in it is set, and when everything is; to whoever is shown hosts or not.
    #[test]
    fn whatever_is_shown_of_an_event_fits_its_schema() {
        for (entry, message) in events() {
            let schema = schema(&schema_name(entry)).expect("there");
            let validator = jsonschema::validator_for(&schema).expect("a schema");
            for full in [false, true] {
                for pick in 0..4 {
                    let sample = if full { sample::full(&message, pick) } else { sample::empty(&message) };
                    for hosts in [false, true] {
                        let shown = redact::json(entry.full_name, &sample.encode_to_vec(), &|_| hosts);
                        let data = contracts::json_of_struct(contracts::to_struct(shown.expect("readable")));
                        let wrong: Vec<String> = validator
                            .iter_errors(&data)
                            .map(|e| format!("{e} at {}", e.instance_path()))
                            .collect();
                        assert!(wrong.is_empty(), "{}: {wrong:#?}\n{data:#}", entry.full_name);
                    }
                }
            }
        }
    }

    #[test]
    fn every_event_has_words_and_a_schema_under_each_of_its_names() {
        let types = types();
        assert!(types.len() > 30);
        for event in types {
            assert!(!event.summary.is_empty(), "{} has no comment in its .proto file", event.r#type);
            let schema = schema(&event.r#type).expect("there");
            assert_eq!(schema["$id"], event.schema);
            assert_eq!(super::schema(&event.name), Some(schema.clone()));
            assert_eq!(super::schema(&event.cloud_event_type), Some(schema));
        }
        assert_eq!(schema("scheduler.v1.CreateInstance"), None, "a command is no event");
        assert_eq!(schema("scheduler"), None);
    }

    #[test]
    fn nothing_sealed_is_in_a_schema() {
        for event in types() {
            let text = schema(&event.r#type).expect("there").to_string();
            assert!(!text.contains("Sealed") && !text.contains("KeyedHash"), "{}", event.r#type);
        }
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_definition_is_used() {
        for event in types() {
            let schema = schema(&event.r#type).expect("there");
            let mut found = Vec::new();
            asyncapi::tests::references(&schema, &mut found);
            for reference in &found {
                let pointer = reference.strip_prefix('#').expect("a local reference");
                assert!(schema.pointer(pointer).is_some(), "{reference} in {}", event.r#type);
            }
            for name in schema["$defs"].as_object().expect("definitions").keys() {
                assert!(found.contains(&format!("#/$defs/{name}")), "{name} in {}", event.r#type);
            }
        }
    }
}
