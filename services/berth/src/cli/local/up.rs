//! What `berth up` and `berth down` understand.

use crate::cli::arguments::{duration, pair};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Run the whole platform on this machine: broker, services and a host in one process
#[derive(Debug, Args)]
#[command(
    after_help = "Settings of the node come from these flags, then BERTH_NODE__* variables, then node.toml in the data folder;
`berth config check --node` prints them. The node writes client.toml into its data folder, so that other
commands with the same --data-dir (or the default one) reach it.

Examples:
  berth up
  berth up --data-dir /srv/berth --driver simulated --simulated-hosts 10 --insecure-dev
  berth up --detach && berth status && berth down"
)]
pub struct UpArgs {
    /// Address and port of the gateway [default: 127.0.0.1:7480]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Address and port of metrics and health [default: 127.0.0.1:7481]
    #[arg(long, value_name = "ADDRESS")]
    pub ops_listen: Option<String>,
    /// What runs instances: libvirt or simulated [default: libvirt]
    #[arg(long, value_name = "DRIVER")]
    pub driver: Option<String>,
    /// Start with another driver than the one the node's VMs were made with: they are kept, and nobody looks after them
    /// until it is started as before
    #[arg(long)]
    pub driver_change: bool,
    /// How many hosts to pretend; implies --driver simulated
    #[arg(long, value_name = "N")]
    pub simulated_hosts: Option<u32>,
    /// libvirt to use [default: qemu:///system]
    #[arg(long, value_name = "URI")]
    pub libvirt_uri: Option<String>,
    /// Name of the host [default: that of the machine]
    #[arg(long, value_name = "NAME")]
    pub host_name: Option<String>,
    /// Label of the host; repeatable
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    pub labels: Vec<(String, String)>,
    /// The nats-server program to run [default: nats-server from PATH]
    #[arg(long, value_name = "PATH", conflicts_with = "nats_url")]
    pub nats_server: Option<PathBuf>,
    /// A broker that runs already, instead of one of the node's own
    #[arg(long, value_name = "URL")]
    pub nats_url: Option<String>,
    /// Traces go to this OpenTelemetry collector
    #[arg(long, value_name = "URL")]
    pub otlp_endpoint: Option<String>,
    /// How log lines look: json or text [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// info, debug, or a filter such as info,bus=debug [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Without TLS and durable sync; for trying things out on this machine only
    #[arg(long)]
    pub insecure_dev: bool,
    /// Go to the background once the node is up; logs go to berth.log in the data folder
    #[arg(long)]
    pub detach: bool,
}

/// Stop the node of this machine, in order
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth down\n  berth down --data-dir /srv/berth --timeout 2m")]
pub struct DownArgs {
    /// Longest wait for its end
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    pub timeout: Duration,
}
