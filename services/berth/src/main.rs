//! The `berth` program: the command line and the all-in-one node.

fn main() -> std::process::ExitCode {
    berth::cli::main()
}
