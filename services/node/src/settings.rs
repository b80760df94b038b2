//! What a node can be told. Read by `crate::config::node` from `<data_dir>/node.toml`, `BERTH_NODE__…` and flags.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

/// Settings of the all-in-one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSettings {
    /// Everything the node keeps: databases, event log, images, keys.
    pub data_dir: PathBuf,
    /// Where the gateway listens (gRPC and REST on one port); port 0 = any free one.
    pub listen: SocketAddr,
    /// Where metrics and health are served; port 0 = any free one.
    pub ops_listen: SocketAddr,
    /// The broker.
    pub nats: NatsSettings,
    /// The host that the node itself offers.
    pub host: HostSettings,
    /// The event stream in an object store.
    pub archive: ArchiveSettings,
    /// Where events may be sent.
    pub webhooks: WebhookSettings,
    /// The identity provider through which people log in.
    pub oidc: gateway::OidcSettings,
    /// Logs and traces.
    pub telemetry: TelemetrySettings,
    /// More settings of the services, in their own words, by program: `[services.scheduler]`. What the node says itself
    /// (databases, addresses, what stands above) cannot be said again.
    pub services: BTreeMap<String, serde_json::Value>,
    /// Listen without TLS and without durable sync. For trying things out on one machine.
    pub insecure_dev: bool,
}

/// The broker: an external one by URL, or a supervised child process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsSettings {
    /// `nats://host:4222` of a broker that somebody else runs; "" = run one as a child.
    pub url: String,
    /// Folder with the passwords of that broker's users, a file each: `setup`, `operator`, and each service by its name. ""
    /// = all come as the URL says.
    pub passwords: PathBuf,
    /// The nats-server program; looked up in PATH when it is a bare name.
    pub server_path: PathBuf,
    /// Where the child listens. Other systems reach it there with an API token, to send events of their tenant.
    pub listen: IpAddr,
    /// Port of the child; 0 = any free one.
    pub port: u16,
    /// The child syncs every message to disk before it acknowledges.
    pub sync_always: bool,
}

/// The event stream in an object store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ArchiveSettings {
    /// `file:///absolute/folder` or `s3://bucket/prefix`; "" = `archive/store` in the data folder.
    pub url: String,
    /// Events in one segment at most.
    pub segment_events: u64,
    /// Seconds after which events are archived though they do not fill a segment.
    pub segment_age_s: u64,
}

/// Where events may be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookSettings {
    /// Networks to which webhooks may lead although they are not public, with commas between: "10.0.0.0/8,fd12::/16".
    pub allow: String,
    /// Take URLs with plain http.
    pub allow_http: bool,
    /// Certificates (PEM) that receivers may have besides those the system trusts; "" = none.
    pub ca_file: PathBuf,
}

impl WebhookSettings {
    /// The networks; the error is what is no network.
    pub fn networks(&self) -> Result<Vec<ipnet::IpNet>, String> {
        let parts = self.allow.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(|part| part.parse().map_err(|_| part.to_owned())).collect()
    }
}

/// The host that the node itself offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostSettings {
    /// Name of the host; "" = the machine's host name.
    pub name: String,
    /// What runs the instances.
    pub driver: NodeDriver,
    /// `qemu:///system`, `test:///default`, … (driver libvirt).
    pub libvirt_uri: String,
    /// Labels that placement can ask for.
    pub labels: BTreeMap<String, String>,
    /// How many hosts to pretend (driver simulated).
    pub simulated_hosts: u32,
    /// Seconds for which files are kept that were put aside and that nobody ordered to go.
    pub quarantine_keep_s: u64,
    /// Seconds for which the disks of deleted instances are kept; 0 = they are removed at once.
    pub deleted_keep_s: u64,
}

/// What runs the instances of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeDriver {
    /// Real guests through libvirt.
    Libvirt,
    /// Pretended guests, for trying out and tests.
    Simulated,
}

/// Logs and traces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetrySettings {
    /// `http://127.0.0.1:4317` of an OpenTelemetry collector; "" = no traces are sent.
    pub otlp_endpoint: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// `info`, `debug`, or a filter such as `info,bus=debug`.
    pub log_level: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Default for NodeSettings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::new(),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7480)),
            ops_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7481)),
            nats: NatsSettings::default(),
            host: HostSettings::default(),
            archive: ArchiveSettings::default(),
            webhooks: WebhookSettings::default(),
            oidc: gateway::OidcSettings::default(),
            telemetry: TelemetrySettings::default(),
            services: BTreeMap::new(),
            insecure_dev: false,
        }
    }
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            passwords: PathBuf::new(),
            server_path: PathBuf::from("nats-server"),
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 0,
            sync_always: true,
        }
    }
}

impl Default for ArchiveSettings {
    fn default() -> Self {
        Self { url: String::new(), segment_events: 10_000, segment_age_s: 300 }
    }
}

impl Default for HostSettings {
    fn default() -> Self {
        Self {
            name: String::new(),
            driver: NodeDriver::Libvirt,
            libvirt_uri: "qemu:///system".to_owned(),
            labels: BTreeMap::new(),
            simulated_hosts: 3,
            quarantine_keep_s: host_driver::Settings::default().quarantine_keep_s,
            deleted_keep_s: host_driver::Settings::default().deleted_keep_s,
        }
    }
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self { otlp_endpoint: String::new(), log_format: LogFormat::Text, log_level: "info".to_owned() }
    }
}
