//! The relay: publishes committed rows in order and marks them after the server's acknowledgement.
//!
//! It survives a broker restart (rows stay until acknowledged) and a crash between acknowledgement and mark (the row
//! is found in the stream, or published again under the same id, and the inbox of the reader drops it).

mod audit;
mod marks;
mod memory;
mod prune;
mod publish;
mod refill;
mod verify;

use crate::connection::Identity;
use crate::fail::FailPoint;
use crate::outbox::{self, Waiting};
use crate::watchdog::{self, Pulse, Watchdog};
use crate::{Connection, Desk, Report, Trouble};
use kernel::MessageId;
use marks::Marks;
use opentelemetry::metrics::Counter;
use publish::Full;
pub(crate) use refill::COMMANDS_KEEP;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Rows in flight at once.
const BATCH: i64 = publish::LARGEST_BATCH as i64;
/// The safety net below the wake-ups.
const PERIOD: Duration = Duration::from_millis(500);
/// How often the streams are compared with what the relay remembers of them.
const VERIFY_EVERY: Duration = Duration::from_secs(5);
/// Who stopped relaying is replaced after this long.
const LEASE: Duration = Duration::from_secs(10);
/// A stream that was full is tried again after this long.
const FULL_PAUSE: Duration = Duration::from_millis(250);
/// So many small batches in a row have to fit before large ones are sent again.
const PROBES: u32 = 10;

/// Why a round did not get everything out.
#[derive(Debug, thiserror::Error)]
enum RelayError {
    #[error(transparent)]
    Store(#[from] store::StoreError),
    #[error("publishing: {0}")]
    Broker(String),
}

impl RelayError {
    fn broker(reason: String) -> Self {
        Self::Broker(reason)
    }

    fn trouble(&self) -> Trouble {
        match self {
            Self::Store(error) => Trouble::of_store(error),
            Self::Broker(reason) => Trouble::of_broker(reason),
        }
    }
}

impl From<sqlx::Error> for RelayError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// A stream that takes no more, or little.
struct FullStream {
    /// When a few rows are tried.
    at: Instant,
    reason: String,
    /// How often in a row they were taken.
    taken: u32,
}

/// Publishes one service's outbox.
pub struct Relay {
    desk: Desk,
    connection: Connection,
    report: Report,
    owner: String,
    /// The connection on which the streams were last found to hold what they acknowledged.
    verified: Mutex<Option<Identity>>,
    audit_wanted: AtomicBool,
    /// Streams that were looked at on this connection.
    looked_at: Mutex<BTreeSet<String>>,
    /// Streams that take no more, and when they are tried again.
    full: Mutex<BTreeMap<String, FullStream>>,
    marks: Mutex<Marks>,
    /// When the table was last read.
    read_at: Mutex<Option<Instant>>,
    /// This process relays until then, without asking.
    lease: Mutex<Option<Instant>>,
    refilled: Counter<u64>,
    patience: Duration,
    prune_every: Duration,
}

impl Relay {
    /// A relay for the outbox behind `desk`.
    pub fn new(desk: Desk, connection: Connection, report: Report) -> Self {
        let refilled = opentelemetry::global::meter("bus")
            .u64_counter("berth_bus_refilled_messages")
            .with_description("Messages a stream had lost and got again, by service, stream and reason.")
            .build();
        Self {
            desk,
            connection,
            report,
            owner: MessageId::new().to_string(),
            verified: Mutex::default(),
            audit_wanted: AtomicBool::new(false),
            looked_at: Mutex::default(),
            full: Mutex::default(),
            marks: Mutex::default(),
            read_at: Mutex::default(),
            lease: Mutex::default(),
            refilled,
            patience: watchdog::PATIENCE,
            prune_every: prune::EVERY,
        }
    }

    /// The same with other times: how long a loop that has work may get nowhere, and between two clearings of tables.
    pub fn with_times(self, patience: Duration, prune_every: Duration) -> Self {
        Self { patience, prune_every, ..self }
    }

    /// Publishes until told to stop, then once more, so that nothing that was said stays behind.
    pub async fn run(self, stop: CancellationToken) {
        let watchdog = |name: &str| {
            let name = format!("{}.relay {name}", self.desk.service());
            Watchdog::new(&name, self.patience, self.report.part(&name))
        };
        let [publishing, audits, pruning] = [Pulse::default(), Pulse::default(), Pulse::default()];
        tokio::join!(
            watchdog("publishing").over(&publishing, || self.publishing(&stop, &publishing)),
            watchdog("audits").over(&audits, || self.audits(&stop, &audits)),
            watchdog("pruning").over(&pruning, || self.pruning(&stop, &pruning)),
        );
    }

