//! Which objects a list is of: `phase = READY AND labels.team = "web"`.
//!
//! Terms are joined by AND, each a field of the object's message, a test and a value: a subset of the filters of
//! <https://google.aip.dev/160>. An error is one sentence that says what would be right.

mod read;
mod term;

use contracts::ObjectKind;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor};
use std::collections::BTreeMap;
pub(crate) use term::{Operand, Place, Term, Test};

/// Most terms of a filter.
pub const TERMS: usize = 8;
/// Longest filter, in bytes.
pub const LIMIT: usize = 4096;

/// What the objects of a list have to be like.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter(Vec<Term>);

impl Filter {
    /// Reads a filter over objects of this message; "" = all. Fields for which `shown` says no are fields that nobody
    /// heard of: who may not see them learns nothing of them by asking, either.
    pub fn read(
        text: &str,
        message: &MessageDescriptor,
        shown: &dyn Fn(&FieldDescriptor) -> bool,
    ) -> Result<Self, String> {
        read::terms(text, message, shown).map(Self)
    }

    /// The same, and with all of these labels, which stand in the map `labels` of the object, or of a message `within`.
    #[must_use]
    pub fn labelled(mut self, within: &[&str], labels: &BTreeMap<String, String>) -> Self {
        let way: Vec<String> = within.iter().map(|field| (*field).to_owned()).collect();
        let label = |(key, value): (&String, &String)| Term {
            place: Place::Entry(way.clone(), "labels".to_owned(), key.clone()),
            test: Test::Is,
            operand: Operand::Text(value.clone()),
        };
        self.0.extend(labels.iter().map(label));
        self
    }

    /// Whether an object is like that.
    pub fn takes(&self, object: &DynamicMessage) -> bool {
        self.0.iter().all(|term| term.holds(object))
    }

    /// Whether an object of this kind is, as it is encoded. What cannot be read is shown rather than hidden.
    pub fn takes_encoded(&self, kind: &ObjectKind, snapshot: &[u8]) -> bool {
        let read =
            || DynamicMessage::decode(contracts::pool().get_message_by_name(kind.message)?, snapshot).ok();
        self.is_empty() || read().is_none_or(|object| self.takes(&object))
    }

    /// Whether it takes everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its terms of which this is true, and the others.
    pub(crate) fn parted(&self, is: impl Fn(&Term) -> bool) -> (Self, Self) {
        let (these, others) = self.0.iter().cloned().partition(is);
        (Self(these), Self(others))
    }

    pub(crate) fn terms(&self) -> &[Term] {
        &self.0
    }

