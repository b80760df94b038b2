//! The `berth-node` program: what `berth` does on the machine of a node.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    berth::cli::main(node::cli::run)
}
