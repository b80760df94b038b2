//! Progress of operations.

use super::Projection;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::common::v1::OperationProgress;
use contracts::gateway::v1::{Operation, OperationAccepted};
use gateway_api::store::{operations, uploads};
use gateway_api::translate::operations as translate;
use kernel::Message;

impl Projection {
    /// Folds progress into the operations it names; `finish` adds to each what only this message knows.
    pub(super) async fn advance(
        &self,
        work: &mut Work,
        progress: &[OperationProgress],
        finish: impl Fn(&mut Operation),
    ) -> Result<(), Failure> {
        let at = work.occurred_at();
        for one in progress.iter().filter(|one| !one.operation_id.is_empty()) {
            let id = &one.operation_id;
            self.store.lock(work.tx(), &format!("operation {id}")).await?;
            let before = find(work, id).await?.unwrap_or_else(|| translate::unheard_of(id));
            let Some(mut after) = translate::advanced(&before, one, at) else { continue };
            if !translate::is_final(&before) {
                finish(&mut after);
            }
            work.late::<operations::Rows>().note(after);
            self.wake(work, id);
        }
        Ok(())
    }

    /// Whoever waits for `id` is woken once the work is committed.
    pub(super) fn wake(&self, work: &mut Work, id: &str) {
        let (wakeups, id) = (self.wakeups.clone(), id.to_owned());
        work.after_commit(move || wakeups.changed(id));
    }
}

/// An operation as the messages before this one left it.
async fn find(work: &mut Work, id: &str) -> Result<Option<Operation>, Failure> {
    if let Some(known) = work.late::<operations::Rows>().find(id) {
        return Ok(Some(known.clone()));
    }
    Ok(operations::find(&mut *work.tx(), id).await?)
}

/// An event that only moves operations on.
pub(super) struct Advance<M> {
    on: Projection,
    open: fn(M) -> Vec<OperationProgress>,
}

pub(super) fn progress<M: Message>(on: &Projection, open: fn(M) -> Vec<OperationProgress>) -> Advance<M> {
    Advance { on: on.clone(), open }
}

#[async_trait]
impl<M: Message> Handle<M> for Advance<M> {
    async fn handle(&self, work: &mut Work, message: M) -> Result<(), Failure> {
        let progress = (self.open)(message);
        self.on.advance(work, &progress, |_| {}).await
    }
}

/// An operation began. The row was written with the event; in a replay it is written here.
pub(super) struct Accepted(pub(super) Projection);

#[async_trait]
impl Handle<OperationAccepted> for Accepted {
    async fn handle(&self, work: &mut Work, event: OperationAccepted) -> Result<(), Failure> {
        let Some(operation) = event.operation else {
            return Err(Failure::Poison("an acceptance without an operation".into()));
        };
        uploads::wanted(work.tx(), &event.upload_ids, &operation.object_id).await?;
        self.0.store.lock(work.tx(), &format!("operation {}", operation.id)).await?;
        let row = match find(work, &operation.id).await? {
            None => operation,
            Some(early) if early.tenant.is_empty() => translate::merged(&early, operation),
            Some(_) => return Ok(()),
        };
        self.0.wake(work, &row.id);
        work.late::<operations::Rows>().note(row);
        Ok(())
    }
}
