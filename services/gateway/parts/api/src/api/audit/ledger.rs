//! What writes records that no transaction of their own carries: many at once, and few of what is repeated.

use crate::domain::audit::{Counted, Denials, Denied};
use crate::translate::status;
use bus::{Cause, Desk};
use contracts::gateway::v1::{AuditRecord, AuditRecorded};
use kernel::{CorrelationId, Refusal, Timestamp};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use std::time::Duration;
use store::StoreError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

/// Records in one transaction at most.
const BATCH: usize = 256;
/// Records that may wait.
const WAITING: usize = 4_096;
/// Objects that a record of denied calls names.
const OBJECTS: usize = 16;
/// How often windows of denied calls are looked at, and records that could not be written are tried again.
const PERIOD: Duration = Duration::from_secs(1);

enum Entry {
    /// Somebody waits for it.
    Awaited(Box<AuditRecord>, oneshot::Sender<Result<(), Status>>),
    /// Repeats are counted.
    Denied(Box<AuditRecord>),
}

/// The way into the ledger. Cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    entries: mpsc::Sender<Entry>,
    lost: Counter<u64>,
}

/// What writes the records.
pub struct Clerk {
    desk: Desk,
    entries: mpsc::Receiver<Entry>,
    denials: Denials<AuditRecord>,
    /// What could not be written yet and nobody waits for.
    held: Vec<AuditRecord>,
    written: Counter<u64>,
    lost: Counter<u64>,
}

/// A ledger and what writes it.
pub fn ledger(desk: &Desk, meter: &Meter) -> (Ledger, Clerk) {
    let (sender, entries) = mpsc::channel(WAITING);
    let counter =
        |name: &'static str, words: &'static str| meter.u64_counter(name).with_description(words).build();
    let lost = counter("berth_gateway_audit_lost", "Records of calls that could not be written.");
    let written = counter(
        "berth_gateway_audit_records",
        "Records of calls written outside a transaction of their own, by outcome.",
    );
    let clerk = Clerk {
        desk: desk.clone(),
        entries,
        denials: Denials::default(),
        held: Vec::new(),
        written,
        lost: lost.clone(),
    };
    (Ledger { entries: sender, lost }, clerk)
}

fn not_written() -> Status {
    let text = "what was asked for was done, but could not be recorded; look before you ask again";
    status::refused(Code::Unavailable, Refusal::new("AUDIT_NOT_WRITTEN", text), "")
}

impl Ledger {
    /// Writes a record; it is committed when this answers.
    pub async fn write(&self, record: AuditRecord) -> Result<(), Status> {
        let (answer, written) = oneshot::channel();
        if self.entries.try_send(Entry::Awaited(Box::new(record), answer)).is_err() {
            self.lose();
            return Err(not_written());
        }
        written.await.unwrap_or_else(|_| Err(not_written()))
    }

    /// Writes a record of a denied call, or counts it.
    pub fn denied(&self, record: AuditRecord) {
        if self.entries.try_send(Entry::Denied(Box::new(record))).is_err() {
            self.lose();
        }
    }

    fn lose(&self) {
        tracing::error!("a record of a call was lost: too many wait");
        self.lost.add(1, &[]);
    }
}

fn counted(counted: Counted<AuditRecord>) -> AuditRecord {
    AuditRecord { count: counted.count, last_at_us: counted.last_at.micros(), ..counted.record }
}

