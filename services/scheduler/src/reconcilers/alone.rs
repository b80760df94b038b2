//! A row that is damaged stops itself and nobody else: it is said and counted, and the pass goes on with the next.

use crate::metrics::Metrics;
use bus::Failure;

/// What came of one row in the pass of a loop. Anything but damage ends the pass: it would meet the next row as well.
pub fn damaged_alone<T>(
    metrics: &Metrics,
    pass: &'static str,
    id: &str,
    outcome: Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    match outcome {
        Ok(done) => Ok(Some(done)),
        Err(Failure::Poison(error)) => {
            tracing::error!(pass, id, error, "a damaged row is passed over");
            metrics.passed_over(pass);
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}
