//! Which service gets which settings on an all-in-one node: one data folder, SQLite throughout.

use super::settings::{LogFormat, NodeDriver, NodeSettings};
use anyhow::Context;
use chassis::{Chassis, ChassisSettings, TelemetrySettings};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where everything is kept.
pub(crate) struct Folders {
    data: PathBuf,
}

impl Folders {
    pub fn of(settings: &NodeSettings) -> Self {
        Self { data: settings.data_dir.clone() }
    }

    /// Makes the folders, closed to other users of the machine; QEMU has to walk to disks and images.
    pub fn make(&self) -> anyhow::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let closed = ["gateway", "scheduler", "storage", "host_driver", "archive", "nats", "keys", "pki"]
            .map(|name| (name, 0o700));
        for (name, mode) in [("", 0o711), ("host", 0o711), ("datastore", 0o711)].into_iter().chain(closed) {
            let folder = if name.is_empty() { self.data.clone() } else { self.data.join(name) };
            let made = std::fs::create_dir_all(&folder)
                .and_then(|()| std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)));
            made.with_context(|| format!("making the folder {}", folder.display()))?;
        }
        Ok(())
    }

    pub fn nats(&self) -> PathBuf {
        self.data.join("nats")
    }

    pub fn pki(&self) -> PathBuf {
        self.data.join("pki")
    }

    /// The database file of a service.
    pub fn database_file(&self, service: &str) -> PathBuf {
        self.data.join(service).join(format!("{service}.db"))
    }

    pub fn gateway(&self) -> PathBuf {
        self.data.join("gateway")
    }

    pub fn database(&self, service: &str) -> String {
        format!("sqlite://{}", self.database_file(service).display())
    }

    /// Remembers which driver the VMs were made with.
    pub fn driver(&self) -> PathBuf {
        self.data.join("host/driver")
    }

    fn datastore(&self) -> String {
        format!("file://{}", self.data.join("datastore").display())
    }
}

/// What the process needs besides its services.
pub(crate) fn chassis(settings: &NodeSettings, bus: bus::BusSettings) -> ChassisSettings {
    ChassisSettings {
        bus,
        telemetry: telemetry(settings),
        ops_listen: settings.ops_listen.to_string(),
        sealing_key_file: settings.data_dir.join("keys/sealing.key"),
    }
}

pub(crate) fn telemetry(settings: &NodeSettings) -> TelemetrySettings {
    TelemetrySettings {
        log: settings.telemetry.log_level.clone(),
        log_format: match settings.telemetry.log_format {
            LogFormat::Json => chassis::LogFormat::Json,
            LogFormat::Text => chassis::LogFormat::Text,
        },
        otlp_endpoint: settings.telemetry.otlp_endpoint.clone(),
    }
}

/// Starts every service in this process. Answers the address of the gateway.
pub(crate) async fn wire(
    settings: &NodeSettings,
    folders: &Folders,
    certificate: Option<(&Path, &Path)>,
    chassis: &Chassis,
) -> anyhow::Result<SocketAddr> {
    storage::wire(&storage(settings, folders), chassis).await?;
    let scheduler =
        scheduler::Settings { database_url: folders.database("scheduler"), ..scheduler::Settings::default() };
    scheduler::wire(&scheduler, chassis).await?;
    host_driver::wire(&host(settings, folders), chassis).await?;
    archive::wire(&archive(settings, folders), chassis).await?;
    // the door opens last: what comes in finds everybody there
    gateway::start(&gateway(settings, folders, certificate), chassis).await
}

/// Settings of the archive.
pub(crate) fn archive(settings: &NodeSettings, folders: &Folders) -> archive::Settings {
    let url = match settings.archive.url.as_str() {
        "" => format!("file://{}", folders.data.join("archive/store").display()),
        url => url.to_owned(),
    };
    archive::Settings {
        database_url: folders.database("archive"),
        url,
        key_file: folders.data.join("keys/archive.key"),
        segment_events: settings.archive.segment_events,
        segment_age_s: settings.archive.segment_age_s,
        ..archive::Settings::default()
    }
}

/// Settings of the storage service.
pub(crate) fn storage(settings: &NodeSettings, folders: &Folders) -> storage::Settings {
    storage::Settings {
        database_url: folders.database("storage"),
        datastore_url: folders.datastore(),
        allow_private_urls: settings.insecure_dev,
        ..storage::Settings::default()
    }
}

/// Settings of the gateway, with its certificate and key when it speaks TLS.
pub(crate) fn gateway(
    settings: &NodeSettings,
    folders: &Folders,
    certificate: Option<(&Path, &Path)>,
) -> gateway::Settings {
    let (tls_cert_file, tls_key_file) =
        certificate.map(|(certificate, key)| (certificate.to_owned(), key.to_owned())).unwrap_or_default();
    gateway::Settings {
        listen: settings.listen.to_string(),
        data_dir: folders.gateway(),
        database_url: folders.database("gateway"),
        datastore_url: folders.datastore(),
        tls_cert_file,
        tls_key_file,
        insecure_dev: settings.insecure_dev,
        webhooks: gateway::WebhookSettings {
            // checked when the settings were read
            allow: settings.webhooks.networks().unwrap_or_default(),
            allow_http: settings.webhooks.allow_http,
            ca_file: settings.webhooks.ca_file.clone(),
            ..gateway::WebhookSettings::default()
        },
        oidc: settings.oidc.clone(),
        ..gateway::Settings::default()
    }
}

/// Settings of the node's host-driver.
pub(crate) fn host(settings: &NodeSettings, folders: &Folders) -> host_driver::Settings {
    let host = &settings.host;
    let mut made = host_driver::Settings {
        database_url: folders.database("host_driver"),
        data_dir: folders.data.join("host"),
        host_name: host.name.clone(),
        labels: host.labels.clone(),
        datastore_url: folders.datastore(),
        quarantine_keep_s: host.quarantine_keep_s,
        deleted_keep_s: host.deleted_keep_s,
        drivers: match host.driver {
            NodeDriver::Libvirt => vec!["libvirt".to_owned()],
            NodeDriver::Simulated => vec!["simulated".to_owned()],
        },
        ..host_driver::Settings::default()
    };
    if host.driver == NodeDriver::Simulated {
        // these wait for the database alone, and share its commits
        made.concurrency = 256;
    }
    made.libvirt.uri.clone_from(&host.libvirt_uri);
    made.simulated.count = host.simulated_hosts as usize;
    made
}
