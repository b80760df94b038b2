//! One file for each message the scheduler listens to. All of them load, decide, and save.

pub mod advance;
mod cordon_host;
mod create_instance;
mod delete_instance;
mod expect_guest_agent;
mod host_reported;
pub mod hosts;
mod image;
mod pause_instance;
pub mod place;
mod preview_placement;
mod reboot_instance;
mod restore_instance;
mod resume_instance;
mod set_host_overcommit;
mod start_instance;
mod stop_instance;
mod tenant_quota_set;
mod uncordon_host;
mod vm_observed;

pub use cordon_host::OnCordonHost;
pub use create_instance::OnCreateInstance;
pub use delete_instance::OnDeleteInstance;
pub use expect_guest_agent::OnExpectGuestAgent;
pub use host_reported::OnHostReported;
pub use image::OnImage;
pub use pause_instance::OnPauseInstance;
pub use preview_placement::OnPreviewPlacement;
pub use reboot_instance::OnRebootInstance;
pub use restore_instance::OnRestoreInstance;
pub use resume_instance::OnResumeInstance;
pub use set_host_overcommit::OnSetHostOvercommit;
pub use start_instance::OnStartInstance;
pub use stop_instance::OnStopInstance;
pub use tenant_quota_set::OnTenantQuotaSet;
pub use uncordon_host::OnUncordonHost;
pub use vm_observed::OnVmObserved;

use crate::domain::lifecycle::LifecycleLimits;
use crate::fleet::FleetMemory;
use crate::heartbeats::Heartbeats;
use crate::metrics::Metrics;
use ::store::{Dialect, Store};
use scheduler_placement::resources::Overcommit;
use std::sync::Arc;
use tokio::sync::Notify;

/// What handlers and reconcilers share: the rules, and whom to wake.
#[derive(Clone)]
pub struct Context {
    /// The numbers behind the life of an instance.
    pub limits: LifecycleLimits,
    /// How far new hosts' resources may be promised.
    pub overcommit: Overcommit,
    /// Which database the tables are in: only one of them has row locks.
    pub dialect: Dialect,
    /// The tables.
    pub store: Store,
    /// All hosts and reservations.
    pub fleet: FleetMemory,
    /// Room may have appeared, or somebody waits for it.
    pub placement: Arc<Notify>,
    /// When each host was last heard of.
    pub heartbeats: Heartbeats,
    /// What is counted.
    pub metrics: Metrics,
}
