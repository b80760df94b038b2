//! What keeps a part from working, in words that machines compare.

use store::{StoreError, StoreTrouble};

/// The cause of a part being unwell, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::EnumIter)]
pub enum Trouble {
    /// The disk of the database, or the database itself, has no room.
    StoreFull,
    /// Somebody else holds the database locked.
    StoreLocked,
    /// The database may be read only.
    StoreReadOnly,
    /// The database does not answer.
    StoreGone,
    /// A stream, or the broker's whole store, takes no more.
    BrokerFull,
    /// The broker does not answer.
    BrokerAway,
    /// Too many messages wait for the broker.
    OutboxFull,
    /// A loop had work and got nowhere; it was started again.
    Stuck,
    /// Something else; the detail tells.
    Other,
}

impl Trouble {
    /// "STORE_FULL": the code of refusals, and the label of metrics in small letters.
    pub fn code(self) -> &'static str {
        match self {
            Self::StoreFull => "STORE_FULL",
            Self::StoreLocked => "STORE_LOCKED",
            Self::StoreReadOnly => "STORE_READ_ONLY",
            Self::StoreGone => "STORE_GONE",
            Self::BrokerFull => "BROKER_FULL",
            Self::BrokerAway => "BROKER_AWAY",
            Self::OutboxFull => "OUTBOX_FULL",
            Self::Stuck => "STUCK",
            Self::Other => "OTHER",
        }
    }

    /// What a database error means.
    pub fn of_store(error: &StoreError) -> Self {
        error.trouble().map_or(Self::Other, Self::from)
    }

    /// What any error means: of a database or of none.
    pub fn of_any(error: &dyn std::any::Any) -> Self {
        StoreError::trouble_of_any(error).map_or(Self::Other, Self::from)
    }

    /// What the broker's words mean. It says it in words: one code stands for several causes.
    pub(crate) fn of_broker(reason: &str) -> Self {
        let reason = reason.to_lowercase();
        let full = [
            "maximum messages exceeded",
            "maximum bytes exceeded",
            "insufficient resources",
            "insufficient storage",
            "resource limits exceeded",
            "no space left",
        ];
        if full.iter().any(|words| reason.contains(words)) { Self::BrokerFull } else { Self::BrokerAway }
    }
}

impl From<StoreTrouble> for Trouble {
    fn from(trouble: StoreTrouble) -> Self {
        match trouble {
            StoreTrouble::Full => Self::StoreFull,
            StoreTrouble::Locked => Self::StoreLocked,
            StoreTrouble::ReadOnly => Self::StoreReadOnly,
            StoreTrouble::Gone => Self::StoreGone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use strum::IntoEnumIterator;

    #[test]
    fn every_trouble_has_a_code_of_its_own() {
        let codes: BTreeSet<&str> = Trouble::iter().map(Trouble::code).collect();
        assert_eq!(codes.len(), Trouble::iter().count());
    }

    #[test]
    fn a_full_stream_is_told_from_a_broker_that_is_away() {
        assert_eq!(Trouble::of_broker("X: maximum messages exceeded (10077)"), Trouble::BrokerFull);
        assert_eq!(Trouble::of_broker("timed out: didn't receive ack in time"), Trouble::BrokerAway);
    }
}
