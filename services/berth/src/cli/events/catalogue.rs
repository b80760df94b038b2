//! `berth events catalogue`.

use super::Session;
use crate::output::Table;
use clap::Args;
use client::{Exit, Failure};
use contracts::gateway::v1::{GetAsyncApiRequest, GetEventSchemaRequest, ListEventTypesRequest};
use serde_json::Value;

/// What events there are, and what they carry
#[derive(Debug, Args)]
#[command(after_help = "With -o json or -o yaml a type is shown as its JSON Schema.

Examples:
  berth events catalogue
  berth events catalogue scheduler.InstanceReady
  berth events catalogue scheduler.InstanceReady -o json > instance-ready.schema.json
  berth events catalogue --asyncapi -o yaml > asyncapi.yaml")]
pub(super) struct CatalogueArgs {
    /// One type, as events name it; all when it is left out
    #[arg(value_name = "TYPE")]
    name: Option<String>,
    /// The whole catalogue, with every way to get events, as an AsyncAPI document
    #[arg(long, conflicts_with = "name")]
    asyncapi: bool,
}

pub(super) async fn run(args: CatalogueArgs, session: &Session) -> Result<(), Failure> {
    let gateway = &session.gateway;
    if args.asyncapi {
        let asked = gateway.read(GetAsyncApiRequest {}, async |r| gateway.events().get_async_api(r).await);
        let document = whole(asked.await?.document)?;
        return session.format.print_value(&document, || format!("{document:#}\n"));
    }
    let Some(name) = args.name else {
        let asked =
            gateway.read(ListEventTypesRequest {}, async |r| gateway.events().list_event_types(r).await);
        let answer = asked.await?;
        return session.format.print("ListEventTypesResponse", &answer, || {
            let mut table = Table::new(["type", "said when"], "no events");
            for event in &answer.types {
                table.row([event.name.clone(), event.summary.clone()]);
            }
            table.render()
        });
    };
    let request = GetEventSchemaRequest { r#type: name };
    let asked = gateway.read(request, async |r| gateway.events().get_event_schema(r).await);
    let schema = whole(asked.await?.schema)?;
    session.format.print_value(&schema, || table(&schema))
}

fn whole(document: Option<prost_types::Struct>) -> Result<Value, Failure> {
    let missing = || Failure::new(Exit::Failed, "the gateway answered without a document");
    Ok(contracts::json_of_struct(document.ok_or_else(missing)?))
}

fn table(schema: &Value) -> String {
    let mut table = Table::new(["field", "type", "what it is"], "it carries nothing");
    rows(schema, schema, &mut Vec::new(), "", &mut |path, kind, words| {
        table.row([path, kind, words]);
    });
    let words = schema["description"].as_str().unwrap_or_default();
    format!("{words}\n\n{}", table.render())
}

/// One row for each field, however deep; a message inside itself is not opened again.
fn rows<'a>(
    root: &'a Value,
    object: &'a Value,
    open: &mut Vec<&'a str>,
    path: &str,
    row: &mut impl FnMut(String, String, String),
) {
    for (name, field) in object["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let (held, many) = match (&field["items"], &field["additionalProperties"]) {
            (items @ Value::Object(_), _) => (items, "[]"),
            (_, entry @ Value::Object(_)) => (entry, "{}"),
            _ => (field, ""),
        };
        let reference = held["$ref"].as_str().unwrap_or_default();
        let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        let kind = kind(target.unwrap_or(held)) + many;
        let words = field["description"].as_str().unwrap_or_default();
        row(path.clone(), kind, words.split(". ").next().unwrap_or_default().to_owned());
        if let Some(target) = target
            && target["properties"].is_object()
            && !open.contains(&reference)
        {
            open.push(reference);
            rows(root, target, open, &format!("{path}{many}"), row);
            open.pop();
        }
    }
}

fn kind(schema: &Value) -> String {
    if let Some(kind) = schema["type"].as_str() {
        return kind.to_owned();
    }
    let kinds = schema["anyOf"].as_array().map(Vec::as_slice).unwrap_or_default();
    match kinds.first() {
        Some(first) if first["enum"].is_array() => "enum".to_owned(),
        Some(first) => first["type"].as_str().unwrap_or("any").to_owned(),
        None => "any".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_listed_with_their_paths_and_what_holds_itself_once() {
        let schema = json!({
            "description": "It is.",
            "properties": {
                "instance": {"$ref": "#/$defs/Instance", "description": "As it is now. Whole."},
                "steps": {"type": "array", "items": {"$ref": "#/$defs/Step"}},
            },
            "$defs": {
                "Instance": {"type": "object", "properties": {
                    "parent": {"$ref": "#/$defs/Instance"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                }},
                "Step": {"type": "object", "properties": {"state": {"anyOf": [{"enum": ["A"]}, {"type": "integer"}]}}},
            },
        });
        let mut found = Vec::new();
        rows(&schema, &schema, &mut Vec::new(), "", &mut |path, kind, words| found.push((path, kind, words)));
        let shown: Vec<String> = found.iter().map(|(path, kind, _)| format!("{path}: {kind}")).collect();
        let expected = [
            "instance: object",
            "instance.labels: string{}",
            "instance.parent: object",
            "steps: object[]",
            "steps[].state: enum",
        ];
        assert_eq!(shown, expected);
        assert_eq!(found[0].2, "As it is now");
        assert!(table(&schema).starts_with("It is.\n\n"));
    }
}
