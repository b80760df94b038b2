//! The verbs that work on a node of this machine. What they understand is written here, so that help, completion and
//! mistakes are the same everywhere; `berth-node` does them.

mod archive;
mod doctor;
mod replay;
mod setup;
mod simulate;
mod up;

pub use archive::{KeyArgs, VerifyArgs};
pub use doctor::DoctorArgs;
pub use replay::ReplayCommand;
pub use setup::SetupArgs;
pub use simulate::{GenerateArgs, Pace, Profile, RunArgs, SimulateArgs, SimulateCommand, policy_name};
pub use up::{DownArgs, UpArgs};

use client::{Exit, Failure};
use std::convert::Infallible;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

/// The program of the node.
const PROGRAM: &str = "berth-node";

/// Goes on as the program of the node, with the same arguments, terminal and process. Only a failure comes back.
pub(super) fn exec<T>() -> Result<T, Failure> {
    let program = beside().unwrap_or_else(|| PathBuf::from(PROGRAM));
    let error = Command::new(&program).args(std::env::args_os().skip(1)).exec();
    Err(explain(&program, &error)).map(|never: Infallible| match never {})
}

/// That of the same installation, before any that PATH finds.
fn beside() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let own = own.canonicalize().unwrap_or(own);
    Some(own.parent()?.join(PROGRAM)).filter(|path| path.is_file())
}

fn explain(program: &std::path::Path, error: &std::io::Error) -> Failure {
    if error.kind() == std::io::ErrorKind::NotFound {
        return Failure::new(Exit::Failed, "this machine has only the client, and this is done by the node")
            .hint("install berth-node beside berth or in PATH, or do it on the machine of the node");
    }
    Failure::new(Exit::Failed, format!("cannot start {}: {error}", program.display()))
}
