//! `EnsureVm`: the newest order is written down; older ones change nothing.

use crate::hosts::Hosts;
use crate::reconcilers::attention::Attention;
use crate::store::orders::{self, KnownVm};
use crate::store::{VmKey, hosts, vms};
use crate::translate::{incoming, outgoing};
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::host_driver::v1::{EnsureVm, VmObserved};
use std::sync::Arc;

/// Takes orders.
pub struct EnsureVmHandler {
    /// The hosts this process answers for.
    pub hosts: Arc<Hosts>,
    /// Who looks after VMs.
    pub attention: Attention,
}

#[async_trait]
impl Handle<EnsureVm> for EnsureVmHandler {
    async fn gather(
        &self,
        unit: &mut Work,
        messages: &mut (dyn Iterator<Item = EnsureVm> + Send),
    ) -> Result<(), Failure> {
        let keys: Vec<VmKey> =
            messages.filter_map(|message| incoming::order(&message).ok()).map(|order| order.key).collect();
        Ok(orders::read_ahead(unit, &keys).await?)
    }

    async fn handle(&self, unit: &mut Work, message: EnsureVm) -> Result<(), Failure> {
        let order = incoming::order(&message).map_err(Failure::Poison)?;
        let key = order.key;
        // what a host of an earlier start of this process is ordered is kept until it is back
        if self.hosts.get(key.host).is_none() && !hosts::known(unit.tx(), key.host).await? {
            // the host may come with the next start of this process, under other settings
            return Err(Failure::Transient(format!("host {} is not one of this process", key.host)));
        }
        let KnownVm { intent: known, progress } = orders::known(unit, key).await?;
        if !order.intent.supersedes(known) {
            if message.answer_again && known == Some(order.intent) {
                answer_again(unit, key).await?;
            }
            tracing::debug!(instance = %key.instance, order = ?order.intent, ?known, "an older order, passed over");
            return Ok(());
        }
        let same_owner = known.is_some_and(|known| known.generation == order.intent.generation);
        let progress = progress.unwrap_or_default().for_new_intent(same_owner);
        unit.say_for(&order.tenant, &outgoing::intended(&message));
        orders::take(unit, order, progress);
        let attention = self.attention.clone();
        unit.after_commit(move || attention.look_now(key));
        Ok(())
    }
}

/// Says again what was last said of a VM, if it followed the order that the VM has: whoever ordered it does not know. An
/// order that nothing was said about yet is answered by whoever looks after the VM.
async fn answer_again(unit: &mut Work, key: VmKey) -> Result<(), Failure> {
    let Some(row) = vms::find(unit.tx(), key).await? else { return Ok(()) };
    let Some(mut said) = outgoing::last(&row) else { return Ok(()) };
    if (said.generation, said.intent_revision) != (row.intent.generation, row.intent.revision) {
        return Ok(());
    }
    // the very next revision, and not the clock's: a look that is under way just now has a newer one, and is heard
    said.revision += 1;
    vms::put_observations(unit.tx(), &[vms::Said::of(key, row.intent, &said)]).await?;
    unit.say_for(&row.tenant, &VmObserved { observation: Some(said) });
    Ok(())
}
