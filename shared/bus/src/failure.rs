//! The two ways a message can fail.

use store::StoreError;

/// Why a message could not be handled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It may work later: rolled back, delivered again after a delay.
    #[error("{0}")]
    Transient(String),
    /// It will never work: kept as a dead letter with its bytes.
    #[error("{0}")]
    Poison(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Transient(error.to_string())
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Transient(format!("database: {error}"))
    }
}
