//! A host said what it is and can do.

use super::{Context, advance, hosts as change};
use crate::domain::lifecycle;
use crate::store::{hosts, instances};
use crate::translate::host as translate;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::host_driver::v1::HostReported;
use contracts::scheduler::v1::HostRegistered;
use kernel::PLATFORM;
use scheduler_placement::host::Host;
use scheduler_placement::solver::HostRow;

/// Handles `HostReported`.
pub struct OnHostReported(pub Context);

#[async_trait]
impl Handle<HostReported> for OnHostReported {
    async fn handle(&self, work: &mut Work, event: HostReported) -> Result<(), Failure> {
        let report = translate::report(event.report)?;
        let id = report.host;
        let heartbeats = self.0.heartbeats.clone();
        match hosts::find(work.tx(), &id.to_string()).await? {
            None => {
                let host = Host::registered(report, self.0.overcommit, work.now());
                self.0.fleet.hold(work, &self.0.metrics).await?;
                hosts::insert(work.tx(), &host).await?;
                self.0.fleet.changed(work, host.id, Some(HostRow::from(&host)));
                let operations = Vec::new();
                work.say_for(
                    PLATFORM,
                    &HostRegistered { host: Some(translate::host_out(&host)), operations },
                );
                let placement = self.0.placement.clone();
                work.after_commit(move || placement.notify_one());
            }
            Some(mut host) => {
                let (from, before) = (host.revision, (host.agent_id.clone(), host.store_id.clone()));
                if !host.reported(report, work.now()) {
                    return Ok(());
                }
                change::save(work, &self.0, &host, from, Vec::new()).await?;
                if (&host.agent_id, &host.store_id) != (&before.0, &before.1) {
                    tell_all(work, &self.0, &host).await?;
                }
            }
        }
        work.after_commit(move || heartbeats.heard(id));
        Ok(())
    }
}

/// Another process answers for the host now, or the same one with another database: it never saw the orders that were
/// given before.
async fn tell_all(work: &mut Work, context: &Context, host: &Host) -> Result<(), Failure> {
    for instance in instances::on_host(work, host.id).await? {
        if let Some(intent) = lifecycle::intent(&instance) {
            advance::tell(work, context, &instance, intent).await?;
        }
    }
    Ok(())
}
