//! A service as one value: what it is called, what it keeps, what it needs, how it starts.
//!
//! Each service's crate has one, `pub static SERVICE`. Who runs services, looks after them or writes the files they are
//! deployed with goes through a list of these values; nobody else writes a service's name.

use crate::{Chassis, SettingsError};
use bus::rebuild::Rebuild;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use store::{MigrationFile, Store};

/// A service. All of it is fixed when it is compiled.
pub struct Service {
    /// Its name on the bus: package of its messages, folder, database, prefix of the parts in its health: "host_driver".
    pub name: &'static str,
    /// The program, and with it the container, the unit, the settings file and the section of a node's settings:
    /// "host-driver".
    pub program: &'static str,
    /// The crate whose spans are its own.
    pub krate: &'static str,
    /// What it does, in a few words: "images, taken in and verified".
    pub about: &'static str,
    /// Its tables.
    pub migrations: &'static [MigrationFile],
    /// How its tables come out of the events, given its settings and a database that may be another than its own.
    pub tables: fn(&Given, &Store) -> anyhow::Result<Box<dyn Rebuild>>,
    /// Its settings where nobody set any.
    pub defaults: fn() -> Value,
    /// Whether it could work with these settings; the error names the setting and what would be right.
    pub check: fn(&Given) -> anyhow::Result<()>,
    /// The settings that follow from where it runs.
    pub settings: fn(&Place) -> Value,
    /// Starts it.
    pub start: for<'a> fn(Given, &'a Chassis) -> BoxFuture<'a, anyhow::Result<Started>>,
    /// Parts of its health beside those that the chassis gives every service.
    pub health: &'static [&'static str],
    /// It has a durable consumer of events, called after it.
    pub listens_to_events: bool,
    /// Names of the services to whose queues it writes. [`bus::Work::tell`] refuses others, and so does the broker.
    pub tells: &'static [&'static str],
    /// What it does on the bus besides saying, telling and obeying. Its user of the broker may do no more.
    pub reach: Reach,
    /// What has to be there for it.
    pub needs: Needs,
}

/// What a service does on the bus besides saying its events, telling others and obeying.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    /// It asks owners, and opens live channels with them.
    pub asks: bool,
    /// It serves live channels.
    pub channels: bool,
    /// Names of the services whose samples it hears.
    pub samples_of: &'static [&'static str],
    /// It stands between the broker and the world: takes what other systems send, vouches for them, and shows operators
    /// streams and dead letters, which it sends again to whoever could not take them.
    pub door: bool,
}

impl Reach {
    /// Nothing of it.
    pub const NONE: Self = Self { asks: false, channels: false, samples_of: &[], door: false };
}

/// What a service needs where it runs; files that it is deployed with are written from this.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    /// The folder that gateways, storage and hosts share.
    pub datastore: Access,
    /// The key that seals secrets on the bus.
    pub sealing_key: Access,
    /// Whether it can keep its tables in PostgreSQL, and so have replicas.
    pub postgres: bool,
    /// Folders of its own below the data folder.
    pub folders: &'static [&'static str],
    /// Debian packages that it runs programs of, or is linked against.
    pub packages: &'static [&'static str],
    /// Programs of services that have to be well before it starts.
    pub after: &'static [&'static str],
    /// It works with the hypervisors of the machine.
    pub hypervisors: bool,
    /// The port it listens on for everybody; 0 = none.
    pub port: u16,
    /// Its settings in a container of the local stack, as TOML: what differs from the defaults, and why.
    pub container: &'static str,
}

/// What may be done with something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nothing.
    None,
    /// Read.
    Read,
    /// Read and write.
    Write,
}

/// A service that was started.
#[derive(Debug, Clone, Copy, Default)]
pub struct Started {
    /// Where it listens for everybody, when it does.
    pub address: Option<SocketAddr>,
}

