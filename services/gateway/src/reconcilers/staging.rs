//! Staged files are removed as soon as every import of them has ended; those that nobody imported, within a day. One
//! that an accepted import names stays however old it is: whoever imports may be busy, or away.

use crate::adapters::staging::Staging;
use bus::Desk;
use gateway_api::store::uploads;
use std::time::Duration;

/// How often to look when nobody says that an import ended.
pub const PERIOD: Duration = Duration::from_secs(600);
/// How long a staged file is kept that nobody imports.
pub const AGE: Duration = Duration::from_secs(24 * 3600);

/// One pass.
pub async fn pass(desk: &Desk, staging: &Staging) -> anyhow::Result<()> {
    let now = desk.clock().now();
    let (mut spent, mut unused) = (0, 0);
    for (id, finished_at) in staging.list().await? {
        let is_spent = uploads::is_spent(desk.store().reader(), &id).await?;
        let old = now.since(finished_at) > AGE;
        if !(is_spent || old) || !give_up(desk, &id, old).await? {
            continue;
        }
        staging.remove(&id).await?;
        if is_spent { spent += 1 } else { unused += 1 }
    }
    if spent > 0 {
        tracing::info!(spent, "removed staged files that were imported");
    }
    if unused > 0 {
        tracing::info!(unused, "removed staged files that nobody imported");
    }
    let unfinished = staging.sweep_unfinished(now, AGE).await?;
    if unfinished > 0 {
        tracing::info!(unfinished, "removed uploads that were never finished");
    }
    Ok(())
}

/// Committed before the bytes go: an import that is accepted first keeps the file, a later one is refused.
async fn give_up(desk: &Desk, id: &str, old: bool) -> anyhow::Result<bool> {
    let mut tx = desk.store().begin().await?;
    uploads::lock(desk.store(), &mut tx, id).await?;
    let given_up = uploads::give_up(&mut tx, id, old).await?;
    tx.commit().await?;
    Ok(given_up)
}
