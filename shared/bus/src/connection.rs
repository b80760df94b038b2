//! The connection to the broker.

use crate::wait::{Wait, flat};
use crate::{Report, StreamLimits, Trouble, topology};
use async_nats::jetstream;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How to reach the broker.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BusSettings {
    /// `nats://host:port`, several separated by commas.
    pub url: String,
    /// User and password, "" = none.
    pub user: String,
    /// Read from `password_file` when that is set.
    pub password: String,
    /// A file that holds the password.
    pub password_file: String,
    /// Certificate authority of the server (PEM), "" = the system's, when the URL says tls://.
    pub ca_file: String,
    /// Missing streams are made, and updated when they differ. Not where a user of its own does that: `berth setup`.
    pub makes_streams: bool,
    /// Copies of each stream in a cluster: 1, 3 or 5.
    pub replicas: usize,
    /// How much each stream takes.
    pub limits: StreamLimits,
}

/// Beginnings of the inboxes of a user: nobody else may listen there.
pub fn inbox_of(user: &str) -> String {
    format!("_INBOX_{user}")
}

impl BusSettings {
    /// How a connection is made, whatever it is for.
    pub(crate) async fn options(&self) -> Result<async_nats::ConnectOptions, String> {
        let mut options = async_nats::ConnectOptions::new();
        if !self.user.is_empty() {
            let password = match self.password_file.as_str() {
                "" => self.password.clone(),
                file => tokio::fs::read_to_string(file)
                    .await
                    .map_err(|e| format!("{file}: {e}"))?
                    .trim()
                    .to_owned(),
            };
            options = options
                .user_and_password(self.user.clone(), password)
                .custom_inbox_prefix(inbox_of(&self.user));
        }
        if !self.ca_file.is_empty() {
            options = options.add_root_certificates(self.ca_file.clone().into()).require_tls(true);
        }
        Ok(options)
    }
}

impl Default for BusSettings {
    fn default() -> Self {
        Self {
            url: "nats://127.0.0.1:4222".into(),
            user: String::new(),
            password: String::new(),
            password_file: String::new(),
            ca_file: String::new(),
            makes_streams: true,
            replicas: 1,
            limits: StreamLimits::default(),
        }
    }
}

/// Between two attempts to bring the streams about at the start of a process.
const START_PAUSES: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// How long it may take to bring about all streams.
const ALL_STREAMS: Duration = Duration::from_secs(60);

/// The broker cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// It does not answer or does not let us in.
    #[error("cannot reach the broker at {url}: {reason}")]
    Unreachable {
        /// Without credentials.
        url: String,
        /// What happened.
        reason: String,
    },
    /// It takes too long to bring the streams about.
    #[error("the broker did not bring the streams about within {0:?}")]
    Slow(Duration),
    /// A stream cannot be as declared.
    #[error(transparent)]
    Topology(#[from] topology::TopologyError),
    /// This connection makes no streams, and nobody else has made them.
    #[error("the streams are not there, and this user does not make them: run `berth setup` ({0})")]
    NoStreams(String),
}

/// A connection that reconnects for ever. Cheap to clone.
#[derive(Clone)]
pub struct Connection {
    client: async_nats::Client,
    jetstream: jetstream::Context,
    replicas: usize,
    limits: StreamLimits,
    turns: Arc<watch::Sender<Turns>>,
    /// Over what streams are made; `None` = somebody else makes them.
    maker: Option<jetstream::Context>,
}

/// How often the connection was lost and made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Turns {
    pub lost: u64,
    pub made: u64,
}

/// Which server this is, which of its lives, and which connection to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// A server takes a new id each time it starts.
    pub server: String,
    connection: u64,
}

/// What the broker did not let this process do. It says so beside everything else, and whoever asked hears nothing.
#[derive(Clone)]
struct Denials {
    connection: String,
    denied: Counter<u64>,
}

impl Denials {
    fn of(connection: &str) -> Self {
        let denied = opentelemetry::global::meter("bus")
            .u64_counter("berth_bus_denied")
            .with_description(
                "What the broker did not let a process do, by connection: a defect, or an attack.",
            )
            .build();
        // from nothing to one is no increase
        denied.add(0, &[KeyValue::new("connection", connection.to_owned())]);
        Self { connection: connection.to_owned(), denied }
    }

    fn note(&self, error: &str) {
        if error.to_lowercase().contains("permissions violation") {
            tracing::error!(connection = self.connection, error, "the broker does not allow this");
            self.denied.add(1, &[KeyValue::new("connection", self.connection.clone())]);
        } else {
            tracing::warn!(connection = self.connection, error, "broker");
        }
    }
}

