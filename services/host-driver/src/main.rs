//! The host-driver as a process of its own.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    chassis::run(&host_driver::SERVICE)
}
