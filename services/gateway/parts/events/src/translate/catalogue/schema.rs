//! JSON Schemas of messages as they are shown: exactly what `redact::json` writes, no field more and none less.

use contracts::comments;
use gateway_api::translate::redact::is_secret;
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

/// The largest whole number that is written as a number: 2^53.
const EXACT: i64 = 1 << 53;

/// Schemas of messages and enumerations that others refer to, by name.
pub struct Definitions {
    place: &'static str,
    by_name: Map<String, Value>,
}

impl Definitions {
    /// None yet; they will stand under `place`: "#/$defs/".
    pub fn under(place: &'static str) -> Self {
        Self { place, by_name: Map::new() }
    }

    /// All of them.
    pub fn into_map(self) -> Map<String, Value> {
        self.by_name
    }

    /// The schema of a message. Fields that have a default are always there, messages and choices when they are set;
    /// what is sealed is left out.
    pub fn object(&mut self, message: &MessageDescriptor) -> Value {
        let mut properties = Map::new();
        for field in message.fields().filter(|field| !is_secret(field)) {
            properties.insert(field.name().to_owned(), self.field(&field));
        }
        let required: Vec<String> = message
            .fields()
            .filter(|field| !is_secret(field) && !field.supports_presence())
            .map(|field| field.name().to_owned())
            .collect();
        let mut schema = json!({
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        });
        let words = comments::of(&message.parent_file(), message.path());
        let choices = choices(message);
        if let Value::Object(schema) = &mut schema {
            if !words.is_empty() {
                schema.insert("description".to_owned(), words.into());
            }
            if !choices.is_empty() {
                schema.insert("allOf".to_owned(), choices.into());
            }
        }
        schema
    }

    /// The schema of a field with its description.
    pub fn field(&mut self, field: &FieldDescriptor) -> Value {
        let mut schema = match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                json!({"type": "object", "additionalProperties": self.value(&entry.map_entry_value_field().kind())})
            }
            kind if field.is_list() => json!({"type": "array", "items": self.value(&kind)}),
            kind => self.value(&kind),
        };
        let words = comments::of(&field.parent_file(), field.path());
        if let Value::Object(schema) = &mut schema
            && !words.is_empty()
        {
            schema.insert("description".to_owned(), words.into());
        }
        schema
    }

    fn value(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Double | Kind::Float => {
                json!({"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]})
            }
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({"type": "integer", "minimum": i32::MIN, "maximum": i32::MAX})
            }
            Kind::Uint32 | Kind::Fixed32 => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({"anyOf": [
                {"type": "integer", "minimum": -EXACT, "maximum": EXACT},
                {"type": "string", "pattern": "^-?[0-9]{16,19}$"},
            ]}),
            Kind::Uint64 | Kind::Fixed64 => json!({"anyOf": [
                {"type": "integer", "minimum": 0, "maximum": EXACT},
                {"type": "string", "pattern": "^[0-9]{16,20}$"},
            ]}),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Enum(names) => self.names(names),
            Kind::Message(message) => match message.full_name() {
                "google.protobuf.Struct" => json!({"type": "object"}),
                "google.protobuf.ListValue" => json!({"type": "array"}),
                other if other.starts_with("google.protobuf.") => json!({}),
                _ => self.message(message),
            },
        }
    }

    fn message(&mut self, message: &MessageDescriptor) -> Value {
        let name = short(message.full_name());
        if !self.by_name.contains_key(&name) {
            // the name is taken first: messages may hold themselves
            self.by_name.insert(name.clone(), Value::Null);
            let schema = self.object(message);
            self.by_name.insert(name.clone(), schema);
        }
        json!({"$ref": format!("{}{name}", self.place)})
    }

    fn names(&mut self, names: &EnumDescriptor) -> Value {
        let name = short(names.full_name());
        let all: Vec<String> = names.values().map(|value| value.name().to_owned()).collect();
        let file = names.parent_file();
        let mut words = comments::of(&file, names.path());
        for value in names.values() {
            let about = comments::of(&file, value.path());
            if !about.is_empty() {
                words = format!("{words}\n- `{}`: {about}", value.name());
            }
        }
        let newer = json!({"type": "integer", "description": "A value that is newer than this schema."});
        let schema = json!({"anyOf": [{"enum": all}, newer], "description": words});
        self.by_name.entry(name.clone()).or_insert(schema);
        json!({"$ref": format!("{}{name}", self.place)})
    }
}

/// "berth.scheduler.v1.Instance" is "scheduler.v1.Instance" here.
fn short(full_name: &str) -> String {
    full_name.strip_prefix("berth.").unwrap_or(full_name).to_owned()
}

/// Of the fields of a choice at most one is there.
fn choices(message: &MessageDescriptor) -> Vec<Value> {
    let mut pairs = Vec::new();
    for choice in message.oneofs().filter(|choice| !choice.is_synthetic()) {
        let names: Vec<String> =
            choice.fields().filter(|field| !is_secret(field)).map(|field| field.name().to_owned()).collect();
        for (index, one) in names.iter().enumerate() {
            pairs.extend(names[index + 1..].iter().map(|other| json!({"not": {"required": [one, other]}})));
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> (Value, Map<String, Value>) {
        let message = contracts::pool().get_message_by_name(name).expect("known");
        let mut definitions = Definitions::under("#/$defs/");
        let schema = definitions.object(&message);
        (schema, definitions.into_map())
    }

    #[test]
    fn what_is_always_there_is_required_and_nothing_else_is_allowed() {
        let (schema, definitions) = of("berth.scheduler.v1.InstanceReady");
        assert_eq!(schema["required"], json!(["operations"]), "an instance that is not set is left out");
        assert_eq!(schema["additionalProperties"], false);
        let instance = &definitions["scheduler.v1.Instance"];
        let required = instance["required"].as_array().expect("a list");
        assert!(
            required.contains(&json!("host_id")) && !required.contains(&json!("refusal")),
            "{required:?}"
        );
        assert_eq!(definitions["scheduler.v1.InstanceSpec"]["properties"].get("user_data"), None);
    }

    #[test]
    fn one_of_a_choice_at_most() {
        let (schema, _) = of("berth.storage.v1.ArtifactSource");
        assert!(schema["allOf"].as_array().is_some_and(|pairs| !pairs.is_empty()), "{schema}");
    }
}
