//! One reader's way through the stream: where it begins, what it gets, and how it ends.

use super::open::Place;
use super::shown;
use super::wanted::{Begin, Wanted};
use bus::Connection;
use bus::watch::{self, Cursor, Item, Query};
use contracts::gateway::v1::{Position, WatchEventsResponse, watch_events_response};
use gateway_api::domain::caller::Caller;
use gateway_api::translate::status;
use kernel::{Clock, Refusal, Timestamp};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

/// How far the clocks of two machines of a platform may be apart: so much earlier a reader begins to look for a time.
const CLOCKS_APART: Duration = Duration::from_secs(60);
/// How long after its end a stream waits for what was decided just before and is still on its way.
const SETTLING: Duration = Duration::from_secs(2);

/// What a reader gets.
pub type Answer = Result<WatchEventsResponse, Status>;

/// A reader and what it reads.
pub struct Reading {
    pub bus: Connection,
    pub caller: Caller,
    pub wanted: Wanted,
    pub out: mpsc::Sender<Answer>,
    pub stopping: CancellationToken,
    pub clock: Arc<dyn Clock>,
    pub patience: Duration,
}

/// Why reading ends before everything was read.
enum End {
    Gone,
    Stopping,
    TooSlow,
    Broken(Status),
}

impl From<watch::WatchError> for End {
    fn from(error: watch::WatchError) -> Self {
        Self::Broken(status::broken(error))
    }
}

impl Reading {
    /// Reads until the end. What is answered goes to the reader after everything that still waits for it.
    pub async fn run(self, place: Place) -> Option<Status> {
        let ended = self.read(&place).await;
        let (why, last) = match ended {
            Ok(()) => ("DONE", None),
            Err(End::Gone) => ("READER_GONE", None),
            Err(End::Stopping) => {
                let text = "the gateway is stopping; go on from your cursor";
                ("GATEWAY_STOPPING", Some(for_now("GATEWAY_STOPPING", text.to_owned())))
            }
            Err(End::TooSlow) => {
                let text = format!(
                    "nothing was taken for {} s while events waited; nothing is lost: go on from your cursor",
                    self.patience.as_secs()
                );
                ("READER_TOO_SLOW", Some(for_now("READER_TOO_SLOW", text)))
            }
            Err(End::Broken(status)) => ("BROKEN", Some(status)),
        };
        place.ends(why);
        last
    }

    async fn read(&self, place: &Place) -> Result<(), End> {
        let until = Timestamp(self.wanted.until_us);
        let left = (until.micros() != 0).then(|| until.since(self.clock.now()));
        let follow = self.wanted.follow && left != Some(Duration::ZERO);
        let query = Query { follow, subjects: self.wanted.subjects(&self.caller), ..Query::default() };
        let query = self.begin(query).await?;
        let Some(left) = left.filter(|_| follow) else {
            return self.pass(query, None, place).await.map(drop);
        };
        let end = Instant::now() + left + SETTLING;
        let cursor = self.pass(query.clone(), Some(end), place).await?;
        // whatever is in the stream by now and was not read yet
        let rest = Query { follow: false, last: 0, cursor, ..query };
        self.pass(rest, None, place).await.map(drop)
    }

    /// Where reading begins.
    async fn begin(&self, mut query: Query) -> Result<Query, End> {
        match &self.wanted.begin {
            Begin::After(cursor) => query.cursor = cursor.clone(),
            Begin::At(time) => query.cursor = self.position_at(*time).await?,
            Begin::Last(count) if self.wanted.looks_inside(&self.caller) => {
                query.cursor = self.before_last(*count, query.subjects.clone()).await?;
            }
            Begin::Last(count) => query.last = *count,
            Begin::Now => {
                query.cursor = self.or_end(watch::present(&self.bus)).await??;
                let position =
                    Position { sequence: query.cursor.after, incarnation: query.cursor.incarnation.clone() };
                let item = watch_events_response::Item::Position(position);
                self.hand_over(WatchEventsResponse { item: Some(item) }).await?;
            }
        }
        Ok(query)
    }

    async fn position_at(&self, time_us: i64) -> Result<Cursor, End> {
        let time = Timestamp(time_us.saturating_sub(i64::try_from(CLOCKS_APART.as_micros()).unwrap_or(0)));
        Ok(self.or_end(watch::position_at(&self.bus, time)).await??)
    }

    /// The place before the newest `count` events that fit. Places alone are remembered, whatever events weigh.
    async fn before_last(&self, count: u64, subjects: Vec<String>) -> Result<Cursor, End> {
        let present = self.or_end(watch::present(&self.bus)).await??;
        let mut items = watch::watch(self.bus.clone(), Query { subjects, ..Query::default() });
        let mut newest = VecDeque::new();
        while let Some(item) = self.or_end(items.recv()).await? {
            if let Item::Event { sequence, envelope, .. } = item?
                && self.wanted.takes(&envelope, &self.caller)
            {
                if newest.len() as u64 == count {
                    newest.pop_front();
                }
                newest.push_back(sequence);
            }
        }
        let after = newest.front().map_or(present.after, |first| first - 1);
        Ok(Cursor { after, ..present })
    }

    /// Reads to the end of the query or until `end`; answers where it stands then.
    async fn pass(&self, query: Query, end: Option<Instant>, place: &Place) -> Result<Cursor, End> {
        let mut cursor = query.cursor.clone();
        let mut items = watch::watch(self.bus.clone(), query);
        loop {
            let next = async {
                match end {
                    Some(end) => tokio::time::timeout_at(end, items.recv()).await.unwrap_or(None),
                    None => items.recv().await,
                }
            };
            let Some(item) = self.or_end(next).await? else { return Ok(cursor) };
            let item = item?;
            cursor = match &item {
                Item::Event { sequence, incarnation, .. } => {
                    Cursor { incarnation: incarnation.clone(), after: *sequence }
                }
                Item::Gap { resync, .. } => resync.clone(),
            };
            let fits = match &item {
                Item::Event { envelope, .. } => self.wanted.takes(envelope, &self.caller),
                Item::Gap { .. } => true,
            };
            if fits {
                self.hand_over(shown(item, &self.caller, self.wanted.format)).await?;
                place.sent();
            }
        }
    }

    /// What `future` answers, unless the reader goes away or the gateway stops before.
    async fn or_end<T>(&self, future: impl Future<Output = T>) -> Result<T, End> {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => Err(End::Stopping),
            () = self.out.closed() => Err(End::Gone),
            answer = future => Ok(answer),
        }
    }

    async fn hand_over(&self, answer: WatchEventsResponse) -> Result<(), End> {
        tokio::select! {
            () = self.stopping.cancelled() => Err(End::Stopping),
            sent = self.out.send_timeout(Ok(answer), self.patience) => match sent {
                Ok(()) => Ok(()),
                Err(SendTimeoutError::Closed(_)) => Err(End::Gone),
                Err(SendTimeoutError::Timeout(_)) => Err(End::TooSlow),
            },
        }
    }
}

/// An end after which the reader comes back with its cursor.
fn for_now(code: &str, text: String) -> Status {
    status::refused_for_now(Code::Unavailable, Refusal::new(code, text), 1)
}
