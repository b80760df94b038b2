//! Whether new work is taken on: not while it could not be kept, and not more at once than there is room for.

use crate::api::admit::method_of;
use crate::translate::status;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bus::Trouble;
use chassis::{ComponentHealth, Health};
use kernel::Refusal;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tonic::{Code, Status};

/// Lets requests in, or says why not.
pub struct Admission {
    health: Health,
    room: Semaphore,
    most: usize,
}

impl Admission {
    /// At most `most` requests at once; streams do not count.
    pub fn new(health: Health, most: usize) -> Self {
        Self { health, room: Semaphore::new(most), most }
    }
}

/// Refuses what changes something while stores or broker take nothing, and everything beyond the room there is.
pub async fn admit(State(admission): State<Arc<Admission>>, request: Request, next: Next) -> Response {
    let Some(method) = method_of(request.uri().path()) else { return next.run(request).await };
    if method.mutating
        && let Some(part) = first_in_the_way(&admission.health.all())
    {
        return refuse(&part).into_http();
    }
    if method.descriptor.is_server_streaming() || method.descriptor.is_client_streaming() {
        return next.run(request).await;
    }
    let Ok(_place) = admission.room.try_acquire() else {
        let text = format!("{} requests are being answered; try again in a moment", admission.most);
        return status::refused(Code::Unavailable, Refusal::new("OVERLOADED", text), "").into_http();
    };
    next.run(request).await
}

/// The part that could not keep new work; the gateway's own before others of the same process.
fn first_in_the_way(parts: &[ComponentHealth]) -> Option<ComponentHealth> {
    let in_the_way = |part: &&ComponentHealth| match part.trouble {
        Some(
            Trouble::StoreFull
            | Trouble::StoreLocked
            | Trouble::StoreReadOnly
            | Trouble::StoreGone
            | Trouble::BrokerFull
            | Trouble::OutboxFull,
        ) => true,
        // what is committed waits in the outbox for a broker that is away
        Some(Trouble::BrokerAway | Trouble::Stuck | Trouble::Other) | None => false,
    };
    let found = parts.iter().filter(in_the_way);
    found.min_by_key(|part| !part.name.starts_with("gateway.")).cloned()
}

fn refuse(part: &ComponentHealth) -> Status {
    let code = part.trouble.map(Trouble::code).unwrap_or_default();
    let refusal = Refusal::new(code, "nothing new is taken on just now; try again later")
        .because([format!("{}: {}", part.name, part.detail)]);
    status::refused(Code::Unavailable, refusal, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_could_not_be_kept_is_in_the_way() {
        let health = Health::default();
        let (relay, own) = (health.component("scheduler.store"), health.component("gateway.store"));
        assert!(first_in_the_way(&health.all()).is_none(), "starting is no trouble");
        relay.troubled(Trouble::BrokerAway, "away");
        own.bad("odd");
        assert!(first_in_the_way(&health.all()).is_none());
        relay.troubled(Trouble::StoreFull, "no room");
        assert_eq!(first_in_the_way(&health.all()).map(|p| p.name).as_deref(), Some("scheduler.store"));
        own.troubled(Trouble::StoreReadOnly, "may not");
        let part = first_in_the_way(&health.all()).expect("in the way");
        assert_eq!(part.name, "gateway.store");
        let (refusal, _) = status::details(&refuse(&part));
        let refusal = refusal.expect("a refusal");
        assert_eq!(
            (refusal.code.as_str(), refusal.reasons),
            ("STORE_READ_ONLY", vec!["gateway.store: may not".to_owned()])
        );
        own.ok("well");
        relay.ok("well");
        assert!(first_in_the_way(&health.all()).is_none());
    }
}
