//! Instances that wait for a host are tried again, each on its own: one that fits nowhere delays nobody.

use super::cause;
use crate::handlers::Context;
use crate::handlers::advance::Passage;
use crate::handlers::place::place;
use crate::store::instances;
use bus::{Cause, Desk, Failure};
use kernel::{InstanceId, Timestamp};

/// How many instances are placed in one transaction, while others wait for the lock.
const BATCH: i64 = 100;

/// One pass over all that wait, longest waiting first.
pub async fn pass(desk: &Desk, context: &Context) -> anyhow::Result<()> {
    let mut after = (Timestamp(0), String::new());
    loop {
        let mut work = desk.begin(Cause::own(desk.service())).await?;
        let waiting = instances::waiting(work.tx(), (after.0, &after.1), BATCH).await?;
        let Some(last) = waiting.last().cloned() else { break };
        context.fleet.hold(&mut work, &context.metrics).await?;
        let ids: Vec<InstanceId> = waiting.iter().filter_map(|(_, id)| id.parse().ok()).collect();
        instances::read_ahead(&mut work, &ids).await?;
        for (_, id) in &waiting {
            match read(&mut work, id).await {
                Ok(Some(instance)) if instance.waits_for_host() => {
                    work.set_cause(cause::of(&instance, desk.service()));
                    let mut passage = Passage::of(instance);
                    place(&mut work, context, &mut passage).await?;
                    passage.arrive(&mut work, context).await?;
                }
                // placed or deleted while this pass waited for the lock
                Ok(_) => {}
                Err(Failure::Poison(error)) => tracing::error!(instance = id, error, "cannot be placed"),
                Err(failure) => return Err(failure.into()),
            }
        }
        work.commit().await?;
        after = last;
    }
    let mut reader = desk.store().reader().acquire().await?;
    context.metrics.waiting(instances::count_waiting(&mut reader).await?);
    Ok(())
}

async fn read(
    work: &mut bus::Work,
    id: &str,
) -> Result<Option<scheduler_placement::instance::Instance>, Failure> {
    let id: InstanceId = id.parse().map_err(|error: kernel::InvalidId| Failure::Poison(error.to_string()))?;
    instances::find(work, id).await
}
