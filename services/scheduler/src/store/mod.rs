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

/// Exactly one row must have changed; otherwise somebody else was faster, and the decision must be made anew.
fn one_row(affected: u64, table: &str, id: &str) -> Result<(), Failure> {
    match affected {
        1 => Ok(()),
        _ => Err(Failure::Transient(format!("{table} {id} was changed by somebody else meanwhile"))),
    }
}
