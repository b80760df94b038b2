//! Whether a tenant may have one instance more.
//!
//! The instances themselves are counted, in the transaction that adds to them; there is no counter. Of the messages of one
//! transaction only the first about a tenant counts: what those after it are admitted to is added in the memory of the
//! transaction, which is forgotten as soon as a message in it is undone.
//!
//! Two schedulers on one database admit one after the other: both hold the placement lock, and the row of the quota, until
//! they commit. Everybody who writes that row holds the placement lock first, so that nobody waits in a circle.

use crate::metrics::Metrics;
use crate::store::{instances, quotas};
use ::store::Dialect;
use bus::{Failure, Work};
use kernel::Refusal;
use kernel::quota::{Amounts, Limits, Quota, judge};
use scheduler_placement::instance::Spec;
use std::collections::BTreeMap;

/// What of a quota is enforced here.
pub const ENFORCED: [Quota; 4] = [Quota::Instances, Quota::Vcpus, Quota::Memory, Quota::Disk];

/// A tenant as this transaction sees it.
#[derive(Debug, Clone, Copy)]
struct Account {
    limits: Limits,
    used: Amounts,
}

/// What was counted in this transaction.
#[derive(Default)]
struct Counted(BTreeMap<String, Option<Account>>);

/// What an instance takes of a quota.
pub fn taken_by(spec: &Spec) -> Amounts {
    let resources = spec.resources;
    Amounts::default()
        .with(Quota::Instances, 1)
        .with(Quota::Vcpus, resources.vcpus.0)
        .with(Quota::Memory, resources.memory.0)
        .with(Quota::Disk, resources.disk.0)
}

/// Admits an instance that takes `asked`, or says why not. Who was admitted writes the row or fails: the next message of
/// this transaction reckons with it. To be asked by who holds the fleet.
pub async fn admit(
    work: &mut Work,
    (dialect, metrics): (Dialect, &Metrics),
    tenant: &str,
    asked: Amounts,
) -> Result<Result<(), Refusal>, Failure> {
    let known = work.memory::<Counted>().0.get(tenant).copied();
    let standing = match known {
        Some(standing) => standing,
        None => count(work, dialect, tenant).await?,
    };
    let admitted = match standing {
        None => None,
        Some(standing) => match judge(&standing.limits, &standing.used, &asked) {
            Ok(()) => Some(Account { used: standing.used.plus(asked), ..standing }),
            Err(excess) => {
                let (metrics, quotas) = (metrics.clone(), excess.quotas);
                work.after_commit(move || metrics.over_quota(&quotas));
                return Ok(Err(excess.refusal));
            }
        },
    };
    work.memory::<Counted>().0.insert(tenant.to_owned(), admitted);
    Ok(Ok(()))
}

/// Nothing is counted of a tenant without limits.
async fn count(work: &mut Work, dialect: Dialect, tenant: &str) -> Result<Option<Account>, Failure> {
    let limits = quotas::lock(work.tx(), dialect, tenant).await?.unwrap_or_default();
    if !limits.limit_any(&ENFORCED) {
        return Ok(None);
    }
    // those of earlier messages that are not written yet count as well
    instances::write_now(work).await?;
    Ok(Some(Account { limits, used: quotas::used(work.tx(), tenant).await? }))
}

/// What a tenant has, or may have, is another now: the next message of this transaction counts again.
pub fn changed(work: &mut Work, tenant: &str) {
    work.memory::<Counted>().0.remove(tenant);
}
