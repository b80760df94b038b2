//! Sending events to receivers: a courier for each webhook that is active, so that a slow receiver holds up nobody else.
//!
//! What a courier knows is in the tables: it may die at any line, and the next one goes on from there.

mod courier;
mod measures;
mod post;

pub(crate) use post::secrets;

use crate::adapters::webhooks::{Sender, WebhookSettings};
use crate::domain::webhook_patience::Patience;
use crate::store::webhooks;
use ::store::Dialect;
use bus::{Connection, Desk, Pulse, Report, Trouble, Watchdog, watchdog};
use chassis::Sealer;
use kernel::MessageId;
use measures::Measures;
use opentelemetry::metrics::Meter;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How often to look which webhooks there are when nobody says that one changed: another replica may have written.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a courier that failed waits before it begins again.
const AFTER_FAILURE: Duration = Duration::from_secs(2);
/// How often the metrics are taken.
const MEASURED: Duration = Duration::from_secs(5);
/// How long couriers get to hear the answers to what they sent, when the process ends.
const ENDING: Duration = Duration::from_secs(8);

/// What couriers share.
pub struct Dispatch {
    desk: Desk,
    bus: Connection,
    sealer: Arc<Sealer>,
    sender: Sender,
    patience: Patience,
    log_entries: u32,
    log_age: Duration,
    measures: Measures,
    /// Told whether the table of webhooks can be read, and which courier hangs.
    report: Report,
    /// Who sends, among the processes on one database.
    owner: String,
    /// Whether there may be other processes on the database.
    shares: bool,
    /// The right to send holds for so long after it was last written: longer than any request takes, so that two
    /// processes never have requests under way to one receiver.
    lease: Duration,
}

struct Running {
    revision: u64,
    stop: CancellationToken,
    wake: Arc<Notify>,
    task: AbortOnDropHandle<()>,
}

impl Dispatch {
    /// All that sending needs.
    pub fn new(
        desk: &Desk,
        bus: Connection,
        sealer: Arc<Sealer>,
        sender: Sender,
        settings: &WebhookSettings,
        meter: &Meter,
        report: Report,
    ) -> Self {
        let patience = Patience {
            first_pause: Duration::from_millis(settings.first_pause_ms),
            longest_pause: Duration::from_millis(settings.longest_pause_ms),
            give_up_after: Duration::from_secs(settings.give_up_after_s),
            disable_after: Duration::from_secs(settings.disable_after_s),
        };
        let sender_timeout = sender.timeout();
        // a file has one process: what the one before it held is its own at once
        let owner = match desk.store().dialect() {
            Dialect::Sqlite => "local".to_owned(),
            Dialect::Postgres => MessageId::new().to_string(),
        };
        Self {
            desk: desk.clone(),
            bus,
            sealer,
            sender,
            patience,
            log_entries: settings.log_entries,
            log_age: Duration::from_secs(86_400 * u64::from(settings.log_days)),
            measures: Measures::new(meter),
            report,
            owner,
            shares: desk.store().dialect() == Dialect::Postgres,
            lease: sender_timeout * 2 + Duration::from_secs(5),
        }
    }

    /// How often the right to send is written at least; what others put into the table is looked for then as well.
    fn renewed(&self) -> Duration {
        self.lease / 5
    }

    /// Keeps a courier running for each webhook that is active, until told to stop.
    pub async fn run(self: Arc<Self>, stop: CancellationToken, wake: Arc<Notify>) {
        let mut running: HashMap<String, Running> = HashMap::new();
        let mut measured: Option<Instant> = None;
        while !stop.is_cancelled() {
            let pass = tokio::time::timeout(watchdog::PATIENCE, self.pass(&mut running)).await;
            match pass.unwrap_or_else(|_| Err(anyhow::anyhow!("the database does not answer"))) {
                Ok(()) => self.report.part("table").well("webhooks are looked after"),
                Err(error) => {
                    let error = format!("cannot look which webhooks there are: {error:#}");
                    tracing::warn!(error, "webhooks are not looked after");
                    self.report.part("table").unwell(Trouble::Other, error);
                }
            }
            if measured.is_none_or(|at| at.elapsed() >= MEASURED) {
                measured = Some(Instant::now());
                if let Err(error) =
                    self.measures.look(self.desk.store().reader(), self.desk.clock().now()).await
                {
                    tracing::warn!(%error, "cannot measure webhooks");
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = wake.notified() => running.values().for_each(|courier| courier.wake.notify_one()),
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
        running.values().for_each(|courier| courier.stop.cancel());
        let ended = async {
            for (_, courier) in running {
                let _ = courier.task.await;
            }
        };
        if tokio::time::timeout(ENDING, ended).await.is_err() {
            tracing::warn!("some receivers did not answer in time: what they were sent is sent again");
        }
    }

    /// Starts what is missing and stops what changed; it is started again, as it is now, once it has ended.
    async fn pass(self: &Arc<Self>, running: &mut HashMap<String, Running>) -> anyhow::Result<()> {
        let active = webhooks::active(self.desk.store().reader()).await?;
        let wanted: HashMap<&str, u64> =
            active.iter().map(|(id, revision)| (id.as_str(), *revision)).collect();
        running.retain(|_, courier| !courier.task.is_finished());
        for (id, courier) in running.iter() {
            if wanted.get(id.as_str()) != Some(&courier.revision) {
                courier.stop.cancel();
            }
        }
        for (id, revision) in active {
            if running.contains_key(&id) {
                continue;
            }
            let (stop, wake) = (CancellationToken::new(), Arc::new(Notify::new()));
            let (dispatch, told, woken, webhook) = (self.clone(), stop.clone(), wake.clone(), id.clone());
            let task = tokio::spawn(async move {
                // what it hangs at is about one receiver; all that it knows is in the tables
                let watchdog = Watchdog::new(
                    "gateway.webhook courier",
                    watchdog::PATIENCE,
                    dispatch.report.part(&webhook),
                );
                let pulse = Pulse::default();
                let courier = || courier::run(&dispatch, &webhook, &told, &woken, &pulse);
                if let Err(error) = watchdog.over(&pulse, courier).await {
                    tracing::warn!(webhook, error = format!("{error:#}"), "sending stopped; it begins again");
                    tokio::select! { () = told.cancelled() => {} () = tokio::time::sleep(AFTER_FAILURE) => {} }
                }
            });
            running.insert(id, Running { revision, stop, wake, task: AbortOnDropHandle::new(task) });
        }
        Ok(())
    }
}
