//! What the suite is run against.

use host_driver::adapters::libvirt::{LibvirtHypervisor, LibvirtSettings};
use host_driver::adapters::simulated::{SimulatedDisks, SimulatedHypervisor, World, WorldSettings};
use host_driver::adapters::{Capabilities, Disks, Fault, Hypervisor, ImageCache, LocalDisks};
use host_driver::domain::{
    Artifact, DiskFormat, Domain, DriverKind, Files, Machine, Power, RestartPolicy, Role, VmSpec,
};
use kernel::{Bytes, HostId, InstanceId, MilliVcpus};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const MIB: u64 = 1 << 20;
/// Emulated guests on a busy machine take their time.
pub const BOOT: Duration = Duration::from_secs(90);

/// A driver with its disks, and an image it can boot.
pub struct Subject {
    pub hypervisor: Arc<dyn Hypervisor>,
    pub disks: Arc<dyn Disks>,
    pub can: Capabilities,
    pub artifacts: Vec<Artifact>,
    /// Removed with the subject.
    pub _data: Option<tempfile::TempDir>,
}

impl Subject {
    async fn new(
        hypervisor: Arc<dyn Hypervisor>,
        disks: Arc<dyn Disks>,
        artifacts: Vec<Artifact>,
        data: Option<tempfile::TempDir>,
    ) -> Self {
        let can = hypervisor.capabilities().await.expect("it says what it can do");
        Self { hypervisor, disks, can, artifacts, _data: data }
    }

    /// The simulated driver.
    pub async fn simulated() -> Self {
        let world = Arc::new(World::new(WorldSettings::default()));
        let kernel = Artifact {
            role: Role::Kernel,
            sha256: "0".repeat(64),
            size: Bytes(0),
            format: DiskFormat::Raw,
            virtual_size: Bytes(0),
        };
        let hypervisor = Arc::new(SimulatedHypervisor(world.clone()));
        Self::new(hypervisor, Arc::new(SimulatedDisks(world)), vec![kernel], None).await
    }

    /// A libvirt, with the small guest image in a datastore of its own.
    pub async fn libvirt(uri: &str) -> Self {
        let data = tempfile::Builder::new().prefix("berth-suite-").tempdir().expect("a folder");
        // QEMU runs as another user and walks through here
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(data.path(), open).expect("permissions");
        let datastore = data.path().join("datastore");
        let small = small_image();
        let artifacts = vec![
            offer(&datastore, Role::Kernel, &small.join("vmlinuz")),
            offer(&datastore, Role::Initramfs, &small.join("initramfs")),
        ];
        let url = format!("file://{}", datastore.display());
        let images = ImageCache::open(data.path(), &url).expect("a cache");
        let disks = Arc::new(LocalDisks::open(data.path(), images).expect("disks"));
        let settings = LibvirtSettings { uri: uri.to_owned(), ..LibvirtSettings::default() };
        let hypervisor = Arc::new(LibvirtHypervisor::new(settings, data.path(), HostId::new()));
        Self::new(hypervisor, disks, artifacts, Some(data)).await
    }

    /// A VM that this subject can boot.
    pub fn spec(&self) -> VmSpec {
        VmSpec {
            instance: InstanceId::new(),
            tenant: "acme".into(),
            name: "suite".into(),
            vcpus: MilliVcpus(1000),
            memory: Bytes(128 * MIB),
            disk: Bytes(64 * MIB),
            artifacts: self.artifacts.clone(),
            kernel_cmdline: "console=ttyS0 quiet".into(),
            guest_agent: true,
            hostname: "suite-1".into(),
            ssh_authorized_keys: vec!["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE suite".into()],
            user_data: None,
            restart_policy: RestartPolicy::Never,
            driver: Some(DriverKind::Libvirt),
        }
    }

    pub fn machine(&self, spec: &VmSpec, generation: u64) -> Machine {
        Machine::of(spec, generation, self.disks.paths(spec))
    }

    /// Files and definition, not started.
    pub async fn made(&self, spec: &VmSpec) -> Guard<'_> {
        self.disks.fetch(spec).await.expect("the image is fetched");
        self.disks.prepare(spec, 1, None).await.expect("the disks are made");
        self.hypervisor.define(&self.machine(spec, 1)).await.expect("it is defined");
        Guard { subject: self, instance: spec.instance }
    }

    pub async fn power(&self, instance: InstanceId) -> Option<Power> {
        match self.hypervisor.observe(instance).await.expect("it is observed") {
            Domain::Ours(ours) => Some(ours.power),
            _ => None,
        }
    }

    pub async fn reaches(&self, instance: InstanceId, what: &str, wanted: impl Fn(Option<Power>) -> bool) {
        eventually(BOOT, what, async || wanted(self.power(instance).await)).await;
    }

    pub async fn agent(&self, instance: InstanceId) -> Duration {
        let since = Instant::now();
        eventually(BOOT, "the agent answers", async || {
            self.hypervisor.agent_ping(instance).await.expect("asked")
        })
        .await;
        since.elapsed()
    }
}

/// Removes what a test made, whatever came of the test.
pub struct Guard<'s> {
    subject: &'s Subject,
    pub instance: InstanceId,
}

impl Guard<'_> {
    /// Takes everything away and sees that it is gone.
    pub async fn clean(self) {
        let (hypervisor, disks) = (&self.subject.hypervisor, &self.subject.disks);
        match hypervisor.destroy(self.instance).await {
            Ok(()) | Err(Fault::NotFound) => {}
            Err(fault) => panic!("{fault}"),
        }
        hypervisor.undefine(self.instance).await.expect("it is undefined");
        disks.remove(self.instance).await.expect("its files are removed");
        assert_eq!(hypervisor.observe(self.instance).await, Ok(Domain::Missing));
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() && self.subject.can.driver == DriverKind::Libvirt {
            let name = format!("berth-{}", self.instance);
            let virsh = |verb: &str| {
                std::process::Command::new("virsh").args(["-q", "-c", "qemu:///system", verb, &name]).output()
            };
            let _ = (virsh("destroy"), virsh("undefine"));
        }
    }
}

/// Waits until a condition holds.
pub async fn eventually(deadline: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    testkit::eventually(deadline, what, async || condition().await.then_some(())).await;
}

pub fn files_ready(generation: u64) -> Files {
    Files::Ready { generation }
}

/// Puts a file into a datastore under its digest.
pub fn offer(datastore: &Path, role: Role, file: &Path) -> Artifact {
    let bytes = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let sha256 = hex::encode(Sha256::digest(&bytes));
    std::fs::create_dir_all(datastore.join("images")).expect("a datastore");
    std::fs::write(datastore.join("images").join(&sha256), &bytes).expect("written");
    let size = Bytes(bytes.len() as u64);
    Artifact { role, sha256, size, format: DiskFormat::Raw, virtual_size: Bytes(0) }
}

/// The folder of the small guest image; built when it is missing.
pub fn small_image() -> PathBuf {
    if let Some(given) = std::env::var_os("BERTH_SMALL_IMAGE") {
        return given.into();
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = root.join("target/guest");
    let built = std::process::Command::new(root.join("deploy/images/build-small.sh")).arg(&folder).output();
    match built {
        Ok(output) if output.status.success() => folder,
        Ok(output) => {
            panic!("the small guest image cannot be built: {}", String::from_utf8_lossy(&output.stderr))
        }
        Err(error) => panic!(
            "deploy/images/build-small.sh: {error}; or set BERTH_SMALL_IMAGE to a folder with vmlinuz and initramfs"
        ),
    }
}
