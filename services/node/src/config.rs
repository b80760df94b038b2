//! Settings of a node: `<data_dir>/node.toml`, `BERTH_NODE__…`, flags of `berth up`.

use crate::of_services;
use crate::settings::{NodeDriver, NodeSettings, WebhookSettings};
use client::{Exit, Failure};
use config::{Config, Source as _, Value};
use std::path::PathBuf;
use terminal::config::layer::{self, Layer};
use terminal::config::{Effective, Environment, leaves};

/// What the command line says: paths of settings, values and the flag; e.g. `(["nats", "url"], "nats://…", "--nats-url")`.
pub type Flag = (&'static [&'static str], String, &'static str);

/// Settings in force, and where each came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// For `crate::up`.
    pub settings: NodeSettings,
    /// Each setting and where it came from.
    pub effective: Vec<Effective>,
}

/// The data folder: `--data-dir`, else `BERTH_DATA_DIR`, else the default of this user.
pub fn data_dir(flag: Option<&PathBuf>, environment: &Environment) -> (PathBuf, &'static str) {
    match (flag, environment.get("BERTH_DATA_DIR")) {
        (Some(path), _) => (path.clone(), "--data-dir"),
        (None, Some(path)) => (PathBuf::from(path), "BERTH_DATA_DIR"),
        (None, None) => (environment.default_data_dir(), "default"),
    }
}

/// Reads file and environment, puts the flags on top and checks everything.
pub fn load(
    data_dir_flag: Option<&PathBuf>,
    flags: &[Flag],
    environment: &Environment,
) -> Result<Loaded, Failure> {
    let (folder, folder_origin) = data_dir(data_dir_flag, environment);
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    let file =
        layer::read::<NodeSettings>(&folder.join("node.toml"))?.map(|file| file.layer).unwrap_or_default();
    if let Some(value) = file.0.get("data_dir") {
        return Err(Failure::usage(format!(
            "{}: data_dir cannot be set in a file inside of it",
            value.origin().unwrap_or_default()
        ))
        .hint("use --data-dir or BERTH_DATA_DIR"));
    }
    let mut over = Layer::default();
    for (path, value, flag) in flags {
        over.set_at(path, value.clone(), flag);
    }
    over.set("data_dir", folder.display().to_string(), folder_origin);
    let defaults =
        Config::try_from(&NodeSettings::default()).map_err(|error| Failure::usage(error.to_string()))?;
    let merged = Config::builder()
        .add_source(defaults)
        .add_source(file)
        .add_source(from_environment(environment)?)
        .add_source(over)
        .build()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let mut effective = leaves(&merged.cache, &variable);
    let mut problems = wrong_values(&merged.cache, &effective);
    let settings = match (problems.is_empty(), merged.try_deserialize::<NodeSettings>()) {
        (true, Ok(settings)) => {
            problems.extend(contradictions(&settings, &effective));
            problems.extend(of_services::wrong(&settings, &effective));
            effective.extend(of_services::defaults(&settings));
            effective.sort_by(|a, b| a.key.cmp(&b.key));
            settings
        }
        (true, Err(error)) => return Err(Failure::usage(format!("settings of the node: {error}"))),
        (false, _) => NodeSettings::default(),
    };
    match problems.as_slice() {
        [] => Ok(Loaded { settings, effective }),
        [only] => Err(Failure::usage(only.clone())),
        _ => {
            Err(Failure { reasons: problems, ..Failure::new(Exit::Usage, "settings of the node are wrong") })
        }
    }
}

/// "nats.server_path" is `BERTH_NODE__NATS__SERVER_PATH`.
fn variable(key: &str) -> String {
    format!("BERTH_NODE__{}", key.to_uppercase().replace('.', "__").replace('-', "_"))
}

fn from_environment(environment: &Environment) -> Result<Layer, Failure> {
    let source = config::Environment::with_prefix("BERTH_NODE")
        .prefix_separator("__")
        .separator("__")
        .source(Some(environment.berth()));
    let values = source.collect().map_err(|error| Failure::usage(error.to_string()))?;
    let known: Vec<String> = known_keys();
    let mut layer = Layer::default();
    for (key, value) in values {
        // those of services are looked at when it is known which there are
        let free = ["host.labels.", "oidc.roles.", "services."];
        if !known.contains(&key) && !free.iter().any(|free| key.starts_with(free)) {
            let names: Vec<String> = known.iter().map(|key| variable(key)).collect();
            return Err(Failure::usage(format!("{} is no setting of a node", variable(&key)))
                .hint(format!("known are {}", names.join(", "))));
        }
        let key = of_services::with_program(&key);
        let path: Vec<&str> = key.split('.').collect();
        layer.set_at(&path, value.kind, "the environment");
    }
    Ok(layer)
}

fn known_keys() -> Vec<String> {
    let defaults = Config::try_from(&NodeSettings::default())
        .map(|config| leaves(&config.cache, &variable))
        .unwrap_or_default();
    defaults.into_iter().map(|leaf| leaf.key).filter(|key| key != "data_dir").collect()
}

type Check = (&'static str, fn(&str) -> bool, &'static str);

