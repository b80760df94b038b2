//! One file per message. Handlers write down what is wanted; reconcilers do it.

mod drop_quarantined;
mod ensure_vm;
mod exec_in_vm;

pub use drop_quarantined::DropQuarantinedHandler;
pub use ensure_vm::EnsureVmHandler;
pub use exec_in_vm::ExecInVmHandler;
