//! The two databases, and the little in which they differ.

use crate::StoreError;

/// Which database a store is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// One file, one writer at a time.
    Sqlite,
    /// A server; several processes may share it.
    Postgres,
}

impl Dialect {
    /// Tells the database from the URL; the error says which URLs are right.
    pub fn of(url: &str) -> Result<Self, StoreError> {
        if url.starts_with("sqlite:") {
            Ok(Self::Sqlite)
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            Ok(Self::Postgres)
        } else {
            // never show the URL itself: it may hold a password
            let scheme = url.split(':').next().unwrap_or_default();
            Err(StoreError::Url(format!(
                "{scheme:?} is not a database Berth speaks: use sqlite:///path/file.db or postgres://user:password@host/database"
            )))
        }
    }

    /// A migration in this database's words. Blobs are the one type without a common name.
    pub(crate) fn adapt(self, sql: &str) -> String {
        match self {
            Self::Sqlite => sql
                .replace("BYTEA", "BLOB")
                .replace("BIGSERIAL PRIMARY KEY", "INTEGER PRIMARY KEY AUTOINCREMENT"),
            Self::Postgres => sql.to_owned(),
        }
    }
}
