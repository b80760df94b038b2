//! Staged files are removed as soon as every import of them has ended; those that nobody imported, within a day.

use crate::adapters::staging::Staging;
use crate::store::uploads;
use bus::Desk;
use std::time::Duration;

/// How often to look when nobody says that an import ended.
pub const PERIOD: Duration = Duration::from_secs(600);
/// How long a staged file is kept that nobody imports.
pub const AGE: Duration = Duration::from_secs(24 * 3600);

/// One pass.
pub async fn pass(desk: &Desk, staging: &Staging) -> anyhow::Result<()> {
    let mut spent = 0;
    for id in staging.list().await? {
        if uploads::is_spent(desk.store().reader(), &id).await? {
            staging.remove(&id).await?;
            spent += 1;
        }
    }
    if spent > 0 {
        tracing::info!(spent, "removed staged files that were imported");
    }
    let removed = staging.sweep(desk.clock().now(), AGE).await?;
    if removed > 0 {
        tracing::info!(removed, "removed staged files that nobody imported");
    }
    Ok(())
}
