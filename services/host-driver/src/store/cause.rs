//! Why a row is there: what was said later carries the same correlation, and the trace goes on.

use super::broken;
use ::store::StoreError;
use bus::Cause;
use sqlx::Row;
use sqlx::any::AnyRow;

/// The cause in the columns correlation_id, causation_id, actor and traceparent.
pub(super) fn read(row: &AnyRow, tenant: &str) -> Result<Cause, StoreError> {
    let correlation: String = row.try_get("correlation_id")?;
    let causation: String = row.try_get("causation_id")?;
    Ok(Cause {
        correlation: correlation.parse().map_err(|e| broken("correlation_id", e))?,
        causation: causation.parse().ok(),
        actor: row.try_get("actor")?,
        tenant: tenant.to_owned(),
        traceparent: row.try_get("traceparent")?,
    })
}

/// The causation as text, '' = none.
pub(super) fn causation(cause: &Cause) -> String {
    cause.causation.map(|id| id.to_string()).unwrap_or_default()
}
