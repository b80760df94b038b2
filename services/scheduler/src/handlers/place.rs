//! Choosing a host for an instance and reserving it, in one transaction.

use super::Context;
use super::advance::advance;
use crate::domain::instance::Instance;
use crate::domain::lifecycle::Input;
use crate::domain::solver::{self, Fleet, Request, Resident};
use crate::store::{decisions, fleet};
use crate::translate::decision::decision_out;
use bus::{Failure, Work};
use contracts::scheduler::v1::PlacementDecided;
use std::time::Instant;

/// Nobody else places until this work ends; the fleet as it is now.
pub async fn lock_fleet(work: &mut Work, context: &Context) -> Result<Fleet, Failure> {
    context.store.lock(work.tx(), fleet::PLACEMENT).await?;
    fleet::load(work.tx()).await
}

/// Decides about an instance that waits, reserves what was decided in `fleet` and in the tables, and says so. A
/// decision that says what the instance already knows is not said again.
pub async fn place(
    work: &mut Work,
    context: &Context,
    fleet: &mut Fleet,
    instance: Instance,
) -> Result<(), Failure> {
    let request = Request::from(&instance);
    let began = Instant::now();
    let decision = solver::decide(fleet, &request);
    context.metrics.decided(decision.index.is_some(), began.elapsed());
    if decision.refusal.is_none() || decision.refusal != instance.refusal {
        let told = decision_out(&instance, &decision, work.now());
        decisions::keep(work.tx(), &told).await?;
        work.say_for(&instance.tenant, &PlacementDecided { decision: Some(told) });
    }
    let input = match (decision.host(), decision.driver, decision.refusal.clone()) {
        (Some(host), Some(driver), _) => {
            fleet.reserve(Resident {
                instance: instance.id,
                host: host.host,
                resources: request.resources,
                affinity: request.affinity,
                anti_affinity: request.anti_affinity,
                max_per_host: request.max_per_host,
                gpus: request.gpus,
                gpu_indexes: decision.gpu_indexes.clone(),
            });
            let (host, host_name) = (host.host, host.name.clone());
            Input::Placed { host, host_name, driver, gpu_indexes: decision.gpu_indexes }
        }
        (_, _, refusal) => Input::NoRoom { refusal: refusal.unwrap_or_default() },
    };
    advance(work, context, instance, input).await?;
    Ok(())
}
