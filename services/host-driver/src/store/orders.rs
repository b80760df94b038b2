//! Orders as one unit of work takes them: what is known of their VMs is read together, and what becomes of them is
//! written together at the end.

use super::vms::VmRow;
use super::{VmKey, vms, work};
use ::store::StoreError;
use async_trait::async_trait;
use bus::{Cause, LateRows, Work};
use host_driver_domain::{IntentKey, Progress};
use sqlx::AnyConnection;
use std::collections::{BTreeMap, HashMap};

/// What is known of a VM.
#[derive(Debug, Clone, Default)]
pub struct KnownVm {
    /// Its order.
    pub intent: Option<IntentKey>,
    /// How far it came.
    pub progress: Option<Progress>,
}

/// What a unit of work knows, and what it takes.
#[derive(Default)]
struct Orders {
    seen: HashMap<VmKey, KnownVm>,
    taken: BTreeMap<VmKey, (VmRow, Progress, Cause)>,
}

#[async_trait]
impl LateRows for Orders {
    async fn write(&mut self, tx: &mut AnyConnection) -> Result<(), StoreError> {
        let taken = std::mem::take(&mut self.taken);
        let rows: Vec<&VmRow> = taken.values().map(|(row, ..)| row).collect();
        vms::put_intents(tx, &rows).await?;
        let rows: Vec<_> = taken.iter().map(|(key, (_, progress, cause))| (*key, progress, cause)).collect();
        work::put(tx, &rows).await
    }
}

/// Reads what is known of VMs that this work has not looked at.
pub async fn read_ahead(unit: &mut Work, keys: &[VmKey]) -> Result<(), StoreError> {
    let (orders, tx) = unit.late_and_tx::<Orders>();
    let mut unseen: Vec<VmKey> = keys.iter().filter(|key| !orders.seen.contains_key(key)).copied().collect();
    if unseen.is_empty() {
        return Ok(());
    }
    unseen.sort_unstable();
    unseen.dedup();
    let intents = vms::intents(tx, &unseen).await?;
    let mut progress = work::find(tx, &unseen).await?;
    for key in unseen {
        let known = KnownVm { intent: intents.get(&key).copied(), progress: progress.remove(&key) };
        orders.seen.insert(key, known);
    }
    Ok(())
}

/// What is known of a VM.
pub async fn known(unit: &mut Work, key: VmKey) -> Result<KnownVm, StoreError> {
    read_ahead(unit, &[key]).await?;
    Ok(unit.late::<Orders>().seen.get(&key).cloned().unwrap_or_default())
}

/// Takes an order over the one before.
pub fn take(unit: &mut Work, order: VmRow, progress: Progress) {
    let (key, cause) = (order.key, unit.cause().clone());
    let orders = unit.late::<Orders>();
    orders.seen.insert(key, KnownVm { intent: Some(order.intent), progress: Some(progress.clone()) });
    orders.taken.insert(key, (order, progress, cause));
}
