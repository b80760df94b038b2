//! Events of other systems are told from their repeats for a time, then forgotten.

use crate::store::external_events;
use bus::Desk;
use std::time::Duration;

/// How often to look.
pub const PERIOD: Duration = Duration::from_secs(3600);
/// How long an event is known.
pub const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// Rows in one transaction at most.
const ROWS: i64 = 5_000;

/// One pass.
pub async fn pass(desk: &Desk) -> anyhow::Result<()> {
    let before_us = desk.clock().now().micros() - KNOWN_FOR.as_micros() as i64;
    loop {
        let mut tx = desk.store().begin().await?;
        let gone = external_events::forget(&mut tx, before_us, ROWS).await?;
        tx.commit().await?;
        if gone < ROWS as u64 {
            return Ok(());
        }
    }
}
