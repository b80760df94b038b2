//! What follows from a change of a host.

use super::Context;
use crate::store::hosts;
use crate::translate::{host as translate, lifecycle};
use bus::{Failure, Work};
use contracts::common::v1::OperationProgress;
use contracts::scheduler::v1::{HostChanged, RequestRefused};
use kernel::{PLATFORM, Refusal};
use scheduler_placement::host::Host;
use scheduler_placement::solver::HostRow;

/// Saves a changed host and says so; instances that wait may find room now.
pub async fn save(
    work: &mut Work,
    context: &Context,
    host: &Host,
    from: u64,
    operations: Vec<OperationProgress>,
) -> Result<(), Failure> {
    context.fleet.hold(work, &context.metrics).await?;
    hosts::update(work.tx(), host, from).await?;
    context.fleet.changed(work, host.id, Some(HostRow::from(host)));
    work.say_for(PLATFORM, &HostChanged { host: Some(translate::host_out(host)), operations });
    let placement = context.placement.clone();
    work.after_commit(move || placement.notify_one());
    Ok(())
}

/// A request about a host that was not taken; nothing changed.
pub fn refuse(
    work: &mut Work,
    host_id: &str,
    operation_id: &str,
    code: &str,
    message: String,
) -> Result<(), Failure> {
    let operations = vec![lifecycle::failed(operation_id, &Refusal::new(code, message))];
    work.say_for(PLATFORM, &RequestRefused { object_id: host_id.to_owned(), operations });
    Ok(())
}

/// An operator's request about a host: `change` answers whether it changed anything, and the name of what was done;
/// either way it is done.
pub async fn request(
    work: &mut Work,
    context: &Context,
    (host_id, operation_id): (&str, &str),
    change: impl FnOnce(&mut Host, kernel::Timestamp) -> (bool, &'static str),
) -> Result<(), Failure> {
    let Some(mut host) = hosts::find(work.tx(), host_id).await? else {
        return refuse(work, host_id, operation_id, "NOT_FOUND", format!("there is no host {host_id}"));
    };
    let from = host.revision;
    let (news, step) = change(&mut host, work.now());
    if !news {
        // as it was asked for already; the event that ends the operation still needs a revision of its own
        host.revision += 1;
        host.updated_at = work.now();
    }
    save(work, context, &host, from, vec![lifecycle::succeeded(operation_id, step)]).await
}
