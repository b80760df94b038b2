//! The archive as a process of its own.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    chassis::run(&archive::SERVICE)
}