/// Checked one by one before anything is read into types, so that a mistake is told with its place.
const CHECKS: [Check; 17] = [
    ("listen", is_address, "an address and a port, such as 127.0.0.1:7480"),
    ("ops_listen", is_address, "an address and a port, such as 127.0.0.1:7481"),
    ("nats.listen", |text| text.parse::<std::net::IpAddr>().is_ok(), "an IP address, such as 0.0.0.0"),
    ("nats.port", |text| text.parse::<u16>().is_ok(), "a port, 0 to 65535 (0 = any free one)"),
    (
        "nats.passwords",
        |text| text.is_empty() || text.starts_with('/'),
        "the absolute path of a folder with a file for each user of the broker",
    ),
    ("nats.sync_always", is_bool, "true or false"),
    ("host.driver", |text| matches!(text, "libvirt" | "simulated"), "libvirt or simulated"),
    (
        "host.simulated_hosts",
        |text| text.parse().is_ok_and(|n: u32| (1..=100_000).contains(&n)),
        "1 to 100000",
    ),
    ("host.quarantine_keep_s", is_keep, "seconds, at most 315360000 (ten years)"),
    ("host.deleted_keep_s", is_keep, "seconds, at most 315360000 (ten years); 0 = nothing is kept"),
    (
        "archive.url",
        |text| text.is_empty() || text.starts_with("file:///") || text.starts_with("s3://"),
        "file:///absolute/folder or s3://bucket/prefix",
    ),
    (
        "archive.segment_events",
        |text| text.parse().is_ok_and(|n: u64| (1..=1_000_000).contains(&n)),
        "1 to 1000000",
    ),
    (
        "archive.segment_age_s",
        |text| text.parse().is_ok_and(|n: u64| (1..=86_400).contains(&n)),
        "1 to 86400 seconds",
    ),
    ("webhooks.allow", is_networks, "networks with commas between, such as 10.0.0.0/8,fd12::/16"),
    ("webhooks.allow_http", is_bool, "true or false"),
    ("telemetry.log_format", |text| matches!(text, "json" | "text"), "json or text"),
    ("insecure_dev", is_bool, "true or false"),
];

fn is_keep(text: &str) -> bool {
    text.parse().is_ok_and(|seconds: u64| seconds <= 315_360_000)
}

fn is_address(text: &str) -> bool {
    text.parse::<std::net::SocketAddr>().is_ok()
}

fn is_networks(text: &str) -> bool {
    WebhookSettings { allow: text.to_owned(), ..WebhookSettings::default() }.networks().is_ok()
}

fn is_bool(text: &str) -> bool {
    matches!(text, "true" | "false")
}

fn wrong_values(root: &Value, effective: &[Effective]) -> Vec<String> {
    let wrong = |(key, check, expected): &Check| {
        let text = text_at(root, key)?;
        (!check(&text))
            .then(|| format!("{key} {text:?} ({}): expected {expected}", origin_of(effective, key)))
    };
    CHECKS.iter().filter_map(wrong).collect()
}

fn text_at(root: &Value, key: &str) -> Option<String> {
    let mut at = root.clone();
    for part in key.split('.') {
        at = at.into_table().ok()?.remove(part)?;
    }
    at.into_string().ok()
}

fn origin_of<'a>(effective: &'a [Effective], key: &str) -> &'a str {
    effective.iter().find(|e| e.key == key).map_or("default", |e| e.origin.as_str())
}

fn contradictions(settings: &NodeSettings, effective: &[Effective]) -> Vec<String> {
    let from = |key: &str| origin_of(effective, key);
    let mut problems = Vec::new();
    let host = &settings.host;
    if host.driver == NodeDriver::Libvirt && host.libvirt_uri.is_empty() {
        problems.push(format!(
            "host.libvirt_uri is empty ({}): expected a URI such as qemu:///system",
            from("host.libvirt_uri")
        ));
    }
    if !host.name.is_empty() && !is_host_name(&host.name) {
        let expected = "expected 1 to 63 lower case letters, digits, '-' and '.'";
        problems.push(format!("host.name {:?} ({}): {expected}", host.name, from("host.name")));
    }
    if settings.nats.url.is_empty() && settings.nats.server_path.as_os_str().is_empty() {
        problems.push("neither nats.url nor nats.server_path is set: one of them is needed".to_owned());
    }
    if !settings.nats.url.is_empty()
        && !["nats://", "tls://"].iter().any(|scheme| settings.nats.url.starts_with(scheme))
    {
        problems
            .push(format!("nats.url ({}): expected nats://host:4222 or tls://host:4222", from("nats.url")));
    }
    if settings.listen == settings.ops_listen && settings.listen.port() != 0 {
        problems.push(format!(
            "listen and ops_listen are both {}: expected two different ports",
            settings.listen
        ));
    }
    let otlp = &settings.telemetry.otlp_endpoint;
    if !otlp.is_empty() && !["http://", "https://"].iter().any(|scheme| otlp.starts_with(scheme)) {
        problems.push(format!(
            "telemetry.otlp_endpoint {otlp:?} ({}): expected http://host:4317",
            from("telemetry.otlp_endpoint")
        ));
    }
    if settings.insecure_dev {
        let listens = [
            ("listen", settings.listen.ip()),
            ("ops_listen", settings.ops_listen.ip()),
            ("nats.listen", settings.nats.listen),
        ];
        for (key, address) in listens {
            if !address.is_loopback() {
                problems.push(format!("{key} {address} ({}) with insecure_dev: without TLS only this machine may connect; expected 127.0.0.1", from(key)));
            }
        }
    }
    problems
}

fn is_host_name(name: &str) -> bool {
    name.len() <= 63
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
