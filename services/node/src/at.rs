//! `berth replay at`: the tables of all services as they were at a time, out of the archive and the stream after it.

use super::archived::archive;
use super::compare::Subject;
use super::settings::NodeSettings;
use super::verify::subjects;
use ::archive::Reader;
use anyhow::Context;
use bus::rebuild::apply_all;
use bus::watch::{Cursor, Item, Query, extent, watch};
use bus::{Desk, Envelope};
use checker::store::objects;
use contracts::archive::v1::{Segment, entry};
use kernel::SystemClock;
use serde::Serialize;
use std::sync::Arc;
use store::Store;

/// Events applied in one transaction.
const BATCH: usize = 500;

/// The platform at a time.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AtTime {
    /// The time, microseconds since the epoch.
    pub at_us: i64,
    /// Events until then that came from the archive.
    pub archived_events: u64,
    /// Events until then that came from the stream.
    pub stream_events: u64,
    /// What there was.
    pub objects: Vec<ObjectAt>,
    /// What a person should know of how this came about.
    pub notes: Vec<String>,
}

/// An object at a time.
#[derive(Debug, Clone, Serialize)]
pub struct ObjectAt {
    /// "instance", "image", "host", "flavor", "tenant".
    pub kind: String,
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whose it is; "" = the platform's.
    pub tenant: String,
    /// "ready", "cordoned"; "" = such objects have none.
    pub state: String,
    /// Its revision.
    pub revision: i64,
    /// All of it, without sealed secrets.
    pub object: serde_json::Value,
}

/// Applies events to fresh databases of all services.
struct Replay {
    services: Vec<Subject>,
    stores: Vec<Store>,
    until_us: i64,
    batch: Vec<(u64, Box<Envelope>)>,
    found: AtTime,
}

impl Replay {
    async fn take(&mut self, sequence: u64, envelope: Envelope) -> anyhow::Result<bool> {
        // events of different services are not in the order of their times: later ones may stand before earlier ones
        if envelope.occurred_at.micros() > self.until_us {
            return Ok(false);
        }
        self.batch.push((sequence, Box::new(envelope)));
        if self.batch.len() >= BATCH {
            self.apply().await?;
        }
        Ok(true)
    }

    async fn apply(&mut self) -> anyhow::Result<()> {
        for (service, store) in self.services.iter().zip(&self.stores) {
            let tables = service.tables(store)?;
            let desk = Desk::new(tables.service(), store.clone(), Arc::new(SystemClock));
            let unreadable = apply_all(&desk, &*tables, &self.batch).await?;
            self.found
                .notes
                .extend(unreadable.into_iter().map(|line| format!("{}: {line}", service.service.name)));
        }
        self.batch.clear();
        Ok(())
    }
}

/// Shows the objects of the node in `settings.data_dir` at a time; with `object` only those with this name or id.
/// Changes nothing.
pub async fn replay_at(settings: NodeSettings, at_us: i64, object: Option<&str>) -> anyhow::Result<AtTime> {
    let scratch = tempfile::Builder::new().prefix("berth-replay").tempdir_in(&settings.data_dir)?;
    let services = subjects(&settings);
    let mut stores = Vec::new();
    for service in &services {
        stores.push(service.fresh(scratch.path()).await?);
    }
    let found = AtTime { at_us, ..AtTime::default() };
    let mut replay = Replay { services, stores, until_us: at_us, batch: Vec::new(), found };
    let last = from_archive(&settings, &mut replay).await?;
    from_stream(&settings, &mut replay, last).await?;
    replay.apply().await?;
    let shows = |subject: &Subject| *subject.service == gateway::SERVICE;
    let gateway = replay.services.iter().position(shows);
    let gateway = gateway.and_then(|at| replay.stores.get(at)).context("a node without a gateway")?;
    for kind in objects::kinds() {
        for row in objects::all(gateway.reader(), kind, object.unwrap_or_default()).await? {
            let shown = gateway::shown_json(kind.message, &row.snapshot, &|_| true).unwrap_or_default();
            let state = if row.gone { "deleted".to_owned() } else { state(&shown) };
            // what was gone by then is shown to who asks for it
            if state == "deleted" && object.is_none() {
                continue;
            }
            replay.found.objects.push(ObjectAt {
                kind: kind.name.to_owned(),
                state,
                id: row.id,
                name: row.name,
                tenant: row.tenant,
                revision: row.revision,
                object: shown,
            });
        }
    }
    for store in &replay.stores {
        store.close().await;
    }
    Ok(replay.found)
}

