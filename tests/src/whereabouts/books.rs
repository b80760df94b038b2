//! The databases of the services, opened to read.

use sqlx::any::{AnyPoolOptions, AnyRow};
use sqlx::{AnyPool, AssertSqlSafe, Row};
use std::path::Path;
use std::time::Duration;

/// The services that have a database, as their folders are named.
const SERVICES: [&str; 4] = ["gateway", "scheduler", "host_driver", "storage"];
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
        })
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

/// The databases. One that cannot be read is as if it were empty, and says so in [`Books::outboxes`].
pub(super) struct Books {
    pools: Vec<(&'static str, AnyPool)>,
    trouble: Vec<String>,
}

impl Books {
    pub async fn open(data_dir: &Path) -> Self {
        sqlx::any::install_default_drivers();
        let mut books = Self { pools: Vec::new(), trouble: Vec::new() };
        for service in SERVICES {
            let file = data_dir.join(service).join(format!("{service}.db"));
            let url = format!("sqlite://{}?mode=ro", file.display());
            match AnyPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE).connect(&url).await {
                Ok(pool) => books.pools.push((service, pool)),
                Err(error) => books.trouble.push(format!("{service}: database not readable: {error}")),
            }
        }
        books
    }

    /// Rows of one service's database; none when it cannot be read. Every `$1` is `value`.
    pub async fn rows(&self, service: &str, sql: &str, value: &str) -> Vec<AnyRow> {
        let Some((_, pool)) = self.pools.iter().find(|(name, _)| *name == service) else { return Vec::new() };
        let query = sqlx::query(AssertSqlSafe(sql)).bind(value);
        query.fetch_all(pool).await.unwrap_or_default()
    }

    /// All messages that speak of `id`, in their subject, their headers or what they carry.
    pub async fn messages_about(&self, id: &str) -> Vec<Written> {
        let sql = "SELECT seq, message_id, stream, subject, headers, created_at, stream_sequence FROM outbox \
                   WHERE instr(subject, $1) > 0 OR instr(headers, $1) > 0 OR instr(payload, CAST($1 AS BLOB)) > 0";
        let mut found = Vec::new();
        for (service, _) in &self.pools {
            let rows = self.rows(service, sql, id).await;
            found.extend(rows.iter().filter_map(|row| Written::read(service, row).ok()));
        }
        found
    }

    /// When the consumer took the message, in microseconds.
    pub async fn taken(&self, consumer: &str, message: &str) -> Option<i64> {
        let sql = "SELECT handled_at FROM inbox WHERE message_id = $1 AND consumer = ";
        let rows = self.rows(service_of(consumer), &format!("{sql}'{consumer}'"), message).await;
        rows.first().and_then(|row| row.try_get("handled_at").ok())
    }

    /// When any consumer of a service took the message, in microseconds.
    pub async fn taken_by_service(&self, service: &str, message: &str) -> Option<i64> {
        let rows = self.rows(service, "SELECT handled_at FROM inbox WHERE message_id = $1", message).await;
        rows.first().and_then(|row| row.try_get("handled_at").ok())
    }

    /// How often the consumer tried the message, and why that failed.
    pub async fn attempts(&self, consumer: &str, message: &str) -> Option<(i64, String)> {
        let sql = "SELECT attempts, last_error FROM attempts WHERE message_id = $1 AND consumer = ";
        let rows = self.rows(service_of(consumer), &format!("{sql}'{consumer}'"), message).await;
        let row = rows.first()?;
        Some((row.try_get("attempts").ok()?, row.try_get("last_error").ok()?))
    }

    /// What waits in each outbox, and which databases cannot be read.
    pub async fn outboxes(&self, now_us: i64) -> Vec<String> {
        let sql = "SELECT COUNT(*) AS waiting, COALESCE(MIN(created_at), 0) AS oldest, COALESCE(MIN(seq), 0) AS row \
                   FROM outbox WHERE stream_sequence = 0 AND $1 = $1";
        let mut lines = self.trouble.clone();
        for (service, _) in &self.pools {
            for row in self.rows(service, sql, "").await {
                let number = |name: &str| row.try_get::<i64, _>(name).unwrap_or(0);
                let (waiting, oldest) = (number("waiting"), seconds(now_us - number("oldest")));
                lines.push(match waiting {
                    0 => format!("outbox of {service}: all published"),
                    _ => format!("outbox of {service}: {waiting} rows not published, the oldest is row {} and waits {oldest:.1} s", number("row")),
                });
            }
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
