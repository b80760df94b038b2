//! Operations past their deadline are failed, with the real reason; the work goes on.

use super::alone::damaged_alone;
use super::cause;
use crate::domain::lifecycle::Input;
use crate::handlers::Context;
use crate::handlers::advance::advance;
use crate::store::{hosts, instances};
use bus::{Cause, Desk, Failure, Work};
use kernel::InvalidId;
use scheduler_placement::host::HostState;
use scheduler_placement::instance::Instance;

/// How many are looked at in one pass; the next pass takes the rest.
const BATCH: i64 = 500;

/// One pass over all that are overdue, each in a transaction of its own.
pub async fn pass(desk: &Desk, context: &Context) -> anyhow::Result<()> {
    let now = desk.clock().now();
    let mut reader = desk.store().reader().acquire().await?;
    let overdue = instances::overdue(&mut reader, now, BATCH).await?;
    drop(reader);
    for id in overdue {
        damaged_alone(&context.metrics, "deadlines", &id, fail(desk, context, &id).await)?;
    }
    Ok(())
}

async fn fail(desk: &Desk, context: &Context, id: &str) -> Result<(), Failure> {
    let mut work = desk.begin(Cause::own(desk.service())).await?;
    let id = id.parse().map_err(|error: InvalidId| Failure::Poison(error.to_string()))?;
    let Some(instance) = instances::find(&mut work, id).await? else { return Ok(()) };
    work.set_cause(cause::of(&instance, desk.service()));
    let host_up = host_is_up(&mut work, &instance).await?;
    advance(&mut work, context, instance, Input::DeadlinePassed { host_up }).await?;
    Ok(work.commit().await?)
}

/// An instance without a host is not held up by one.
async fn host_is_up(work: &mut Work, instance: &Instance) -> Result<bool, Failure> {
    let Some(placement) = &instance.placement else { return Ok(true) };
    let host = hosts::find(work.tx(), &placement.host.to_string()).await?;
    Ok(host.is_none_or(|host| host.state == HostState::Up))
}
