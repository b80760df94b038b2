//! What a host should do about one VM, as pure functions: no hypervisor, clock, database or wire type in sight.
//!
//! `observe -> plan -> act -> note -> say`: the reconciler does the verbs, this crate knows what they mean.
#![forbid(unsafe_code)]

pub mod action;
pub mod attempts;
pub mod condition;
pub mod drift;
pub mod held;
pub mod machine;
pub mod observation;
pub mod observed;
pub mod plan;
pub mod policy;
pub mod progress;
pub mod quarantine;
pub mod spec;

pub use action::Action;
pub use attempts::{Attempts, Severity};
pub use condition::{Condition, HostCause};
pub use drift::{Drift, DriftKind};
pub use held::Held;
pub use machine::Machine;
pub use observation::{Observation, Reason, SaidPower};
pub use observed::{Domain, Ended, Files, Observed, Ours, Power};
pub use plan::{Plan, plan};
pub use policy::Policy;
pub use progress::Progress;
pub use quarantine::{DropReason, QuarantineReason, Quarantined};
pub use spec::{
    Artifact, DiskFormat, Disposal, DriverKind, Intent, IntentKey, RestartPolicy, Role, SealedData, VmSpec,
    Wanted,
};

#[cfg(test)]
mod held_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod properties;
