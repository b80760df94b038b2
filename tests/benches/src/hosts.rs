//! How many orders a second one process of simulated hosts follows, from the queue to the event.

use crate::Effort;
use crate::figure::{Figure, Judged, Round, Target, Unit};
use crate::measure::per_second;
use anyhow::{Context, Result};
use bus::Cause;
use chassis::{Chassis, ChassisSettings};
use contracts::common::v1 as common;
use contracts::host_driver::v1 as wire;
use futures::StreamExt;
use host_driver::Settings;
use kernel::{InstanceId, Message};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::NatsServer;

const HOSTS: usize = 1_000;
const ORDERS: usize = 5_000;
/// Nobody waits longer than this for the last of them.
const PATIENCE: Duration = Duration::from_secs(120);

/// Orders VMs on many hosts at once and counts those that are said to run.
pub async fn run(effort: Effort) -> Result<Vec<Figure>> {
    let mut rounds = Vec::new();
    for _ in 0..effort.rounds {
        rounds.push(Round { ours: once(effort.amount(ORDERS)).await?, baseline: None });
    }
    Ok(vec![Figure {
        name: format!("orders followed by one process of {HOSTS} simulated hosts"),
        baseline: String::new(),
        unit: Unit::PerSecond,
        target: Target { judged: Judged::Ours, floor: 500.0, aim: 2_000.0 },
        rounds,
    }])
}

async fn once(orders: usize) -> Result<f64> {
    let (nats, folder) = (NatsServer::start().await, tempfile::tempdir()?);
    let process = ChassisSettings {
        bus: nats.settings(),
        sealing_key_file: folder.path().join("sealing.key"),
        ..ChassisSettings::default()
    };
    let chassis = Chassis::start("host-driver", &process).await?;
    let mut settings = Settings {
        database_url: format!("sqlite://{}/host-driver.db", folder.path().display()),
        data_dir: folder.path().join("data"),
        drivers: vec!["simulated".into()],
        concurrency: 256,
        ..Settings::default()
    };
    settings.simulated.count = HOSTS;
    let hosts = Arc::new(settings.hosts()?);
    host_driver::wire_hosts(&settings, &chassis, hosts.clone()).await?;
    let url = format!("sqlite://{}/scheduler.db", folder.path().display());
    let scheduler = chassis.desk("scheduler", &url, &[]).await?;
    let mut said = chassis.bus.client().subscribe("evt.host_driver.v1.VmObserved.>").await?;

    let agent = settings.agent_id()?.to_string();
    let began = Instant::now();
    let mut unit = scheduler.begin(Cause::own("scheduler")).await?;
    for order in (0..orders)
        .zip(hosts.all().collect::<Vec<_>>().into_iter().cycle())
        .map(|(_, host)| order(&agent, host))
    {
        unit.tell(&order);
    }
    unit.commit().await?;
    let mut running = BTreeSet::new();
    let all = async {
        while running.len() < orders {
            let message = said.next().await.context("the subscription ended")?;
            let event = wire::VmObserved::from_bytes(&message.payload).map_err(anyhow::Error::msg)?;
            let seen = event.observation.unwrap_or_default();
            if seen.power() == wire::VmPower::Running {
                running.insert(seen.instance_id);
            }
        }
        Ok::<_, anyhow::Error>(())
    };
    tokio::time::timeout(PATIENCE, all).await.context("not all of them came up")??;
    let rate = per_second(orders, began.elapsed());
    chassis.tasks.stop().await;
    Ok(rate)
}

fn order(agent: &str, host: &host_driver::Host) -> wire::EnsureVm {
    wire::EnsureVm {
        agent_id: agent.to_owned(),
        host_id: host.id.to_string(),
        generation: 1,
        intent_revision: 1,
        power: wire::VmPower::Running.into(),
        spec: Some(wire::VmSpec {
            instance_id: InstanceId::new().to_string(),
            tenant: "bench".into(),
            resources: Some(common::Resources {
                vcpus_milli: 1000,
                memory_bytes: 128 << 20,
                disk_bytes: 1 << 30,
            }),
            artifacts: vec![common::Artifact {
                role: common::ArtifactRole::Kernel.into(),
                sha256: "a".repeat(64),
                ..common::Artifact::default()
            }],
            guest_agent: true,
            hostname: "bench".into(),
            driver: common::Driver::Simulated.into(),
            ..wire::VmSpec::default()
        }),
        ..wire::EnsureVm::default()
    }
}
