//! The gateway's read model from the stream, against reading the same stream and doing nothing with it.

use crate::Effort;
use crate::bus_service::{Service, read_bare};
use crate::figure::{Figure, Judged, Target, Unit};
use crate::measure::{in_turn, per_second, timed};
use anyhow::Result;
use bus::watch::{Item, Query, watch};
use bus::{Desk, rebuild::apply_all};
use kernel::SystemClock;
use std::sync::Arc;
use testkit::{Database, NatsServer};

/// Events applied in one transaction, as when a lost database is made again.
const APPLIED: usize = 1_000;

/// Rebuilding, and a bare read.
pub async fn run(effort: Effort) -> Result<Vec<Figure>> {
    let count = effort.amount(100_000);
    let nats = NatsServer::start().await;
    let mut publisher = Service::on(&nats).await;
    publisher.relay();
    publisher.say(count).await?;
    publisher.until_said(count).await?;
    let rounds = in_turn(
        effort.rounds,
        || async {
            let database = Database::sqlite(gateway::MIGRATIONS).await;
            let (done, time) = timed(apply(&publisher, &database)).await;
            let applied = done?;
            anyhow::ensure!(applied == count, "{applied} of {count} events were applied");
            database.remove().await;
            Ok(per_second(applied, time))
        },
        || async {
            let (read, time) = timed(read_bare(&publisher.connection)).await;
            read.map(|read| per_second(read, time))
        },
    )
    .await?;
    publisher.end().await;
    Ok(vec![Figure {
        name: "rebuilding the gateway's tables from the stream".into(),
        baseline: "a bare ordered read".into(),
        unit: Unit::PerSecond,
        target: Target { judged: Judged::Ratio, floor: 0.3, aim: 0.6 },
        rounds,
    }])
}

async fn apply(publisher: &Service, database: &Database) -> Result<usize> {
    let tables = gateway::tables(&database.store);
    let desk = Desk::new("gateway", database.store.clone(), Arc::new(SystemClock));
    let mut items = watch(publisher.connection.clone(), Query::default());
    let (mut applied, mut came, mut batch) = (0, Vec::with_capacity(APPLIED), Vec::with_capacity(APPLIED));
    loop {
        let ended = items.recv_many(&mut came, APPLIED - batch.len()).await == 0;
        for item in came.drain(..) {
            if let Item::Event { sequence, envelope, .. } = item? {
                batch.push((sequence, envelope));
            }
        }
        if batch.len() == APPLIED || ended {
            let unreadable = apply_all(&desk, &*tables, &batch).await?;
            anyhow::ensure!(unreadable.is_empty(), "{unreadable:?}");
            applied += batch.len();
            batch.clear();
        }
        if ended {
            break;
        }
    }
    let rows: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM instances").fetch_one(database.store.reader()).await?;
    anyhow::ensure!(rows == applied as i64, "{rows} rows of {applied} events");
    Ok(applied)
}
