//! The scheduler's tables. A row is a snapshot with the columns that queries need; handlers, reconcilers and the
//! rebuild from events write rows through the same functions.

pub mod decisions;
pub mod fleet;
pub mod hosts;
pub mod images;
pub mod instances;
pub mod quotas;

use bus::Failure;

/// A number as tables hold it.
fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A row whose snapshot cannot be read: the table is damaged, and guessing would make it worse.
fn damaged(table: &str, error: impl std::fmt::Display) -> Failure {
    Failure::Poison(format!("a row of table {table} cannot be read: {error}"))
}

/// What stands in a row that can be read. One that cannot stands alone: it is said, and all others go on without it.
fn if_readable<T>(read: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match read {
        Ok(row) => Ok(Some(row)),
        Err(Failure::Poison(error)) => {
            tracing::error!(error, "a damaged row is passed over");
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// Exactly one row must have changed; otherwise somebody else was faster, and the decision must be made anew.
fn one_row(affected: u64, table: &str, id: &str) -> Result<(), Failure> {
    match affected {
        1 => Ok(()),
        _ => Err(Failure::Transient(format!("{table} {id} was changed by somebody else meanwhile"))),
    }
}
