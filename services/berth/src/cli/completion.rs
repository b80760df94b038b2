//! `berth completion`.

use super::Cli;
use crate::output::print_bytes;
use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell;
use client::Failure;

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth completion bash > /etc/bash_completion.d/berth
  berth completion zsh > \"${fpath[1]}/_berth\"
  berth completion fish > ~/.config/fish/completions/berth.fish")]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: OfferedShell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OfferedShell {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn run(args: &CompletionArgs) -> Result<(), Failure> {
    let shell = match args.shell {
        OfferedShell::Bash => Shell::Bash,
        OfferedShell::Zsh => Shell::Zsh,
        OfferedShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "berth", &mut script);
    print_bytes(&script)
}
