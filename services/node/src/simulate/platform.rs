//! The whole system in this process: broker, services, simulated hosts, and a client of the gateway.

use super::clock::VirtualClock;
use super::rows::{HostRow, Workload};
use crate::NodeSettings;
use crate::assembly::{self, Folders, given, settings_of};
use crate::broker::Broker;
use crate::broker_conf::BrokerSettings;
use anyhow::{Context as _, bail};
use bus::Desk;
use chassis::{Chassis, Health, Service};
use checker::Database;
use checker::store::tables::Reader;
use client::{Connect, Gateway, IdempotencyKey, LocalFile, upload, wait_for_operation};
use contracts::common::v1::ArtifactRole;
use contracts::gateway::v1::{ImportImageRequest, ListHostsRequest};
use contracts::scheduler::v1::HostState;
use contracts::storage::v1::{ArtifactSource, artifact_source::Source};
use host_driver::adapters::simulated::{World, WorldSettings};
use host_driver::{Attention, Hosts, simulated_host};
use kernel::HostId;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The image that all instances boot from: headers without anything behind, because nobody boots it.
pub const IMAGE: &str = "nothing";
/// A simulation that is thrown away needs no disk; so much must be free in memory to live there.
const ROOM_IN_MEMORY: u64 = 2 << 30;
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a simulation keeps its databases and its broker.
#[derive(Debug, Clone)]
pub enum Folder {
    /// In a folder that goes with it: in memory (`/dev/shm`) when there is room.
    Temporary,
    /// Here; it stays.
    Kept(PathBuf),
}

/// A running system.
pub struct Platform {
    /// The broker.
    pub connection: bus::Connection,
    /// Virtual time.
    pub clock: Arc<VirtualClock>,
    /// The public door.
    pub gateway: Gateway,
    /// The scheduler, whose timers the simulation drives.
    pub scheduler: (Desk, scheduler::handlers::Context),
    /// What the hosts have to look at.
    pub attention: Attention,
    /// The simulated hosts.
    pub hosts: Arc<Hosts>,
    /// The services' databases.
    pub databases: Vec<Database>,
    /// The same, opened for reading.
    pub readers: Vec<Reader>,
    chassis: Chassis,
    broker: Broker,
    _temporary: Option<tempfile::TempDir>,
}

impl Platform {
    /// Starts everything and waits until every host is up and the image is there.
    pub async fn start(workload: &Workload, overcommit: [u32; 3], folder: Folder) -> anyhow::Result<Self> {
        let (data_dir, temporary) = match folder {
            Folder::Kept(path) => (empty(path)?, None),
            Folder::Temporary => {
                let made = tempfile::Builder::new().prefix("berth-simulate").tempdir_in(roomiest())?;
                (made.path().join("data"), Some(made))
            }
        };
        let mut settings = NodeSettings { data_dir, insecure_dev: true, ..NodeSettings::default() };
        settings.listen.set_port(0);
        let folders = Folders::of(&settings);
        folders.make()?;
        let health = Health::default();
        let broker = Broker::start(
            BrokerSettings {
                program: settings.nats.server_path.clone(),
                listen: settings.nats.listen,
                port: 0,
                sync_always: false,
                folder: folders.nats(),
                certificate: None,
                issuer: gateway::nats_issuer(&settings_of(&gateway::SERVICE, &settings)?)?,
            },
            health.component("nats"),
        )
        .await?;
        let access = broker.access(None);
        let mut chassis_settings = assembly::chassis(&settings, access.setup());
        chassis_settings.ops_listen.clear();
        let clock = Arc::new(VirtualClock::default());
        let chassis = Chassis::start_with_clock("berth", &chassis_settings, clock.clone()).await?;

        let hosts = Arc::new(fleet(&workload.hosts));
        let mut parts = Parts::default();
        for (service, chassis) in assembly::connected(&chassis, &access).await? {
            if !takes_part(service.name) {
                continue;
            }
            parts.start(service, &settings, overcommit, &hosts, &chassis).await?;
        }
        let (scheduler, attention, address) = parts.all()?;
        let gateway: gateway::Settings = settings_of(&gateway::SERVICE, &settings)?;
        let token =
            std::fs::read_to_string(gateway.admin_token_file()).context("the gateway's first token")?;
        let connect = Connect {
            endpoint: format!("http://{address}"),
            token: token.trim().to_owned(),
            tenant: String::new(),
            ca_file: None,
            allow_plain_http: true,
            request_timeout: Duration::from_secs(60),
            attempts: 3,
        };
        let databases: Vec<Database> =
            folders.databases().into_iter().filter(|database| takes_part(&database.service)).collect();
        let mut readers = Vec::new();
        for database in &databases {
            readers.push(Reader::open(&database.url).await?);
        }
        let platform = Self {
            connection: bus::Connection::open(&access.operator(), "simulate", bus::Report::none()).await?,
            clock,
            gateway: Gateway::new(&connect)?,
            scheduler,
            attention,
            hosts,
            databases,
            readers,
            chassis,
            broker,
            _temporary: temporary,
        };
        platform.import(&settings.data_dir).await?;
        platform.hosts_are_up(workload.hosts.len()).await?;
        Ok(platform)
    }

