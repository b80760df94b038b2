//! Hosts that are silent for too long are unreachable; those that are heard of again are up.

use super::alone::damaged_alone;
use crate::handlers::{Context, hosts as change};
use crate::store::hosts;
use bus::{Cause, Desk, Failure};
use contracts::host_driver::v1::HostHeartbeat;
use futures::StreamExt;
use kernel::{HostId, InvalidId};
use scheduler_placement::host::HostState;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Notes heartbeats as they come, until told to stop. A listener that ends (the broker went away) begins again.
pub async fn listen(bus: bus::Connection, context: Context, wake: Arc<Notify>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        match bus::samples::subscribe::<HostHeartbeat>(&bus).await {
            Ok(mut beats) => loop {
                let beat = tokio::select! { () = stop.cancelled() => return, beat = beats.next() => beat };
                let Some(beat) = beat else { break };
                for id in beat.host_ids.iter().filter_map(|id| id.parse().ok()) {
                    context.heartbeats.heard(id);
                }
            },
            Err(error) => tracing::warn!(%error, "cannot listen to heartbeats"),
        }
        wake.notify_one();
        tokio::select! { () = stop.cancelled() => {}, () = tokio::time::sleep(Duration::from_secs(1)) => {} }
    }
}

/// One pass over all hosts: says what changed.
pub async fn pass(desk: &Desk, context: &Context, limit: Duration) -> anyhow::Result<()> {
    let mut reader = desk.store().reader().acquire().await?;
    let states = hosts::states(&mut reader).await?;
    drop(reader);
    // before anything that can fail; what this pass changes the next one counts
    let up = states.iter().filter(|(_, up)| *up).count();
    context.metrics.hosts(up, states.len() - up);
    for (id, up) in states {
        damaged_alone(&context.metrics, "hosts", &id, look(desk, context, (&id, up), limit).await)?;
    }
    Ok(())
}

async fn look(
    desk: &Desk,
    context: &Context,
    (id, up): (&str, bool),
    limit: Duration,
) -> Result<(), Failure> {
    let host: HostId = id.parse().map_err(|error: InvalidId| Failure::Poison(error.to_string()))?;
    let alive = context.heartbeats.is_alive(host, limit);
    if alive == up {
        return Ok(());
    }
    say(desk, context, id, if alive { HostState::Up } else { HostState::Unreachable }).await
}

async fn say(desk: &Desk, context: &Context, id: &str, state: HostState) -> Result<(), Failure> {
    let mut work = desk.begin(Cause::own(desk.service())).await?;
    let Some(mut host) = hosts::find(work.tx(), id).await? else { return Ok(()) };
    let (from, now) = (host.revision, work.now());
    if host.heard(state, now) {
        tracing::warn!(host = host.name, ?state, "host changed its state");
        change::save(&mut work, context, &host, from, Vec::new()).await?;
        work.commit().await?;
    }
    Ok(())
}
