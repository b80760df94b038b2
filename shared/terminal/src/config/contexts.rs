//! Contexts: the gateways a user knows by name.

use super::Environment;
use super::layer;
use ::client::{Exit, Failure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// A settings file of the client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ClientFile {
    /// Name of the context in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// table, json or yaml.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Seconds one call may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_timeout_s: Option<u32>,
    /// How often a call is sent when the connection fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// Gateways by name.
    pub contexts: BTreeMap<String, Context>,
}

/// A gateway and how to talk to it. Relative paths are relative to the file they stand in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// `https://berth.example.com:7480`.
    pub endpoint: String,
    /// API token; better kept in a file of its own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token: String,
    /// File with the API token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Tenant to act in.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tenant: String,
    /// Certificate authority in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Let a token and data travel unencrypted to another machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_plain_http: bool,
}

/// A context and the file it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedContext {
    /// How to talk to the gateway.
    pub context: Context,
    /// Where it is written.
    pub file: PathBuf,
    /// It is the one in use.
    pub current: bool,
}

/// Every context that can be chosen, by name, and which one is in use.
pub fn known_contexts(
    flags: &super::ClientFlags,
    environment: &Environment,
) -> Result<BTreeMap<String, ListedContext>, Failure> {
    let files = super::client::files(flags, environment)?;
    let current = super::client::chosen_context(flags, environment, &files).map(|(name, _)| name);
    let mut known = BTreeMap::new();
    for (file, read) in files {
        for (name, context) in read.content.contexts {
            let current = current.as_deref() == Some(name.as_str());
            known.insert(name, ListedContext { context, file: file.clone(), current });
        }
    }
    Ok(known)
}

/// What a client needs to talk to a node that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// `http://127.0.0.1:7480` or `https://…`.
    pub endpoint: String,
    /// The administrator's API token, "" = the node asks for none.
    pub token: String,
    /// The certificate authority of the node in PEM, when it speaks TLS.
    pub ca_file: Option<PathBuf>,
}

/// Writes the context "local" of a node into `<data_dir>/client.toml`, readable by its owner only.
pub fn write_local_context(data_dir: &Path, ready: &Ready) -> Result<PathBuf, Failure> {
    let context = Context {
        endpoint: ready.endpoint.clone(),
        token: ready.token.clone(),
        ca_file: ready.ca_file.clone(),
        ..Context::default()
    };
    let file = ClientFile {
        current: Some("local".to_owned()),
        contexts: [("local".to_owned(), context)].into(),
        ..ClientFile::default()
    };
    let path = data_dir.join("client.toml");
    let text = toml::to_string(&file).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    replace(&path, &format!("# Written by `berth up` at each start.\n{text}"))?;
    Ok(path)
}

/// Makes `name` the context in use, in the user's file. Everything else in the file stays as it is.
pub fn use_context(
    name: &str,
    flags: &super::ClientFlags,
    environment: &Environment,
) -> Result<PathBuf, Failure> {
    let known = known_contexts(flags, environment)?;
    if !known.contains_key(name) {
        let names: Vec<String> = known.into_keys().collect();
        let hint = match names.is_empty() {
            true => "there are no contexts yet: `berth up` makes one, `berth config add` another".to_owned(),
            false => format!("known contexts: {}", names.join(", ")),
        };
        return Err(Failure::new(Exit::NotFound, format!("no context is called {name:?}")).hint(hint));
    }
    let path = super::client::user_file(flags, environment);
    let text = read_or_empty(&path)?;
    let line = format!("current = {}", toml::Value::from(name));
    replace(
        &path,
        &with_current(&text, &line).map_err(|why| Failure::usage(format!("{}: {why}", path.display())))?,
    )?;
    Ok(path)
}

/// Adds a context to the user's file, and makes it the one in use when it is the first.
pub fn add_context(
    name: &str,
    context: &Context,
    flags: &super::ClientFlags,
    environment: &Environment,
) -> Result<PathBuf, Failure> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Err(Failure::usage(format!(
            "context name {name:?}: expected letters, digits, '-', '_' and '.'"
        )));
    }
    let path = super::client::user_file(flags, environment);
    let present: Option<layer::File<ClientFile>> = layer::read(&path)?;
    let content = present.map(|file| file.content).unwrap_or_default();
    if content.contexts.contains_key(name) {
        return Err(Failure::new(
            Exit::Refused,
            format!("{} has a context {name:?} already", path.display()),
        ));
    }
    let addition =
        ClientFile { contexts: [(name.to_owned(), context.clone())].into(), ..ClientFile::default() };
    let addition =
        toml::to_string(&addition).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let text = read_or_empty(&path)?;
    let gap = if text.is_empty() { "" } else { "\n" };
    let mut text = format!("{text}{gap}{addition}");
    if content.current.is_none() {
        text = with_current(&text, &format!("current = {}", toml::Value::from(name)))
            .map_err(|why| Failure::usage(format!("{}: {why}", path.display())))?;
    }
    replace(&path, &text)?;
    Ok(path)
}

/// Replaces the line of the key `current`, or puts it first.
fn with_current(text: &str, line: &str) -> Result<String, String> {
    let table = DeTable::parse(text).map_err(|error| error.message().to_owned())?;
    let found = table.get_ref().iter().find(|(key, _)| key.get_ref() == "current");
    Ok(match found {
        Some((key, value)) => format!("{}{line}{}", &text[..key.span().start], &text[value.span().end..]),
        None => format!("{line}\n{text}"),
    })
}

pub(super) fn read_or_empty(path: &Path) -> Result<String, Failure> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|error| Failure::usage(format!("settings file {}: {error}", path.display()))),
    }
}

/// Writes a file in one step: a reader sees the old text or the new one. Only the owner may read it.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let explain = |error: std::io::Error| {
        Failure::new(Exit::Failed, format!("cannot write {}: {error}", path.display()))
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(explain)?;
    let fresh = path.with_extension(format!("toml.{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(&fresh).map_err(explain)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(explain)?;
    std::fs::rename(&fresh, path).map_err(explain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_context_changes_and_nothing_else() {
        let text = "# mine\ncurrent = \"a\" # why\n\n[contexts.a]\nendpoint = \"https://a:1\"\n";
        let changed = with_current(text, "current = \"b\"").expect("valid");
        assert_eq!(changed, text.replace("\"a\" #", "\"b\" #"));
        let added = with_current("[contexts.a]\nendpoint = \"x\"\n", "current = \"b\"").expect("valid");
        let read: ClientFile = toml::from_str(&added).expect("valid");
        assert_eq!(read.current.as_deref(), Some("b"));
    }

    #[test]
    fn a_node_writes_a_context_only_its_owner_reads() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let ready = Ready { endpoint: "http://127.0.0.1:1".into(), token: "t\"\n".into(), ca_file: None };
        let path = write_local_context(folder.path(), &ready).expect("writes");
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let read: layer::File<ClientFile> = layer::read(&path).expect("valid").expect("there");
        assert_eq!(read.content.contexts["local"].token, "t\"\n");
        assert_eq!(read.content.current.as_deref(), Some("local"));
    }
}
