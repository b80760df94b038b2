//! The databases of the services, opened to read. What the search goes through again and again (outboxes, inboxes) is
//! read once, so that looking for many does not take long on a machine that is busy.

use node::SERVICES;
use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{AnyPool, AssertSqlSafe, Row};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// A database that is locked for longer than this is passed over.
const PATIENCE: Duration = Duration::from_secs(5);

/// A message as its sender committed it.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub service: &'static str,
    pub row: i64,
    pub id: String,
    pub stream: String,
    pub subject: String,
    pub headers: String,
    pub created_at: i64,
    /// 0 = not published.
    pub sequence: u64,
    payload: Vec<u8>,
}

impl Written {
    fn read(service: &'static str, row: &AnyRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            service,
            row: row.try_get("seq")?,
            id: row.try_get("message_id")?,
            stream: row.try_get("stream")?,
            subject: row.try_get("subject")?,
            headers: row.try_get("headers")?,
            created_at: row.try_get("created_at")?,
            sequence: row.try_get::<i64, _>("stream_sequence")?.try_into().unwrap_or(0),
            payload: row.try_get("payload")?,
        })
    }

    /// Whether it speaks of `id`, in its subject, its headers or what it carries.
    fn is_about(&self, id: &str) -> bool {
        let carried = || self.payload.windows(id.len()).any(|part| part == id.as_bytes());
        self.subject.contains(id) || self.headers.contains(id) || carried()
    }

    /// Name of the message: "CreateInstance".
    pub fn name(&self) -> &str {
        self.subject.split('.').nth(3).unwrap_or(&self.subject)
    }

    /// The sender's work goes on with it elsewhere; an event of the gateway only tells what it did itself.
    pub fn is_for_others(&self) -> bool {
        self.stream.starts_with("CMD_") || self.service != "gateway"
    }
}

/// A consumer and the id of a message.
type Delivery = (String, String);

/// The databases. One that cannot be read is as if it were empty, and says so in [`Books::outboxes`].
pub(super) struct Books {
    pools: Vec<(&'static str, AnyPool)>,
    trouble: Vec<String>,
    written: Vec<Written>,
    taken: BTreeMap<Delivery, i64>,
    attempts: BTreeMap<Delivery, (i64, String)>,
}

impl Books {
    pub async fn open(data_dir: &Path) -> Self {
        sqlx::any::install_default_drivers();
        let (taken, attempts) = (BTreeMap::new(), BTreeMap::new());
        let (pools, trouble, written) = (Vec::new(), Vec::new(), Vec::new());
        let mut books = Self { pools, trouble, written, taken, attempts };
        for service in SERVICES {
            let (file, service) = (service.database_file(data_dir), service.name);
            let url = format!("sqlite://{}?mode=ro", file.display());
            match AnyPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE).connect(&url).await {
                Ok(pool) => books.pools.push((service, pool)),
                Err(error) => books.trouble.push(format!("{service}: database not readable: {error}")),
            }
        }
        // outboxes before inboxes: a message that is written and taken in between is not missing anywhere
        for service in SERVICES.map(|service| service.name) {
            let rows = books.rows(service, "SELECT * FROM outbox WHERE $1 = $1", "").await;
            books.written.extend(rows.iter().filter_map(|row| Written::read(service, row).ok()));
        }
        for service in SERVICES.map(|service| service.name) {
            books.read_inbox(service).await;
        }
        books
    }

    async fn read_inbox(&mut self, service: &str) {
        let delivery = |row: &AnyRow| Some((row.try_get("consumer").ok()?, row.try_get("message_id").ok()?));
        let rows = self.rows(service, "SELECT * FROM inbox WHERE $1 = $1", "").await;
        self.taken
            .extend(rows.iter().filter_map(|row| Some((delivery(row)?, row.try_get("handled_at").ok()?))));
        let rows = self.rows(service, "SELECT * FROM attempts WHERE $1 = $1", "").await;
        self.attempts.extend(rows.iter().filter_map(|row| {
            Some((delivery(row)?, (row.try_get("attempts").ok()?, row.try_get("last_error").ok()?)))
        }));
    }

    /// Rows of one service's database; none when it cannot be read. Every `$1` is `value`.
    pub async fn rows(&self, service: &str, sql: &str, value: &str) -> Vec<AnyRow> {
        let Some((_, pool)) = self.pools.iter().find(|(name, _)| *name == service) else { return Vec::new() };
        let query = sqlx::query(AssertSqlSafe(sql)).bind(value);
        query.fetch_all(pool).await.unwrap_or_default()
    }

    /// All messages that speak of `id`.
    pub fn messages_about<'b>(&'b self, id: &'b str) -> impl Iterator<Item = &'b Written> {
        self.written.iter().filter(move |written| written.is_about(id))
    }

    /// When the consumer took the message, in microseconds.
    pub fn taken(&self, consumer: &str, message: &str) -> Option<i64> {
        self.taken.get(&(consumer.to_owned(), message.to_owned())).copied()
    }

    /// The same as it is just now: before something is called lost.
    pub async fn taken_by_now(&self, consumer: &str, message: &str) -> Option<i64> {
        let sql = format!("SELECT handled_at FROM inbox WHERE message_id = $1 AND consumer = '{consumer}'");
        let rows = self.rows(service_of(consumer), &sql, message).await;
        rows.first().and_then(|row| row.try_get("handled_at").ok())
    }

    /// Whether any consumer of a service took the message.
    pub fn is_taken_by_service(&self, service: &str, message: &str) -> bool {
        self.taken.keys().any(|(consumer, id)| id == message && service_of(consumer) == service)
    }

    /// How often the consumer tried the message, and why that failed.
    pub fn attempts(&self, consumer: &str, message: &str) -> Option<&(i64, String)> {
        self.attempts.get(&(consumer.to_owned(), message.to_owned()))
    }

    /// What waits in each outbox, and which databases cannot be read.
    pub fn outboxes(&self, now_us: i64) -> Vec<String> {
        let mut lines = self.trouble.clone();
        for (service, _) in &self.pools {
            let waiting = || self.written.iter().filter(|w| w.service == *service && w.sequence == 0);
            lines.push(match waiting().min_by_key(|written| written.row) {
                None => format!("outbox of {service}: all published"),
                Some(oldest) => format!(
                    "outbox of {service}: {} rows not published, the oldest is row {} and waits {:.1} s",
                    waiting().count(),
                    oldest.row,
                    seconds(now_us - oldest.created_at)
                ),
            });
        }
        lines
    }
}

/// Whose database remembers what a consumer took: "host_driver-…" is one of the host-driver's.
fn service_of(consumer: &str) -> &str {
    consumer.split('-').next().unwrap_or(consumer)
}

pub(super) fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}
