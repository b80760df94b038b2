//! The loop every reconciler runs in: woken, and by a timer as the safety below; it never ends by failing.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Runs `pass` now, whenever `wake` is notified, and every `period`. A pass that fails is logged and tried again
/// after a pause that doubles from 100 ms to 30 s.
pub async fn reconcile<F>(
    name: &str,
    stop: CancellationToken,
    wake: Arc<Notify>,
    period: Duration,
    mut pass: F,
) where
    F: AsyncFnMut() -> anyhow::Result<()>,
{
    let mut failures: u32 = 0;
    while !stop.is_cancelled() {
        let pause = match pass().await {
            Ok(()) => {
                failures = 0;
                period
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                tracing::warn!(reconciler = name, error = format!("{error:#}"), failures, "pass failed");
                Duration::from_millis(100u64 << failures.min(9)).min(LONGEST_PAUSE)
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = wake.notified(), if failures == 0 => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
