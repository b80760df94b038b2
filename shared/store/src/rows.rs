//! Reading a whole table, to compare it with another one row by row.

use crate::{Dialect, Store, StoreError};
use sqlx::{AssertSqlSafe, Column, Row};
use std::collections::BTreeMap;

/// The rows of a table: each a map from column to its value as text (blobs in hex), in a stable order.
pub type RowDump = Vec<BTreeMap<String, String>>;

/// All rows of `table`, sorted by all their columns. `table` is a name from our own code, never from input.
pub async fn dump_table(store: &Store, table: &'static str) -> Result<RowDump, StoreError> {
    let rows = sqlx::query(AssertSqlSafe(format!("SELECT * FROM {table}"))).fetch_all(store.reader()).await?;
    let mut dump = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut values = BTreeMap::new();
        for (index, column) in row.columns().iter().enumerate() {
            values.insert(column.name().to_owned(), cell(row, index)?);
        }
        dump.push(values);
    }
    dump.sort();
    Ok(dump)
}

fn cell(row: &sqlx::any::AnyRow, index: usize) -> Result<String, StoreError> {
    if let Ok(number) = row.try_get::<i64, _>(index) {
        return Ok(number.to_string());
    }
    if let Ok(text) = row.try_get::<String, _>(index) {
        return Ok(text);
    }
    let bytes: Vec<u8> = row.try_get(index)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// The columns of a table's primary key, in its order: what tells one row from another.
pub async fn key_columns(store: &Store, table: &str) -> Result<Vec<String>, StoreError> {
    let sql = match store.dialect() {
        Dialect::Sqlite => "SELECT name FROM pragma_table_info($1) WHERE pk > 0 ORDER BY pk",
        Dialect::Postgres => {
            "SELECT a.attname::TEXT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) \
             WHERE i.indrelid = to_regclass($1) AND i.indisprimary ORDER BY array_position(i.indkey, a.attnum)"
        }
    };
    Ok(sqlx::query_scalar(sql).bind(table).fetch_all(store.reader()).await?)
}
