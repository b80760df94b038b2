//! The public door of a Berth platform: gRPC and REST on one port, one function per operation behind both; the
//! operations and the read model. See README.md.
#![forbid(unsafe_code)]

mod adapters;
mod api;
mod bootstrap;
mod domain;
mod handlers;
mod reconcilers;
mod service;
mod store;
mod translate;

pub use gateway_access::new_tenants::NewTenantQuota;
pub use gateway_access::oidc_settings::OidcSettings;
pub use gateway_api::rest::openapi::document as openapi_document;
pub use gateway_api::store::MIGRATIONS;
pub use gateway_api::translate::external_events::original as original_cloud_event;
pub use gateway_api::translate::redact::json as shown_json;
pub use gateway_api::wakeups::Wakeups;
pub use handlers::subscriptions;
pub use service::SERVICE;
pub use store::STATE_TABLES;
pub use translate::diagnosis::broker as broker_diagnosis;

use adapters::staging::Staging;
use api::Api;
use api::lookup::Tables;
use bus::rebuild::{FromHandlers, Rebuild};
use chassis::{Chassis, Loop, Stage};
use gateway_access::adapters::passwords::Passwords;
use gateway_access::api::Access;
use gateway_access::api::auth::Doorkeeper;
use gateway_access::api::logins::Logins;
use gateway_access::bootstrap::{admin_token, default_tenant};
use gateway_access::reconcilers::ended_tokens::{self, EndedTokens};
use gateway_api::adapters::keys::TokenKey;
use gateway_api::api::accept::Requests;
use gateway_api::api::admission::Admission;
use gateway_api::api::admit::Admit;
use gateway_api::api::audit::{Drafts, Records};
use gateway_api::api::kinds::Kinds;
use gateway_api::api::lookup::Lookup;
use gateway_api::api::pace::Pace;
use gateway_api::api::{audit, intake};
use gateway_api::server::doors::Doors;
use gateway_api::server::{listen, tls};
use gateway_events::adapters::nats_claims::CalloutKey;
use gateway_events::adapters::webhooks::Sender;
pub use gateway_events::adapters::webhooks::WebhookSettings;
use gateway_events::api::events::{self, Events, OpenStreams};
use gateway_events::api::external_events::{ExternalEvents, Publisher};
use gateway_events::api::webhooks::Webhooks;
use gateway_events::reconcilers::external_events;
use gateway_events::reconcilers::webhooks::Dispatch;
use gateway_events::server::nats_door::NatsDoor;
use gateway_events::server::nats_events::NatsEvents;
use reconcilers::unanswered::Unanswered;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

