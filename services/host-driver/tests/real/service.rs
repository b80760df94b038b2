//! A running host-driver, and somebody who orders and listens.

use bus::{Cause, Desk, Relay, Report};
use chassis::{Chassis, ChassisSettings};
use contracts::common::v1 as common;
use contracts::host_driver::v1 as wire;
use futures::StreamExt;
use host_driver::Settings;
use kernel::{InstanceId, Message, SystemClock};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use testkit::NatsServer;

/// Everything a test needs of a running service.
pub struct Service {
    _nats: NatsServer,
    pub chassis: Chassis,
    pub agent: String,
    pub folder: tempfile::TempDir,
    scheduler: Desk,
    events: tokio::sync::mpsc::UnboundedReceiver<(String, Vec<u8>)>,
    heard: Vec<(String, Vec<u8>)>,
}

impl Service {
    /// Starts the service. `change` completes the settings; the folder may be walked by QEMU.
    pub async fn start(change: impl FnOnce(&mut Settings, &Path)) -> Self {
        let nats = NatsServer::start().await;
        let folder = tempfile::Builder::new().prefix("berth-real-").tempdir().expect("a folder");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("permissions");
        let mut settings = Settings {
            database_url: format!("sqlite://{}/host-driver.db", folder.path().display()),
            data_dir: folder.path().join("data"),
            datastore_url: format!("file://{}/datastore", folder.path().display()),
            full_pass_s: 5,
            heartbeat_ms: 200,
            ..Settings::default()
        };
        change(&mut settings, folder.path());
        let process = ChassisSettings {
            bus: nats.settings(),
            sealing_key_file: folder.path().join("sealing.key"),
            ..ChassisSettings::default()
        };
        let chassis = Chassis::start("host-driver", &process).await.expect("a chassis");
        let events = listen(&chassis).await;
        host_driver::wire(&settings, &chassis).await.expect("wired");
        let scheduler = scheduler(&chassis, folder.path()).await;
        let agent = settings.agent_id().expect("an id").to_string();
        Self { _nats: nats, chassis, agent, folder, scheduler, events, heard: Vec::new() }
    }

    /// Sends a command as the scheduler does.
    pub async fn tell<M: Message>(&self, command: &M) {
        let mut unit = self.scheduler.begin(Cause::own("scheduler")).await.expect("a unit of work");
        unit.tell(command);
        unit.commit().await.expect("committed");
    }

    /// The next event of a type for which `wanted` holds; others are kept for later questions.
    pub async fn hears<M: Message>(
        &mut self,
        within: Duration,
        what: &str,
        wanted: impl Fn(&M) -> bool,
    ) -> M {
        let hear = async {
            loop {
                let found = self.heard.iter().position(|(name, bytes)| {
                    name == M::NAME && M::from_bytes(bytes).is_ok_and(|message| wanted(&message))
                });
                if let Some(at) = found {
                    let (_, bytes) = self.heard.remove(at);
                    return M::from_bytes(&bytes).expect("read before");
                }
                let event = self.events.recv().await.expect("the listener listens");
                self.heard.push(event);
            }
        };
        match tokio::time::timeout(within, hear).await {
            Ok(message) => message,
            Err(_) => panic!("not heard within {within:?}: {what}; observations: {:#?}", self.observations()),
        }
    }

    /// What was observed and nobody asked for yet.
    pub fn observations(&self) -> Vec<wire::VmObservation> {
        let observed = self.heard.iter().filter(|(name, _)| name == "VmObserved");
        observed.filter_map(|(_, bytes)| wire::VmObserved::from_bytes(bytes).ok()?.observation).collect()
    }

    /// The next observation for which `wanted` holds.
    pub async fn sees(
        &mut self,
        within: Duration,
        what: &str,
        wanted: impl Fn(&wire::VmObservation) -> bool,
    ) -> wire::VmObservation {
        let heard = self
            .hears(within, what, |m: &wire::VmObserved| m.observation.as_ref().is_some_and(&wanted))
            .await;
        heard.observation.expect("looked at above")
    }

    pub fn order(
        &self,
        host: &str,
        instance: InstanceId,
        artifacts: Vec<common::Artifact>,
    ) -> wire::EnsureVm {
        wire::EnsureVm {
            agent_id: self.agent.clone(),
            host_id: host.to_owned(),
            generation: 1,
            intent_revision: 1,
            power: wire::VmPower::Running.into(),
            reboot_counter: 0,
            stop_grace_s: 20,
            disposal: wire::Disposal::Delete.into(),
            take_back: String::new(),
            spec: Some(wire::VmSpec {
                instance_id: instance.to_string(),
                tenant: "acme".into(),
                name: "web-1".into(),
                resources: Some(common::Resources {
                    vcpus_milli: 1000,
                    memory_bytes: 128 << 20,
                    disk_bytes: 64 << 20,
                }),
                artifacts,
                kernel_cmdline: "console=ttyS0 quiet".into(),
                guest_agent: true,
                hostname: "web-1".into(),
                restart_policy: common::RestartPolicy::Always.into(),
                ..wire::VmSpec::default()
            }),
            ..wire::EnsureVm::default()
        }
    }
}

async fn listen(chassis: &Chassis) -> tokio::sync::mpsc::UnboundedReceiver<(String, Vec<u8>)> {
    let mut messages = chassis.bus.client().subscribe("evt.host_driver.>").await.expect("a subscription");
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(message) = messages.next().await {
            let name = message.subject.split('.').nth(3).unwrap_or_default().to_owned();
            if sender.send((name, message.payload.to_vec())).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn scheduler(chassis: &Chassis, folder: &Path) -> Desk {
    let url = format!("sqlite://{}/scheduler.db", folder.display());
    let store = Store::open(&url, bus::MIGRATIONS).await.expect("a store");
    let desk = Desk::new("scheduler", store, Arc::new(SystemClock));
    let relay = Relay::new(desk.clone(), chassis.bus.clone(), Report::none());
    chassis.tasks.spawn(chassis::Stage::Relay, "scheduler relay", |stop| relay.run(stop));
    desk
}