impl Clerk {
    /// Runs until told to stop, then writes what still waits.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut period = tokio::time::interval(PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut batch = Vec::new();
            let mut ended = false;
            tokio::select! {
                biased;
                () = stop.cancelled() => ended = true,
                first = self.entries.recv() => match first {
                    Some(first) => batch.push(first),
                    None => ended = true,
                },
                _ = period.tick() => {}
            }
            loop {
                while batch.len() < BATCH
                    && let Ok(next) = self.entries.try_recv()
                {
                    batch.push(next);
                }
                let full = batch.len() == BATCH;
                self.enter(std::mem::take(&mut batch), ended && !full).await;
                if !(ended && full) {
                    break;
                }
            }
            if ended {
                return stop.cancelled().await;
            }
        }
    }

    async fn enter(&mut self, batch: Vec<Entry>, last: bool) {
        let now = self.desk.clock().now();
        let mut records = std::mem::take(&mut self.held);
        records.extend(self.denials.sweep(now).into_iter().map(counted));
        let mut awaited = Vec::new();
        for entry in batch {
            match entry {
                Entry::Awaited(record, answer) => awaited.push((*record, answer)),
                Entry::Denied(record) => records.extend(self.count(*record)),
            }
        }
        if last {
            records.extend(self.denials.end().into_iter().map(counted));
        }
        if records.is_empty() && awaited.is_empty() {
            return;
        }
        let all: Vec<&AuditRecord> = records.iter().chain(awaited.iter().map(|(record, _)| record)).collect();
        let written = tokio::time::timeout(bus::watchdog::PATIENCE, write(&self.desk, &all)).await;
        let written = written.map_err(|_| "the database does not answer".to_owned());
        match written.and_then(|done| done.map_err(|error| error.to_string())) {
            Ok(()) => {
                for record in all {
                    self.written.add(1, &[KeyValue::new("outcome", record.code.clone())]);
                }
                awaited.into_iter().for_each(|(_, answer)| drop(answer.send(Ok(()))));
            }
            Err(error) => {
                tracing::error!(error, records = all.len(), "records of calls cannot be written");
                self.lost.add(awaited.len() as u64, &[]);
                awaited.into_iter().for_each(|(_, answer)| drop(answer.send(Err(not_written()))));
                let over = records.len().saturating_sub(WAITING);
                self.lost.add(over as u64, &[]);
                self.held = records.split_off(over);
            }
        }
    }

    fn count(&mut self, record: AuditRecord) -> Option<AuditRecord> {
        let door = match record.door.as_str() {
            "rest" => "rest",
            "nats" => "nats",
            _ => "grpc",
        };
        let kind = self.denials.kind(Denied {
            address: record.address.clone(),
            door,
            method: record.method.clone(),
            actor: record.actor.clone(),
            reason: record.refusal.clone(),
        });
        let record = AuditRecord { address: kind.address.clone(), ..record };
        let at = Timestamp(record.at_us);
        self.denials.note(kind, record, at, join).map(counted)
    }
}

/// What a repeat was about, if it was about something else.
fn join(first: &mut AuditRecord, repeat: AuditRecord) {
    for object in repeat.objects {
        if first.objects.len() < OBJECTS && !first.objects.contains(&object) {
            first.objects.push(object);
        }
    }
}

async fn write(desk: &Desk, records: &[&AuditRecord]) -> Result<(), StoreError> {
    let mut work = desk.begin(Cause::own(crate::SERVICE_NAME)).await?;
    for record in records {
        let actor = if record.actor.is_empty() { "unknown" } else { &record.actor };
        work.set_cause(Cause {
            correlation: record.correlation_id.parse().unwrap_or_else(|_| CorrelationId::new()),
            causation: None,
            actor: actor.to_owned(),
            tenant: record.tenant.clone(),
            traceparent: String::new(),
        });
        work.say(&AuditRecorded { record: Some((*record).clone()) });
    }
    work.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::gateway::v1::AuditObject;

    #[test]
    fn repeats_add_what_they_were_about_up_to_a_limit() {
        let about = |name: &str| AuditRecord {
            objects: vec![AuditObject { name: name.into(), as_sent: true, ..AuditObject::default() }],
            ..AuditRecord::default()
        };
        let mut first = about("a");
        for name in ["a", "b", "a"] {
            join(&mut first, about(name));
        }
        assert_eq!(first.objects.iter().map(|o| o.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        for number in 0..100 {
            join(&mut first, about(&number.to_string()));
        }
        assert_eq!(first.objects.len(), OBJECTS);
    }
}
