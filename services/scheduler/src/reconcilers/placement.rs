//! Instances that wait for a host are tried again, each on its own: one that fits nowhere delays nobody, and one whose row
//! is damaged neither.

use super::alone::damaged_alone;
use super::cause;
use crate::handlers::Context;
use crate::handlers::advance::Passage;
use crate::handlers::place::place;
use crate::store::instances;
use bus::{Cause, Desk, Failure};
use kernel::{InstanceId, InvalidId, Timestamp};

/// How many instances are placed in one transaction, while others wait for the lock.
const BATCH: i64 = 100;

/// One pass over all that wait, longest waiting first.
pub async fn pass(desk: &Desk, context: &Context) -> anyhow::Result<()> {
    // before anything that can fail: that many wait is told most urgently when nothing can be placed
    tell_waiting(desk, context).await?;
    let mut after = (Timestamp(0), String::new());
    loop {
        let mut reader = desk.store().reader().acquire().await?;
        let waiting = instances::waiting(&mut reader, (after.0, &after.1), BATCH).await?;
        drop(reader);
        let Some(last) = waiting.last().cloned() else { break };
        match place_all(desk, context, &waiting).await {
            Ok(()) => {}
            // one of them cannot be read, or followed: the whole transaction is undone, and each gets one of its own
            Err(Failure::Poison(_)) => {
                for one in &waiting {
                    let placed = place_all(desk, context, std::slice::from_ref(one)).await;
                    damaged_alone(&context.metrics, "placement", &one.1, placed)?;
                }
            }
            Err(failure) => return Err(failure.into()),
        }
        after = last;
    }
    tell_waiting(desk, context).await
}

async fn tell_waiting(desk: &Desk, context: &Context) -> anyhow::Result<()> {
    let mut reader = desk.store().reader().acquire().await?;
    let (count, since) = instances::count_waiting(&mut reader).await?;
    context.metrics.waiting(count, since.map(|since| desk.clock().now().since(since)).unwrap_or_default());
    Ok(())
}

async fn place_all(desk: &Desk, context: &Context, waiting: &[(Timestamp, String)]) -> Result<(), Failure> {
    let mut work = desk.begin(Cause::own(desk.service())).await?;
    let parsed =
        |(_, id): &(Timestamp, String)| id.parse().map_err(|e: InvalidId| Failure::Poison(e.to_string()));
    let ids = waiting.iter().map(parsed).collect::<Result<Vec<InstanceId>, Failure>>()?;
    context.fleet.hold(&mut work, &context.metrics).await?;
    instances::read_ahead(&mut work, &ids).await?;
    for id in ids {
        let found = instances::find(&mut work, id).await?;
        // placed or deleted while this pass waited for the lock
        let Some(instance) = found.filter(|instance| instance.waits_for_host()) else { continue };
        work.set_cause(cause::of(&instance, desk.service()));
        let mut passage = Passage::of(instance);
        place(&mut work, context, &mut passage).await?;
        passage.arrive(&mut work, context).await?;
    }
    Ok(work.commit().await?)
}
