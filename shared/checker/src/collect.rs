//! Gathering what the checker judges: the log and the dead letters from the broker, rows from the databases.

use super::accounts::{Accounts, Sent};
use super::checker::Checker;
use super::end::{Closing, judge_end};
use super::entry::Entry;
use super::truth::Truth;
use super::violation::Found;
use crate::store::tables::{Reader, Tables};
use anyhow::{Context, bail};
use bus::watch::{Item, Query, watch};
use bus::{Connection, Envelope};
use contracts::gateway::v1::OperationAccepted;
use contracts::scheduler::v1::InstanceChanged;
use kernel::Message as _;
use serde::Serialize;

/// Dead letters that are looked at; one is too many already.
const LETTERS: usize = 1_000;

/// A service and its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// "scheduler".
    pub service: String,
    /// `sqlite:///path/file.db` or `postgres://…`.
    pub url: String,
}

/// What the checker came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Judgement {
    /// Events judged, each with everything before it.
    pub events: u64,
    /// What is wrong, in the order of the log.
    pub violations: Vec<Found>,
    /// How many more violations there are than are shown.
    pub surplus: u64,
    /// Whether the hypervisors were asked too.
    pub hypervisors_asked: bool,
}

/// Judges the whole log, and then its end.
pub async fn judge(
    connection: &Connection,
    databases: &[Database],
    truth: Option<Truth>,
) -> anyhow::Result<Judgement> {
    judge_with(connection, databases, truth, |_| {}).await
}

/// The same; `each` sees every event, copies too.
pub async fn judge_with(
    connection: &Connection,
    databases: &[Database],
    truth: Option<Truth>,
    each: impl FnMut(&Envelope),
) -> anyhow::Result<Judgement> {
    let mut checker = Checker::default();
    read_log(connection, &mut checker, each).await?;
    let closing = closing(connection, databases, truth).await?;
    let mut violations = checker.found().to_vec();
    violations.extend(judge_end(&checker, &closing));
    Ok(Judgement {
        events: checker.events(),
        violations,
        surplus: checker.surplus(),
        hypervisors_asked: closing.truth.is_some(),
    })
}

/// Folds every event of the log, oldest first.
async fn read_log(
    connection: &Connection,
    checker: &mut Checker,
    mut each: impl FnMut(&Envelope),
) -> anyhow::Result<()> {
    let mut items = watch(connection.clone(), Query::default());
    while let Some(item) = items.recv().await {
        match item? {
            Item::Event { sequence, envelope, .. } => {
                checker.take(&Entry::of(sequence, &envelope));
                each(&envelope);
            }
            Item::Gap { reason, .. } => bail!("the log does not begin at its beginning: {reason}"),
        }
    }
    Ok(())
}

async fn closing(
    connection: &Connection,
    databases: &[Database],
    truth: Option<Truth>,
) -> anyhow::Result<Closing> {
    let (mut tables, mut accounts) = (Tables::default(), Accounts::default());
    for Database { service, url } in databases {
        let reader = Reader::open(url).await?;
        // the owners of what the invariants speak of
        if service == InstanceChanged::SERVICE {
            tables.instances = reader.instances().await?;
        } else if service == OperationAccepted::SERVICE {
            tables.operations = reader.operations().await?;
        }
        let sent = reader.commands().await.with_context(|| format!("the outbox of {service}"))?;
        accounts.sent.extend(sent.into_iter().map(|row| Sent {
            service: service.clone(),
            id: row.id,
            subject: row.subject,
            published: row.published,
        }));
        accounts.handled.extend(reader.handled().await?);
        accounts.unpublished.push((service.clone(), reader.unpublished().await?));
        reader.close().await;
    }
    accounts.pending.extend(bus::queues::waiting(connection).await?);
    let letters = bus::dead::list(connection, 0, LETTERS).await?;
    accounts.dead = letters.into_iter().map(|l| (l.message_id, l.subject, l.reason)).collect();
    Ok(Closing { tables, truth, accounts })
}
