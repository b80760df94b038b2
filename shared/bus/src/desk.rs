//! Where work begins that no message asked for: API calls and reconcilers.

use crate::handoff::Handoff;
use crate::{Cause, Work};
use kernel::Clock;
use std::sync::Arc;
use store::{Store, StoreError};

/// A service's database, clock and way out. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    service: &'static str,
    store: Store,
    clock: Arc<dyn Clock>,
    handoff: Arc<Handoff>,
    /// Whom it may tell something; `None` = everybody.
    tells: Option<&'static [&'static str]>,
}

impl Desk {
    /// A desk over a store whose migrations include [`crate::MIGRATIONS`]. It may tell everybody something.
    pub fn new(service: &'static str, store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { service, store, clock, handoff: Arc::default(), tells: None }
    }

    /// The same for a service that sends commands to these services only, as it declares: the broker would not take others,
    /// and what it does not take holds up everything behind it.
    pub fn telling(self, tells: &'static [&'static str]) -> Self {
        Self { tells: Some(tells), ..self }
    }

    /// The name of the service in the proto package.
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// The service's database.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The service's clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Begins a unit of work. It is undone unless committed.
    pub async fn begin(&self, cause: Cause) -> Result<Work, StoreError> {
        let tx = self.store.begin().await?;
        Ok(Work::new(tx, cause, self.clock.now(), self.handoff.clone(), self.tells))
    }

    /// How what is committed here comes to the relay.
    pub(crate) fn handoff(&self) -> &Handoff {
        &self.handoff
    }
}
