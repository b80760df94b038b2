//! The users of the broker, one for each service, and what each may do there: the least that its work needs, made from
//! what the services declare and from the streams there are.
//!
//! JetStream is asked by messages to subjects of its own, `$JS.API.<verb>.<stream>…`, so permissions on subjects decide who
//! may read, clear or make which stream (<https://docs.nats.io/reference/reference-protocols/nats_api_reference>).

use bus::topology::{self, DEAD, EVENTS, OUTSIDE};
use bus::{StreamLimits, inbox_of, live};
use chassis::Service;
use contracts::{ANSWERING, CATALOGUE, QUEUES};
use kernel::Kind;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Makes streams, and lets an administrator clear the log of what is archived. Nobody else may.
pub const SETUP: &str = "setup";
/// Looks at everything and changes nothing: `berth doctor`, `berth replay`.
pub const OPERATOR: &str = "operator";

/// How long whoever was asked may answer: longer than anybody waits.
const ANSWERS_WITHIN: &str = "10s";

/// A user of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Name of the service, [`SETUP`] or [`OPERATOR`].
    pub name: &'static str,
    /// What it may do; everything else is denied.
    pub may: Permissions,
}

/// Subjects, with wildcards of NATS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Where it may publish.
    pub publish: BTreeSet<String>,
    /// Where it may not, though `publish` says so.
    pub never: BTreeSet<String>,
    /// Where it may listen.
    pub listen: BTreeSet<String>,
    /// It may answer, once, whoever asks it.
    pub answers: bool,
}

impl Permissions {
    fn publish(&mut self, subject: impl Into<String>) {
        self.publish.insert(subject.into());
    }

    fn listen(&mut self, subject: impl Into<String>) {
        self.listen.insert(subject.into());
    }

    fn api(&mut self, what: &str) {
        self.publish(format!("$JS.API.{what}"));
    }

    /// A stream that it looks at: whether it is the one it knows, and what stands at a place.
    fn looks_at(&mut self, stream: &str) {
        self.api(&format!("STREAM.INFO.{stream}"));
        self.api(&format!("DIRECT.GET.{stream}"));
    }

    /// Consumers that are its own; `consumer` may be a wildcard where the stream is its own as well.
    fn consumes(&mut self, stream: &str, consumer: &str) {
        self.api(&format!("CONSUMER.CREATE.{stream}.{consumer}"));
        self.api(&format!("CONSUMER.INFO.{stream}.{consumer}"));
        self.api(&format!("CONSUMER.MSG.NEXT.{stream}.{consumer}"));
        self.publish(format!("$JS.ACK.{stream}.{consumer}.>"));
    }

    /// Reads all events, as often as it likes, by consumers that go with the reader; never by those of others. A consumer is
    /// asked for by its name: without one the server would take that of another out of the request, and change it.
    fn reads_events(&mut self, services: &[&Service], own: &str) {
        self.looks_at(EVENTS);
        self.api(&format!("DIRECT.GET.{EVENTS}.>"));
        for verb in ["CREATE", "INFO", "MSG.NEXT", "DELETE"] {
            self.api(&format!("CONSUMER.{verb}.{EVENTS}.*"));
            let others = services.iter().filter(|other| other.listens_to_events && other.name != own);
            self.never.extend(others.map(|other| format!("$JS.API.CONSUMER.{verb}.{EVENTS}.{}", other.name)));
        }
    }

    /// As the configuration of nats-server has it.
    fn in_configuration(&self) -> String {
        let list = |subjects: &BTreeSet<String>| {
            let quoted: Vec<String> = subjects.iter().map(|subject| format!("{subject:?}")).collect();
            quoted.join(", ")
        };
        let mut text = format!("publish: {{ allow: [{}]", list(&self.publish));
        if !self.never.is_empty() {
            let _ = write!(text, ", deny: [{}]", list(&self.never));
        }
        let _ = write!(text, " }}, subscribe: {{ allow: [{}] }}", list(&self.listen));
        if self.answers {
            let _ = write!(text, ", allow_responses: {{ max: 1, expires: {ANSWERS_WITHIN:?} }}");
        }
        text
    }
}

/// All users of the broker.
pub fn users(services: &[&Service]) -> Vec<User> {
    let of_services = services.iter().map(|service| User { name: service.name, may: of(service, services) });
    let others = [User { name: SETUP, may: setup() }, User { name: OPERATOR, may: operator(services) }];
    others.into_iter().chain(of_services).collect()
}

/// The users as they stand in `users: [ … ]` of an account; `password` is text of the configuration: quoted, or a variable.
pub fn in_configuration(services: &[&Service], password: impl Fn(&User) -> String) -> String {
    let mut text = String::new();
    for user in users(services) {
        let _ = writeln!(
            text,
            "      {{ user: {}, password: {}, permissions: {{ {} }} }}",
            user.name,
            password(&user),
            user.may.in_configuration()
        );
    }
    text
}

/// Names of all users, for `auth_users`: the gateway does not vouch for them.
pub fn names(services: &[&Service]) -> String {
    let names: Vec<&str> = users(services).iter().map(|user| user.name).collect();
    names.join(", ")
}

