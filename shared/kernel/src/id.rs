//! Ids: UUIDv7 newtypes, so that rows and messages sort by the time they were made.

use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// Text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId {
    /// What kind of id was expected: "instance id".
    pub expected: &'static str,
    /// What was given.
    pub given: String,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a {}: expected a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057",
            self.given, self.expected
        )
    }
}

impl std::error::Error for InvalidId {}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $label:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id that sorts after all made before it by this process.
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// The id with these 128 bits.
            pub const fn from_u128(bits: u128) -> Self {
                Self(Uuid::from_u128(bits))
            }

            /// The 128 bits of the id.
            pub fn as_u128(self) -> u128 {
                self.0.as_u128()
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                // only the hyphenated form: ids are compared as text in tables and subjects
                match Uuid::try_parse(text) {
                    Ok(id) if text.len() == 36 && !text.bytes().any(|b| b.is_ascii_uppercase()) => Ok(Self(id)),
                    _ => Err(InvalidId { expected: $label, given: text.chars().take(80).collect() }),
                }
            }
        }
    )*};
}

// The one macro of the project: newtypes that differ in nothing but the name.
ids! {
    /// An instance: a microVM or a full VM.
    InstanceId = "instance id";
    /// A machine that runs instances.
    HostId = "host id";
    /// An image to boot from.
    ImageId = "image id";
    /// A request that takes time.
    OperationId = "operation id";
    /// A message on the bus.
    MessageId = "message id";
    /// What ties all messages of one request together.
    CorrelationId = "correlation id";
    /// A record of a call.
    AuditId = "audit record id";
    /// A staged file.
    UploadId = "upload id";
    /// A person or a program that comes in.
    UserId = "user id";
    /// A token.
    TokenId = "token id";
    /// A receiver of webhooks.
    WebhookId = "webhook id";
    /// An object of a declared kind.
    ObjectId = "object id";
    /// Files of a VM that were put aside.
    QuarantineId = "quarantine id";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_survive_text() {
        let (first, second) = (InstanceId::new(), InstanceId::new());
        assert!(first < second);
        assert_eq!(first.to_string().parse::<InstanceId>(), Ok(first));
    }

    #[test]
    fn text_that_is_no_id_is_refused_with_the_reason() {
        for bad in ["", "web-1", "01890A5D-AC96-774B-BCCE-B302099A8057", "01890a5dac96774bbcceb302099a8057"] {
            let error = bad.parse::<HostId>().expect_err(bad);
            assert!(error.to_string().contains("host id"), "{error}");
        }
    }
}
