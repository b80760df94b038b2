//! Users: each has some instances, asks for one thing after another, and remembers what each instance should be.

use super::door::Door;
use super::ledger::Ledger;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Memory of every instance in bytes.
pub const MEMORY: u64 = 64 << 20;

/// What an instance should be in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Up, its guest answers.
    Ready,
    /// Shut down.
    Stopped,
    /// Not there.
    Gone,
}

/// Names of instances, and what they should be.
pub type Wishes = Arc<Mutex<BTreeMap<String, Wanted>>>;

/// Who lives, and how.
pub struct Life {
    /// Where requests go.
    pub door: Door,
    /// What was asked for.
    pub ledger: Ledger,
    /// What each instance should be, as far as it was asked for.
    pub wishes: Wishes,
    /// Where their choices come from.
    pub seed: u64,
    /// So many users at once,
    pub users: usize,
    /// share so many instances, one after the other each,
    pub instances: usize,
    /// whose lives begin evenly within this time.
    pub within: Duration,
    /// What they boot.
    pub image: String,
}

/// Resolves when all users got what they wanted. The error says what came otherwise; that request stays outstanding.
pub async fn live(life: Life) -> Result<(), String> {
    let Life { users, instances, within, .. } = life;
    let begun = Instant::now();
    let lives = (0..users).map(|number| {
        let mut user = User {
            door: life.door.clone(),
            ledger: life.ledger.clone(),
            wishes: life.wishes.clone(),
            image: life.image.clone(),
            chance: SmallRng::seed_from_u64(life.seed ^ ((number as u64) << 32)),
        };
        async move {
            for instance in (0..instances).filter(|n| n % users == number) {
                let share = instance as f64 / instances as f64;
                tokio::time::sleep_until(begun + within.mul_f64(share)).await;
                user.one_life(&format!("i-{instance}")).await?;
            }
            Ok(())
        }
    });
    futures::future::try_join_all(lives).await.map(|_| ())
}

struct User {
    door: Door,
    ledger: Ledger,
    wishes: Wishes,
    image: String,
    chance: SmallRng,
}

impl User {
    fn wish(&self, name: &str, wanted: Wanted) {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), wanted);
    }

    async fn one_life(&mut self, name: &str) -> Result<(), String> {
        let body = json!({
            "name": name, "image": self.image,
            "resources": {"vcpus_milli": 100, "memory_bytes": MEMORY, "disk_bytes": 64 << 20},
        });
        self.wish(name, Wanted::Ready);
        self.must(Method::POST, "/v1/instances", name, "create", Some(body)).await?;
        let mut wanted = Wanted::Ready;
        for round in 0..self.chance.random_range(0..3) {
            let verb = match wanted {
                Wanted::Ready => ["stop", "reboot"][self.chance.random_range(0..2)],
                _ => "start",
            };
            let path = format!("/v1/instances/{name}/{verb}");
            self.must(Method::POST, &path, name, &format!("{verb}-{round}"), Some(json!({}))).await?;
            wanted = if verb == "stop" { Wanted::Stopped } else { Wanted::Ready };
            self.wish(name, wanted);
        }
        if self.chance.random_range(0..100) < 60 {
            self.must(Method::DELETE, &format!("/v1/instances/{name}"), name, "delete", None).await?;
            self.wish(name, Wanted::Gone);
        }
        Ok(())
    }

    /// Asks, and waits until it is done.
    async fn must(
        &self,
        method: Method,
        path: &str,
        name: &str,
        what: &str,
        body: Option<Value>,
    ) -> Result<(), String> {
        let entry = self.ledger.ask(format!("{what} {name}"));
        let (status, answer) = self.door.ask(method, path, &format!("{name}-{what}"), body.as_ref()).await;
        if status != StatusCode::ACCEPTED {
            return Err(format!("{what} {name} was answered {status}: {answer:#}"));
        }
        let text = |field: &str| answer[field].as_str().unwrap_or_default();
        let instance = [text("instance_id"), text("object_id")].into_iter().find(|id| !id.is_empty());
        self.ledger.accepted(entry, text("operation_id"), instance.unwrap_or_default());
        let ended = self.door.wait(text("operation_id")).await;
        if ended["state"] != "OPERATION_STATE_SUCCEEDED" {
            return Err(format!("{what} {name} ended otherwise: {ended:#}"));
        }
        self.ledger.settled(entry);
        Ok(())
    }
}
