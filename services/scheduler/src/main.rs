//! The scheduler as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    chassis::run("scheduler", scheduler::wire)
}
