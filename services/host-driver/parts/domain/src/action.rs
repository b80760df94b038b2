//! What can be done for a VM.

/// One thing to do. Each is idempotent: done twice, the second time changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Bring the image's files into the cache and verify them.
    FetchImage,
    /// Make the VM's disks.
    PrepareDisks,
    /// Tell the hypervisor what the VM is, replacing what it knew under our mark.
    Define,
    /// Begin to run a defined VM.
    Start,
    /// Ask the guest to shut down.
    Shutdown,
    /// Take its power.
    Destroy,
    /// Ask the guest to reboot.
    Reboot,
    /// Reboot it without asking.
    Reset,
    /// Hold its CPUs.
    Pause,
    /// Let them go on.
    Resume,
    /// Make the hypervisor forget the VM.
    Undefine,
    /// Put disks aside that nobody ordered to go: they may hold what must not be used, and must not be lost.
    Quarantine,
    /// Make quarantined files the VM's disks again.
    TakeBack,
    /// Delete the VM's files: somebody ordered it, or no VM ever ran on them.
    RemoveFiles,
}

impl Action {
    /// All of them.
    pub const ALL: [Action; 14] = [
        Action::FetchImage,
        Action::PrepareDisks,
        Action::Define,
        Action::Start,
        Action::Shutdown,
        Action::Destroy,
        Action::Reboot,
        Action::Reset,
        Action::Pause,
        Action::Resume,
        Action::Undefine,
        Action::Quarantine,
        Action::TakeBack,
        Action::RemoveFiles,
    ];

    /// The action's name in metrics, spans and refusals.
    pub fn name(self) -> &'static str {
        match self {
            Action::FetchImage => "fetch_image",
            Action::PrepareDisks => "prepare_disks",
            Action::Define => "define",
            Action::Start => "start",
            Action::Shutdown => "shutdown",
            Action::Destroy => "destroy",
            Action::Reboot => "reboot",
            Action::Reset => "reset",
            Action::Pause => "pause",
            Action::Resume => "resume",
            Action::Undefine => "undefine",
            Action::Quarantine => "quarantine",
            Action::TakeBack => "take_back",
            Action::RemoveFiles => "remove_files",
        }
    }
}