/// Settings of the gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address of the public port: "0.0.0.0:7480".
    pub listen: String,
    /// Folder for the SQLite file, the token key and `admin.token`.
    pub data_dir: PathBuf,
    /// `sqlite:///path/file.db` or `postgres://…`; "" = `gateway.db` in the data folder.
    pub database_url: String,
    /// Where uploads go: `file:///path`. The storage service reads them from the same place.
    pub datastore_url: String,
    /// Certificate chain (PEM); "" = no TLS.
    pub tls_cert_file: PathBuf,
    /// Key of the certificate (PEM).
    pub tls_key_file: PathBuf,
    /// Listen without TLS on addresses that are not loopback. Never in production.
    pub insecure_dev: bool,
    /// Key under which tokens are hashed, the same for all replicas; "" = `token.key` in the data folder.
    pub token_key_file: PathBuf,
    /// Requests answered at once; one more is refused. Streams do not count.
    pub requests_in_flight: usize,
    /// Requests of one token in a second, spread evenly, with a reserve of as many; 0 = no limit.
    pub token_requests_per_second: u32,
    /// Seconds after which the command of an operation is sent again of which no service has said anything and which is
    /// not in its queue any more. More than the 120 s in which the broker takes a second copy for a duplicate.
    pub unanswered_after_s: u64,
    /// Most bytes of one uploaded file.
    pub upload_limit_bytes: u64,
    /// Days for which sessions and tokens are kept after their end; 1 or more.
    pub keep_ended_tokens_days: u32,
    /// Limits that tenants get when they are made; without one they have none.
    pub new_tenant_quota: NewTenantQuota,
    /// Events sent to receivers outside.
    pub webhooks: WebhookSettings,
    /// Streams of events that are open at once; one more is refused.
    pub event_streams: usize,
    /// Streams of events that are open at once for the callers of one tenant.
    pub event_streams_per_tenant: usize,
    /// Seconds for which a reader may take nothing while events wait for it; then its stream is ended.
    pub event_reader_patience_s: u64,
    /// The key under which the gateway vouches for clients of the broker (made when it is not there), the same for all
    /// replicas; "" = `nats-callout.seed` in the data folder. The configuration of the broker names its public side.
    pub nats_callout_file: PathBuf,
    /// The identity provider.
    pub oidc: OidcSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7480".into(),
            data_dir: "/var/lib/berth/gateway".into(),
            database_url: String::new(),
            datastore_url: "file:///var/lib/berth/datastore".into(),
            tls_cert_file: PathBuf::new(),
            tls_key_file: PathBuf::new(),
            insecure_dev: false,
            token_key_file: PathBuf::new(),
            requests_in_flight: 4_096,
            token_requests_per_second: 0,
            unanswered_after_s: 150,
            upload_limit_bytes: 256 << 30,
            keep_ended_tokens_days: 30,
            new_tenant_quota: NewTenantQuota::default(),
            webhooks: WebhookSettings::default(),
            event_streams: 1_000,
            event_streams_per_tenant: 100,
            event_reader_patience_s: 60,
            nats_callout_file: PathBuf::new(),
            oidc: OidcSettings::default(),
        }
    }
}

impl Settings {
    /// The file that holds the administrator's first token.
    pub fn admin_token_file(&self) -> PathBuf {
        self.data_dir.join("admin.token")
    }

    fn database_url(&self) -> String {
        if self.database_url.is_empty() {
            return format!("sqlite://{}", self.data_dir.join("gateway.db").display());
        }
        self.database_url.clone()
    }

    /// Refuses what cannot work, with what would be right.
    pub fn check(&self) -> anyhow::Result<()> {
        self.new_tenant_quota.limits()?;
        self.keep_ended_tokens().map(drop)
    }

    fn keep_ended_tokens(&self) -> anyhow::Result<Duration> {
        // less than a day is less than clocks may differ after a mistake
        anyhow::ensure!(
            self.keep_ended_tokens_days >= 1,
            "gateway.keep_ended_tokens_days is 0: write 1 or more"
        );
        Ok(Duration::from_secs(24 * 3600) * self.keep_ended_tokens_days)
    }

    fn event_limits(&self) -> events::ReaderLimits {
        events::ReaderLimits {
            streams: self.event_streams,
            streams_of_a_tenant: self.event_streams_per_tenant,
            patience: Duration::from_secs(self.event_reader_patience_s.max(1)),
        }
    }

    /// The file of the key for clients of the broker.
    pub fn nats_callout_file(&self) -> PathBuf {
        if self.nats_callout_file.as_os_str().is_empty() {
            return self.data_dir.join("nats-callout.seed");
        }
        self.nats_callout_file.clone()
    }

    fn token_key_file(&self) -> PathBuf {
        if self.token_key_file.as_os_str().is_empty() {
            return self.data_dir.join("token.key");
        }
        self.token_key_file.clone()
    }
}

/// The public side of the key for clients of the broker, made when it is not there: what `issuer` in the broker's
/// configuration has to say.
pub fn nats_issuer(settings: &Settings) -> anyhow::Result<String> {
    Ok(CalloutKey::from_file(&settings.nats_callout_file())?.issuer())
}

/// The account of the broker in which other systems are.
pub use gateway_events::adapters::nats_claims::ACCOUNT as NATS_ACCOUNT;

/// How the gateway's tables come out of the events.
pub fn tables(store: &::store::Store) -> Box<dyn Rebuild> {
    let subscriptions = subscriptions(store, &Wakeups::default());
    Box::new(FromHandlers { tables: STATE_TABLES, subscriptions })
}

