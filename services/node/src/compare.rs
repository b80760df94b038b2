//! `berth replay verify`: every table again from the events alone, compared with the present ones row by row.

use super::archived::Archive;
use anyhow::Context;
use bus::rebuild::{Rebuild, apply_all};
use bus::watch::{Cursor, Gap, Item, Query, extent, watch};
use bus::{Connection, Desk, Envelope, queues};
use chassis::service::{Given, Service};
use kernel::SystemClock;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::{RowDump, Store, dump_table, key_columns};
use tokio::time::Instant;

/// Differences shown of one table; the rest is counted.
const SHOWN: usize = 20;
/// Events applied in one transaction.
const BATCH: usize = 500;
/// So long a live node may take to bring its tables up to the stream before a difference counts: longer than the server
/// waits for somebody who was killed with messages in hand.
const PATIENCE: Duration = Duration::from_secs(60);
/// Until it is looked at again.
const PAUSE: Duration = Duration::from_millis(500);

/// What rebuilding one table from the event stream showed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TableVerdict {
    /// "scheduler".
    pub service: String,
    /// "instances".
    pub table: String,
    /// Rows compared.
    pub rows: u64,
    /// One line for each row that differs, empty = the table is proven.
    pub differences: Vec<String>,
}

/// A service whose tables are made again.
pub(super) struct Subject {
    /// Which.
    pub service: &'static Service,
    /// Its settings.
    pub given: Given,
}

impl Subject {
    /// A database for its tables.
    pub async fn open(&self, url: &str) -> anyhow::Result<Store> {
        let migrations = [bus::MIGRATIONS, self.service.migrations].concat();
        Store::open(url, &migrations).await.with_context(|| format!("{}: opening {url}", self.service.name))
    }

    /// An empty one in a folder.
    pub async fn fresh(&self, folder: &Path) -> anyhow::Result<Store> {
        self.open(&format!("sqlite://{}/{}.db", folder.display(), self.service.name)).await
    }

    /// The one that it works with.
    pub async fn live(&self) -> anyhow::Result<Store> {
        let url = self.given.as_json()["database_url"].as_str().unwrap_or_default();
        anyhow::ensure!(!url.is_empty(), "{}: its settings name no database", self.service.name);
        self.open(url).await
    }

    /// What makes its tables in a database.
    pub fn tables(&self, store: &Store) -> anyhow::Result<Box<dyn Rebuild>> {
        (self.service.tables)(&self.given, store)
    }
}

/// Rebuilds and compares. Nothing of the live databases is changed.
pub(super) async fn verify(
    connection: &Connection,
    archive: &Archive,
    services: &[Subject],
    scratch: &Path,
) -> anyhow::Result<Vec<TableVerdict>> {
    let (mut fresh, mut live) = (Vec::with_capacity(services.len()), Vec::with_capacity(services.len()));
    for service in services {
        fresh.push(service.fresh(scratch).await?);
        live.push(service.live().await?);
    }
    // made once: some remember of earlier events whose the later ones are
    let tables = services.iter().zip(&fresh).map(|(service, store)| service.tables(store));
    let tables: Vec<_> = tables.collect::<anyhow::Result<_>>()?;
    let give_up = Instant::now() + PATIENCE;
    let (mut cursor, mut unreadable) = (Cursor::default(), Vec::new());
    let mut last: Vec<TableVerdict> = Vec::new();
    let verdicts = loop {
        let before = at_rest(connection, &live).await?;
        unreadable.extend(replay(connection, archive, &tables, &fresh, &mut cursor).await?);
        let verdicts = compare(&tables, &fresh, &live).await?;
        if verdicts.iter().all(|verdict| verdict.differences.is_empty()) {
            break verdicts;
        }
        // what was said while it was read may be in some of the tables and not in others
        let rested = before.is_some() && at_rest(connection, &live).await? == before;
        if rested {
            break verdicts;
        }
        if Instant::now() > give_up {
            break standing(verdicts, &last);
        }
        last = verdicts;
        tokio::time::sleep(PAUSE).await;
    };
    for store in fresh.into_iter().chain(live) {
        store.close().await;
    }
    Ok(unreadable.into_iter().chain(verdicts).collect())
}