/// Where a service runs, on a node or in a test.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// The folder of everything that is kept.
    pub data_dir: PathBuf,
    /// Its database.
    pub database_url: String,
    /// The folder that gateways, storage and hosts share: `file:///absolute/folder`.
    pub datastore_url: String,
    /// Address and port for everybody.
    pub listen: String,
    /// Certificate chain and key (PEM) of who listens for everybody.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// For trying out: without TLS, and with addresses of the own network.
    pub insecure_dev: bool,
}

impl Place {
    /// Where a service runs whose data is in this folder, with SQLite.
    pub fn in_folder(data_dir: &Path, service: &Service) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            database_url: format!("sqlite://{}", service.database_file(data_dir).display()),
            datastore_url: format!("file://{}", data_dir.join("datastore").display()),
            ..Self::default()
        }
    }
}

impl Service {
    /// Its SQLite file in a data folder.
    pub fn database_file(&self, data_dir: &Path) -> PathBuf {
        data_dir.join(self.name).join(format!("{}.db", self.name))
    }

    /// Its settings at a place, and over them what somebody set.
    pub fn settings_at(&self, place: &Place, own: Value) -> Given {
        let mut settings = (self.settings)(place);
        lay_over(&mut settings, own);
        Given(settings)
    }

    /// The parts of its health: "storage.relay", "storage.imports".
    pub fn parts(&self) -> impl Iterator<Item = String> {
        let of_all = ["relay", "store", "outbox", "tables"].iter();
        of_all.chain(self.health).map(|part| format!("{}.{part}", self.name))
    }
}

/// Names tell services apart.
impl PartialEq for Service {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Service").field(&self.name).finish()
    }
}

/// Settings as somebody gave them, not read into the type of their service yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Given(Value);

impl Given {
    /// What stands in them.
    pub fn new(settings: Value) -> Self {
        Self(settings)
    }

    /// As the settings of a service; what it does not know is refused by name. A number that stands for a text is taken
    /// for one, and the other way round: the environment does not tell them apart.
    pub fn read<S: DeserializeOwned>(&self) -> Result<S, SettingsError> {
        let value: config::Value = serde_json::from_value(self.0.clone()).map_err(SettingsError::new)?;
        value.try_deserialize().map_err(SettingsError::new)
    }

    /// The same as JSON.
    pub fn as_json(&self) -> &Value {
        &self.0
    }
}

/// Puts `over` on `settings`: tables key by key, everything else as a whole.
pub fn lay_over(settings: &mut Value, over: Value) {
    match (settings, over) {
        (Value::Object(settings), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(settings.entry(key).or_insert(json!(null)), value);
            }
        }
        (settings, over) => *settings = over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        password: String,
        workers: u32,
        #[serde(default)]
        labels: std::collections::BTreeMap<String, String>,
    }

    #[test]
    fn what_is_laid_over_wins_key_by_key() {
        let mut settings = json!({"a": {"x": 1, "y": [1, 2]}, "b": 2});
        lay_over(&mut settings, json!({"a": {"y": [3]}, "c": {"z": true}}));
        assert_eq!(settings, json!({"a": {"x": 1, "y": [3]}, "b": 2, "c": {"z": true}}));
    }

    #[test]
    fn what_the_environment_cannot_tell_apart_is_read_as_it_is_meant() {
        let given = Given::new(json!({"password": 1234, "workers": "8", "labels": {"rack": 7}}));
        let read: Sample = given.read().expect("read");
        assert_eq!((read.password.as_str(), read.workers, read.labels["rack"].as_str()), ("1234", 8, "7"));
    }

    #[test]
    fn a_setting_that_is_not_known_is_refused_by_name() {
        let given = Given::new(json!({"password": "", "workers": 1, "wrokers": 2}));
        let error = given.read::<Sample>().expect_err("refused").to_string();
        assert!(error.contains("wrokers") && error.contains("workers"), "{error}");
    }
}
