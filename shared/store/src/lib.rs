//! One way to a database for every service: SQLite by default, PostgreSQL when a service runs more than one replica.
//!
//! The same SQL runs on both: `$1` placeholders, TEXT ids, BIGINT numbers, times and booleans, BYTEA blobs, no NULLs.
#![forbid(unsafe_code)]

mod dialect;
mod error;
pub mod many;
mod migrate;
mod pool;
mod rows;

pub use dialect::Dialect;
pub use error::{StoreError, StoreTrouble};
pub use migrate::MigrationFile;
pub use pool::{Store, Tx, file_of};
pub use rows::{RowDump, dump_table, key_columns};
