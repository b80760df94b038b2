//! What can go wrong with a database, and whose fault it is.

/// A database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL names no database we speak.
    #[error("database url: {0}")]
    Url(String),
    /// The tables could not be brought to the present version.
    #[error("migrating the database: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// A statement failed.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// Somebody else changed the row first; read again and decide again.
    #[error("{what} was changed by somebody else meanwhile")]
    Conflict {
        /// "instance 018f…"
        what: String,
    },
}

impl StoreError {
    /// The row violates a uniqueness rule of the schema.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(e)) if e.is_unique_violation())
    }
}
