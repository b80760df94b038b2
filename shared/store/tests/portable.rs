//! The portable subset really is portable: one case, both databases.

use sqlx::Row;
use store::{MigrationFile, Store, StoreTrouble, dump_table};

const TABLES: &[MigrationFile] = &[MigrationFile {
    version: 1000,
    name: "things",
    sql: "CREATE TABLE things (seq BIGSERIAL PRIMARY KEY, id TEXT NOT NULL UNIQUE, size BIGINT NOT NULL, body BYTEA NOT NULL, gone BIGINT NOT NULL DEFAULT 0);
          CREATE INDEX things_live ON things (size) WHERE gone = 0;",
}];

async fn the_portable_subset(store: &Store) {
    let mut tx = store.begin().await.expect("begin");
    store.lock(&mut tx, "things").await.expect("lock");
    for (id, size) in [("b", 2_i64), ("a", i64::MAX)] {
        sqlx::query("INSERT INTO things (id, size, body) VALUES ($1, $2, $3)")
            .bind(id)
            .bind(size)
            .bind(vec![0_u8, 255])
            .execute(&mut *tx)
            .await
            .expect("insert");
    }
    tx.commit().await.expect("commit");

    let again =
        sqlx::query("INSERT INTO things (id, size, body) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING")
            .bind("a")
            .bind(1_i64)
            .bind(Vec::<u8>::new())
            .execute(&mut *store.begin().await.expect("begin"))
            .await
            .expect("insert on conflict");
    assert_eq!(again.rows_affected(), 0);

    let row = sqlx::query("SELECT seq, size, body FROM things WHERE id = $1")
        .bind("a")
        .fetch_one(store.reader())
        .await
        .expect("row");
    assert_eq!(row.get::<i64, _>("seq"), 2);
    assert_eq!(row.get::<i64, _>("size"), i64::MAX);
    assert_eq!(row.get::<Vec<u8>, _>("body"), vec![0, 255]);
    let count: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM things").fetch_one(store.reader()).await.expect("count");
    assert_eq!(count, 2);
    let sum: i64 =
        sqlx::query_scalar("SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM things WHERE id = $1")
            .bind("b")
            .fetch_one(store.reader())
            .await
            .expect("sum");
    assert_eq!(sum, 2);

    let dump = dump_table(store, "things").await.expect("dump");
    assert_eq!(dump[0]["body"], "00ff");
    assert_eq!(dump.len(), 2);

    store.check().await.expect("writable");
    let error = sqlx::query("INSERT INTO things (id, size, body) VALUES ($1, 1, $2)")
        .bind("a")
        .bind(Vec::<u8>::new())
        .execute(&mut *store.begin().await.expect("begin"))
        .await
        .expect_err("unique");
    assert!(store::StoreError::from(error).is_unique_violation());
}

#[tokio::test]
async fn on_sqlite() {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite://{}/deep/er/test.db", folder.path().display());
    let store = Store::open(&url, TABLES).await.expect("open");
    the_portable_subset(&store).await;
    store.close().await;
    Store::open(&url, TABLES).await.expect("opens again without migrating twice");
}

#[tokio::test]
async fn on_postgres() {
    let server = std::env::var("BERTH_TEST_POSTGRES")
        .expect("BERTH_TEST_POSTGRES names a PostgreSQL server: `tests/postgres.sh start FOLDER` prints one, `make test` sets it");
    let name = format!("store_{}", std::process::id());
    let admin = Store::open(&format!("{server}/postgres"), &[]).await.expect("server answers");
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(admin.reader())
        .await
        .expect("create database");
    let store = Store::open(&format!("{server}/{name}"), TABLES).await.expect("open");
    the_portable_subset(&store).await;
    store.close().await;
    sqlx::query(sqlx::AssertSqlSafe(format!("DROP DATABASE {name}")))
        .execute(admin.reader())
        .await
        .expect("drop database");
}

#[tokio::test]
async fn a_foreign_url_is_refused_without_showing_a_password() {
    let error = Store::open("mysql://root:hunter2@db/x", &[]).await.err().expect("refused").to_string();
    assert!(error.contains("sqlite:///") && !error.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_full_disk_is_forgotten_when_there_is_room_again() {
    let folder = tempfile::tempdir().expect("folder");
    let store =
        Store::open(&format!("sqlite://{}/test.db", folder.path().display()), TABLES).await.expect("open");
    // the limit is one of the connection: room comes back with the next one
    let mut tx = store.begin().await.expect("begin");
    sqlx::raw_sql("PRAGMA max_page_count = 1").execute(&mut *tx).await.expect("no more pages than there are");
    tx.commit().await.expect("commit");
    let fill = async |id: &str| -> Result<(), store::StoreError> {
        let mut tx = store.begin().await?;
        sqlx::query("INSERT INTO things (id, size, body) VALUES ($1, 1, $2)")
            .bind(id)
            .bind(vec![7_u8; 100_000])
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    };
    let error = fill("big").await.expect_err("no room");
    assert_eq!(error.trouble(), Some(StoreTrouble::Full), "{error}");
    fill("big").await.expect("room again");
    store.check().await.expect("well again");
}

#[tokio::test]
async fn what_is_in_the_way_has_a_name_and_passes() {
    let folder = tempfile::tempdir().expect("folder");
    let url = format!("sqlite://{}/test.db", folder.path().display());
    let store = Store::open(&url, TABLES).await.expect("open");
    // a connection that may only read, as one that was opened when the file could not be written
    let mut tx = store.begin().await.expect("begin");
    sqlx::raw_sql("PRAGMA query_only = 1").execute(&mut *tx).await.expect("from now on");
    let error = sqlx::query("DELETE FROM things").execute(&mut *tx).await.expect_err("may not");
    assert_eq!(store::StoreError::from(error).trouble(), Some(StoreTrouble::ReadOnly));
    tx.commit().await.expect("commit");
    store.check().await.expect("the next connection may write");

    let other = Store::open(&url, TABLES).await.expect("another process");
    let held = other.begin().await.expect("the write lock");
    let error = store.check().await.expect_err("held");
    assert_eq!(error.trouble(), Some(StoreTrouble::Locked), "{error}");
    drop(held);
    store.check().await.expect("free again");

    let unreachable =
        Store::open("postgres://nobody@127.0.0.1:1/none", &[]).await.err().expect("nobody there");
    assert_eq!(unreachable.trouble(), Some(StoreTrouble::Gone), "{unreachable}");
    let garbage = folder.path().join("garbage.db");
    std::fs::write(&garbage, "no database at all, but long enough to be taken for one".repeat(100))
        .expect("write");
    let error =
        Store::open(&format!("sqlite://{}", garbage.display()), TABLES).await.err().expect("no database");
    assert_eq!(error.trouble(), Some(StoreTrouble::Gone), "{error}");
}
