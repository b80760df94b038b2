//! Pools and transactions.

use crate::{Dialect, MigrationFile, StoreError, migrate};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, Executor};
use std::str::FromStr;
use std::sync::{Arc, Once};
use std::time::Duration;

/// A transaction. Statements run on `&mut *tx`.
pub type Tx = sqlx::Transaction<'static, sqlx::Any>;

/// How long a caller waits for a connection or a lock before the store says it is busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// Readers beside the one writer of SQLite; connections in all on PostgreSQL.
const READERS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 8;

/// A database of one service. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    dialect: Dialect,
    writer: AnyPool,
    reader: AnyPool,
}

impl Store {
    /// Opens the database, making file and folder if needed, and brings its tables to the present version.
    /// `url`: `sqlite:///path/file.db` or `postgres://user:password@host/database`.
    pub async fn open(url: &str, migrations: &[MigrationFile]) -> Result<Self, StoreError> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        let dialect = Dialect::of(url)?;
        let inner = match dialect {
            Dialect::Sqlite => open_sqlite(url).await?,
            Dialect::Postgres => {
                let pool = pool_options(POSTGRES_CONNECTIONS).connect(url).await?;
                Inner { dialect, writer: pool.clone(), reader: pool }
            }
        };
        migrate::run(&inner.writer, dialect, migrations).await?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Which database this is.
    pub fn dialect(&self) -> Dialect {
        self.inner.dialect
    }

    /// A transaction that may write. On SQLite it holds the write lock from the start, so that it never fails
    /// half way because a reader wanted to become a writer.
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match self.inner.dialect {
            Dialect::Sqlite => match self.inner.writer.begin_with("BEGIN IMMEDIATE").await {
                Err(sqlx::Error::InvalidSavePointStatement) => {
                    // a full disk made SQLite end a transaction that sqlx still counts as open: only a new connection
                    // knows better
                    self.inner.writer.acquire().await?.close().await?;
                    self.inner.writer.begin_with("BEGIN IMMEDIATE").await?
                }
                begun => begun?,
            },
            Dialect::Postgres => self.inner.writer.begin().await?,
        })
    }

    /// Connections for reading outside a transaction.
    pub fn reader(&self) -> &AnyPool {
        &self.inner.reader
    }

    /// Until the transaction ends, nobody else who asks for the same name goes past this point, in any process.
    /// SQLite has one writer anyway.
    pub async fn lock(&self, tx: &mut AnyConnection, name: &str) -> Result<(), StoreError> {
        if self.inner.dialect == Dialect::Postgres {
            sqlx::query("SELECT pg_advisory_xact_lock(hashtext($1))").bind(name).execute(tx).await?;
        }
        Ok(())
    }

    /// Whether the database answers and can be written; the error says what is wrong.
    pub async fn check(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.execute("CREATE TABLE IF NOT EXISTS store_check (id BIGINT PRIMARY KEY, at BIGINT NOT NULL)")
            .await?;
        tx.execute("INSERT INTO store_check (id, at) VALUES (1, 0) ON CONFLICT (id) DO UPDATE SET at = store_check.at + 1")
            .await?;
        Ok(tx.commit().await?)
    }

    /// Closes all connections; SQLite writes its log back into the file.
    pub async fn close(&self) {
        self.inner.reader.close().await;
        self.inner.writer.close().await;
    }
}

fn pool_options(size: u32) -> AnyPoolOptions {
    // a dead connection shows itself in the first statement; asking before each use would double the round trips
    AnyPoolOptions::new().max_connections(size).acquire_timeout(PATIENCE).test_before_acquire(false)
}

async fn open_sqlite(url: &str) -> Result<Inner, StoreError> {
    let path = url.trim_start_matches("sqlite://").trim_start_matches("sqlite:");
    let path = path.split('?').next().unwrap_or(path);
    if let Some(folder) = std::path::Path::new(path).parent() {
        tokio::fs::create_dir_all(folder)
            .await
            .map_err(|e| StoreError::Url(format!("cannot make the folder {}: {e}", folder.display())))?;
    }
    let options = AnyConnectOptions::from_str(&format!("sqlite://{path}?mode=rwc"))?;
    let prepare = |size| {
        pool_options(size).after_connect(|connection: &mut AnyConnection, _| {
            Box::pin(async move {
                // FULL: a commit that was acknowledged survives a power cut
                for pragma in [
                    "PRAGMA journal_mode = WAL",
                    "PRAGMA synchronous = FULL",
                    "PRAGMA foreign_keys = ON",
                    "PRAGMA busy_timeout = 10000",
                    "PRAGMA cache_size = -8000",
                ] {
                    sqlx::raw_sql(pragma).execute(&mut *connection).await?;
                }
                Ok(())
            })
        })
    };
    // the writer comes first: it makes the file and switches it to WAL
    let writer = prepare(1).idle_timeout(None).max_lifetime(None).connect_with(options.clone()).await?;
    let reader = prepare(READERS).connect_with(options).await?;
    Ok(Inner { dialect: Dialect::Sqlite, writer, reader })
}
