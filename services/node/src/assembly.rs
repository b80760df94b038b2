//! Which service gets which settings on an all-in-one node: one data folder, SQLite throughout.

use super::broker_access::Access;
use super::services::SERVICES;
use super::settings::{LogFormat, NodeDriver, NodeSettings};
use anyhow::Context;
use chassis::service::{Given, lay_over};
use chassis::{Chassis, ChassisSettings, Place, Service, TelemetrySettings};
use checker::Database;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;
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
        let closed = SERVICES.map(|service| service.name).into_iter().chain(["nats", "keys", "pki"]);
        let closed = closed.map(|name| (name, 0o700));
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
    pub fn database_file(&self, service: &Service) -> PathBuf {
        service.database_file(&self.data)
    }

    /// The databases of all services.
    pub fn databases(&self) -> Vec<Database> {
        let of = |service: &Service| Database {
            service: service.name.to_owned(),
            url: format!("sqlite://{}", self.database_file(service).display()),
        };
        SERVICES.into_iter().map(of).collect()
    }

    /// Remembers which driver the VMs were made with.
    pub fn driver(&self) -> PathBuf {
        self.data.join("host/driver")
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
pub(crate) async fn start(
    settings: &NodeSettings,
    certificate: Option<(&Path, &Path)>,
    chassis: &Chassis,
    access: &Access,
) -> anyhow::Result<SocketAddr> {
    let mut address = None;
    for service in connected(chassis, access).await? {
        let (service, chassis) = service;
        let started = (service.start)(given(service, settings, certificate), &chassis).await?;
        address = started.address.or(address);
    }
    address.context("no service of the node listens")
}

/// All services in their order, each connected as its own user of the broker. What a service may not do, making streams
/// that are gone among it, the connection of the node does for it.
pub(crate) async fn connected(
    chassis: &Chassis,
    access: &Access,
) -> anyhow::Result<Vec<(&'static Service, Chassis)>> {
    let mut all = Vec::with_capacity(SERVICES.len());
    // of one part of the node's health: they lose one and the same broker
    let report = access.has_users().then(|| chassis.health.component("broker.users").report());
    for service in SERVICES {
        let mut chassis = chassis.clone();
        if let Some(report) = &report {
            let bus = access.of(service.name);
            let opened = bus::Connection::open(&bus, service.program, report.part(service.name)).await;
            let opened = opened.with_context(|| format!("the broker's user {}", service.name))?;
            chassis.bus = opened.streams_by(&chassis.bus);
        }
        all.push((service, chassis));
    }
    Ok(all)
}

/// The settings of a service on a node; `certificate` is chain and key of one that speaks TLS.
pub(crate) fn given(
    service: &Service,
    settings: &NodeSettings,
    certificate: Option<(&Path, &Path)>,
) -> Given {
    let place = Place {
        listen: settings.listen.to_string(),
        certificate: certificate.map(|(chain, key)| (chain.to_owned(), key.to_owned())),
        insecure_dev: settings.insecure_dev,
        ..Place::in_folder(&settings.data_dir, service)
    };
    let mut over = own(service, settings);
    lay_over(&mut over, tuned(service, settings));
    if let Some(more) = settings.services.get(service.program) {
        lay_over(&mut over, more.clone());
    }
    service.settings_at(&place, over)
}

/// The settings of a service that the node says itself, as dotted keys: "libvirt.uri".
pub(crate) fn said_by_the_node(service: &Service, settings: &NodeSettings) -> BTreeSet<String> {
    let mut said = (service.settings)(&Place::in_folder(&settings.data_dir, service));
    lay_over(&mut said, own(service, settings));
    leaves(&said)
}

/// Dotted keys of everything that is no table, or an empty one.
pub(crate) fn leaves(value: &Value) -> BTreeSet<String> {
    let Value::Object(table) = value else { return BTreeSet::new() };
    let inner = table.iter().flat_map(|(key, value)| match leaves(value) {
        inner if inner.is_empty() => vec![key.clone()],
        inner => inner.into_iter().map(|rest| format!("{key}.{rest}")).collect(),
    });
    inner.collect()
}

/// What fits a node better than the defaults of a service, when nobody says otherwise.
fn tuned(service: &Service, settings: &NodeSettings) -> Value {
    let simulated = settings.host.driver == NodeDriver::Simulated;
    if simulated && *service == host_driver::SERVICE {
        // these wait for the database alone, and share its commits
        return json!({ "concurrency": 256 });
    }
    json!({})
}

/// The same, read: for who works with one service.
pub(crate) fn settings_of<S: DeserializeOwned>(
    service: &Service,
    settings: &NodeSettings,
) -> anyhow::Result<S> {
    given(service, settings, None).read().with_context(|| format!("settings of the {}", service.program))
}

/// What the settings of the node say of a service, in its own words.
fn own(service: &Service, settings: &NodeSettings) -> Value {
    let is = |other: &Service| service == other;
    if is(&host_driver::SERVICE) {
        host(settings)
    } else if is(&gateway::SERVICE) {
        json!({
            "webhooks": {
                // checked when the settings were read
                "allow": settings.webhooks.networks().unwrap_or_default(),
                "allow_http": settings.webhooks.allow_http,
                "ca_file": settings.webhooks.ca_file,
            },
            "oidc": settings.oidc,
        })
    } else if is(&archive::SERVICE) {
        let mut own = json!({
            "segment_events": settings.archive.segment_events,
            "segment_age_s": settings.archive.segment_age_s,
        });
        if !settings.archive.url.is_empty() {
            own["url"] = json!(settings.archive.url);
        }
        own
    } else {
        json!({})
    }
}

fn host(settings: &NodeSettings) -> Value {
    let host = &settings.host;
    let simulated = host.driver == NodeDriver::Simulated;
    json!({
        "host_name": host.name,
        "labels": host.labels,
        "quarantine_keep_s": host.quarantine_keep_s,
        "deleted_keep_s": host.deleted_keep_s,
        "drivers": [if simulated { "simulated" } else { "libvirt" }],
        "libvirt": { "uri": host.libvirt_uri },
        "simulated": { "count": host.simulated_hosts },
    })
}
