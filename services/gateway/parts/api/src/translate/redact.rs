//! Sealed secrets never leave through the public door, not even sealed.

use crate::domain::caller::Caller;
use crate::domain::labels;
use crate::domain::violation::Violation;
use contracts::ObjectKind;
use contracts::check;
use contracts::gateway::v1::Operation;
use contracts::host_driver::v1::Quarantined;
pub use contracts::is_secret;
use contracts::scheduler::v1::{Instance, PlacementDecision};
use objects::Filter;
use prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value};
use std::collections::BTreeMap;

/// Clears every sealed field, however deep.
pub fn strip(message: &mut DynamicMessage) {
    let sealed: Vec<_> = message.descriptor().fields().filter(is_secret).collect();
    for field in &sealed {
        message.clear_field(field);
    }
    for (_, value) in message.fields_mut() {
        strip_value(value);
    }
}

fn strip_value(value: &mut Value) {
    each_message(value, &strip);
}

/// What a list is of: a filter over what the caller may see of its objects, and `labels`, which stand in the map of
/// that name of the object, or of a message `within`.
pub fn filter(
    kind: &ObjectKind,
    text: &str,
    labels: &BTreeMap<String, String>,
    within: &[&str],
    caller: &Caller,
) -> Result<Filter, Violation> {
    labels::check("labels", labels)?;
    let message = contracts::pool().get_message_by_name(kind.message);
    let message = message.ok_or_else(|| Violation::new("filter", "a kind without a message"))?;
    let shown = |field: &FieldDescriptor| is_shown(field, &|permission| caller.may(permission));
    let filter = Filter::read(text, &message, &shown).map_err(|why| Violation::new("filter", why))?;
    Ok(filter.labelled(within, labels))
}

/// Whether somebody may see a field who holds these permissions.
fn is_shown(field: &FieldDescriptor, may: &dyn Fn(&str) -> bool) -> bool {
    let guarded = check::guarded(field.parent_message()).iter().find(|(number, _)| *number == field.number());
    guarded.is_none_or(|(_, permission)| may(permission))
}

/// Whether something of such messages, however deep, is not for everybody.
pub fn hides(message: &MessageDescriptor) -> bool {
    fn look(message: &MessageDescriptor, seen: &mut Vec<String>) -> bool {
        if seen.iter().any(|name| name == message.full_name()) {
            return false;
        }
        seen.push(message.full_name().to_owned());
        !check::guarded(message).is_empty()
            || message.fields().any(|field| {
                is_secret(&field) || matches!(field.kind(), Kind::Message(inner) if look(&inner, seen))
            })
    }
    look(message, &mut Vec::new())
}

/// Clears every field that somebody may not see, however deep: what names hosts of the platform is not for tenants.
pub fn hide(message: &mut DynamicMessage, may: &dyn Fn(&str) -> bool) {
    for (number, permission) in check::guarded(&message.descriptor()) {
        if !may(permission) {
            message.clear_field_by_number(*number);
        }
    }
    for (_, value) in message.fields_mut() {
        each_message(value, &|inner: &mut DynamicMessage| hide(inner, may));
    }
}

fn each_message(value: &mut Value, clean: &impl Fn(&mut DynamicMessage)) {
    match value {
        Value::Message(inner) => clean(inner),
        Value::List(items) => items.iter_mut().for_each(|item| each_message(item, clean)),
        Value::Map(entries) => entries.values_mut().for_each(|entry| each_message(entry, clean)),
        _ => {}
    }
}

/// A message of the bus as JSON without its sealed parts, and without what somebody of these permissions may not see;
/// `None` when the bytes are not that message.
pub fn json(full_name: &str, bytes: &[u8], may: &dyn Fn(&str) -> bool) -> Option<serde_json::Value> {
    let descriptor = contracts::pool().get_message_by_name(full_name)?;
    let mut message = DynamicMessage::decode(descriptor, bytes).ok()?;
    strip(&mut message);
    hide(&mut message, may);
    contracts::to_json(full_name, &message.encode_to_vec()).ok()
}

/// An instance as the caller may see it: without its sealed user data, and without its host for those who may not
/// read hosts.
pub fn instance(mut instance: Instance, caller: &Caller) -> Instance {
    if !caller.sees_hosts() {
        instance.host_id.clear();
        instance.host_name.clear();
        instance.failed_host_ids.clear();
    }
    if let Some(spec) = &mut instance.spec {
        spec.user_data = None;
    }
    instance
}