    /// The same filter, the same text, however it was written.
    pub fn canonical(&self) -> String {
        let mut terms: Vec<String> = self.0.iter().map(|term| format!("{term:?}")).collect();
        terms.sort();
        terms.join(" AND ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::scheduler::v1::{Host, Instance, InstancePhase, InstanceSpec};
    use prost::Message as _;

    fn descriptor(name: &str) -> MessageDescriptor {
        contracts::pool().get_message_by_name(name).expect("known")
    }

    fn instance() -> DynamicMessage {
        let labels = [("team".to_owned(), "web".to_owned()), ("a/b.c".to_owned(), String::new())];
        let spec = InstanceSpec {
            image_name: "debian".into(),
            ssh_authorized_keys: vec!["one".into(), "two".into()],
            labels: labels.into(),
            ..InstanceSpec::default()
        };
        let instance = Instance {
            name: "web-1".into(),
            phase: InstancePhase::Ready.into(),
            created_at_us: 1_700_000_000_000_000,
            revision: 7,
            spec: Some(spec),
            ..Instance::default()
        };
        let message = descriptor("berth.scheduler.v1.Instance");
        DynamicMessage::decode(message, instance.encode_to_vec().as_slice()).expect("decodes")
    }

    fn takes(text: &str) -> bool {
        let object = instance();
        Filter::read(text, &descriptor("berth.scheduler.v1.Instance"), &|_| true).expect(text).takes(&object)
    }

    #[test]
    fn every_test_is_held_against_every_kind_of_field() {
        for text in [
            "",
            "  ",
            "name = web-1",
            "name=\"web-1\"AND revision=7",
            "name != db and name : \"eb-\"",
            "phase = READY AND phase != instance_phase_failed",
            "phase = ready",
            "spec.image_name = debian",
            "spec.labels.team = web AND spec.labels.a/b.c = \"\"",
            "spec.labels : team",
            "spec.labels.none != web",
            "spec.ssh_authorized_keys : two",
            "created_at_us > \"2023-11-14T22:13:19Z\" AND created_at_us < 2023-11-14T22:13:21+00:00",
            "created_at_us = 1700000000000000",
            "revision >= 7 AND revision <= 7 AND revision > 6 AND revision < 8 AND revision > -1",
        ] {
            assert!(takes(text), "{text}");
        }
        for text in [
            "name = web",
            "name : db",
            "phase = FAILED",
            "spec.labels.team = db",
            "spec.labels : none",
            "spec.labels.none = \"\"",
            "spec.ssh_authorized_keys : three",
            "revision > 7",
            "revision = 7 AND name = other",
        ] {
            assert!(!takes(text), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        let why = |text: &str| {
            let read = Filter::read(text, &descriptor("berth.scheduler.v1.Instance"), &|field| {
                field.name() != "host_id"
            });
            read.expect_err(text)
        };
        for (text, part) in [
            ("nam = x", "no field `nam`: it has "),
            ("host_id = x", "no field `host_id`"),
            ("name", "after `name` comes a test"),
            ("name ~ x", "after `name` comes a test"),
            ("name =", "comes a value"),
            ("name = a b", "AND"),
            ("name = a OR name = b", "AND"),
            ("name = \"a", "no end"),
            ("name < a", "is a text"),
            ("phase = NOSUCH", "PENDING"),
            ("phase > READY", "= or !="),
            ("revision = many", "a number"),
            ("created_at_us > yesterday", "RFC 3339"),
            ("spec = x", "spec.image_id"),
            ("spec.labels = x", "spec.labels.KEY"),
            ("spec.ssh_authorized_keys = x", "`:`"),
            ("spec.user_data = x", "no field"),
            ("name.first = x", "nothing within"),
            ("= x", "a field"),
            ("steps.name = placed", "cannot be filtered by"),
            ("name = \"a\u{0}b\"", "control characters"),
        ] {
            assert!(why(text).contains(part), "{text}: {}", why(text));
        }
        let many = ["name = a"; TERMS + 1].join(" AND ");
        assert!(why(&many).contains("at most 8"), "{}", why(&many));
        assert!(why(&"x".repeat(LIMIT + 1)).contains("4096"));
    }

    #[test]
    fn a_number_of_another_size_is_no_error() {
        let host = descriptor("berth.scheduler.v1.Host");
        let object = DynamicMessage::decode(host.clone(), Host::default().encode_to_vec().as_slice());
        let huge = Filter::read("revision < 99999999999999999999999", &host, &|_| true).expect("a number");
        assert!(huge.takes(&object.expect("decodes")));
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_written_is_read_or_refused(text in "\\PC{0,60}") {
            let _ = Filter::read(&text, &descriptor("berth.scheduler.v1.Instance"), &|_| true);
        }

        #[test]
        fn a_quoted_text_is_the_text(text in "\\PC{0,20}") {
            let quoted = format!("name = \"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
            let message = descriptor("berth.scheduler.v1.Instance");
            let object = Instance { name: text, ..Instance::default() };
            let object = DynamicMessage::decode(message.clone(), object.encode_to_vec().as_slice()).expect("decodes");
            proptest::prop_assert!(Filter::read(&quoted, &message, &|_| true).expect("read").takes(&object));
        }
    }
}
