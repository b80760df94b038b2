//! Why something is done, and for whom: what ties the messages of one request together.

use kernel::{CorrelationId, MessageId, PLATFORM};

/// Why a unit of work is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// One per request; all its messages carry it.
    pub correlation: CorrelationId,
    /// The message that led to this work directly.
    pub causation: Option<MessageId>,
    /// Who: "admin", "scheduler".
    pub actor: String,
    /// Whose: a tenant, or [`PLATFORM`].
    pub tenant: String,
    /// W3C trace context, "" = none.
    pub traceparent: String,
}

impl Cause {
    /// Work a service does by itself, not asked by anybody.
    pub fn own(service: &str) -> Self {
        Self {
            correlation: CorrelationId::new(),
            causation: None,
            actor: service.to_owned(),
            tenant: PLATFORM.to_owned(),
            traceparent: String::new(),
        }
    }

    /// The same cause for another tenant's sake.
    pub fn for_tenant(mut self, tenant: &str) -> Self {
        tenant.clone_into(&mut self.tenant);
        self
    }
}