/// Of differences that were seen on a node that is never at rest those that stand: in two rounds, in the same words. What
/// is only on its way is another one by then.
fn standing(now: Vec<TableVerdict>, before: &[TableVerdict]) -> Vec<TableVerdict> {
    let stood = |verdict: &TableVerdict, line: &String| {
        let same =
            |other: &&TableVerdict| (&other.service, &other.table) == (&verdict.service, &verdict.table);
        before.iter().find(same).is_some_and(|other| other.differences.contains(line))
    };
    now.into_iter()
        .map(|verdict| {
            let lines = verdict.differences.iter().filter(|line| stood(&verdict, line)).cloned();
            TableVerdict { differences: lines.collect(), ..verdict.clone() }
        })
        .collect()
}

/// How many messages were ever published, when all of them were taken and none waits to be published. The same answer
/// before and after a comparison: nothing moved in between.
async fn at_rest(connection: &Connection, live: &[Store]) -> anyhow::Result<Option<u64>> {
    for store in live {
        if bus::outbox_size(store).await?.waiting > 0 {
            return Ok(None);
        }
    }
    let backlog = queues::backlog(connection).await?;
    Ok((backlog.messages == 0).then_some(backlog.published))
}

async fn compare(
    tables: &[Box<dyn Rebuild>],
    fresh: &[Store],
    live: &[Store],
) -> anyhow::Result<Vec<TableVerdict>> {
    let mut verdicts = Vec::new();
    for ((of_service, fresh), live) in tables.iter().zip(fresh).zip(live) {
        for table in of_service.tables() {
            let (expected, found) = (dump_table(fresh, table).await?, dump_table(live, table).await?);
            verdicts.push(TableVerdict {
                service: of_service.service().to_owned(),
                table: (*table).to_owned(),
                rows: found.len() as u64,
                differences: differences(&expected, &found, &key_columns(fresh, table).await?),
            });
        }
    }
    Ok(verdicts)
}

/// Applies every event after the cursor, in order, to all services' tables: those that the stream does not hold any more from the archive.
async fn replay(
    connection: &Connection,
    archive: &Archive,
    tables: &[Box<dyn Rebuild>],
    fresh: &[Store],
    cursor: &mut Cursor,
) -> anyhow::Result<Vec<TableVerdict>> {
    let mut fold = Fold { tables, fresh, batch: Vec::with_capacity(BATCH), verdicts: Vec::new() };
    let extent = extent(connection).await?;
    if *cursor == Cursor::default() && extent.first > 1 {
        let mut past = archive.past(&extent.incarnation, extent.first).await?;
        while let Some((sequence, envelope)) = past.next().await? {
            fold.take(sequence, Box::new(envelope)).await?;
        }
        *cursor = Cursor { incarnation: extent.incarnation, after: extent.first - 1 };
    }
    let mut items = watch(connection.clone(), Query { cursor: cursor.clone(), ..Query::default() });
    let mut came = Vec::with_capacity(BATCH);
    while items.recv_many(&mut came, BATCH).await > 0 {
        for item in came.drain(..) {
            match item? {
                Item::Event { sequence, envelope, incarnation } => {
                    fold.take(sequence, envelope).await?;
                    *cursor = Cursor { incarnation, after: sequence };
                }
                // what a hole held comes again later
                Item::Gap { kind: Gap::Hole, .. } => {}
                Item::Gap { reason, .. } => anyhow::bail!("the stream changed while it was read: {reason}"),
            }
        }
    }
    fold.end().await?;
    Ok(fold.verdicts)
}

/// Events on their way into fresh tables. Those that a service cannot take are told as differences of the events
/// themselves: the rest is still worth comparing.
struct Fold<'a> {
    tables: &'a [Box<dyn Rebuild>],
    fresh: &'a [Store],
    batch: Vec<(u64, Box<Envelope>)>,
    verdicts: Vec<TableVerdict>,
}

impl Fold<'_> {
    async fn take(&mut self, sequence: u64, envelope: Box<Envelope>) -> anyhow::Result<()> {
        self.batch.push((sequence, envelope));
        if self.batch.len() == BATCH { self.end().await } else { Ok(()) }
    }

    async fn end(&mut self) -> anyhow::Result<()> {
        for (tables, store) in self.tables.iter().zip(self.fresh) {
            let desk = Desk::new(tables.service(), store.clone(), Arc::new(SystemClock));
            let unreadable = apply_all(&desk, &**tables, &self.batch).await?;
            if !unreadable.is_empty() {
                self.verdicts.push(TableVerdict {
                    service: tables.service().to_owned(),
                    table: "(events)".to_owned(),
                    rows: unreadable.len() as u64,
                    differences: unreadable,
                });
            }
        }
        self.batch.clear();
        Ok(())
    }
}

