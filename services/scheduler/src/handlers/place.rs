//! Choosing a host for an instance and reserving it, in one transaction.

use super::Context;
use super::advance::Passage;
use crate::domain::lifecycle::Input;
use crate::store::decisions;
use crate::translate::decision::decision_out;
use bus::{Failure, Work};
use contracts::scheduler::v1::PlacementDecided;
use scheduler_placement::solver::{self, Request};
use std::time::Instant;

/// Decides about an instance that waits and says so; what was decided is reserved when the instance arrives. A decision
/// that says what the instance already knows is not said again. The fleet must be held.
pub async fn place(work: &mut Work, context: &Context, passage: &mut Passage) -> Result<(), Failure> {
    let instance = passage.instance();
    let request = Request::from(instance);
    let began = Instant::now();
    let decision = context.fleet.read(|fleet| solver::decide(fleet, &request));
    context.metrics.decided(decision.index.is_some(), began.elapsed());
    if decision.refusal.is_none() || decision.refusal != instance.refusal {
        let told = decision_out(instance, &decision, work.now());
        if passage.is_new() {
            decisions::keep_first(work, told.clone());
        } else {
            decisions::keep(work.tx(), &told).await?;
        }
        work.say_for(&instance.tenant, &PlacementDecided { decision: Some(told) });
    }
    let input = match (decision.host(), decision.driver, decision.refusal.clone()) {
        (Some(host), Some(driver), _) => {
            let (host, host_name) = (host.host, host.name.clone());
            Input::Placed { host, host_name, driver, gpu_indexes: decision.gpu_indexes }
        }
        (_, _, refusal) => Input::NoRoom { refusal: refusal.unwrap_or_default() },
    };
    passage.step(work, context, input);
    passage.tried();
    Ok(())
}
