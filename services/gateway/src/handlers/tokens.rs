//! Tokens. The row was written with the event; in a replay it is written here.

use crate::store::tokens;
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::gateway::v1::{TokenRecord, TokensForgotten};
use kernel::Message;

/// An event that carries a token's record.
pub(super) struct Project<M>(pub(super) fn(M) -> Option<TokenRecord>);

#[async_trait]
impl<M: Message> Handle<M> for Project<M> {
    async fn handle(&self, work: &mut Work, message: M) -> Result<(), Failure> {
        match (self.0)(message) {
            Some(record) if record.token.is_some() => Ok(tokens::put(work.tx(), &record).await?),
            _ => Err(Failure::Poison(format!("{} without a token", M::NAME))),
        }
    }
}

/// Tokens that ended long ago go, here and nowhere else: the order of the stream decides, as it does in a replay.
pub(super) struct Forgotten;

#[async_trait]
impl Handle<TokensForgotten> for Forgotten {
    async fn handle(&self, work: &mut Work, message: TokensForgotten) -> Result<(), Failure> {
        Ok(tokens::forget(work.tx(), message.expired_before_us).await?)
    }
}
