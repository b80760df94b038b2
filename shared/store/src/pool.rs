//! Pools and transactions.

use crate::{Dialect, MigrationFile, StoreError, StoreTrouble, migrate};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, Connection, Executor};
use std::path::PathBuf;
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
                // the pool would try for ten seconds and then say only that it was in vain
                AnyConnection::connect(url).await?.close().await?;
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
                Err(error) if is_stale(&error) => {
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
        let mut tx = match self.begin().await {
            // SQLite has one writer, so somebody holds it; a server that has none to give does not answer
            Err(StoreError::Database(sqlx::Error::PoolTimedOut))
                if self.inner.dialect == Dialect::Postgres =>
            {
                let silence = std::io::Error::new(std::io::ErrorKind::TimedOut, "the server does not answer");
                return Err(sqlx::Error::Io(silence).into());
            }
            begun => begun?,
        };
        if self.inner.dialect == Dialect::Postgres {
            // that the table is there already would be in the log every few seconds
            tx.execute("SET LOCAL client_min_messages = warning").await?;
        }
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

/// Only a new connection knows better: a full disk made SQLite end a transaction that sqlx still counts as open, or the
/// file could not be written when the connection was opened.
fn is_stale(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::InvalidSavePointStatement)
        || StoreError::trouble_of(error) == Some(StoreTrouble::ReadOnly)
}

fn pool_options(size: u32) -> AnyPoolOptions {
    // a dead connection shows itself in the first statement; asking before each use would double the round trips
    AnyPoolOptions::new().max_connections(size).acquire_timeout(PATIENCE).test_before_acquire(false)
}

/// The file of a SQLite database; `None` when the database is none.
pub fn file_of(url: &str) -> Option<PathBuf> {
    (Dialect::of(url).ok()? == Dialect::Sqlite).then(|| PathBuf::from(sqlite_path(url)))
}

fn sqlite_path(url: &str) -> &str {
    let path = url.trim_start_matches("sqlite://").trim_start_matches("sqlite:");
    path.split('?').next().unwrap_or(path)
}

async fn open_sqlite(url: &str) -> Result<Inner, StoreError> {
    let path = sqlite_path(url);
    if let Some(folder) = std::path::Path::new(path).parent() {
        tokio::fs::create_dir_all(folder)
            .await
            .map_err(|e| StoreError::Url(format!("cannot make the folder {}: {e}", folder.display())))?;
    }
    let options = AnyConnectOptions::from_str(&format!("sqlite://{path}?mode=rwc"))?;
    // a pool would try for ten seconds and then say only that it was in vain
    let mut first = AnyConnection::connect_with(&options).await?;
    sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&mut first).await?;
    first.close().await?;
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