/// Disks that were put aside, as the caller may see them.
pub fn quarantined(mut item: Quarantined, caller: &Caller) -> Quarantined {
    if !caller.sees_hosts() {
        item.host_id.clear();
    }
    item
}

/// A decision as the caller may see it: those who may not read hosts learn how many were ruled out and by what.
pub fn decision(mut decision: PlacementDecision, caller: &Caller) -> PlacementDecision {
    if !caller.sees_hosts() {
        decision.host_id.clear();
        decision.host_name.clear();
        decision.candidates.clear();
        decision.rejections.clear();
    }
    decision
}

/// An operation without its sealed output.
pub fn operation(mut operation: Operation) -> Operation {
    operation.output = None;
    operation
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::common::v1::Sealed;
    use contracts::scheduler::v1::{InstanceReady, InstanceSpec};

    #[test]
    fn what_is_not_for_everybody_is_known_however_deep_it_is() {
        let hides = |name: &str| hides(&contracts::pool().get_message_by_name(name).expect("known"));
        assert!(hides("berth.scheduler.v1.InstanceReady") && hides("berth.scheduler.v1.InstanceSpec"));
        assert!(!hides("berth.scheduler.v1.SshKey") && !hides("berth.storage.v1.Image"));
    }

    #[test]
    fn no_sealed_byte_is_left_anywhere() {
        let secret =
            Sealed { key_id: "key".into(), nonce: b"NONCE".to_vec(), ciphertext: b"CIPHERTEXT".to_vec() };
        let spec =
            InstanceSpec { user_data: Some(secret), hostname: "web".into(), ..InstanceSpec::default() };
        let whole = Instance { id: "i".into(), spec: Some(spec), ..Instance::default() };
        let event = InstanceReady { instance: Some(whole.clone()), operations: vec![] };
        let descriptor =
            contracts::pool().get_message_by_name("berth.scheduler.v1.InstanceReady").expect("known");
        let mut message = DynamicMessage::decode(descriptor, &*event.encode_to_vec()).expect("decodes");
        strip(&mut message);
        let bytes = message.encode_to_vec();
        assert!(!bytes.windows(10).any(|w| w == b"CIPHERTEXT"));
        let left = InstanceReady::decode(&*bytes).expect("decodes").instance;
        assert_eq!(
            left,
            Some(instance(whole, &Caller { permissions: ["host.read"].into(), ..Caller::nobody() }))
        );
    }

    #[test]
    fn tenants_are_not_shown_the_hosts_of_the_platform() {
        use contracts::scheduler::v1::{Candidate, InstanceSpec, PlacementDecided, Rejection};
        let candidate = Candidate { host_id: "HOST".into(), host_name: "HOST".into(), score: 1 };
        let rejection = Rejection {
            host_id: "HOST".into(),
            host_name: "HOST".into(),
            reason: "HOST".into(),
            ..Rejection::default()
        };
        let whole = PlacementDecision {
            host_id: "HOST".into(),
            host_name: "HOST".into(),
            candidates: vec![candidate],
            rejections: vec![rejection],
            hosts_considered: 7,
            ..PlacementDecision::default()
        };
        let (member, operator) =
            (Caller::nobody(), Caller { permissions: ["host.read"].into(), ..Caller::nobody() });
        let shown = decision(whole.clone(), &member);
        assert!(!format!("{shown:?}").contains("HOST") && shown.hosts_considered == 7);
        assert_eq!(decision(whole.clone(), &operator), whole);
        let event = PlacementDecided { decision: Some(whole) }.encode_to_vec();
        let name = "berth.scheduler.v1.PlacementDecided";
        let text = |hosts| json(name, &event, &|_| hosts).expect("readable").to_string();
        assert!(!text(false).contains("HOST") && text(true).contains("HOST"));
        let placed = Instance {
            host_id: "HOST".into(),
            host_name: "HOST".into(),
            failed_host_ids: vec!["HOST".into()],
            spec: Some(InstanceSpec { hostname: "web".into(), ..InstanceSpec::default() }),
            ..Instance::default()
        };
        let shown = format!("{:?}", instance(placed, &member));
        assert!(!shown.contains("HOST") && shown.contains("web"), "{shown}");
    }
}
