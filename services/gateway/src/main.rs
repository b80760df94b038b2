//! The gateway as a process of its own: `gateway [settings file]`.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    chassis::run(&gateway::SERVICE)
}
