//! What a host should do about one VM, as pure functions: no hypervisor, clock, database or wire type in sight.
//!
//! `observe -> plan -> act -> note -> say`: the reconciler does the verbs, this room knows what they mean.

pub mod attempts;
pub mod condition;
pub mod machine;
pub mod observation;
pub mod observed;
pub mod plan;
pub mod progress;
pub mod quarantine;
pub mod spec;

pub use attempts::{Attempts, Severity};
pub use condition::{Condition, HostCause};
pub use machine::Machine;
pub use observation::{Observation, SaidPower};
pub use observed::{Domain, Ended, Files, Observed, Ours, Power};
pub use plan::{Action, Drift, DriftKind, Plan, Policy, plan};
pub use progress::Progress;
pub use quarantine::{DropReason, QuarantineReason, Quarantined};
pub use spec::{
    Artifact, DiskFormat, Disposal, DriverKind, Intent, IntentKey, RestartPolicy, Role, SealedData, VmSpec,
    Wanted,
};

#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod properties;
