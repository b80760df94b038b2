//! The schema that all parts share, what every table has in common, and the tables that each request leaves rows in.
//!
//! A snapshot is the protobuf of an object as its owner said it last; the columns beside it are only for finding it.

pub mod audit;
pub mod operations;
pub mod uploads;

#[cfg(test)]
mod operations_tests;

use crate::domain::page::Page;
use ::store::MigrationFile;
use sqlx::Row;
use sqlx::any::AnyRow;

/// The schema.
pub const MIGRATIONS: &[MigrationFile] = &[
    objects::TABLES_OF_READERS[0],
    objects::TABLES_OF_READERS[1],
    objects::TABLES_OF_READERS[2],
    MigrationFile {
        version: 1000,
        name: "gateway",
        sql: include_str!("../../../../migrations/1000_gateway.sql"),
    },
    MigrationFile {
        version: 1001,
        name: "admission",
        sql: include_str!("../../../../migrations/1001_admission.sql"),
    },
    MigrationFile {
        version: 1010,
        name: "access",
        sql: include_str!("../../../../migrations/1010_access.sql"),
    },
    MigrationFile {
        version: 1100,
        name: "audit",
        sql: include_str!("../../../../migrations/1100_audit.sql"),
    },
    MigrationFile {
        version: 1200,
        name: "quotas",
        sql: include_str!("../../../../migrations/1200_quotas.sql"),
    },
    MigrationFile {
        version: 1201,
        name: "forgotten_tokens",
        sql: include_str!("../../../../migrations/1201_forgotten_tokens.sql"),
    },
    MigrationFile {
        version: 1300,
        name: "webhooks",
        sql: include_str!("../../../../migrations/1300_webhooks.sql"),
    },
    MigrationFile {
        version: 1400,
        name: "external_events",
        sql: include_str!("../../../../migrations/1400_external_events.sql"),
    },
    MigrationFile { version: 1500, name: "oidc", sql: include_str!("../../../../migrations/1500_oidc.sql") },
    MigrationFile {
        version: 1600,
        name: "staged",
        sql: include_str!("../../../../migrations/1600_staged.sql"),
    },
    MigrationFile {
        version: 1601,
        name: "unanswered",
        sql: include_str!("../../../../migrations/1601_unanswered.sql"),
    },
    MigrationFile {
        version: 1602,
        name: "quarantine",
        sql: include_str!("../../../../migrations/1602_quarantine.sql"),
    },
];

/// A number of the wire in a column: values beyond 2^63 are kept in the snapshot only.
pub fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number of the wire out of a column.
pub fn number(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// The snapshot in a row.
pub fn snapshot<M: prost::Message + Default>(row: &AnyRow) -> Result<M, sqlx::Error> {
    let bytes: Vec<u8> = row.try_get("snapshot")?;
    M::decode(&*bytes).map_err(|e| sqlx::Error::Decode(Box::new(e)))
}

/// The snapshots in rows.
pub fn snapshots<M: prost::Message + Default>(rows: &[AnyRow]) -> Result<Vec<M>, sqlx::Error> {
    rows.iter().map(snapshot).collect()
}

/// Column `at` of the key a page begins after; "" when it is the first page.
pub fn after(page: &Page, at: usize) -> &str {
    page.after.get(at).map_or("", String::as_str)
}
