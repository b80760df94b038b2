//! Settings of the client.

use super::contexts::ClientFile;
use super::effective::{Effective, leaves};
use super::layer::{self, File, Layer};
use super::paths::Environment;
use crate::output::Format;
use ::client::{Connect, Exit, Failure};
use config::{Config, Source as _};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What the command line says; `None` = nothing.
#[derive(Debug, Clone, Default)]
pub struct ClientFlags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--context`.
    pub context: Option<String>,
    /// `--endpoint`.
    pub endpoint: Option<String>,
    /// `--token-file`.
    pub token_file: Option<PathBuf>,
    /// `--tenant`.
    pub tenant: Option<String>,
    /// `--ca-file`.
    pub ca_file: Option<PathBuf>,
    /// `--output`.
    pub output: Option<Format>,
    /// `--request-timeout`, seconds.
    pub request_timeout_s: Option<u32>,
}

/// Settings in force.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// How to reach the gateway.
    pub connect: Connect,
    /// How results are printed.
    pub output: Format,
    /// Each setting and where it came from.
    pub effective: Vec<Effective>,
}

/// The settings that the environment may set, as `BERTH_<KEY>`.
const KEYS: [&str; 9] = [
    "endpoint",
    "token",
    "token_file",
    "tenant",
    "ca_file",
    "allow_plain_http",
    "output",
    "request_timeout_s",
    "attempts",
];
/// Of a context; they belong together.
const SECRETS: [&str; 2] = ["token", "token_file"];

#[derive(Deserialize)]
struct Merged {
    endpoint: String,
    #[serde(default)]
    token: String,
    token_file: Option<PathBuf>,
    #[serde(default)]
    tenant: String,
    ca_file: Option<PathBuf>,
    #[serde(default)]
    allow_plain_http: bool,
    output: String,
    request_timeout_s: u32,
    attempts: u32,
}

/// Reads files and environment and puts the flags on top.
pub fn load(flags: &ClientFlags, environment: &Environment) -> Result<ClientSettings, Failure> {
    let files = files(flags, environment)?;
    // without its file the request would go to whatever node answers at the default address
    if let Some(folder) = named_folder(flags, environment)
        && !files.iter().any(|(path, _)| *path == folder.join("client.toml"))
    {
        return Err(Failure::usage(format!("no node was started in {}", folder.display()))
            .hint(format!("berth up --data-dir {}", folder.display())));
    }
    let mut layers = vec![defaults()];
    layers.extend(files.iter().map(|(_, file)| general(file)));
    let over = [from_environment(environment)?, from_flags(flags)];
    let chosen = chosen_context(flags, environment, &files);
    if let Some((name, said_out_loud)) = &chosen {
        // somebody else's token never goes to an endpoint that was given apart from it
        let elsewhere = over.iter().any(|layer| layer.0.contains_key("endpoint"));
        if *said_out_loud || !elsewhere {
            layers.push(context_layer(name, &files)?);
        }
    }
    layers.extend(over);
    one_credential(&mut layers)?;
    let mut builder = Config::builder();
    for layer in layers {
        builder = builder.add_source(layer);
    }
    let merged = builder.build().map_err(|error| Failure::usage(error.to_string()))?;
    let mut effective = leaves(&merged.cache, &|key| format!("BERTH_{}", key.to_uppercase()));
    if let Some((name, _)) = chosen {
        effective.insert(
            0,
            Effective {
                key: "context".into(),
                value: name,
                origin: context_origin(flags, environment, &files),
            },
        );
    }
    let merged: Merged = merged.try_deserialize().map_err(|error| {
        Failure::usage(format!("settings: {error}"))
            .hint("`berth config check` shows where each setting comes from")
    })?;
    checked(merged, effective)
}

fn checked(merged: Merged, effective: Vec<Effective>) -> Result<ClientSettings, Failure> {
    let origin = |key: &str| {
        effective.iter().find(|e| e.key == key).map_or("default", |e| e.origin.as_str()).to_owned()
    };
    let output = <Format as clap::ValueEnum>::from_str(&merged.output, true).map_err(|_| {
        Failure::usage(format!(
            "output {:?} ({}): expected table, json or yaml",
            merged.output,
            origin("output")
        ))
    })?;
    for (key, value) in [("request_timeout_s", merged.request_timeout_s), ("attempts", merged.attempts)] {
        if value == 0 {
            return Err(Failure::usage(format!("{key} 0 ({}): expected 1 or more", origin(key))));
        }
    }
    let token = match merged.token_file {
        Some(file) => std::fs::read_to_string(&file)
            .map_err(|error| {
                Failure::usage(format!("token file {} ({}): {error}", file.display(), origin("token_file")))
            })?
            .trim()
            .to_owned(),
        None => merged.token,
    };
    let connect = Connect {
        endpoint: merged.endpoint,
        token,
        tenant: merged.tenant,
        ca_file: merged.ca_file,
        allow_plain_http: merged.allow_plain_http,
        request_timeout: Duration::from_secs(u64::from(merged.request_timeout_s)),
        attempts: merged.attempts,
    };
    Ok(ClientSettings { connect, output, effective })
}

fn defaults() -> Layer {
    let mut layer = Layer::default();
    for (key, value) in [
        ("endpoint", "http://127.0.0.1:7480"),
        ("output", "table"),
        ("request_timeout_s", "60"),
        ("attempts", "5"),
    ] {
        layer.set(key, value, "default");
    }
    layer
}

/// The user's file: `--config`, else `$BERTH_CONFIG`, else below the home folder.
pub(super) fn user_file(flags: &ClientFlags, environment: &Environment) -> PathBuf {
    flags.config.clone().unwrap_or_else(|| environment.user_config())
}

fn named_folder(flags: &ClientFlags, environment: &Environment) -> Option<PathBuf> {
    flags.data_dir.clone().or_else(|| environment.get("BERTH_DATA_DIR").map(PathBuf::from))
}

type Files = Vec<(PathBuf, File<ClientFile>)>;

/// The files that exist, weakest first: the default node's, the user's, that of a node named on purpose.
pub(super) fn files(flags: &ClientFlags, environment: &Environment) -> Result<Files, Failure> {
    let named = named_folder(flags, environment);
    let user = user_file(flags, environment);
    let mut paths = vec![environment.default_data_dir().join("client.toml"), user.clone()];
    paths.extend(named.iter().map(|folder| folder.join("client.toml")));
    let mut files = Vec::new();
    for path in paths {
        match layer::read(&path)? {
            Some(file) => files.push((path, file)),
            None if path == user && (flags.config.is_some() || environment.get("BERTH_CONFIG").is_some()) => {
                return Err(Failure::usage(format!("settings file {} does not exist", path.display())));
            }
            None => {}
        }
    }
    Ok(files)
}

/// The context to use, and whether flags or environment named it.
pub(super) fn chosen_context(
    flags: &ClientFlags,
    environment: &Environment,
    files: &Files,
) -> Option<(String, bool)> {
    let named = flags.context.as_deref().or_else(|| environment.get("BERTH_CONTEXT"));
    match named {
        Some(name) => Some((name.to_owned(), true)),
        None => {
            files.iter().rev().find_map(|(_, file)| file.content.current.clone()).map(|name| (name, false))
        }
    }
}

fn context_origin(flags: &ClientFlags, environment: &Environment, files: &Files) -> String {
    let in_file =
        || files.iter().rev().find_map(|(_, file)| file.layer.0.get("current")?.origin().map(str::to_owned));
    match (flags.context.is_some(), environment.get("BERTH_CONTEXT").is_some()) {
        (true, _) => "--context".to_owned(),
        (false, true) => "BERTH_CONTEXT".to_owned(),
        _ => in_file().unwrap_or_else(|| "default".to_owned()),
    }
}

fn general(file: &File<ClientFile>) -> Layer {
    Layer(
        file.layer
            .0
            .iter()
            .filter(|(key, _)| KEYS.contains(&key.as_str()))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
    )
}

fn context_layer(name: &str, files: &Files) -> Result<Layer, Failure> {
    for (path, file) in files.iter().rev() {
        if !file.content.contexts.contains_key(name) {
            continue;
        }
        let contexts = file
            .layer
            .0
            .get("contexts")
            .and_then(|value| value.clone().into_table().ok())
            .unwrap_or_default();
        let mut values =
            contexts.get(name).and_then(|value| value.clone().into_table().ok()).unwrap_or_default();
        for key in ["token_file", "ca_file"] {
            if let Some(value) = values.get_mut(key) {
                let relative = value.clone().into_string().unwrap_or_default();
                let whole = path.parent().unwrap_or(Path::new("")).join(relative);
                value.kind = config::ValueKind::String(whole.display().to_string());
            }
        }
        return Ok(Layer(values));
    }
    let names: Vec<&str> =
        files.iter().flat_map(|(_, file)| file.content.contexts.keys().map(String::as_str)).collect();
    let hint = if names.is_empty() {
        "no contexts are known".to_owned()
    } else {
        format!("known contexts: {}", names.join(", "))
    };
    Err(Failure::new(Exit::Usage, format!("no context is called {name:?}")).hint(hint))
}

fn from_environment(environment: &Environment) -> Result<Layer, Failure> {
    // the separator after the prefix must be named: otherwise it would follow the one between keys
    let source =
        config::Environment::with_prefix("BERTH").prefix_separator("_").source(Some(environment.berth()));
    let values = source.collect().map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Layer(values.into_iter().filter(|(key, _)| KEYS.contains(&key.as_str())).collect()))
}

fn from_flags(flags: &ClientFlags) -> Layer {
    let mut layer = Layer::default();
    let path = |path: &PathBuf| path.display().to_string();
    let output = flags
        .output
        .and_then(|format| Some(clap::ValueEnum::to_possible_value(&format)?.get_name().to_owned()));
    for (key, flag, value) in [
        ("endpoint", "--endpoint", flags.endpoint.clone()),
        ("token_file", "--token-file", flags.token_file.as_ref().map(path)),
        ("tenant", "--tenant", flags.tenant.clone()),
        ("ca_file", "--ca-file", flags.ca_file.as_ref().map(path)),
        ("output", "--output", output),
        ("request_timeout_s", "--request-timeout", flags.request_timeout_s.map(|s| s.to_string())),
    ] {
        if let Some(value) = value {
            layer.set(key, value, flag);
        }
    }
    layer
}

/// The strongest layer that names a token or a token file decides; both in one place contradict each other.
fn one_credential(layers: &mut [Layer]) -> Result<(), Failure> {
    let mut decided = false;
    for layer in layers.iter_mut().rev() {
        let named: Vec<String> = SECRETS
            .iter()
            .filter_map(|key| layer.0.get(*key))
            .map(|v| v.origin().unwrap_or_default().to_owned())
            .collect();
        if decided {
            SECRETS.iter().for_each(|key| drop(layer.0.remove(*key)));
        } else if named.len() > 1 {
            let places = if named[0] == named[1] { named[0].clone() } else { named.join(" and ") };
            return Err(Failure::usage(format!(
                "both a token and a token file are given ({places}): keep one of them"
            )));
        }
        decided |= !named.is_empty();
    }
    Ok(())
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