    /// Forgets what is only in memory: it is in the tables and the streams, or it will be done again.
    async fn start_afresh(&self) {
        *self.marks.lock().await = Marks::default();
        *self.verified.lock().await = None;
        *self.read_at.lock().await = None;
        *self.lease.lock().await = None;
        self.full.lock().await.clear();
        self.desk.handoff().distrust();
    }

    async fn publishing(&self, stop: &CancellationToken, pulse: &Pulse) {
        self.start_afresh().await;
        let mut failures: u32 = 0;
        let mut next_verify = Instant::now() + VERIFY_EVERY;
        loop {
            let stopping = stop.is_cancelled();
            match self.step(stopping, &mut next_verify, pulse).await {
                Ok(more) => {
                    failures = 0;
                    self.say_how_it_is().await;
                    if more {
                        continue;
                    }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    tracing::warn!(service = self.desk.service(), %error, failures, "outbox waits");
                    self.report.unwell(error.trouble(), error.to_string());
                    // a stream may be gone: bring it back, compare what it holds
                    pulse.works(|_| "bringing streams back".to_owned());
                    self.connection.restore_streams().await;
                    next_verify = Instant::now();
                }
            }
            if stopping {
                return;
            }
            pulse.rests();
            let quiet = if self.full.lock().await.is_empty() { PERIOD } else { FULL_PAUSE };
            let pause = if failures == 0 { quiet } else { Duration::from_millis(100 << failures.min(5)) };
            let mut until = Instant::now() + pause;
            if failures == 0 {
                until = until.min(self.marks.lock().await.due().unwrap_or(until));
            }
            let mut turns = self.connection.turns();
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.desk.handoff().notified(), if failures == 0 => {}
                // whoever waits for the broker need not wait longer than it is away
                _ = turns.changed(), if failures > 0 => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// What is due: a look at the streams, a batch, marks. Answers whether there is more to do at once.
    async fn step(
        &self,
        stopping: bool,
        next_verify: &mut Instant,
        pulse: &Pulse,
    ) -> Result<bool, RelayError> {
        pulse.works(|_| "looking for what waits".to_owned());
        if Instant::now() >= *next_verify {
            *next_verify = Instant::now() + VERIFY_EVERY;
            self.write_marks(pulse).await?;
            self.verify_again(pulse).await?;
        }
        let more = self.round(pulse).await;
        let due = self.marks.lock().await.due().is_some_and(|due| stopping || due <= Instant::now());
        if due || more.is_err() {
            self.write_marks(pulse).await?;
        }
        more
    }

    async fn say_how_it_is(&self) {
        match self.full.lock().await.iter().next() {
            None => self.report.well("publishing"),
            Some((stream, full)) => {
                let detail = format!("{stream} takes no more, its messages wait: {}", full.reason);
                self.report.unwell(Trouble::BrokerFull, detail);
            }
        }
    }

    /// Publishes a batch in order. Answers whether there is more to do at once.
    async fn round(&self, pulse: &Pulse) -> Result<bool, RelayError> {
        if !self.holds_lease().await? {
            return Ok(false);
        }
        self.verify_if_reconnected(pulse).await?;
        let rows = self.read().await?;
        let Some(first) = rows.first() else { return Ok(false) };
        let (seq, subject, more) = (first.seq, first.subject.clone(), rows.len() - 1);
        pulse.works(move |_| format!("publishing row {seq}, {subject}, and {more} more"));
        FailPoint::OutboxRead.reached().await;
        let present = self.connection.identity();
        let published = self.publish_all(&rows).await;
        FailPoint::Published.reached().await;
        // what flew during a reconnection may have landed on a stream that lost its tail: it is not marked, but looked
        // for in the next round, while the rows that were marked before still tell how far the stream reached
        let steady = self.connection.identity() == present;
        if steady {
            self.marks.lock().await.note(&present, &published.acknowledged);
        }
        if !steady || published.acknowledged.len() < rows.len() {
            self.desk.handoff().distrust();
        }
        let more = self.note_full(&rows, published.full).await || rows.len() >= BATCH as usize;
        match published.failure {
            Some(reason) => Err(RelayError::Broker(reason)),
            None => Ok(more),
        }
    }

    /// What waits. Of a stream that was full only a few rows, and only now and then: it must not hold up the others.
    async fn read(&self) -> Result<Vec<Waiting>, RelayError> {
        let full = self.full.lock().await;
        let due = full.iter().find(|(_, full)| full.at <= Instant::now()).map(|(stream, _)| stream.clone());
        let skipped: Vec<String> = full.keys().cloned().collect();
        drop(full);
        let (store, handoff) = (self.desk.store(), self.desk.handoff());
        let news = handoff.has_news();
        if !skipped.is_empty() {
            handoff.distrust();
        } else if let Some(rows) = handoff.fetch(BATCH as usize) {
            return Ok(rows);
        }
        let mut read_at = self.read_at.lock().await;
        if !news && handoff.is_wanted() && read_at.is_some_and(|at| at.elapsed() < PERIOD) {
            return Ok(Vec::new());
        }
        *read_at = Some(Instant::now());
        drop(read_at);
        let marks = self.marks.lock().await;
        let taken = marks.len() as i64;
        let mut rows = outbox::unpublished(store, BATCH + taken, &skipped).await?;
        let whole = (rows.len() as i64) < BATCH + taken && skipped.is_empty();
        if let Some(last) = rows.last().filter(|_| whole && store.dialect() == store::Dialect::Sqlite) {
            handoff.read_up_to(last.seq);
        }
        rows.retain(|row| !marks.holds(row.seq));
        rows.truncate(BATCH as usize);
        if let Some(stream) = due {
            let few = publish::SMALLEST_BATCH as i64 - 1;
            let of_full = outbox::unpublished_of(store, &stream, few + taken).await?.into_iter();
            rows.extend(of_full.filter(|row| !marks.holds(row.seq)).take(few as usize));
            // nothing waits any more: all well
            if rows.iter().all(|row| row.stream != stream) {
                self.full.lock().await.remove(&stream);
            }
        }
        Ok(rows)
    }

    /// Remembers which streams are full. Answers whether one that was takes rows again: there is more to send at once.
    async fn note_full(&self, tried: &[Waiting], found: Vec<Full>) -> bool {
        let mut full = self.full.lock().await;
        let mut moves = false;
        full.retain(|stream, state| {
            let taken =
                tried.iter().any(|row| row.stream == *stream) && found.iter().all(|f| f.stream != *stream);
            if taken {
                moves = true;
                state.taken += 1;
                state.at = Instant::now();
            }
            state.taken < PROBES
        });
        for Full { stream, reason } in found {
            if !full.contains_key(&stream) {
                tracing::warn!(
                    service = self.desk.service(),
                    stream,
                    reason,
                    "stream is full; its messages wait"
                );
            }
            full.insert(stream, FullStream { at: Instant::now() + FULL_PAUSE, reason, taken: 0 });
        }
        moves
    }

    /// Writes down what was taken since the last time.
    async fn write_marks(&self, pulse: &Pulse) -> Result<(), RelayError> {
        let mut marks = self.marks.lock().await;
        let rows = marks.len();
        let first = marks.places().first().map_or(0, |(row, _)| *row);
        pulse.works(move |_| format!("writing down where {rows} rows are, the first of them row {first}"));
        if marks.is_empty() {
            return Ok(());
        }
        if !marks.are_of(&self.connection.identity()) {
            *marks = Marks::default();
            self.desk.handoff().distrust();
            return Ok(());
        }
        let mut tx = self.desk.store().begin().await?;
        outbox::mark_published(&mut tx, marks.places()).await?;
        let looked_at = self.looked_at.lock().await;
        let unknown = marks.newest().keys().any(|stream| !looked_at.contains(stream));
        drop(looked_at);
        for (stream, last) in marks.newest() {
            memory::reached(&mut tx, stream, *last).await?;
        }
        FailPoint::MarkWritten.reached().await;
        tx.commit().await?;
        *marks = Marks::default();
        drop(marks);
        if unknown {
            // a stream of which nothing is known but how far it reached: the next round remembers which one it is
            *self.verified.lock().await = None;
        }
        FailPoint::Marked.reached().await;
        Ok(())
    }

    /// One process relays at a time when several share the database: order, and no double work.
    async fn holds_lease(&self) -> Result<bool, RelayError> {
        if self.desk.store().dialect() == store::Dialect::Sqlite {
            return Ok(true);
        }
        let began = Instant::now();
        if self.lease.lock().await.is_some_and(|until| began < until) {
            return Ok(true);
        }
        let now = self.desk.clock().now();
        let mut tx = self.desk.store().begin().await?;
        let held = sqlx::query(
            "INSERT INTO relay_lease (id, owner, expires_at) VALUES (1, $1, $2)
             ON CONFLICT (id) DO UPDATE SET owner = $1, expires_at = $2
             WHERE relay_lease.owner = $1 OR relay_lease.expires_at < $3",
        )
        .bind(&self.owner)
        .bind(now.after(LEASE).micros())
        .bind(now.micros())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        let held = held.rows_affected() == 1;
        // renewed in good time: nobody else takes it before it has run out
        *self.lease.lock().await = held.then(|| began + LEASE / 2);
        Ok(held)
    }
}
