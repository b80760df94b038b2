//! The read model: what other services say, folded into the gateway's tables. Handlers say nothing themselves, so
//! delivering all of `EVENTS` to fresh tables rebuilds them.

mod audit;
mod decisions;
mod exec;
mod external_events;
mod flavors;
mod hosts;
mod images;
mod instances;
mod operations;
mod quarantine;
mod quotas;
mod tenants;
mod tokens;
mod users;
mod webhooks;

#[cfg(test)]
mod tests;

use crate::wakeups::Wakeups;
use ::store::Store;
use bus::Subscriptions;
use contracts::gateway::v1 as gateway;
use contracts::gateway::v1::{AuditRecorded, FlavorCreated, OperationAbandoned, OperationAccepted};
use contracts::host_driver::v1::{ExecFinished, QuarantineChanged};
use contracts::{scheduler::v1 as scheduler, storage::v1 as storage};

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
        .on::<FlavorCreated>(flavors::Created)
        .on::<AuditRecorded>(audit::Recorded)
        .on::<gateway::ExternalEventReceived>(external_events::Received)
        .on::<gateway::TenantCreated>(tenants::Project(|e: gateway::TenantCreated| e.tenant))
        .on::<gateway::TenantChanged>(tenants::Project(|e: gateway::TenantChanged| e.tenant))
        .on::<gateway::TenantDeleted>(tenants::Project(|e: gateway::TenantDeleted| e.tenant))
        .on::<gateway::TenantQuotaSet>(quotas::Set)
        .on::<gateway::UserCreated>(users::Project(|e: gateway::UserCreated| e.record))
        .on::<gateway::UserChanged>(users::Project(|e: gateway::UserChanged| e.record))
        .on::<gateway::UserDeleted>(users::Project(|e: gateway::UserDeleted| e.record))
        .on::<gateway::TokenCreated>(tokens::Project(|e: gateway::TokenCreated| e.record))
        .on::<gateway::TokenRevoked>(tokens::Project(|e: gateway::TokenRevoked| e.record))
        .on::<gateway::TokensForgotten>(tokens::Forgotten)
        .on::<gateway::WebhookCreated>(webhooks::Project(|e: gateway::WebhookCreated| e.record))
        .on::<gateway::WebhookChanged>(webhooks::Project(|e: gateway::WebhookChanged| e.record))
        .on::<gateway::WebhookDisabled>(webhooks::Project(|e: gateway::WebhookDisabled| e.record))
        .on::<gateway::WebhookDeleted>(webhooks::Project(|e: gateway::WebhookDeleted| e.record))
        // instances
        .on::<scheduler::InstanceAccepted>(instances::project(&on, |e: scheduler::InstanceAccepted| {
            (e.instance, e.operations)
        }))
        .on::<scheduler::InstancePlaced>(instances::project(&on, |e: scheduler::InstancePlaced| {
            (e.instance, e.operations)
        }))
        .on::<scheduler::InstanceStarted>(instances::project(&on, |e: scheduler::InstanceStarted| {
            (e.instance, e.operations)
        }))
        .on::<scheduler::InstanceReady>(instances::project(&on, |e: scheduler::InstanceReady| {
            (e.instance, e.operations)
        }))
        .on::<scheduler::InstanceChanged>(instances::project(&on, |e: scheduler::InstanceChanged| {
            (e.instance, e.operations)
        }))
        .on::<scheduler::InstanceStopped>(instances::project(&on, |e: scheduler::InstanceStopped| {
            (e.instance, e.operations)
        }))
        .on::<scheduler::InstancePaused>(instances::project(&on, |e: scheduler::InstancePaused| {
            (e.instance, e.operations)
        }))
        .on::<scheduler::InstanceFailed>(instances::project(&on, |e: scheduler::InstanceFailed| {
            (e.instance, e.operations)
        }))
        .on::<scheduler::InstanceDeleted>(instances::project(&on, |e: scheduler::InstanceDeleted| {
            (e.instance, e.operations)
        }))
        // nothing exists: only the operation learns of it
        .on::<scheduler::InstanceRefused>(operations::progress(&on, |e: scheduler::InstanceRefused| {
            e.operations
        }))
        .on::<scheduler::RequestRefused>(operations::progress(&on, |e: scheduler::RequestRefused| {
            e.operations
        }))
        .on::<scheduler::PlacementDecided>(decisions::Decided)
        // hosts
        .on::<scheduler::HostRegistered>(hosts::project(&on, |e: scheduler::HostRegistered| {
            (e.host, e.operations)
        }))
        .on::<scheduler::HostChanged>(hosts::project(&on, |e: scheduler::HostChanged| (e.host, e.operations)))
        // images
        .on::<storage::ImageImportStarted>(images::project(&on, |e: storage::ImageImportStarted| {
            (e.image, e.operations)
        }))
        .on::<storage::ImageImported>(images::project(&on, |e: storage::ImageImported| {
            (e.image, e.operations)
        }))
        .on::<storage::ImageRejected>(images::project(&on, |e: storage::ImageRejected| {
            (e.image, e.operations)
        }))
        .on::<storage::ImageDeleted>(images::project(&on, |e: storage::ImageDeleted| (e.image, e.operations)))
        .on::<storage::ImageKept>(images::project(&on, |e: storage::ImageKept| (e.image, e.operations)))
        .on::<storage::ImageDeletionStarted>(images::project(&on, |e: storage::ImageDeletionStarted| {
            (e.image, e.operations)
        }))
        // programs in guests
        .on::<ExecFinished>(exec::Finished(on.clone()))
        // disks that were put aside
        .on::<QuarantineChanged>(quarantine::Changed(on))
}
