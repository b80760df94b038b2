//! The one function that formats a subject and the one that parses it.

use crate::Kind;
use std::fmt;
use std::str::FromStr;

/// The tenant token of things that belong to the platform and no tenant: hosts, flavors.
pub const PLATFORM: &str = "platform";

/// Where a message travels:
/// `cmd.<service>.<version>.<name>.<key>`, `evt.<service>.<version>.<name>.<tenant>.<key>`, `tel.<service>.<version>.<name>.<key>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Command, event or sample.
    pub kind: Kind,
    /// "scheduler".
    pub service: String,
    /// "v1".
    pub version: String,
    /// "CreateInstance".
    pub name: String,
    /// Events only.
    pub tenant: String,
    /// Id of what the message is about.
    pub key: String,
}

/// Text that is no subject of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSubject(pub String);

impl fmt::Display for InvalidSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a subject: expected cmd.<service>.<version>.<name>.<key>, evt.<service>.<version>.<name>.<tenant>.<key> or tel.…",
            self.0
        )
    }
}

impl std::error::Error for InvalidSubject {}

/// A token keeps its place in a subject whatever it holds: dots, blanks and wildcards become '_', nothing becomes "_".
fn token(text: &str) -> String {
    if text.is_empty() {
        return "_".to_owned();
    }
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' }).collect()
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (service, version, name, key) =
            (token(&self.service), token(&self.version), token(&self.name), token(&self.key));
        match self.kind {
            Kind::Command => write!(f, "cmd.{service}.{version}.{name}.{key}"),
            Kind::Event => write!(f, "evt.{service}.{version}.{name}.{}.{key}", token(&self.tenant)),
            Kind::Sample => write!(f, "tel.{service}.{version}.{name}.{key}"),
        }
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        let tokens: Vec<&str> = text.split('.').collect();
        let (kind, tenant, key) = match tokens.as_slice() {
            ["cmd", _, _, _, key] => (Kind::Command, "", *key),
            ["evt", _, _, _, tenant, key] => (Kind::Event, *tenant, *key),
            ["tel", _, _, _, key] => (Kind::Sample, "", *key),
            _ => return Err(InvalidSubject(text.to_owned())),
        };
        if tokens.iter().any(|t| t.is_empty()) {
            return Err(InvalidSubject(text.to_owned()));
        }
        let own = |t: &str| t.to_owned();
        Ok(Self {
            kind,
            service: own(tokens[1]),
            version: own(tokens[2]),
            name: own(tokens[3]),
            tenant: own(tenant),
            key: own(key),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Subject {
        Subject {
            kind: Kind::Event,
            service: "scheduler".into(),
            version: "v1".into(),
            name: "InstanceReady".into(),
            tenant: "acme".into(),
            key: "018f".into(),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for kind in [Kind::Command, Kind::Event, Kind::Sample] {
            let tenant = if kind == Kind::Event { "acme".to_owned() } else { String::new() };
            let subject = Subject { kind, tenant, ..event() };
            assert_eq!(subject.to_string().parse(), Ok(subject));
        }
    }

    #[test]
    fn a_key_cannot_widen_or_move_a_subject() {
        let subject = Subject { key: "a.b.>*".into(), tenant: String::new(), ..event() };
        assert_eq!(subject.to_string(), "evt.scheduler.v1.InstanceReady._.a_b___");
    }

    #[test]
    fn foreign_subjects_are_refused() {
        for bad in ["", "cmd", "evt.a.b.c.d", "cmd.a.b.c.d.e", "evt.a.b..c.d", "foo.a.b.c.d"] {
            assert!(bad.parse::<Subject>().is_err(), "{bad}");
        }
    }
}