/// "INSTANCE_PHASE_READY" is ready.
fn state(object: &serde_json::Value) -> String {
    let word = ["phase", "state"].iter().find_map(|field| object[*field].as_str()).unwrap_or_default();
    let word =
        ["PHASE_", "STATE_"].iter().find_map(|prefix| word.split_once(prefix)).map_or(word, |(_, w)| w);
    word.to_lowercase()
}

/// Applies what is archived; answers the last segment.
async fn from_archive(settings: &NodeSettings, replay: &mut Replay) -> anyhow::Result<Option<Segment>> {
    let archive = archive(settings)?;
    if !archive.is_there()? {
        replay.found.notes.push("there is no archive yet".to_owned());
        return Ok(None);
    }
    let mut reader = Reader::new(archive.open()?, archive.public_key()?).await?;
    while let Some((segment, entries)) =
        reader.next().await.context("the archive is not as it was written")?
    {
        for entry in entries {
            match entry.what {
                Some(entry::What::Event(event)) => {
                    let envelope = ::archive::envelope(&event)
                        .with_context(|| format!("event {} of segment {}", event.sequence, segment.number))?;
                    replay.found.archived_events += u64::from(replay.take(event.sequence, envelope).await?);
                }
                Some(entry::What::Gap(gap)) if gap.kind == "not kept" => {
                    replay.found.notes.push(format!("the archive has a gap: {}", gap.reason));
                }
                _ => {}
            }
        }
    }
    Ok(reader.last().cloned())
}

/// Applies what the stream holds beyond the archive, when the node is up.
async fn from_stream(
    settings: &NodeSettings,
    replay: &mut Replay,
    last: Option<Segment>,
) -> anyhow::Result<()> {
    let connection = match super::broker_settings(settings) {
        Ok(bus) => {
            bus::Connection::open(&bus, "replay at", bus::Report::none()).await.map_err(anyhow::Error::from)
        }
        Err(error) => Err(error),
    };
    let connection = match connection {
        Ok(connection) => connection,
        Err(_) if last.is_some() => {
            let text = "the node is down: what happened after the newest segment is not in this";
            replay.found.notes.push(text.to_owned());
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    if last.is_none() && extent(&connection).await?.first > 1 {
        anyhow::bail!("nothing is archived, and the stream does not begin at its beginning any more");
    }
    let cursor = last.map(|s| Cursor { incarnation: s.incarnation, after: s.last_sequence });
    let query = Query { cursor: cursor.unwrap_or_default(), ..Query::default() };
    let mut items = watch(connection, query);
    while let Some(item) = items.recv().await {
        match item? {
            Item::Event { sequence, envelope, .. } => {
                replay.found.stream_events += u64::from(replay.take(sequence, *envelope).await?);
            }
            Item::Gap { reason, .. } => replay.found.notes.push(format!("the stream has a gap: {reason}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn states_are_words() {
        assert_eq!(state(&json!({"phase": "INSTANCE_PHASE_READY"})), "ready");
        assert_eq!(state(&json!({"state": "HOST_STATE_UNREACHABLE"})), "unreachable");
        assert_eq!(state(&json!({"name": "small"})), "");
    }

    /// A kind that is declared is shown: the read model has its table, with these columns.
    #[tokio::test]
    async fn every_kind_with_a_name_has_a_table() {
        let database = testkit::Database::sqlite(gateway::MIGRATIONS).await;
        for kind in objects::kinds() {
            let rows = objects::all(database.store.reader(), kind, "web").await;
            assert_eq!(rows.expect(kind.plural), [], "{}", kind.plural);
        }
        let names: Vec<&str> = objects::kinds().map(|kind| kind.name).collect();
        for name in ["instance", "image", "host", "flavor"] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        database.remove().await;
    }
}
