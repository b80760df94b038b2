//! Staged files that nobody imported within a day are removed.

use crate::adapters::staging::Staging;
use kernel::Clock;
use std::time::Duration;

/// How often to look.
pub const PERIOD: Duration = Duration::from_secs(600);
/// How long a staged file is kept.
pub const AGE: Duration = Duration::from_secs(24 * 3600);

/// One pass.
pub async fn pass(staging: &Staging, clock: &dyn Clock) -> anyhow::Result<()> {
    let removed = staging.sweep(clock.now(), AGE).await?;
    if removed > 0 {
        tracing::info!(removed, "removed staged files that nobody imported");
    }
    Ok(())
}
