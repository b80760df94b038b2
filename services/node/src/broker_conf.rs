//! The configuration that a node's own nats-server is started with.

use super::broker_users::{self, User};
use super::services::SERVICES;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// What the server is told.
pub(crate) struct BrokerSettings {
    /// The nats-server program.
    pub program: PathBuf,
    /// Where it listens; clients of other systems come from there.
    pub listen: IpAddr,
    /// 0 = the port of last time, or any free one.
    pub port: u16,
    /// Every message is on disk before it is acknowledged.
    pub sync_always: bool,
    /// Where configuration, password and store are kept.
    pub folder: PathBuf,
    /// Certificate and key of the server; without them it speaks plainly.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// Who vouches for clients of other systems: the public side of the gateway's key.
    pub issuer: String,
}

/// The account of the services; other systems are in one of their own, from which only their subjects lead here.
pub(crate) const ACCOUNT: &str = "BERTH";

/// Its text; `passwords` by the names of the users.
pub(crate) fn configuration(
    settings: &BrokerSettings,
    port: u16,
    passwords: &BTreeMap<&str, String>,
) -> String {
    let quote = |path: PathBuf| format!("{:?}", path.display().to_string());
    let sync = if settings.sync_always { "sync_interval: always" } else { "sync_interval: \"2m\"" };
    let tls = settings.certificate.as_ref().map_or_else(String::new, |(certificate, key)| {
        format!("tls {{ cert_file: {}, key_file: {} }}\n", quote(certificate.clone()), quote(key.clone()))
    });
    let (issuer, outside) = (&settings.issuer, gateway::NATS_ACCOUNT);
    let password = |user: &User| format!("{:?}", passwords.get(user.name).map_or("", String::as_str));
    let (users, names) =
        (broker_users::in_configuration(&SERVICES, password), broker_users::names(&SERVICES));
    format!(
        "# Written by `berth up` at each start; changes are lost.\n\
         server_name: berth\n\
         host: {:?}\n\
         port: {port}\n\
         pid_file: {}\n\
         log_file: {}\n\
         logfile_size_limit: 16MB\n\
         max_payload: 8MB\n\
         jetstream {{ store_dir: {}, {sync} }}\n\
         accounts {{\n\
         \x20 {ACCOUNT} {{\n\
         \x20   jetstream: enabled\n\
         \x20   users: [\n\
         {users}\x20   ]\n\
         \x20   exports: [ {{ service: \"ext.*.>\", accounts: [{outside}] }} ]\n\
         \x20 }}\n\
         \x20 {outside} {{ imports: [ {{ service: {{ account: {ACCOUNT}, subject: \"ext.*.>\" }} }} ] }}\n\
         }}\n\
         authorization {{\n\
         \x20 timeout: 5\n\
         \x20 auth_callout {{ issuer: {issuer}, account: {ACCOUNT}, auth_users: [ {names} ] }}\n\
         }}\n\
         {tls}",
        settings.listen.to_string(),
        quote(settings.folder.join("nats-server.pid")),
        quote(settings.folder.join("nats-server.log")),
        quote(settings.folder.join("store")),
    )
}
