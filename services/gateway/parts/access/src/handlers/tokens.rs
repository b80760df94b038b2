//! Tokens. The row was written with the event; in a replay it is written here.

use crate::store::tokens;
use async_trait::async_trait;
use bus::{Failure, Handle, HandleObject, Work};
use contracts::Carried;
use contracts::gateway::v1::{TokenRecord, TokensForgotten};

/// An event that carries a token's record.
pub struct Project;

#[async_trait]
impl HandleObject<TokenRecord> for Project {
    async fn handle(&self, work: &mut Work, event: Carried<TokenRecord>) -> Result<(), Failure> {
        if event.object.token.is_none() {
            return Err(Failure::Poison("a record without a token".into()));
        }
        Ok(tokens::put(work.tx(), &event.object).await?)
    }
}

/// Tokens that ended long ago go, here and nowhere else: the order of the stream decides, as it does in a replay.
pub struct Forgotten;

#[async_trait]
impl Handle<TokensForgotten> for Forgotten {
    async fn handle(&self, work: &mut Work, message: TokensForgotten) -> Result<(), Failure> {
        Ok(tokens::forget(work.tx(), message.expired_before_us).await?)
    }
}
