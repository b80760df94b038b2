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

/// Why a database does not take anything now, as far as it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreTrouble {
    /// No room on its disk, or its own limit is reached.
    Full,
    /// Somebody else holds it locked.
    Locked,
    /// It may be read only.
    ReadOnly,
    /// It cannot be reached, or its file cannot be used.
    Gone,
}

impl StoreError {
    /// What an operator would have to mend; `None` when this error is about one statement only.
    pub fn trouble(&self) -> Option<StoreTrouble> {
        match self {
            Self::Database(error) | Self::Migrate(sqlx::migrate::MigrateError::Execute(error)) => of(error),
            _ => None,
        }
    }

    /// The same for an error whose type is forgotten; `None` also when it is none of a database.
    pub fn trouble_of_any(error: &dyn std::any::Any) -> Option<StoreTrouble> {
        let own = error.downcast_ref::<Self>().and_then(Self::trouble);
        own.or_else(|| error.downcast_ref::<sqlx::Error>().and_then(of))
    }

    pub(crate) fn trouble_of(error: &sqlx::Error) -> Option<StoreTrouble> {
        of(error)
    }

    /// The row violates a uniqueness rule of the schema.
    pub fn is_unique_violation(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(e)) if e.is_unique_violation())
    }
}

fn of(error: &sqlx::Error) -> Option<StoreTrouble> {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            Some(StoreTrouble::Gone)
        }
        // every connection is waiting for something that does not come
        sqlx::Error::PoolTimedOut => Some(StoreTrouble::Locked),
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            match code.parse::<i32>() {
                // result codes of SQLite (https://sqlite.org/rescode.html): the low byte is the kind
                Ok(number) if code.len() <= 4 => match number & 0xff {
                    5 | 6 => Some(StoreTrouble::Locked),
                    8 | 3 => Some(StoreTrouble::ReadOnly),
                    13 => Some(StoreTrouble::Full),
                    10 | 11 | 14 | 26 => Some(StoreTrouble::Gone),
                    _ => None,
                },
                _ => of_sqlstate(&code),
            }
        }
        _ => None,
    }
}

/// Classes and codes of PostgreSQL (https://www.postgresql.org/docs/current/errcodes-appendix.html).
fn of_sqlstate(code: &str) -> Option<StoreTrouble> {
    match code {
        "25006" => Some(StoreTrouble::ReadOnly),
        "55P03" | "40P01" => Some(StoreTrouble::Locked),
        "53100" | "53200" | "53400" => Some(StoreTrouble::Full),
        // no connection is free, there is no such database, it lets nobody in
        "53300" | "3D000" | "55000" => Some(StoreTrouble::Gone),
        code if code.starts_with("57P") || code.starts_with("08") || code.starts_with("58") => {
            Some(StoreTrouble::Gone)
        }
        _ => None,
    }
}
