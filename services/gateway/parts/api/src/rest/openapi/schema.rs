//! JSON schemas (2020-12, as OpenAPI 3.1 uses them) of protobuf messages in their JSON form.

use contracts::options::v1::Format;
use contracts::{check, comments};
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

/// The schemas that are used, by name.
#[derive(Default)]
pub struct Schemas(Map<String, Value>);

/// "berth.gateway.v1.Flavor" is "gateway.v1.Flavor" in the document.
fn short(full_name: &str) -> &str {
    full_name.strip_prefix("berth.").unwrap_or(full_name)
}

fn reference(full_name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{}", short(full_name))})
}

/// Sealed secrets are neither taken nor shown.
pub fn is_sealed(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), Kind::Message(inner) if inner.full_name() == "berth.common.v1.Sealed")
}

impl Schemas {
    /// All schemas.
    pub fn into_map(self) -> Map<String, Value> {
        self.0
    }

    /// A reference to the schema of a message; fields in `without` are left out (they stand in the path).
    pub fn message(&mut self, message: &MessageDescriptor, without: &[String]) -> Value {
        let name = short(message.full_name()).to_owned();
        if !self.0.contains_key(&name) {
            // the name is taken first: messages may hold themselves
            self.0.insert(name.clone(), Value::Null);
            let mut properties = Map::new();
            for field in message.fields().filter(|f| !without.contains(&f.name().to_owned()) && !is_sealed(f))
            {
                properties.insert(field.name().to_owned(), self.field(&field));
            }
            let mut schema = json!({
                "type": "object",
                "description": comments::of(&message.parent_file(), message.path()),
                "properties": properties,
            });
            let required: Vec<String> = message
                .fields()
                .filter(|field| check::rules(field).required && !without.contains(&field.name().to_owned()))
                .map(|field| field.name().to_owned())
                .collect();
            if !required.is_empty() {
                schema["required"] = json!(required);
            }
            self.0.insert(name, schema);
        }
        reference(message.full_name())
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
        let rules = check::rules(field);
        if rules.format == Format::Name {
            let text = if field.is_list() { &mut schema["items"] } else { &mut schema };
            text["minLength"] = 1.into();
            text["maxLength"] = kernel::names::NAME_LIMIT.into();
            text["pattern"] = "^[a-z]([a-z0-9-]*[a-z0-9])?$".into();
        }
        let mut words = comments::of(&field.parent_file(), field.path());
        if let Some(oneof) = field.containing_oneof().filter(|oneof| !oneof.is_synthetic()) {
            let others: Vec<String> =
                oneof.fields().filter(|f| f != field).map(|f| f.name().to_owned()).collect();
            words = format!("{words} Excludes {}.", others.join(", ")).trim().to_owned();
        }
        if let Value::Object(object) = &mut schema
            && !words.is_empty()
        {
            object.insert("description".to_owned(), words.into());
        }
        schema
    }

    fn value(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Double | Kind::Float => json!({"type": "number"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({"type": "integer", "format": "int32"}),
            Kind::Uint32 | Kind::Fixed32 => json!({"type": "integer", "minimum": 0, "maximum": u32::MAX}),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({"type": ["integer", "string"], "format": "int64", "pattern": "^-?[0-9]+$"})
            }
            Kind::Uint64 | Kind::Fixed64 => {
                json!({"type": ["integer", "string"], "format": "uint64", "minimum": 0, "pattern": "^[0-9]+$"})
            }
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Enum(names) => self.names(names),
            Kind::Message(message) if message.full_name() == "google.protobuf.Struct" => {
                json!({"type": "object", "additionalProperties": true})
            }
            Kind::Message(message) => self.message(message, &[]),
        }
    }

    fn names(&mut self, names: &EnumDescriptor) -> Value {
        let name = short(names.full_name()).to_owned();
        if !self.0.contains_key(&name) {
            let file = names.parent_file();
            let mut words = comments::of(&file, names.path());
            for value in names.values() {
                let about = comments::of(&file, value.path());
                if !about.is_empty() {
                    words = format!("{words}\n- `{}`: {about}", value.name());
                }
            }
            let all: Vec<String> = names.values().map(|v| v.name().to_owned()).collect();
            self.0.insert(name, json!({"type": "string", "enum": all, "description": words}));
        }
        reference(names.full_name())
    }
}
