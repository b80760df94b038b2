//! Users. The row was written with the event; in a replay it is written here.

use crate::store::users;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::gateway::v1::UserRecord;
use kernel::Message;

/// An event that carries a user.
pub(super) struct Project<M>(pub(super) fn(M) -> Option<UserRecord>);

#[async_trait]
impl<M: Message> Handle<M> for Project<M> {
    async fn handle(&self, work: &mut Work, message: M) -> Result<(), Failure> {
        match (self.0)(message) {
            Some(record) if record.user.is_some() => Ok(users::put(work.tx(), &record).await?),
            _ => Err(Failure::Poison(format!("{} without a user", M::NAME))),
        }
    }
}
