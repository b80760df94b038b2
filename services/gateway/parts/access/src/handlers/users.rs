//! Users. The row was written with the event; in a replay it is written here.

use crate::store::users;
use async_trait::async_trait;
use bus::{Failure, HandleObject, Work};
use contracts::Carried;
use contracts::gateway::v1::UserRecord;

/// An event that carries a user's record.
pub struct Project;

#[async_trait]
impl HandleObject<UserRecord> for Project {
    async fn handle(&self, work: &mut Work, event: Carried<UserRecord>) -> Result<(), Failure> {
        if event.object.user.is_none() {
            return Err(Failure::Poison("a record without a user".into()));
        }
        Ok(users::put(work.tx(), &event.object).await?)
    }
}
