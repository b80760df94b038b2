//! A database per test: SQLite in a folder of its own, and PostgreSQL.

use sqlx::AssertSqlSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use store::{MigrationFile, Store};

/// A database that only this test uses.
pub struct Database {
    /// "sqlite" or "postgres", for messages.
    pub name: &'static str,
    /// Where it is.
    pub url: String,
    /// It, opened and migrated (the bus' tables and the service's).
    pub store: Store,
    _folder: Option<tempfile::TempDir>,
    admin: Option<Store>,
}

/// One database of each kind. A case that passes on both runs on both.
///
/// # Panics
/// Without a PostgreSQL server: the message says how to get one.
pub async fn databases(migrations: &[MigrationFile]) -> [Database; 2] {
    [Database::sqlite(migrations).await, Database::postgres(migrations).await]
}

fn with_bus(migrations: &[MigrationFile]) -> Vec<MigrationFile> {
    bus::MIGRATIONS.iter().chain(migrations).copied().collect()
}

impl Database {
    /// A SQLite file.
    pub async fn sqlite(migrations: &[MigrationFile]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite://{}/test.db", folder.path().display());
        let store = Store::open(&url, &with_bus(migrations)).await.expect("a new database");
        Self { name: "sqlite", url, store, _folder: Some(folder), admin: None }
    }

    /// A database on the PostgreSQL server that `BERTH_TEST_POSTGRES` names.
    pub async fn postgres(migrations: &[MigrationFile]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let server = std::env::var("BERTH_TEST_POSTGRES").expect(
            "BERTH_TEST_POSTGRES names a PostgreSQL server: `tests/postgres.sh start FOLDER` prints one, `make test` sets it",
        );
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let admin = Store::open(&format!("{server}/postgres"), &[]).await.expect("the server answers");
        for statement in
            [format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"), format!("CREATE DATABASE {name}")]
        {
            sqlx::query(AssertSqlSafe(statement))
                .execute(admin.reader())
                .await
                .expect("a database of our own");
        }
        let url = format!("{server}/{name}");
        let store = Store::open(&url, &with_bus(migrations)).await.expect("a new database");
        Self { name: "postgres", url, store, _folder: None, admin: Some(admin) }
    }

    /// A database that is there already, as another process opens it.
    pub async fn open(url: &str, migrations: &[MigrationFile]) -> Self {
        let store = Store::open(url, &with_bus(migrations)).await.expect("an existing database");
        Self { name: "existing", url: url.to_owned(), store, _folder: None, admin: None }
    }

    /// The same database once more, as another process would open it.
    pub async fn again(&self, migrations: &[MigrationFile]) -> Self {
        let store = Store::open(&self.url, &with_bus(migrations)).await.expect("the same database");
        Self { name: self.name, url: self.url.clone(), store, _folder: None, admin: None }
    }

    /// Removes the database. (Without it the server keeps it until it is stopped.)
    pub async fn remove(self) {
        self.store.close().await;
        if let Some(admin) = &self.admin {
            let name = self.url.rsplit('/').next().unwrap_or_default();
            let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
            sqlx::query(AssertSqlSafe(statement)).execute(admin.reader()).await.expect("our own database");
        }
    }
}
