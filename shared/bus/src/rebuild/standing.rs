//! How a database stands to what was said out of it.

use super::{Rebuild, RebuildError, books};
use crate::watch::{self, Cursor, Item, Query};
use crate::{Connection, Desk, topology};
use sqlx::Row;

/// How a database stands to `EVENTS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It knows everything that was said out of it.
    Current,
    /// Much was said and it knows nothing of it, or it was being made again: it is to be rebuilt.
    Lost,
    /// It is an older one: what was said later is not in it.
    Behind {
        /// The last place in the stream of which it knows.
        known: u64,
        /// The first event of its own that it does not know.
        unknown: u64,
    },
}

/// Compares the database with the events that were said out of it after the last that it knows of.
pub async fn standing(
    connection: &Connection,
    desk: &Desk,
    tables: &dyn Rebuild,
) -> Result<Standing, RebuildError> {
    if books::progress(desk.store()).await?.is_some() {
        return Ok(Standing::Lost);
    }
    let row = sqlx::query("SELECT incarnation, last_sequence FROM relay_stream WHERE stream = $1")
        .bind(topology::EVENTS)
        .fetch_optional(desk.store().reader())
        .await?;
    let mut known: Option<(String, i64)> = None;
    if let Some(row) = row {
        known = Some((row.try_get("incarnation")?, row.try_get("last_sequence")?));
    }
    let extent = watch::extent(connection).await?;
    let (incarnation, last) = known.clone().unwrap_or_default();
    // another stream: the relay fills it again with what it lacks
    if !incarnation.is_empty() && incarnation != extent.incarnation {
        return Ok(Standing::Current);
    }
    let after = u64::try_from(last).unwrap_or(0);
    if after >= extent.last {
        return Ok(Standing::Current);
    }
    let subjects = vec![format!("evt.{}.>", tables.service())];
    let cursor = Cursor { incarnation: extent.incarnation, after };
    let mut items = watch::watch(connection.clone(), Query { cursor, subjects, ..Query::default() });
    while let Some(item) = items.recv().await {
        // what is not kept any more was not said lately
        let Item::Event { sequence, envelope, .. } = item? else { continue };
        if !tables.said(&envelope) {
            continue;
        }
        let ours = sqlx::query("SELECT 1 FROM outbox WHERE message_id = $1").bind(envelope.id.to_string());
        if ours.fetch_optional(desk.store().reader()).await?.is_some() {
            // said just before a crash, and not marked yet
            continue;
        }
        return Ok(match known {
            None if is_empty(desk).await? => Standing::Lost,
            _ => Standing::Behind { known: after, unknown: sequence },
        });
    }
    Ok(Standing::Current)
}

/// Neither said nor took anything.
async fn is_empty(desk: &Desk) -> Result<bool, RebuildError> {
    let sql = "SELECT 1 FROM outbox UNION ALL SELECT 1 FROM inbox LIMIT 1";
    Ok(sqlx::query(sql).fetch_optional(desk.store().reader()).await?.is_none())
}
