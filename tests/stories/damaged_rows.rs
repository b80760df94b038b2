//! `berth replay verify` finds every damaged row, and nothing else.

use crate::lost_databases::{database, files_of};
use crate::one_instance::{create, prepare};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};
use std::path::Path;
use std::time::Duration;
use stories::cli::Cli;
use stories::node::Node;
use testkit::{NatsServer, eventually};

struct Column {
    name: String,
    kind: String,
    is_key: bool,
}

async fn open(database: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(database).connect().await.expect("the database")
}

async fn columns(database: &Path, table: &str) -> Vec<Column> {
    let mut connection = open(database).await;
    let sql = format!("PRAGMA table_info({table})");
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.expect("the columns");
    connection.close().await.expect("closed");
    let column = |row: &sqlx::sqlite::SqliteRow| Column {
        name: row.get("name"),
        kind: row.get("type"),
        is_key: row.get::<i64, _>("pk") > 0,
    };
    rows.iter().map(column).collect()
}

/// Another value of the same type.
fn otherwise(column: &Column) -> String {
    let name = &column.name;
    match column.kind.as_str() {
        "TEXT" => format!("{name} || 'x'"),
        "BIGINT" => format!("{name} + 1"),
        _ => format!("CAST(x'7f' || {name} AS BLOB)"),
    }
}

async fn damage(database: &Path, statement: &str) {
    let mut connection = open(database).await;
    let done = sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await;
    let done = done.unwrap_or_else(|e| panic!("{statement}: {e}"));
    assert_eq!(done.rows_affected(), 1, "{statement}");
    connection.close().await.expect("closed");
}

fn keep(database: &Path, aside: &Path) {
    for (from, to) in files_of(database).iter().zip(files_of(aside)) {
        let _ = std::fs::remove_file(&to);
        if from.exists() {
            std::fs::copy(from, to).expect("a copy");
        }
    }
}

/// Everything that verify says, and its exit code; the node is down, its broker is not.
fn verify(cli: &Cli, broker: &str) -> (i32, Vec<Value>) {
    let mut command = cli.command(&["replay", "verify", "-o", "json"]);
    let output = command.env("BERTH_NODE__NATS__URL", broker).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let value: Value = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code().unwrap_or(-1), value["tables"].as_array().expect("tables").clone())
}

#[tokio::test]
async fn every_table_is_proven_row_by_row() {
    let nats = NatsServer::start().await;
    let broker = nats.url();
    // so that the archive has a segment soon
    let prepared = |data: &Path| {
        std::fs::create_dir_all(data).expect("a folder");
        std::fs::write(data.join("node.toml"), "[archive]\nsegment_age_s = 1\n").expect("settings");
    };
    let options = ["--simulated-hosts", "1", "--insecure-dev", "--nats-url", &broker];
    let mut node = Node::start_prepared(&options, prepared).await;
    let cli = node.cli();
    prepare(&cli).await;
    cli.ok(&create("web-1", &["--wait"]));
    cli.ok(&create("web-2", &["--wait"]));
    cli.ok(&["instance", "delete", "web-2", "--wait"]);
    cli.ok(&["quota", "set", "default", "--instances", "10"]);
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@laptop";
    cli.ok(&["ssh-key", "create", "laptop", "--public-key", key, "--label", "team=web", "--wait"]);
    cli.ok(&["webhook", "create", "hook", "--url", "https://hooks.example.com/"]);
    eventually(Duration::from_secs(60), "a segment in the archive", async || {
        let mut command = cli.command(&["replay", "at", "0s", "-o", "json"]);
        let output = command.env("BERTH_NODE__NATS__URL", &broker).output().expect("it runs");
        let at: Value = serde_json::from_slice(&output.stdout).ok()?;
        (at["archived_events"].as_u64()? > 0).then_some(())
    })
    .await;
    assert!(node.stop(), "{}", node.log_tail());
    let (code, tables) = verify(&cli, &broker);
    assert_eq!(code, 0, "{tables:?}");
    assert!(tables.len() >= 15, "{} tables", tables.len());

    for proven in &tables {
        let (service, table) =
            (proven["service"].as_str().expect("text"), proven["table"].as_str().expect("text"));
        // of what ended a month ago there can be no row yet: here one too many is all that can be wrong
        let is_empty = matches!(table, "horizons" | "objects_forgotten");
        assert!(is_empty || proven["rows"].as_u64() > Some(0), "{service}.{table} has no row to damage");
        let (live, aside) = (database(&node, service), node.data_dir().join("aside.db"));
        let columns = columns(&live, table).await;
        let changed = columns.iter().find(|c| !c.is_key).or(columns.first()).expect("a column");
        let first = format!("rowid = (SELECT MIN(rowid) FROM {table})");
        let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
        let other = columns.iter().map(|column| match column.kind.as_str() {
            "TEXT" => otherwise(column),
            // far from all that are there
            "BIGINT" if column.is_key => format!("{} + 1000000", column.name),
            _ => column.name.clone(),
        });
        let other: Vec<String> = other.collect();
        let damages = [
            (
                format!("UPDATE {table} SET {} = {} WHERE {first}", changed.name, otherwise(changed)),
                changed.name.as_str(),
            ),
            (format!("DELETE FROM {table} WHERE {first}"), "the table lacks it"),
            (
                format!(
                    "INSERT INTO {table} ({}) SELECT {} FROM {table} WHERE {first}",
                    names.join(", "),
                    other.join(", ")
                ),
                "no event makes this row",
            ),
        ];
        let surplus = (
            format!("INSERT INTO {table} ({}) VALUES ('x', 1)", names.join(", ")),
            "no event makes this row",
        );
        let damages = if is_empty { vec![surplus] } else { damages.to_vec() };
        keep(&live, &aside);
        for (statement, told) in damages {
            damage(&live, &statement).await;
            let (code, found) = verify(&cli, &broker);
            assert_eq!(code, 1, "{statement}");
            for verdict in &found {
                let lines = verdict["differences"].as_array().expect("lines");
                let damaged = verdict["service"] == service && verdict["table"] == table;
                let exactly =
                    if damaged && changed.is_key && told == changed.name { 2 } else { usize::from(damaged) };
                assert_eq!(lines.len(), exactly, "{statement}: {verdict}");
                if exactly == 1 {
                    assert!(lines[0].as_str().unwrap_or_default().contains(told), "{statement}: {verdict}");
                }
            }
            keep(&aside, &live);
        }
    }
    assert_eq!(verify(&cli, &broker).0, 0, "all is as it was");
}
