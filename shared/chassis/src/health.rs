//! Whether each part of the process is well, in a sentence an operator understands.

use bus::Trouble;
use opentelemetry::KeyValue;
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
    /// What kind of matter, when it is one that has a name.
    pub trouble: Option<Trouble>,
}

#[derive(Debug, Clone)]
struct Part {
    healthy: bool,
    detail: String,
    trouble: Option<Trouble>,
}

/// The health of all parts of this process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<RwLock<BTreeMap<String, Part>>>);

/// Where one part says how it is.
#[derive(Debug, Clone)]
pub struct HealthHandle {
    health: Health,
    name: String,
}

impl Health {
    /// A part, unwell ("starting") until it says otherwise.
    pub fn component(&self, name: &str) -> HealthHandle {
        self.set(name, Part { healthy: false, detail: "starting".to_owned(), trouble: None });
        HealthHandle { health: self.clone(), name: name.to_owned() }
    }

    /// How all parts are, by name.
    pub fn all(&self) -> Vec<ComponentHealth> {
        let parts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        parts
            .iter()
            .map(|(name, part)| ComponentHealth {
                name: name.clone(),
                healthy: part.healthy,
                detail: part.detail.clone(),
                trouble: part.trouble,
            })
            .collect()
    }

    /// Whether every part is well.
    pub fn is_healthy(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().all(|part| part.healthy)
    }

    fn set(&self, name: &str, part: Part) {
        let mut parts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let before = parts.insert(name.to_owned(), part.clone());
        drop(parts);
        let known = before.is_some();
        let (was_healthy, was_trouble) = before.map_or((true, None), |p| (p.healthy, p.trouble));
        if was_healthy && !part.healthy {
            tracing::warn!(component = name, detail = part.detail, reason = ?part.trouble, "unwell");
        } else if !was_healthy && part.healthy {
            tracing::info!(component = name, detail = part.detail, "well");
        }
        if !known || was_healthy != part.healthy {
            unwell(name, !part.healthy);
        }
        if was_trouble != part.trouble {
            measure(name, was_trouble, 0);
            measure(name, part.trouble, 1);
        }
    }
}

/// 1 while a part is not well, for whatever reason: also while it starts.
fn unwell(component: &str, is_unwell: bool) {
    let gauge = opentelemetry::global::meter("chassis")
        .u64_gauge("berth_component_unwell")
        .with_description("1 while a part of this process says that it is not well, by part; 0 when it is.")
        .build();
    gauge.record(u64::from(is_unwell), &[KeyValue::new("component", component.to_owned())]);
}

/// 1 while a part is in this kind of trouble.
fn measure(component: &str, trouble: Option<Trouble>, value: u64) {
    let Some(trouble) = trouble else { return };
    let gauge = opentelemetry::global::meter("chassis")
        .u64_gauge("berth_component_trouble")
        .with_description("1 while a part of this process cannot work, by part and reason.")
        .build();
    let labels = [
        KeyValue::new("component", component.to_owned()),
        KeyValue::new("reason", trouble.code().to_lowercase()),
    ];
    gauge.record(value, &labels);
}

impl HealthHandle {
    /// The part is well.
    pub fn ok(&self, detail: impl Into<String>) {
        self.health.set(&self.name, Part { healthy: true, detail: detail.into(), trouble: None });
    }

    /// The part is not well; the detail says what to look at.
    pub fn bad(&self, detail: impl Into<String>) {
        self.health.set(&self.name, Part { healthy: false, detail: detail.into(), trouble: None });
    }

    /// The part is not well, for a reason that has a name.
    pub fn troubled(&self, trouble: Trouble, detail: impl Into<String>) {
        self.health.set(&self.name, Part { healthy: false, detail: detail.into(), trouble: Some(trouble) });
    }

    /// The same, as the bus wants it.
    pub fn report(&self) -> bus::Report {
        let handle = self.clone();
        bus::Report::new(move |outcome, detail| match outcome {
            Ok(()) => handle.ok(detail),
            Err(trouble) => handle.troubled(trouble, detail),
        })
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
            ComponentHealth { name: "b".into(), healthy: false, detail: "disk full".into(), trouble: None }
        );
        assert!(!health.is_healthy());
        b.troubled(Trouble::StoreFull, "no room");
        assert_eq!(health.all()[1].trouble, Some(Trouble::StoreFull));
        b.ok("room again");
        assert!(health.is_healthy() && health.all()[1].trouble.is_none());
    }
}
