//! The `berth` program: the command line.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    berth::cli::main(berth::cli::run)
}
