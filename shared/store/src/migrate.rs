//! Bringing tables to the present version, forwards only.

use crate::{Dialect, StoreError};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};
use std::borrow::Cow;

/// One step of a schema. The bus uses versions 1 to 999, each service numbers from 1000.
#[derive(Debug, Clone, Copy)]
pub struct MigrationFile {
    /// Order of application, unique within a database.
    pub version: i64,
    /// "instances".
    pub name: &'static str,
    /// Portable SQL: BYTEA and BIGSERIAL PRIMARY KEY are put into SQLite's words.
    pub sql: &'static str,
}

pub(crate) async fn run(
    pool: &sqlx::AnyPool,
    dialect: Dialect,
    files: &[MigrationFile],
) -> Result<(), StoreError> {
    let mut migrations: Vec<Migration> = files
        .iter()
        .map(|file| {
            let sql = AssertSqlSafe(dialect.adapt(file.sql)).into_sql_str();
            Migration::new(file.version, Cow::Borrowed(file.name), MigrationType::Simple, sql, false)
        })
        .collect();
    migrations.sort();
    let migrator = Migrator { migrations: Cow::Owned(migrations), ..Migrator::DEFAULT };
    Ok(migrator.run(pool).await?)
}