fn streams() -> Vec<String> {
    topology::streams(1, &StreamLimits::default()).into_iter().map(|stream| stream.name).collect()
}

fn of(service: &Service, services: &[&Service]) -> Permissions {
    let Service { name, reach, .. } = service;
    let mut may = Permissions::default();
    may.listen(format!("{}.>", inbox_of(name)));
    // what it says, and what the bus says in its name
    may.publish(format!("evt.{name}.>"));
    may.publish(format!("evt.bus.*.*.*.{name}"));
    may.publish(format!("dead.{name}.>"));
    may.looks_at(DEAD);
    may.reads_events(services, name);
    if service.listens_to_events {
        may.publish(format!("$JS.ACK.{EVENTS}.{name}.>"));
    }
    for told in service.tells {
        may.publish(format!("cmd.{told}.>"));
        may.looks_at(&topology::command_stream(told));
    }
    if QUEUES.contains(name) {
        let queue = topology::command_stream(name);
        may.consumes(&queue, "*");
        may.api(&format!("STREAM.PURGE.{queue}"));
    }
    if CATALOGUE.iter().any(|entry| entry.kind == Kind::Sample && entry.service == *name) {
        may.publish(format!("tel.{name}.>"));
    }
    for heard in reach.samples_of {
        may.listen(format!("tel.{heard}.>"));
    }
    if ANSWERING.contains(name) {
        may.listen(format!("ask.{name}.>"));
        may.answers = true;
    }
    if reach.channels {
        may.listen(format!("live.{name}.>"));
        may.publish(live::to_openers(name));
        may.answers = true;
    }
    if reach.asks {
        may.publish("ask.>");
        may.publish("live.>");
        may.listen(live::to_openers("*"));
    }
    if reach.door {
        faces_the_world(&mut may, name);
    }
    may
}

fn faces_the_world(may: &mut Permissions, name: &str) {
    may.consumes(OUTSIDE, name);
    may.api(&format!("CONSUMER.DELETE.{OUTSIDE}.{name}"));
    // where the broker asks for whom it vouches
    may.listen("$SYS.REQ.USER.AUTH");
    may.answers = true;
    // an event that somebody could not take comes again through his queue
    may.publish("cmd.*.*.Replay.*");
    for queue in QUEUES {
        may.looks_at(&topology::command_stream(queue));
    }
    may.api(&format!("STREAM.MSG.DELETE.{DEAD}"));
    for stream in streams() {
        may.api(&format!("STREAM.INFO.{stream}"));
        may.api(&format!("CONSUMER.LIST.{stream}"));
    }
}

fn setup() -> Permissions {
    let mut may = Permissions::default();
    may.listen(format!("{}.>", inbox_of(SETUP)));
    for stream in streams() {
        for verb in ["CREATE", "UPDATE", "INFO"] {
            may.api(&format!("STREAM.{verb}.{stream}"));
        }
        // a queue that lets go of messages in another way is made anew; the log never is
        if stream != EVENTS {
            may.api(&format!("STREAM.DELETE.{stream}"));
        }
    }
    // by hand, when an administrator wants room: what is archived may leave the log
    may.api(&format!("STREAM.PURGE.{EVENTS}"));
    may
}

fn operator(services: &[&Service]) -> Permissions {
    let mut may = Permissions::default();
    may.listen(format!("{}.>", inbox_of(OPERATOR)));
    for stream in streams() {
        may.looks_at(&stream);
        may.api(&format!("CONSUMER.LIST.{stream}"));
    }
    may.reads_events(services, OPERATOR);
    may
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SERVICES;

    #[test]
    fn nobody_is_called_like_another() {
        let users = users(&SERVICES);
        let names: BTreeSet<&str> = users.iter().map(|user| user.name).collect();
        assert_eq!((names.len(), users.len()), (SERVICES.len() + 2, SERVICES.len() + 2));
    }

    #[test]
    fn a_service_says_its_own_events_and_tells_whom_it_declares() {
        for service in SERVICES {
            let may = of(service, &SERVICES);
            for other in SERVICES {
                let (event, told) = (format!("evt.{}.>", other.name), format!("cmd.{}.>", other.name));
                assert_eq!(may.publish.contains(&event), other == service, "{} {event}", service.name);
                assert_eq!(may.publish.contains(&told), service.tells.contains(&other.name), "{told}");
            }
            let makes = |verb: &str| may.publish.iter().any(|subject| subject.contains(verb));
            assert!(!makes("STREAM.CREATE") && !makes("STREAM.UPDATE") && !makes("STREAM.DELETE"));
            let all: Vec<&String> = may.publish.iter().chain(&may.listen).collect();
            assert!(all.iter().all(|subject| !matches!(subject.as_str(), ">" | "$JS.>" | "$JS.API.>")));
        }
    }

    /// The letters of a queue whose commands come from elsewhere alone could be shown, and not sent again.
    #[test]
    fn who_sends_dead_letters_again_tells_everybody_who_obeys() {
        let obey = CATALOGUE.iter().filter(|e| e.kind == Kind::Command).map(|e| e.service);
        for service in SERVICES.into_iter().filter(|service| service.reach.door) {
            for told in obey.clone() {
                assert!(service.tells.contains(&told), "{} does not tell {told}", service.name);
            }
        }
    }
}
