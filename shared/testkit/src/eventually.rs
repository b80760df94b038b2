//! Waiting for something to become true, with a deadline and a word for what was waited for.

use std::time::Duration;
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_millis(20);

/// Asks again until `check` gives a value.
///
/// # Panics
/// When the deadline passes: says what was waited for and where.
#[track_caller]
pub fn eventually<T, F>(deadline: Duration, what: &str, mut check: F) -> impl Future<Output = T>
where
    F: AsyncFnMut() -> Option<T>,
{
    let place = std::panic::Location::caller();
    let what = what.to_owned();
    async move {
        let end = Instant::now() + deadline;
        loop {
            if let Some(value) = check().await {
                return value;
            }
            assert!(Instant::now() < end, "{place}: waited {deadline:?} in vain for: {what}");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Asks again until `check` succeeds; shows the last error when it never does.
///
/// # Panics
/// When the deadline passes.
#[track_caller]
pub fn eventually_ok<T, E, F>(deadline: Duration, what: &str, mut check: F) -> impl Future<Output = T>
where
    E: std::fmt::Display,
    F: AsyncFnMut() -> Result<T, E>,
{
    let place = std::panic::Location::caller();
    let what = what.to_owned();
    async move {
        let end = Instant::now() + deadline;
        loop {
            match check().await {
                Ok(value) => return value,
                Err(error) => {
                    assert!(
                        Instant::now() < end,
                        "{place}: waited {deadline:?} in vain for: {what}; last: {error}"
                    );
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
