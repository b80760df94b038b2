//! What is declared of fields: by what objects are found, what they refer to, and who may see them.

use super::{Declared, Reference, extension, sentence, text};
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};

/// Names of fields, or their ends after a '_', that tell a tenant something of the platform's hosts.
const OF_HOSTS: [&str; 10] = [
    "host",
    "host_id",
    "host_ids",
    "host_name",
    "host_names",
    "node",
    "node_id",
    "agent_id",
    "hypervisor",
    "hypervisor_id",
];

/// Kinds without declared methods that the gateway finds in tables of their own.
const OWN_TABLES: [&str; 3] = ["host", "image", "instance"];

fn said(pool: &DescriptorPool, field: &FieldDescriptor) -> Option<DynamicMessage> {
    extension(pool, &field.options(), "field")
}

/// Whether objects are found by a field.
pub fn is_indexed(pool: &DescriptorPool, field: &FieldDescriptor) -> bool {
    let said = said(pool, field).and_then(|said| said.get_field_by_name("index").map(|v| v.into_owned()));
    said.is_some_and(|index| index.as_bool() == Some(true))
}

/// The fields of a message with ids of objects.
pub fn references(pool: &DescriptorPool, message: &MessageDescriptor) -> Result<Vec<Reference>, String> {
    let mut found = Vec::new();
    for field in message.fields() {
        let Some(kind) = said(pool, &field).and_then(|said| text(&said, "refers")) else { continue };
        if field.kind() != Kind::String {
            return Err(format!("refers to a {kind} in `{}`, which is no text: ids are", field.name()));
        }
        found.push(Reference { field: field.name().to_owned(), list: field.is_list(), kind });
    }
    Ok(found)
}

/// What is wrong with references and with what is shown to whom.
pub fn wrong(pool: &DescriptorPool, found: &Declared) -> Vec<String> {
    let mut wrong = Vec::new();
    for message in pool.all_messages() {
        match references(pool, &message) {
            Err(why) => wrong.push(sentence(&message, &why)),
            Ok(references) => {
                let unknown = |one: &&Reference| !found.kinds.iter().any(|kind| kind.kind == one.kind);
                if let Some(one) = references.iter().find(unknown) {
                    let why = format!("refers in `{}` to a {:?}, which is no kind", one.field, one.kind);
                    wrong.push(sentence(&message, &why));
                }
                for one in &references {
                    if let Err(why) = reachable(found, &message, one) {
                        wrong.push(sentence(&message, &why));
                    }
                }
                let read = found.kinds.iter().any(|kind| kind.message == message)
                    || found.ops.iter().any(|op| op.method.input() == message);
                if let Some(one) = references.first().filter(|_| !read) {
                    let why = format!(
                        "refers in `{}` to a {}, where nobody looks: only objects, and requests of declared methods, \
                         refer to objects",
                        one.field, one.kind
                    );
                    wrong.push(sentence(&message, &why));
                }
            }
        }
        wrong.extend(unguarded(pool, found, &message).map(|why| sentence(&message, &why)));
    }
    wrong
}

/// Whether whoever reads a reference can find what it leads to.
fn reachable(found: &Declared, from: &MessageDescriptor, reference: &Reference) -> Result<(), String> {
    let Some(place) = found.kinds.iter().position(|kind| kind.kind == reference.kind) else { return Ok(()) };
    let kind = &found.kinds[place];
    let (field, name) = (&reference.field, &kind.kind);
    let served = found.ops.iter().any(|op| op.kind == place);
    if !served && !OWN_TABLES.contains(&name.as_str()) {
        return Err(format!(
            "refers in `{field}` to a {name}, which has no declared methods: nobody finds it"
        ));
    }
    if !served && kind.message.package_name() == from.package_name() {
        return Err(format!(
            "refers in `{field}` to a {name}, which its own service keeps in a table of its own: look it up there"
        ));
    }
    let about = found.ops.iter().find(|op| op.method.input() == *from).map(|op| &found.kinds[op.kind]);
    let about = about.or_else(|| found.kinds.iter().find(|kind| kind.message == *from));
    if kind.scope == "TENANT" && about.is_some_and(|about| about.scope == "PLATFORM") {
        return Err(format!("is the platform's and refers in `{field}` to a {name}, which is a tenant's"));
    }
    Ok(())
}

/// Events and objects are shown to tenants: a field that names a host says who may see it.
fn unguarded(pool: &DescriptorPool, found: &Declared, message: &MessageDescriptor) -> Option<String> {
    let shown = found.kinds.iter().any(|kind| kind.message == *message)
        || found.messages.iter().any(|one| one.kind == "Event" && one.message == *message);
    let of_hosts = |name: &str| {
        OF_HOSTS
            .iter()
            .any(|end| name.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('_')))
    };
    let open = message.fields().find(|field| {
        shown
            && field.kind() == Kind::String
            && of_hosts(field.name())
            && said(pool, field).and_then(|said| text(&said, "needs")).is_none()
    })?;
    Some(format!(
        "shows `{}` to everybody: a field that names a host says `needs: \"host.read\"`",
        open.name()
    ))
}
