//! Hashing passwords of people: argon2id, slow on purpose, a few at once and away from the threads that answer.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use gateway_api::adapters::keys::random_hex;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Hashes computed at once: each takes 19 MiB and a core for a while (argon2id with m = 19456 KiB, t = 2, p = 1).
const AT_ONCE: usize = 2;

/// Hashes passwords and compares them with their hashes.
pub struct Passwords {
    room: Arc<Semaphore>,
    /// The hash of a password that nobody has: comparing with it takes as long as with a real one.
    nobody: String,
    compared: Counter<u64>,
}

impl Passwords {
    /// Computes a hash of nothing in particular.
    pub fn new(meter: &Meter) -> anyhow::Result<Self> {
        let nobody = hash(random_hex().as_bytes())?;
        let compared = meter
            .u64_counter("berth_gateway_password_checks")
            .with_description("Passwords compared with a hash, by what a comparison costs.")
            .build();
        Ok(Self { room: Arc::new(Semaphore::new(AT_ONCE)), nobody, compared })
    }

    /// The hash of a password as a PHC string, with a salt of its own.
    pub async fn hash(&self, password: &str) -> anyhow::Result<String> {
        let _place = self.room.clone().acquire_owned().await?;
        let password = password.to_owned();
        tokio::task::spawn_blocking(move || hash(password.as_bytes())).await?
    }

    /// Whether this is the password. `known` `None`: there is none to compare with; it takes as long all the same.
    pub async fn is_right(&self, password: &str, known: Option<String>) -> anyhow::Result<bool> {
        let _place = self.room.clone().acquire_owned().await?;
        let (real, password) = (known.is_some(), password.to_owned());
        let known = known.unwrap_or_else(|| self.nobody.clone());
        let compared = self.compared.clone();
        let same = tokio::task::spawn_blocking(move || {
            let parsed = PasswordHash::new(&known).map_err(|e| anyhow::anyhow!("a password hash: {e}"))?;
            compared.add(1, &[KeyValue::new("cost", parsed.params.to_string())]);
            anyhow::Ok(Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok())
        });
        Ok(same.await?? && real)
    }
}

fn hash(password: &[u8]) -> anyhow::Result<String> {
    let hash = Argon2::default().hash_password(password);
    Ok(hash.map_err(|e| anyhow::anyhow!("hashing a password: {e}"))?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash_alone() {
        let passwords = Passwords::new(&opentelemetry::global::meter("test")).expect("computes");
        let known = passwords.hash("correct horse battery").await.expect("computes");
        assert!(known.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{known}");
        assert_ne!(known, passwords.hash("correct horse battery").await.expect("computes"), "salted");
        assert!(passwords.is_right("correct horse battery", Some(known.clone())).await.expect("compares"));
        assert!(!passwords.is_right("correct horse batterz", Some(known)).await.expect("compares"));
        assert!(!passwords.is_right("correct horse battery", None).await.expect("compares"));
        assert!(passwords.is_right("x", Some("no hash".into())).await.is_err());
    }
}
