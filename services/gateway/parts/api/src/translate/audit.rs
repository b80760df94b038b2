//! Calls as records, and filters of records.

use crate::domain::audit::{Filter, Outcome, operation};
use crate::domain::caller::Caller;
use crate::domain::violation::{Violation, excerpt};
use contracts::Method;
use contracts::gateway::v1 as wire;
use kernel::printable;
use prost_reflect::DynamicMessage;
use serde_json::Value;

/// Longest request in a record, in bytes of JSON; longer ones are cut field by field.
const REQUEST_LIMIT: usize = 8 << 10;
/// Longest text in a request that has to be cut, in characters.
const TEXT_LIMIT: usize = 200;
/// Longest filter.
const FILTER_LIMIT: usize = 256;

/// The method behind which events of other systems are taken, also when they do not come as calls.
pub const PUBLISH: &str = "berth.gateway.v1.ExternalEventService/PublishEvents";

/// What a record says of the caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    /// "admin".
    pub actor: String,
    /// Name of the token.
    pub token: String,
    /// Whose objects the call is about.
    pub tenant: String,
}

/// What is recorded of a caller.
pub fn who(caller: &Caller) -> Who {
    Who { actor: caller.actor.clone(), token: caller.token_name.clone(), tenant: caller.tenant.clone() }
}

/// The full name of a method as records write it: "berth.gateway.v1.InstanceService/CreateInstance".
pub fn method_name(method: &Method) -> String {
    format!("{}/{}", method.descriptor.parent_service().full_name(), method.descriptor.name())
}

/// The kind of object that a method is about: the name of its path, or what its service is about.
pub fn kind(method: &Method) -> String {
    if let Some(op) = method.op {
        return op.kind.name.to_owned();
    }
    let in_path = method.path.split('{').nth(1).and_then(|part| part.split('}').next());
    in_path.map_or_else(
        || method.descriptor.parent_service().name().trim_end_matches("Service").to_lowercase(),
        str::to_owned,
    )
}

/// A name as it was sent, not too long, and so that it can be kept: whatever a stranger sends leaves a record.
pub fn name(sent: &str) -> String {
    printable(&excerpt(sent, TEXT_LIMIT))
}

/// A request as JSON without secrets, not too long, and the object it names.
pub fn request(method: &Method, message: &DynamicMessage) -> (String, wire::AuditObject) {
    let mut json = contracts::redacted_json(message).unwrap_or_default();
    let kind = kind(method);
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    let name = [kind.as_str(), "name"].iter().map(|field| text(&json[*field])).find(|name| !name.is_empty());
    let name = self::name(&name.unwrap_or_default());
    let object = wire::AuditObject { kind, id: String::new(), as_sent: !name.is_empty(), name };
    let mut written = json.to_string();
    if written.len() > REQUEST_LIMIT {
        cut(&mut json);
        written = json.to_string();
    }
    if written.len() > REQUEST_LIMIT {
        written =
            serde_json::json!({"left_out": format!("a request of {} bytes", written.len())}).to_string();
    }
    (written, object)
}

fn cut(value: &mut Value) {
    match value {
        Value::String(text) => *text = excerpt(text, TEXT_LIMIT),
        Value::Array(items) => items.iter_mut().for_each(cut),
        Value::Object(fields) => fields.values_mut().for_each(cut),
        _ => {}
    }
}

