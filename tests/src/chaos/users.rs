//! Users: each has some instances, asks for one thing after another, and remembers what each instance should be.

use super::door::Door;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

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

/// So many users share so many instances, all at once. Resolves when all got what they wanted.
pub async fn live(
    door: &Door,
    seed: u64,
    users: usize,
    instances: usize,
    image: &str,
) -> BTreeMap<String, Wanted> {
    let wishes = Wishes::default();
    let lives = (0..users).map(|number| {
        let chance = SmallRng::seed_from_u64(seed ^ ((number as u64) << 32));
        let mut user = User { door: door.clone(), wishes: wishes.clone(), image: image.to_owned(), chance };
        async move {
            for instance in (0..instances).filter(|n| n % users == number) {
                user.one_life(&format!("i-{instance}")).await;
            }
        }
    });
    futures::future::join_all(lives).await;
    wishes.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

struct User {
    door: Door,
    wishes: Wishes,
    image: String,
    chance: SmallRng,
}

impl User {
    fn wish(&self, name: &str, wanted: Wanted) {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), wanted);
    }

    async fn one_life(&mut self, name: &str) {
        let body = json!({
            "name": name, "image": self.image,
            "resources": {"vcpus_milli": 100, "memory_bytes": MEMORY, "disk_bytes": 64 << 20},
        });
        self.wish(name, Wanted::Ready);
        self.must(Method::POST, "/v1/instances", name, "create", Some(body)).await;
        let mut wanted = Wanted::Ready;
        for round in 0..self.chance.random_range(0..3) {
            let verb = match wanted {
                Wanted::Ready => ["stop", "reboot"][self.chance.random_range(0..2)],
                _ => "start",
            };
            let path = format!("/v1/instances/{name}/{verb}");
            self.must(Method::POST, &path, name, &format!("{verb}-{round}"), Some(json!({}))).await;
            wanted = if verb == "stop" { Wanted::Stopped } else { Wanted::Ready };
            self.wish(name, wanted);
        }
        if self.chance.random_range(0..100) < 60 {
            self.must(Method::DELETE, &format!("/v1/instances/{name}"), name, "delete", None).await;
            self.wish(name, Wanted::Gone);
        }
    }

    /// Asks, and waits until it is done.
    async fn must(&self, method: Method, path: &str, name: &str, what: &str, body: Option<Value>) {
        let (status, answer) = self.door.ask(method, path, &format!("{name}-{what}"), body.as_ref()).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{what} {name}: {answer:#}");
        let operation = answer["operation_id"].as_str().expect("an operation");
        let ended = self.door.wait(operation).await;
        assert_eq!(ended["state"], "OPERATION_STATE_SUCCEEDED", "{what} {name}: {ended:#}");
    }
}