    /// Takes the image in, as a user would.
    async fn import(&self, folder: &Path) -> anyhow::Result<()> {
        let (gateway, key) = (&self.gateway, IdempotencyKey::random());
        let mut sources = Vec::new();
        for (name, role, bytes) in [
            ("kernel", ArtifactRole::Kernel, empty_kernel()),
            // the first bytes of a cpio archive, which is all that anybody looks at
            ("initramfs", ArtifactRole::Initramfs, b"070701".repeat(20)),
        ] {
            let path = folder.join(name);
            std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
            let file = LocalFile::read(&path, |_| {})?;
            let staged = upload(gateway, &file, &key.part(name), |_| {}).await?;
            sources.push(ArtifactSource {
                role: role.into(),
                source: Some(Source::UploadId(staged.upload_id)),
                sha256: file.sha256,
                ..ArtifactSource::default()
            });
        }
        let request = ImportImageRequest { name: IMAGE.to_owned(), sources, ..ImportImageRequest::default() };
        let answer = gateway.change(request, &key, async |r| gateway.images().import_image(r).await).await?;
        wait_for_operation(gateway, &answer.operation_id, Some(PATIENCE), async |_| {}).await?;
        Ok(())
    }

    async fn hosts_are_up(&self, count: usize) -> anyhow::Result<()> {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let up = self.count_up().await?;
            if up == count {
                return Ok(());
            }
            if tokio::time::Instant::now() > end {
                bail!("{up} of {count} simulated hosts came up within {} s", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// How many instances wait for a host.
    pub async fn waiting(&self) -> anyhow::Result<u64> {
        let mut waiting = 0;
        for (reader, database) in self.readers.iter().zip(&self.databases) {
            if database.service == scheduler::SERVICE.name {
                waiting += reader.waiting().await?;
            }
        }
        Ok(waiting)
    }

    async fn count_up(&self) -> anyhow::Result<usize> {
        let (mut up, mut page_token) = (0, String::new());
        loop {
            let request = ListHostsRequest { page_size: 1_000, page_token, ..ListHostsRequest::default() };
            let list = self.gateway.read(request, async |r| self.gateway.hosts().list_hosts(r).await).await?;
            let hosts = list.hosts.iter().filter_map(|host| host.host.as_ref());
            up += hosts.filter(|host| host.state() == HostState::Up).count();
            if list.next_page_token.is_empty() {
                return Ok(up);
            }
            page_token = list.next_page_token;
        }
    }

    /// Ends everything in order.
    pub async fn stop(self) {
        self.chassis.tasks.stop().await;
        for reader in self.readers {
            reader.close().await;
        }
        self.broker.stop().await;
    }
}

/// All but the archive: nobody proves what happened in a simulation, and reading, linking and packing every event is
/// work of its own.
fn takes_part(service: &str) -> bool {
    service != archive::SERVICE.name
}

/// What a simulation keeps a hand on, of the services that were started.
#[derive(Default)]
struct Parts {
    scheduler: Option<(Desk, scheduler::handlers::Context)>,
    attention: Option<Attention>,
    address: Option<SocketAddr>,
}

impl Parts {
    /// Starts a service as a node does, but for two: the loops of the scheduler that follow the clock are driven by the
    /// simulation, and the hosts are those of the workload.
    async fn start(
        &mut self,
        service: &'static Service,
        settings: &NodeSettings,
        [vcpus, memory, disk]: [u32; 3],
        hosts: &Arc<Hosts>,
        chassis: &Chassis,
    ) -> anyhow::Result<()> {
        if *service == scheduler::SERVICE {
            let settings = scheduler::Settings {
                overcommit_vcpus_percent: vcpus,
                overcommit_memory_percent: memory,
                overcommit_disk_percent: disk,
                ..settings_of(service, settings)?
            };
            self.scheduler = Some(scheduler::serve(&settings, chassis).await?);
        } else if *service == host_driver::SERVICE {
            let settings = host_driver::Settings {
                drivers: vec!["simulated".to_owned()],
                reserve_memory_bytes: 0,
                // nothing happens behind the back of a simulated host: nobody has to look for it
                full_pass_s: 86_400,
                // nor does it tell several things of one action: waiting for more of them would be most of a moment
                events_settle_ms: 0,
                // these wait for the database alone, and share its commits
                concurrency: 256,
                // words have no disk to come back with
                deleted_keep_s: 0,
                ..settings_of(service, settings)?
            };
            self.attention = Some(host_driver::wire_hosts(&settings, chassis, hosts.clone()).await?);
        } else {
            let started = (service.start)(given(service, settings, None), chassis).await?;
            self.address = started.address.or(self.address);
        }
        Ok(())
    }

    fn all(self) -> anyhow::Result<((Desk, scheduler::handlers::Context), Attention, SocketAddr)> {
        Ok((
            self.scheduler.context("no scheduler was started")?,
            self.attention.context("no host-driver was started")?,
            self.address.context("nobody listens")?,
        ))
    }
}

/// Hosts of the simulation, with ids in the order of the file.
fn fleet(rows: &[HostRow]) -> Hosts {
    let hosts = rows.iter().enumerate().map(|(index, row)| {
        let world = WorldSettings {
            vcpus_milli: row.vcpus_milli,
            memory_bytes: row.memory_mib << 20,
            disk_bytes: row.disk_gib << 30,
            gpus: row.gpus,
            gpu_model: row.gpu_model.clone(),
            // a guest answers at once: how long boots take is no question of placement
            boot_ms: 0,
            ..WorldSettings::default()
        };
        // any fixed number will do; ids only have to differ and to be the same in each run
        let id = HostId::from_u128((0x0190_0000_0000_7000_8000 << 48) + index as u128 + 1);
        let mut host = simulated_host(id, row.name.clone(), Arc::new(World::new(world)));
        host.labels = row.all_labels();
        host
    });
    Hosts::new(hosts)
}

/// The least that passes for a Linux kernel: the header of a bzImage (Documentation/arch/x86/boot.rst).
fn empty_kernel() -> Vec<u8> {
    let mut file = vec![0u8; 1024];
    file[0x1f1] = 1;
    file[0x1fe..0x200].copy_from_slice(&[0x55, 0xAA]);
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file
}

fn empty(path: PathBuf) -> anyhow::Result<PathBuf> {
    let path = std::path::absolute(&path)?;
    if std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{} is not empty: a simulation begins with nothing; name another folder", path.display());
    }
    std::fs::create_dir_all(&path).with_context(|| format!("making the folder {}", path.display()))?;
    Ok(path)
}

/// Memory when it has room, the folder for temporary files otherwise.
fn roomiest() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let free =
        nix::sys::statvfs::statvfs(memory).map_or(0, |stat| stat.blocks_available() * stat.fragment_size());
    if free >= ROOM_IN_MEMORY { memory.to_owned() } else { std::env::temp_dir() }
}
