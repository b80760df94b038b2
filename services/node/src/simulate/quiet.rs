//! Waiting until nobody has anything to do: only then may virtual time move.

use super::platform::Platform;
use anyhow::bail;
use futures::FutureExt;
use std::time::Duration;
use tokio::time::Instant;

/// A system that does not come to rest for so long has lost something.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(1);

/// Waits until everybody is done, the scheduler's placement of those that wait included.
pub async fn quiet(platform: &Platform) -> anyhow::Result<()> {
    loop {
        at_rest(platform).await?;
        let (desk, context) = &platform.scheduler;
        // room appeared, or somebody waits for it: the loop that listens for this is here
        if context.placement.notified().now_or_never().is_none() || platform.waiting().await? == 0 {
            return Ok(());
        }
        scheduler::reconcilers::placement::pass(desk, context).await?;
    }
}

/// Waits until nothing is on its way: hosts look at nothing, outboxes are published, queues and consumers are empty.
///
/// A message is always in one of these places. One that moves on between two looks passes through a stream and makes
/// it longer: so two looks in a row must find everything empty and the streams as long as before.
async fn at_rest(platform: &Platform) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut before = None;
    loop {
        let now = look(platform).await?;
        if now.is_some() && now == before {
            return Ok(());
        }
        before = now;
        if begun.elapsed() > PATIENCE {
            bail!("the system does not come to rest: {}", describe(platform).await?);
        }
        if before.is_none() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// How long the streams are, when nothing waits anywhere. The order of the looks follows the way of messages.
async fn look(platform: &Platform) -> anyhow::Result<Option<u64>> {
    if !platform.attention.is_idle() {
        return Ok(None);
    }
    let counts = platform.readers.iter().map(|reader| reader.unpublished());
    if futures::future::try_join_all(counts).await?.into_iter().any(|count| count > 0) {
        return Ok(None);
    }
    let backlog = bus::queues::backlog(&platform.connection).await?;
    Ok((backlog.messages == 0).then_some(backlog.published))
}

async fn describe(platform: &Platform) -> anyhow::Result<String> {
    let mut parts = vec![format!("hosts are idle: {}", platform.attention.is_idle())];
    for (reader, database) in platform.readers.iter().zip(&platform.databases) {
        parts.push(format!("{} messages in the outbox of {}", reader.unpublished().await?, database.service));
    }
    let backlog = bus::queues::backlog(&platform.connection).await?;
    parts.push(format!("{} messages in the queues", backlog.messages));
    Ok(parts.join(", "))
}
