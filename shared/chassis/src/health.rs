//! Whether each part of the process is well, in a sentence an operator understands.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// How one part is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentHealth {
    /// "scheduler.relay".
    pub name: String,
    /// False: something an operator should look at.
    pub healthy: bool,
    /// What is the matter, or "ok".
    pub detail: String,
}

/// The health of all parts of this process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<RwLock<BTreeMap<String, (bool, String)>>>);

/// Where one part says how it is.
#[derive(Debug, Clone)]
pub struct HealthHandle {
    health: Health,
    name: String,
}

impl Health {
    /// A part, unwell ("starting") until it says otherwise.
    pub fn component(&self, name: &str) -> HealthHandle {
        self.set(name, false, "starting".to_owned());
        HealthHandle { health: self.clone(), name: name.to_owned() }
    }

    /// How all parts are, by name.
    pub fn all(&self) -> Vec<ComponentHealth> {
        let parts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        parts
            .iter()
            .map(|(name, (healthy, detail))| ComponentHealth {
                name: name.clone(),
                healthy: *healthy,
                detail: detail.clone(),
            })
            .collect()
    }

    /// Whether every part is well.
    pub fn is_healthy(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().all(|(healthy, _)| *healthy)
    }

    fn set(&self, name: &str, healthy: bool, detail: String) {
        let mut parts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = parts.insert(name.to_owned(), (healthy, detail.clone()));
        drop(parts);
        match before {
            Some((was, _)) if was && !healthy => tracing::warn!(component = name, detail, "unwell"),
            Some((was, _)) if !was && healthy => tracing::info!(component = name, detail, "well"),
            _ => {}
        }
    }
}

impl HealthHandle {
    /// The part is well.
    pub fn ok(&self, detail: impl Into<String>) {
        self.health.set(&self.name, true, detail.into());
    }

    /// The part is not well; the detail says what to look at.
    pub fn bad(&self, detail: impl Into<String>) {
        self.health.set(&self.name, false, detail.into());
    }

    /// The same, as the bus wants it.
    pub fn report(&self) -> bus::Report {
        let handle = self.clone();
        bus::Report::new(move |healthy, detail| handle.health.set(&handle.name, healthy, detail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_unwell_makes_the_process_unwell() {
        let health = Health::default();
        let (a, b) = (health.component("a"), health.component("b"));
        assert!(!health.is_healthy(), "starting is not well");
        a.ok("ok");
        b.ok("ok");
        assert!(health.is_healthy());
        b.bad("disk full");
        assert_eq!(
            health.all()[1],
            ComponentHealth { name: "b".into(), healthy: false, detail: "disk full".into() }
        );
        assert!(!health.is_healthy());
    }
}
