//! The read model: what other services say, folded into the gateway's tables. Handlers say nothing themselves, so
//! delivering all of `EVENTS` to fresh tables rebuilds them.

mod decisions;
mod exec;
mod flavors;
mod hosts;
mod images;
mod instances;
mod objects;
mod operations;
mod quarantine;

#[cfg(test)]
mod tests;

use ::store::Store;
use bus::Subscriptions;
use contracts::gateway::v1::{OperationAbandoned, OperationAccepted};
use contracts::scheduler::v1::InstanceRefused;
use gateway_access::handlers as access;
use gateway_api::handlers::audit;
use gateway_api::wakeups::Wakeups;
use gateway_events::handlers as events;

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Projection {
    store: Store,
    wakeups: Wakeups,
}

/// Everything the gateway listens to.
pub fn subscriptions(store: &Store, wakeups: &Wakeups) -> Subscriptions {
    let on = Projection { store: store.clone(), wakeups: wakeups.clone() };
    Subscriptions::new(crate::SERVICE.name)
        // its own events: they change nothing when they arrive, and rebuild its tables in a replay
        .on::<OperationAccepted>(operations::Accepted(on.clone()))
        .on::<OperationAbandoned>(operations::progress(&on, |e: OperationAbandoned| e.operations))
        .on(audit::Recorded)
        .on(events::external_events::Received)
        .on(access::tokens::Forgotten)
        .on_object(flavors::Project)
        .on_object(access::quotas::Project)
        .on_object(access::tenants::Project)
        .on_object(access::tokens::Project)
        .on_object(access::users::Project)
        .on_object(events::webhooks::Project)
        // what others own
        .on_object(hosts::Project(on.clone()))
        .on_object(images::Project(on.clone()))
        .on_object(instances::Project(on.clone()))
        .on_object(quarantine::Project(on.clone()))
        // objects of declared kinds
        .on_objects(contracts::KINDS.iter().filter(|kind| kind.served), objects::Project(on.clone()))
        // nothing exists, or nothing changed: only the operation learns of it
        .on::<InstanceRefused>(operations::progress(&on, |e: InstanceRefused| e.operations))
        .on(decisions::Decided)
        // programs in guests
        .on(exec::Finished(on))
}
