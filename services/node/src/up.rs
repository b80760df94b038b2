//! A node from its start to its end.

use crate::assembly::{self, Folders};
use crate::broker::{self, Broker};
use crate::broker_access::Access;
use crate::broker_conf::BrokerSettings;
use crate::pki::{self, Pki};
use crate::services::SERVICES;
use crate::settings::NodeSettings;
use anyhow::Context;
use chassis::{Chassis, Telemetry};
use std::net::SocketAddr;
use terminal::config::Ready;
use tokio_util::sync::CancellationToken;

/// Runs the node until `stop` is cancelled, then shuts it down in order and returns.
///
/// `ready` is called once, when the gateway answers: the command line then writes `<data_dir>/client.toml` and tells
/// the user. `settings` are checked already and `data_dir` exists. An error is printed to the user as it is, with its
/// causes: it says what would be right.
pub async fn up(
    settings: NodeSettings,
    ready: impl FnOnce(Ready) + Send,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let telemetry = Telemetry::start_for("berth", &assembly::telemetry(&settings), &SERVICES)?;
    let folders = Folders::of(&settings);
    folders.make()?;
    let pki = if settings.insecure_dev {
        tracing::warn!(
            "insecure_dev: no TLS, and the broker syncs only now and then; not for anything you would miss"
        );
        None
    } else {
        let addresses = [settings.listen.ip(), settings.ops_listen.ip(), settings.nats.listen];
        Some(Pki::ensure(&folders.pki(), &addresses).context("making the node's certificates")?)
    };
    // before anything is started for nothing
    for address in [settings.listen, settings.ops_listen] {
        std::net::TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    }
    let health = chassis::Health::default();
    let (access, broker) = broker_for(&settings, &folders, pki.as_ref(), &health).await?;
    // the node itself makes the streams; each of its services comes as a user of its own
    let own = assembly::chassis(&settings, access.setup());
    let chassis = Chassis::start_with_health("berth", &own, health).await?;

    let certificate = pki.as_ref().map(|pki| (pki.certificate.as_path(), pki.key.as_path()));
    let outcome = match assembly::start(&settings, certificate, &chassis, &access).await {
        Ok(address) => {
            ready(reachable(&settings, pki.as_ref(), address)?);
            tokio::select! {
                () = stop.cancelled() => Ok(()),
                () = chassis.tasks.failed() => Err(anyhow::anyhow!("a part of the node ended by itself; its log says why")),
            }
        }
        Err(error) => Err(error),
    };
    tracing::info!("stopping");
    chassis.stop().await;
    // last of all: what was said until now is on the stream
    if let Some(broker) = broker {
        broker.stop().await;
    }
    telemetry.flush();
    outcome
}

/// The broker that somebody else runs, when the settings name one.
fn elsewhere(settings: &NodeSettings) -> Option<Access> {
    let nats = &settings.nats;
    let at = bus::BusSettings { url: nats.url.clone(), ..bus::BusSettings::default() };
    match (nats.url.as_str(), nats.passwords.as_os_str().is_empty()) {
        ("", _) => None,
        (_, true) => Some(Access::without_users(at)),
        (_, false) => Some(Access::with_users(at, nats.passwords.clone())),
    }
}

pub(crate) async fn broker_for(
    settings: &NodeSettings,
    folders: &Folders,
    pki: Option<&Pki>,
    health: &chassis::Health,
) -> anyhow::Result<(Access, Option<Broker>)> {
    if let Some(access) = elsewhere(settings) {
        return Ok((access, None));
    }
    let broker = Broker::start(
        BrokerSettings {
            program: settings.nats.server_path.clone(),
            listen: settings.nats.listen,
            port: settings.nats.port,
            sync_always: settings.nats.sync_always && !settings.insecure_dev,
            folder: folders.nats(),
            certificate: pki.map(|pki| (pki.certificate.clone(), pki.key.clone())),
            issuer: gateway::nats_issuer(&assembly::settings_of(&gateway::SERVICE, settings)?)?,
        },
        health.component("nats"),
    )
    .await
    .context("the node's broker")?;
    Ok((broker.access(pki.map(|pki| pki.ca.as_path())), Some(broker)))
}

/// How to reach the broker of a node that is up, to look at it.
pub fn broker_settings(settings: &NodeSettings) -> anyhow::Result<bus::BusSettings> {
    Ok(access(settings)?.operator())
}

/// The same, to make and change streams.
pub fn setup_settings(settings: &NodeSettings) -> anyhow::Result<bus::BusSettings> {
    Ok(access(settings)?.setup())
}

fn access(settings: &NodeSettings) -> anyhow::Result<Access> {
    if let Some(access) = elsewhere(settings) {
        return Ok(access);
    }
    let folders = Folders::of(settings);
    broker::running(&folders.nats(), pki::authority(&folders.pki()).as_deref())
        .context("the node is not up: start it with `berth up`")
}

fn reachable(settings: &NodeSettings, pki: Option<&Pki>, address: SocketAddr) -> anyhow::Result<Ready> {
    let gateway: gateway::Settings = assembly::settings_of(&gateway::SERVICE, settings)?;
    let file = gateway.admin_token_file();
    let token = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    // a listener on all addresses is reached through this machine's own
    let host = if settings.listen.ip().is_unspecified() { "127.0.0.1".to_owned() } else { host_of(address) };
    let scheme = if pki.is_some() { "https" } else { "http" };
    Ok(Ready {
        endpoint: format!("{scheme}://{host}:{}", address.port()),
        token: token.trim().to_owned(),
        ca_file: pki.map(|pki| pki.ca.clone()),
    })
}

fn host_of(address: SocketAddr) -> String {
    if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() }
}