/// One line per row that differs: which row, which column, what the events say and what the table says.
fn differences(expected: &RowDump, found: &RowDump, keys: &[String]) -> Vec<String> {
    let (expected_rows, found_rows): (BTreeSet<_>, BTreeSet<_>) =
        (expected.iter().collect(), found.iter().collect());
    let missing: Vec<_> = expected_rows.difference(&found_rows).copied().collect();
    let surplus: Vec<_> = found_rows.difference(&expected_rows).copied().collect();
    let mut lines = Vec::new();
    let mut unpaired: Vec<_> = surplus.clone();
    for row in missing {
        // the row with the same key, when there is one, tells which column went wrong
        let key = |row: &Row| keys.iter().map(|column| row.get(column).cloned()).collect::<Vec<_>>();
        let twin = unpaired.iter().position(|other| key(other) == key(row));
        match twin.map(|index| unpaired.swap_remove(index)) {
            Some(other) => lines.push(format!("{}: {}", label(row), columns(row, other))),
            None => lines.push(format!("{}: the events make this row, the table lacks it", label(row))),
        }
    }
    lines.extend(unpaired.iter().map(|row| format!("{}: no event makes this row", label(row))));
    if expected.len() != found.len() && lines.is_empty() {
        lines.push(format!("{} rows by the events, {} in the table", expected.len(), found.len()));
    }
    if lines.len() > SHOWN {
        let more = lines.len() - SHOWN;
        lines.truncate(SHOWN);
        lines.push(format!("and {more} more"));
    }
    lines
}

type Row = BTreeMap<String, String>;

fn label(row: &Row) -> String {
    let keys = ["id", "instance_id", "name", "host_id", "image_id", "sha256"];
    let found = keys.iter().filter_map(|key| row.get(*key).map(|value| format!("{key} {value}")));
    found.take(2).collect::<Vec<_>>().join(", ")
}

fn columns(expected: &Row, found: &Row) -> String {
    let shorten = |text: Option<&String>| -> String {
        let text = text.map(String::as_str).unwrap_or_default();
        if text.chars().count() > 60 {
            format!("{}…", text.chars().take(60).collect::<String>())
        } else {
            text.to_owned()
        }
    };
    let wrong = expected.iter().filter(|(column, value)| found.get(*column) != Some(value));
    let lines = wrong.map(|(column, value)| {
        format!("{column} is {:?}, the events say {:?}", shorten(found.get(column)), shorten(Some(value)))
    });
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[(&str, &str)]) -> Row {
        cells.iter().map(|(c, v)| ((*c).to_owned(), (*v).to_owned())).collect()
    }

    fn id() -> Vec<String> {
        vec!["id".to_owned()]
    }

    #[test]
    fn equal_tables_have_no_differences() {
        let rows = vec![row(&[("id", "1"), ("phase", "4")])];
        assert!(differences(&rows, &rows, &id()).is_empty());
    }

    #[test]
    fn a_changed_a_missing_and_a_surplus_row_are_told_apart() {
        let expected = vec![row(&[("id", "1"), ("phase", "4")]), row(&[("id", "2"), ("phase", "4")])];
        let found = vec![row(&[("id", "1"), ("phase", "9")]), row(&[("id", "3"), ("phase", "4")])];
        let lines = differences(&expected, &found, &id());
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], "id 1: phase is \"9\", the events say \"4\"");
        assert!(lines[1].contains("id 2") && lines[1].contains("lacks"));
        assert!(lines[2].contains("id 3") && lines[2].contains("no event"));
    }

    #[test]
    fn what_is_only_on_its_way_does_not_stand() {
        let verdict = |differences: &[&str]| TableVerdict {
            service: "gateway".into(),
            table: "objects".into(),
            rows: 1,
            differences: differences.iter().map(|line| (*line).to_owned()).collect(),
        };
        let stands = standing(vec![verdict(&["a", "b"])], &[verdict(&["b", "c"])]);
        assert_eq!(stands, [verdict(&["b"])]);
        assert_eq!(standing(vec![verdict(&["a"])], &[]), [verdict(&[])]);
    }

    #[test]
    fn a_row_that_is_there_twice_is_noticed() {
        let one = row(&[("size", "1")]);
        assert!(!differences(&vec![one.clone()], &vec![one.clone(), one], &id()).is_empty());
    }
}
