//! The scheduler wired to a real broker: commands from the stream, its loops, heartbeats by their absence.

mod support;

use bus::Cause;
use chassis::{Chassis, ChassisSettings};
use contracts::host_driver::v1::{HostHeartbeat, HostReported};
use contracts::scheduler::v1::{CreateInstance, HostState, Instance, InstancePhase};
use contracts::storage::v1::ImageImported;
use kernel::{InstanceId, OperationId};
use scheduler::Settings;
use std::time::Duration;
use store::Store;
use support::*;
use testkit::{NatsServer, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

async fn instance(store: &Store, id: &str) -> Option<Instance> {
    let sql = "SELECT snapshot FROM instances WHERE id = $1";
    let row: Option<Vec<u8>> =
        sqlx::query_scalar(sql).bind(id).fetch_optional(store.reader()).await.expect("a row");
    row.map(|bytes| Instance::from_bytes_of(&bytes))
}

async fn host_is(store: &Store, state: HostState) -> Option<()> {
    let row: Option<String> =
        sqlx::query_scalar("SELECT state FROM hosts").fetch_optional(store.reader()).await.expect("a row");
    (row.as_deref() == Some(state.as_str_name())).then_some(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_obeyed_loops_run_and_silence_is_noticed() {
    let (server, folder) = (NatsServer::start().await, tempfile::tempdir().expect("a folder"));
    let settings = ChassisSettings {
        bus: server.settings(),
        sealing_key_file: folder.path().join("key"),
        ..ChassisSettings::default()
    };
    let chassis = Chassis::start("scheduler", &settings).await.expect("a process");
    let url = |name: &str| format!("sqlite://{}/{name}.db", folder.path().display());
    let own = Settings { database_url: url("scheduler"), host_silence_s: 2, ..Settings::default() };
    scheduler::wire(&own, &chassis).await.expect("wired");
    let all: Vec<_> = bus::MIGRATIONS.iter().chain(scheduler::MIGRATIONS).copied().collect();
    let store = Store::open(&own.database_url, &all).await.expect("its database");

    // everybody else
    let world = chassis.desk("gateway", &url("others"), &[]).await.expect("a desk");
    let mut work = world.begin(Cause::own("test").for_tenant(TENANT)).await.expect("work");
    work.say(&ImageImported { image: Some(image()), operations: vec![] });
    work.commit().await.expect("said");

    // without any host the instance waits
    let id = InstanceId::new();
    let mut command: CreateInstance = create(id, "web");
    command.operation_id = OperationId::new().to_string();
    let mut work = world.begin(Cause::own("test").for_tenant(TENANT)).await.expect("work");
    work.tell(&command);
    work.commit().await.expect("told");
    let id = id.to_string();
    let refusal =
        eventually(PATIENCE, "the instance waits", async || instance(&store, &id).await?.refusal).await;
    assert_eq!(refusal.code, "NO_HOSTS");

    // a host appears: no timer is needed to place it there
    let mut work = world.begin(Cause::own("test")).await.expect("work");
    work.say(&HostReported { report: Some(report(1, 1, 8, 16)) });
    work.commit().await.expect("said");
    let placed = async || (instance(&store, &id).await?.phase() == InstancePhase::Starting).then_some(());
    eventually(Duration::from_secs(8), "the instance is placed before the timer", placed).await;

    // it never gave a sign of life; then it does
    eventually(PATIENCE, "the host is unreachable", async || host_is(&store, HostState::Unreachable).await)
        .await;
    eventually(PATIENCE, "the host is up again", async || {
        let beat = HostHeartbeat { agent_id: "agent-1".into(), host_ids: vec![host_id(1)] };
        bus::samples::publish(&chassis.bus, &beat).await.expect("sent");
        host_is(&store, HostState::Up).await
    })
    .await;
    chassis.tasks.stop().await;
}