/// How long calls may take, after the listener's farewell, that are under way when the gateway stops. With it, it is less than
/// the chassis waits.
const LAST_CALLS: Duration = Duration::from_secs(3);
/// How long a pass may take that removes many files or rows.
const MANY_FILES: Duration = Duration::from_secs(300);

/// Starts the gateway in a process.
pub async fn wire(settings: &Settings, chassis: &Chassis) -> anyhow::Result<()> {
    start(settings, chassis).await.map(|_| ())
}

/// Starts the gateway and answers the address it listens on (the port may be 0 in the settings).
pub async fn start(settings: &Settings, chassis: &Chassis) -> anyhow::Result<SocketAddr> {
    let new_tenants = settings.new_tenant_quota.limits()?;
    let keep_ended_tokens = settings.keep_ended_tokens()?;
    let desk = chassis.desk_of(&SERVICE, &settings.database_url(), tables).await?;
    let key = Arc::new(TokenKey::from_file(&settings.token_key_file())?);
    default_tenant(&desk).await?;
    admin_token(&desk, &key, &settings.admin_token_file()).await?;
    bootstrap::default_flavors(&desk).await?;

    let wakeups = Wakeups::default();
    chassis.serve(&desk, subscriptions(desk.store(), &wakeups));

    let staging = Arc::new(Staging::open(&settings.datastore_url, settings.upload_limit_bytes)?);
    let (sweep, rows, wake) = (staging.clone(), desk.clone(), wakeups.staging());
    let pass = move || {
        let (sweep, rows) = (sweep.clone(), rows.clone());
        async move { reconcilers::staging::pass(&rows, &sweep).await }
    };
    let plan = Loop::every(reconcilers::staging::PERIOD, "gateway.staging").woken_by(wake);
    chassis.reconcile(plan.patient_for(MANY_FILES), pass);
    let late = desk.clone();
    let pass = move || {
        let late = late.clone();
        async move { reconcilers::exec_timeouts::pass(&late).await }
    };
    chassis.reconcile(Loop::every(reconcilers::exec_timeouts::PERIOD, "gateway.exec_timeouts"), pass);

    let patience = Duration::from_secs(settings.unanswered_after_s.max(1));
    let unanswered = Arc::new(Unanswered::new(desk.clone(), chassis.bus.clone(), patience, &chassis.meter));
    let period = unanswered.period();
    let pass = move || {
        let unanswered = unanswered.clone();
        async move { unanswered.pass().await }
    };
    chassis.reconcile(Loop::every(period, "gateway.unanswered"), pass);
    let ended = Arc::new(EndedTokens::new(desk.clone(), keep_ended_tokens, &chassis.meter));
    let pass = move || {
        let ended = ended.clone();
        async move { ended.pass().await }
    };
    chassis.reconcile(Loop::every(ended_tokens::PERIOD, "gateway.ended_tokens"), pass);
    let sender = Sender::new(&settings.webhooks, settings.insecure_dev)?;
    let couriers = Arc::new(Notify::new());
    let dispatch = Arc::new(Dispatch::new(
        &desk,
        chassis.bus.clone(),
        chassis.sealer.clone(),
        sender.clone(),
        &settings.webhooks,
        &chassis.meter,
        chassis.health.component("gateway.webhooks").report(),
    ));
    let woken = couriers.clone();
    chassis.tasks.spawn(Stage::Work, "gateway webhooks", |stop| dispatch.run(stop, woken));
    let past = desk.clone();
    let pass = move || {
        let past = past.clone();
        async move { external_events::pass(&past).await }
    };
    let plan = Loop::every(external_events::PERIOD, "gateway.external_events");
    chassis.reconcile(plan.patient_for(MANY_FILES), pass);
    let external = ExternalEvents::new(&chassis.meter);
    chassis.take_from_outside(&desk, NatsEvents::new(external.clone()));

    // it stops after the listener: requests under way are answered
    let (intake, taker) =
        intake::intake(&desk, &chassis.meter, chassis.health.component("gateway.intake").report());
    chassis.tasks.spawn(Stage::Work, "gateway intake", |stop| taker.run(stop));

    let stopping = CancellationToken::new();
    let pace = Pace::new(settings.token_requests_per_second, &chassis.meter);
    let doorkeeper = Arc::new(Doorkeeper::new(desk.clone(), key.clone(), pace));
    let requests = Requests {
        desk: desk.clone(),
        intake,
        key: key.clone(),
        wakeups: wakeups.clone(),
        stopping: stopping.clone(),
    };
    let access = Arc::new(Access {
        desk: desk.clone(),
        requests: requests.clone(),
        sealer: chassis.sealer.clone(),
        key,
        doorkeeper: doorkeeper.clone(),
        passwords: Passwords::new(&chassis.meter)?,
        logins: Logins::new(&chassis.meter),
        oidc: settings.oidc.open()?,
        new_tenants,
    });
    let events = Events {
        desk: desk.clone(),
        bus: chassis.bus.clone(),
        event_streams: OpenStreams::new(settings.event_limits(), &chassis.meter),
        stopping: stopping.clone(),
    };
    let publisher = Publisher { desk: desk.clone(), requests: requests.clone(), external };
    let webhooks = Webhooks {
        desk: desk.clone(),
        requests: requests.clone(),
        bus: chassis.bus.clone(),
        sealer: chassis.sealer.clone(),
        sender,
        couriers,
    };
    let lookup = Lookup { desk: desk.clone(), wakeups: wakeups.clone(), own_tables: Arc::new(Tables) };
    let kinds = Kinds { desk: desk.clone(), requests: requests.clone(), lookup: lookup.clone() };
    let api = Arc::new(Api {
        desk: desk.clone(),
        access: access.clone(),
        requests,
        lookup,
        bus: chassis.bus.clone(),
        sealer: chassis.sealer.clone(),
        wakeups,
        staging,
        health: chassis.health.clone(),
        desks: chassis.desks.clone(),
        stopping: stopping.clone(),
    });
    let mut routes = Routes::builder();
    Records { desk: desk.clone(), stopping: stopping.clone() }.mount(&mut routes);
    access.mount(&mut routes);
    gateway_events::api::mount(&mut routes, events, publisher, webhooks);
    api.mount(&mut routes)?;
    let admit: Arc<dyn Admit> = doorkeeper;
    let admission = Arc::new(Admission::new(chassis.health.clone(), settings.requests_in_flight));
    let (ledger, clerk) = audit::ledger(&desk, &chassis.meter);
    chassis.tasks.spawn(Stage::Work, "gateway audit", |stop| clerk.run(stop));
    let drafts = Arc::new(Drafts::new(ledger, desk.clock().clone(), admit.clone()));
    let (sockets, calls) = (TaskTracker::new(), drafts.clone());
    let doors = Doors::new(routes.routes(), kinds, &admit, &admission, &drafts, &sockets, &chassis.meter);

    let callout = CalloutKey::from_file(&settings.nats_callout_file())?;
    tracing::info!(issuer = callout.issuer(), "vouches for clients of the broker");
    let (bus, clock) = (chassis.bus.clone(), desk.clock().clone());
    let door = NatsDoor::new(callout, bus, admit.clone(), drafts.clone(), clock, &chassis.meter);
    let health = chassis.health.component("gateway.nats-door");
    chassis.tasks.spawn(Stage::Intake, "gateway nats door", |stop| door.run(stop, health));

    let secure = !settings.tls_cert_file.as_os_str().is_empty();
    let tls = secure.then(|| tls::config(&settings.tls_cert_file, &settings.tls_key_file)).transpose()?;
    let listener = listen::bind(&settings.listen, secure, settings.insecure_dev).await?;
    let address = listener.local_addr()?;
    let health = chassis.health.component("gateway.listener");
    health.ok(format!("{} on {address}", if secure { "https" } else { "http" }));
    tracing::info!(%address, tls = secure, "gRPC and REST");
    chassis.tasks.spawn(Stage::Intake, "gateway listener", |stop| async move {
        // open streams end when the listener is told to stop, not when it has stopped
        let told = stopping.clone();
        tokio::spawn(async move {
            stop.cancelled().await;
            told.cancel();
        });
        listen::serve(listener, tls, doors, sockets, stopping).await;
        // whose caller went away is done and recorded all the same
        calls.end(LAST_CALLS).await;
    });
    Ok(address)
}