/// Reads a filter. `tenant` is the one whose records the caller may see, `None` = those of all.
pub fn filter(request: wire::ExportAuditRequest, tenant: Option<&str>) -> Result<Filter, Violation> {
    for (name, text) in [
        ("user", &request.user),
        ("object", &request.object),
        ("operation", &request.operation),
        ("tenant", &request.tenant),
    ] {
        if text.len() > FILTER_LIMIT {
            return Err(Violation::new(name, format!("a filter has at most {FILTER_LIMIT} bytes")));
        }
    }
    let wanted = operation(&request.operation);
    if !wanted.is_empty() && !contracts::methods().iter().any(|m| m.descriptor.name() == wanted) {
        let text = format!("no operation is called {:?}; write CreateInstance", excerpt(wanted, 80));
        return Err(Violation::new("operation", text));
    }
    let outcome = match request.outcome.as_str() {
        "" => None,
        word => Some(Outcome::read(word).ok_or_else(|| {
            let text = format!("{:?} is no outcome: write ok, refused, denied or unknown", excerpt(word, 40));
            Violation::new("outcome", text)
        })?),
    };
    if request.since_us < 0 || request.until_us < 0 {
        let field = if request.since_us < 0 { "since_us" } else { "until_us" };
        return Err(Violation::new(field, "write microseconds since 1970-01-01T00:00:00Z"));
    }
    if request.until_us != 0 && request.until_us <= request.since_us {
        return Err(Violation::new("until_us", "this is not after since_us: nothing lies between"));
    }
    Ok(Filter {
        tenant: tenant.map_or(request.tenant, str::to_owned),
        actor: request.user,
        object: request.object,
        operation: wanted.to_owned(),
        outcome,
        since_us: request.since_us,
        until_us: request.until_us,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(name: &str) -> &'static Method {
        contracts::methods().iter().find(|m| m.descriptor.name() == name).expect("a method")
    }

    fn dynamic(method: &Method, message: &impl prost::Message) -> DynamicMessage {
        DynamicMessage::decode(method.descriptor.input(), &*message.encode_to_vec()).expect("decodes")
    }

    #[test]
    fn an_object_is_named_by_the_path_or_by_its_name() {
        let stop = wire::StopInstanceRequest { instance: "web-1".into(), grace_s: None };
        let (_, object) = request(method("StopInstance"), &dynamic(method("StopInstance"), &stop));
        assert_eq!((object.kind.as_str(), object.name.as_str()), ("instance", "web-1"));
        let create = wire::CreateInstanceRequest { name: "web".into(), ..Default::default() };
        let (json, object) = request(method("CreateInstance"), &dynamic(method("CreateInstance"), &create));
        assert_eq!((object.kind.as_str(), object.name.as_str()), ("instance", "web"));
        assert!(json.contains("\"name\":\"web\""), "{json}");
        let letter = wire::DropDeadLetterRequest { sequence: 7 };
        let (_, object) = request(method("DropDeadLetter"), &dynamic(method("DropDeadLetter"), &letter));
        assert_eq!((object.kind.as_str(), object.name.as_str()), ("sequence", "7"));
    }

    #[test]
    fn a_name_that_no_table_takes_is_still_recorded() {
        let stop = wire::StopInstanceRequest { instance: "a\0b".into(), grace_s: None };
        let (json, object) = request(method("StopInstance"), &dynamic(method("StopInstance"), &stop));
        assert!(object.name == "a\u{fffd}b" && !json.contains('\0'), "{json}");
    }

    #[test]
    fn outcomes_have_the_numbers_of_the_wire() {
        for (outcome, wire) in [
            (Outcome::Ok, wire::AuditOutcome::Ok),
            (Outcome::Refused, wire::AuditOutcome::Refused),
            (Outcome::Denied, wire::AuditOutcome::Denied),
            (Outcome::Unknown, wire::AuditOutcome::Unknown),
        ] {
            assert_eq!(outcome.number(), wire as i32);
        }
    }

    #[test]
    fn a_long_request_is_cut() {
        let create = wire::CreateInstanceRequest {
            name: "web".into(),
            labels: (0..20).map(|n| (n.to_string(), "x".repeat(1000))).collect(),
            ..Default::default()
        };
        let (json, _) = request(method("CreateInstance"), &dynamic(method("CreateInstance"), &create));
        assert!(json.len() < REQUEST_LIMIT && json.contains("xxx…"), "{json}");
    }

    #[test]
    fn wrong_filters_are_named() {
        let field = |change: fn(&mut wire::ExportAuditRequest)| {
            let mut request = wire::ExportAuditRequest::default();
            change(&mut request);
            filter(request, Some("acme")).map(|f| f.tenant).map_err(|v| v.field)
        };
        assert_eq!(field(|r| r.tenant = "other".into()), Ok("acme".into()), "nobody leaves their tenant");
        assert_eq!(field(|r| r.outcome = "well".into()), Err("outcome".into()));
        assert_eq!(field(|r| r.operation = "Nothing".into()), Err("operation".into()));
        assert_eq!(field(|r| r.since_us = -1), Err("since_us".into()));
        assert_eq!(field(|r| (r.since_us, r.until_us) = (5, 5)), Err("until_us".into()));
    }
}
