//! Events that no build knows: of services that are there, under names that nothing has.

use kernel::{Kind, Subject};

/// Where such events would travel; their payload may be anything.
pub fn unknown_events() -> Vec<Subject> {
    let named = [("scheduler", "InstanceMoved"), ("storage", "ImageMoved"), ("gateway", "QuotaMoved")];
    let subject = |(service, name): (&str, &str)| Subject {
        kind: Kind::Event,
        service: service.to_owned(),
        version: "v1".to_owned(),
        name: name.to_owned(),
        tenant: "acme".to_owned(),
        key: "i".to_owned(),
    };
    named.map(subject).into()
}
