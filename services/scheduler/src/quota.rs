//! Whether a tenant may have one instance more.
//!
//! The instances themselves are counted, in the transaction that adds to them; there is no counter. Of the messages of one
//! transaction only the first about a tenant counts: what those after it are admitted to is added in memory. That memory
//! is kept among the rows that the transaction leaves for its end, because it has to go exactly when they do: with the
//! transaction, and as soon as a message in it is undone.
//!
//! Two schedulers on one database admit one after the other: both hold the placement lock, and the row of the quota, until
//! they commit. Everybody who writes that row holds the placement lock first, so that nobody waits in a circle.

use crate::domain::instance::Draft;
use crate::metrics::Metrics;
use crate::store::quotas;
use ::store::Dialect;
use async_trait::async_trait;
use bus::{Failure, LateRows, Work};
use kernel::Refusal;
use kernel::quota::{Amounts, Limits, Quota, judge};
use sqlx::AnyConnection;
use std::collections::BTreeMap;

/// What of a quota is enforced here.
pub const ENFORCED: [Quota; 4] = [Quota::Instances, Quota::Vcpus, Quota::Memory, Quota::Disk];

/// A tenant as this transaction sees it.
#[derive(Debug, Clone, Copy)]
struct Standing {
    limits: Limits,
    used: Amounts,
}

/// What was counted in this transaction.
#[derive(Default)]
struct Counted(BTreeMap<String, Standing>);

#[async_trait]
impl LateRows for Counted {
    async fn write(&mut self, _: &mut AnyConnection) -> Result<(), sqlx::Error> {
        // nothing of it is a row: the instances are written already
        Ok(())
    }
}

/// What a new instance takes of a quota.
pub fn taken_by(draft: &Draft) -> Amounts {
    let resources = draft.spec.resources;
    Amounts::default()
        .with(Quota::Instances, 1)
        .with(Quota::Vcpus, resources.vcpus.0)
        .with(Quota::Memory, resources.memory.0)
        .with(Quota::Disk, resources.disk.0)
}

/// Admits an instance that takes `asked`, or says why not. Who was admitted writes the row or fails: the next message of
/// this transaction reckons with it. To be asked of tenants with a quota only, holding the fleet.
pub async fn admit(
    work: &mut Work,
    (dialect, metrics): (Dialect, &Metrics),
    tenant: &str,
    asked: Amounts,
) -> Result<Result<(), Refusal>, Failure> {
    let known = work.late::<Counted>().0.get(tenant).copied();
    let mut standing = match known {
        Some(standing) => standing,
        None => count(work, dialect, tenant).await?,
    };
    if let Err(excess) = judge(&standing.limits, &standing.used, &asked) {
        let (metrics, quotas) = (metrics.clone(), excess.quotas);
        work.after_commit(move || metrics.over_quota(&quotas));
        return Ok(Err(excess.refusal));
    }
    standing.used = standing.used.plus(asked);
    work.late::<Counted>().0.insert(tenant.to_owned(), standing);
    Ok(Ok(()))
}

async fn count(work: &mut Work, dialect: Dialect, tenant: &str) -> Result<Standing, Failure> {
    let limits = quotas::lock(work.tx(), dialect, tenant).await?.unwrap_or_default();
    let used = match limits.limit_any(&ENFORCED) {
        true => quotas::used(work.tx(), tenant).await?,
        false => Amounts::default(),
    };
    Ok(Standing { limits, used })
}

/// What a tenant has, or may have, is another now: the next message of this transaction counts again.
pub fn changed(work: &mut Work, tenant: &str) {
    work.late::<Counted>().0.remove(tenant);
}
