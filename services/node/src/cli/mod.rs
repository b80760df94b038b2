//! The verbs that work on a node of this machine.

mod archive;
mod doctor;
mod replay;
mod setup;
mod simulate;
mod up;

use berth::cli::{AuditCommand, Cli, Command, ConfigCommand, print_settings};
use client::Failure;
use terminal::config::Environment;

/// Does what the command line says. Exit code of the program when nothing failed.
pub async fn run(cli: Cli) -> Result<u8, Failure> {
    let global = &cli.global;
    match cli.command {
        Command::Up(args) => up::up(args, global).await?,
        Command::Down(args) => up::down(args, global).await?,
        Command::Replay(command) => replay::run(command, global).await?,
        Command::Simulate(args) => simulate::simulate(args, global).await?,
        Command::Setup(args) => setup::setup(&args).await?,
        Command::Doctor(args) => return doctor::run(args, global).await,
        Command::Audit(AuditCommand::Verify(args)) => archive::verify(args, global).await?,
        Command::Audit(AuditCommand::Key(args)) => archive::key(&args, global)?,
        Command::Config(ConfigCommand::Check { node: true }) => {
            let loaded = crate::config::load(global.data_dir.as_ref(), &[], &Environment::of_process())?;
            print_settings(&loaded.effective, global.output.unwrap_or_default())?;
        }
        // whoever asks the node's program for anything else gets it
        command => return berth::cli::run(Cli { command, ..cli }).await,
    }
    Ok(0)
}
