//! Making the tables: every event of the stream, in order, many in one transaction.

use super::books::{self, RebuildProgress};
use super::{Rebuild, RebuildError};
use crate::watch::{self, Cursor, Item, Query};
use crate::{Cause, Connection, Desk, Envelope, Work, topology};
use contracts::bus::v1::ServiceRebuilt;
use kernel::PLATFORM;
use sqlx::Executor;

/// Events in one transaction.
const BATCH: usize = 1_000;

/// What a rebuild came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rebuilt {
    /// "scheduler".
    pub service: String,
    /// Events that were read.
    pub events: u64,
    /// Events that came out of the lost database.
    pub own_events: u64,
    /// The last that was read.
    pub last_sequence: u64,
    /// Events that could not be taken in, one line each.
    pub unreadable: Vec<String>,
}

/// Makes the tables of an empty database, or goes on where an earlier attempt ended. Says [`ServiceRebuilt`] when they
/// are whole; nothing may serve from them before.
pub async fn rebuild(
    connection: &Connection,
    desk: &Desk,
    tables: &dyn Rebuild,
) -> Result<Rebuilt, RebuildError> {
    let extent = watch::extent(connection).await?;
    if extent.first > 1 {
        return Err(RebuildError::Stream(format!(
            "the tables cannot be made again: {} begins at event {}, what was said before is not kept",
            topology::EVENTS,
            extent.first
        )));
    }
    let fresh = RebuildProgress {
        incarnation: extent.incarnation.clone(),
        began_at: desk.clock().now(),
        ..RebuildProgress::default()
    };
    let begun = books::progress(desk.store()).await?;
    let mut progress = begun.filter(|p| p.incarnation == extent.incarnation).unwrap_or(fresh);
    let mut rebuilt = Rebuilt { service: tables.service().to_owned(), ..Rebuilt::default() };
    let cursor = Cursor { incarnation: extent.incarnation, after: progress.after };
    let mut items = watch::watch(connection.clone(), Query { cursor, ..Query::default() });
    let mut batch = Vec::with_capacity(BATCH);
    let mut came = Vec::with_capacity(BATCH);
    loop {
        let ended = items.recv_many(&mut came, BATCH - batch.len()).await == 0;
        for item in came.drain(..) {
            match item? {
                Item::Event { sequence, envelope, .. } => batch.push((sequence, envelope)),
                Item::Gap { reason, .. } => return Err(RebuildError::Stream(reason)),
            }
        }
        if batch.len() == BATCH || ended {
            if let Some((last, _)) = batch.last() {
                progress.after = *last;
            }
            progress.events += batch.len() as u64;
            let lines = keep(desk, tables, &batch, &mut progress).await?;
            rebuilt.unreadable.extend(lines);
            tracing::info!(service = tables.service(), events = progress.events, "making the tables again");
            batch.clear();
        }
        if ended {
            break;
        }
    }
    (rebuilt.events, rebuilt.last_sequence) = (progress.events, progress.after);
    rebuilt.own_events = finish(desk, tables, &progress).await?;
    Ok(rebuilt)
}

/// One batch with everything that a database keeps of it.
async fn keep(
    desk: &Desk,
    tables: &dyn Rebuild,
    batch: &[(u64, Box<Envelope>)],
    progress: &mut RebuildProgress,
) -> Result<Vec<String>, RebuildError> {
    let (mut work, unreadable) = apply(desk, tables, batch).await?;
    let own = |event: &Envelope| {
        let of_the_bus = event.subject.service == "bus" && event.subject.key == tables.service();
        of_the_bus || tables.said(event)
    };
    let said: Vec<&(u64, Box<Envelope>)> = batch.iter().filter(|(_, event)| own(event)).collect();
    books::put_said(work.tx(), &said).await?;
    books::put_handled(work.tx(), &tables.consumer(), &said).await?;
    progress.unreadable += unreadable.len() as u64;
    books::put_progress(work.tx(), progress).await?;
    work.commit().await?;
    for line in &unreadable {
        tracing::error!(service = tables.service(), line, "an event cannot be taken into the tables");
    }
    Ok(unreadable)
}

/// Applies events to the tables alone. Answers one line for each event that they cannot take.
pub async fn apply_all(
    desk: &Desk,
    tables: &dyn Rebuild,
    batch: &[(u64, Box<Envelope>)],
) -> Result<Vec<String>, RebuildError> {
    let (work, unreadable) = apply(desk, tables, batch).await?;
    work.commit().await?;
    Ok(unreadable)
}

async fn apply(
    desk: &Desk,
    tables: &dyn Rebuild,
    batch: &[(u64, Box<Envelope>)],
) -> Result<(Work, Vec<String>), RebuildError> {
    let mut work = desk.begin(Cause::own(tables.service())).await?;
    let mut all_taken = true;
    for (_, event) in batch {
        match one(&mut work, tables, event).await {
            Ok(()) => {}
            Err(RebuildError::Event { .. }) => {
                all_taken = false;
                break;
            }
            Err(error) => return Err(error),
        }
    }
    if all_taken && work.write_late().await.is_ok() {
        return Ok((work, Vec::new()));
    }
    // one of them cannot be taken: again, each within a savepoint, so that it leaves nothing behind
    drop(work);
    let mut work = desk.begin(Cause::own(tables.service())).await?;
    let mut unreadable = Vec::new();
    for (sequence, event) in batch {
        work.tx().execute("SAVEPOINT event").await?;
        let taken = match one(&mut work, tables, event).await {
            Ok(()) => work.write_late().await.map_err(|e| RebuildError::failed(event, e.into())),
            failed => failed,
        };
        match taken {
            Ok(()) => {}
            Err(RebuildError::Event { subject, reason }) => {
                work.forget_late();
                work.tx().execute("ROLLBACK TO SAVEPOINT event").await?;
                unreadable.push(format!("event {sequence} ({subject}): {reason}"));
            }
            Err(error) => return Err(error),
        }
        work.tx().execute("RELEASE SAVEPOINT event").await?;
    }
    Ok((work, unreadable))
}

/// One event. What a handler says about it was said when it happened. One that this build does not know is an error, and
/// not passed over: the tables may be made of it.
async fn one(work: &mut Work, tables: &dyn Rebuild, event: &Envelope) -> Result<(), RebuildError> {
    contracts::known(&event.subject).map_err(|error| RebuildError::event(event, error.to_string()))?;
    let mark = work.mark();
    work.takes(event);
    let applied = tables.apply(work, event).await;
    work.forget_since(mark);
    applied
}

async fn finish(desk: &Desk, tables: &dyn Rebuild, progress: &RebuildProgress) -> Result<u64, RebuildError> {
    let store_id = super::store_id(desk.store()).await?;
    let mut work = desk.begin(Cause::own(tables.service())).await?;
    desk.store().lock(work.tx(), "rebuild").await?;
    let own_events = books::put_relay(work.tx(), &progress.incarnation).await?;
    if !books::end(work.tx()).await? {
        return Ok(own_events);
    }
    tables.finish(&mut work).await?;
    work.set_cause(Cause::own(tables.service()));
    work.say_for(
        PLATFORM,
        &ServiceRebuilt {
            service: tables.service().to_owned(),
            store_id,
            events: progress.events,
            last_sequence: progress.after,
            own_events,
            unreadable: progress.unreadable,
            began_at_us: progress.began_at.micros(),
            ended_at_us: desk.clock().now().micros(),
        },
    );
    work.commit().await?;
    Ok(own_events)
}