impl Connection {
    /// Connects and brings the streams about. `name` shows in the server's list of connections.
    pub async fn open(settings: &BusSettings, name: &str, report: Report) -> Result<Self, ConnectionError> {
        let unreachable = |reason: String| ConnectionError::Unreachable { url: settings.url.clone(), reason };
        let turns = Arc::new(watch::Sender::new(Turns::default()));
        let noted = turns.clone();
        let denials = Denials::of(name);
        let options = settings.options().await.map_err(unreachable)?;
        let options = options
            .name(name)
            .ping_interval(Duration::from_secs(10))
            .request_timeout(Some(Duration::from_secs(5)))
            .max_reconnects(None)
            .reconnect_delay_callback(|attempt| Duration::from_millis((50 << attempt.min(6)) as u64))
            .event_callback(move |event| {
                let (report, noted, denials) = (report.clone(), noted.clone(), denials.clone());
                async move {
                    match event {
                        async_nats::Event::Connected => {
                            noted.send_modify(|turns| turns.made += 1);
                            report.well("connected");
                        }
                        async_nats::Event::Disconnected => {
                            noted.send_modify(|turns| turns.lost += 1);
                            report.unwell(Trouble::BrokerAway, "the broker does not answer; reconnecting");
                        }
                        async_nats::Event::ServerError(error) => denials.note(&error.to_string()),
                        other => tracing::warn!(%other, "broker"),
                    }
                }
            });
        let urls: Vec<&str> = settings.url.split(',').map(str::trim).collect();
        let client = options.connect(urls).await.map_err(|e| unreachable(e.to_string()))?;
        let mut jetstream = jetstream::new(client.clone());
        jetstream.set_timeout(Duration::from_secs(5));
        let maker = settings.makes_streams.then(|| jetstream.clone());
        let (replicas, limits) = (settings.replicas, settings.limits.clone());
        let connection = Self { client, jetstream, replicas, limits, turns, maker };
        // services that start together ask for the same streams at once, and a busy broker may answer late
        for pause in START_PAUSES {
            match connection.ensure_streams().await {
                Ok(()) => return Ok(connection),
                Err(error) => tracing::warn!(%error, "streams not there yet; asking again"),
            }
            tokio::time::sleep(pause).await;
        }
        connection.ensure_streams().await?;
        Ok(connection)
    }

    /// The same connection, for which `maker` brings streams back that are gone: its user may, this one's may not.
    pub fn streams_by(self, maker: &Self) -> Self {
        Self { maker: maker.maker.clone(), ..self }
    }

    /// Makes missing streams and updates those that differ. Where another user does that, sees whether they are there.
    pub async fn ensure_streams(&self) -> Result<(), ConnectionError> {
        let Some(maker) = &self.maker else {
            // the one that everybody may ask for
            let asked = tokio::time::timeout(ALL_STREAMS, self.jetstream.get_stream(topology::EVENTS)).await;
            let found = asked.map_err(|_| ConnectionError::Slow(ALL_STREAMS))?;
            return found.map(drop).map_err(|error| ConnectionError::NoStreams(error.to_string()));
        };
        let all = topology::reconcile(maker, self.replicas, &self.limits);
        match tokio::time::timeout(ALL_STREAMS, all).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(ConnectionError::Slow(ALL_STREAMS)),
        }
    }

    /// The same, within the time that a loop under watch may take, and not past the end of the connection. Whether it
    /// went well shows in what is done next.
    pub(crate) async fn restore_streams(&self) {
        if let Err(error) = flat(Wait::new(self).answer(self.ensure_streams()).await) {
            tracing::debug!(error, "streams not looked after");
        }
    }

    /// Between two equal answers it was the same server all the time. It changes before anything is received on a new
    /// connection.
    pub(crate) fn identity(&self) -> Identity {
        let info = self.client.server_info();
        Identity { server: info.server_id, connection: info.client_id }
    }

    /// Tells when the connection is lost or made. The client may lose count when very much happens, so nothing may wait
    /// for this alone.
    pub(crate) fn turns(&self) -> watch::Receiver<Turns> {
        self.turns.subscribe()
    }

    /// Whether there is a connection now.
    pub fn is_up(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// How much the streams take.
    pub fn limits(&self) -> &StreamLimits {
        &self.limits
    }

    /// What the broker is and what it keeps, compared with what it should keep.
    pub async fn survey(&self) -> Result<crate::survey::Survey, crate::survey::SurveyError> {
        crate::survey::ask(&self.client, self.replicas, &self.limits).await
    }

    /// Publishing and subscribing without a stream.
    pub fn client(&self) -> &async_nats::Client {
        &self.client
    }

    /// Streams and consumers.
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }
}
