//! Every verb of `berth`, one file per noun.

mod arguments;
mod audit;
mod completion;
mod config;
mod dead;
mod event_text;
mod events;
mod events_publish;
mod flavor;
mod host;
mod image;
mod instance;
mod kinds;
pub mod local;
mod login;
mod login_oidc;
mod manifest;
mod operation;
mod quarantine;
mod quota;
mod role;
mod secret;
mod session;
mod status;
mod tenant;
mod token;
mod user;
mod webhook;

pub use arguments::{GlobalArgs, HELP_EXITS};
pub use audit::AuditCommand;
pub use config::{ConfigCommand, print_settings};
pub use session::Session;

use crate::output::{Format, note};
use clap::{Parser, Subcommand};
use client::{Exit, Failure};
use std::process::ExitCode;

/// Berth: microVMs, virtual machines and clusters on your own servers.
#[derive(Debug, Parser)]
#[command(name = "berth", disable_version_flag = true, arg_required_else_help = true, after_help = HELP_EXITS)]
pub struct Cli {
    #[command(flatten)]
    #[allow(missing_docs)] // a comment would take the place of their own
    pub global: GlobalArgs,
    #[command(subcommand)]
    #[allow(missing_docs)]
    pub command: Command,
}

/// Every verb.
#[derive(Debug, Subcommand)]
#[allow(missing_docs)] // each is described by its arguments
pub enum Command {
    Up(local::UpArgs),
    Down(local::DownArgs),
    Status(status::StatusArgs),
    Doctor(local::DoctorArgs),
    #[command(subcommand)]
    Image(image::ImageCommand),
    #[command(subcommand)]
    Flavor(flavor::FlavorCommand),
    #[command(subcommand)]
    Host(host::HostCommand),
    #[command(subcommand)]
    Instance(instance::InstanceCommand),
    #[command(flatten)]
    Kind(kinds::KindCommand),
    Events(events::EventsArgs),
    #[command(subcommand)]
    Operation(operation::OperationCommand),
    Login(login::LoginArgs),
    Logout(login::LogoutArgs),
    Whoami(login::WhoamiArgs),
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    #[command(subcommand)]
    Quota(quota::QuotaCommand),
    #[command(subcommand)]
    User(user::UserCommand),
    #[command(subcommand)]
    Role(role::RoleCommand),
    #[command(subcommand)]
    Token(token::TokenCommand),
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    #[command(subcommand)]
    Dead(dead::DeadCommand),
    #[command(subcommand)]
    Replay(local::ReplayCommand),
    Simulate(local::SimulateArgs),
    Setup(local::SetupArgs),
    #[command(subcommand)]
    Config(config::ConfigCommand),
    Completion(completion::CompletionArgs),
    Version(status::VersionArgs),
}

/// Reads the arguments of the process, and does what they say by `run`.
pub fn main(run: impl AsyncFnOnce(Cli) -> Result<u8, Failure>) -> ExitCode {
    // two installs are harmless: the first one counts
    let _ = rustls::crypto::ring::default_provider().install_default();
    let cli = Cli::parse();
    let wanted = cli.global.output;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Failure::new(Exit::Failed, format!("cannot start: {error}")), wanted),
    };
    let result = runtime.block_on(run(cli));
    // a thread that waits for a key on standard input must not hold up the end
    runtime.shutdown_background();
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => report(&failure, wanted),
    }
}

fn report(failure: &Failure, wanted: Option<Format>) -> ExitCode {
    match wanted {
        Some(Format::Json) => note(&failure.to_json().to_string()),
        _ => note(&failure.to_string()),
    }
    failure.exit.into()
}

/// Exit code of the program when nothing failed: 0, or the code of a guest program.
pub async fn run(cli: Cli) -> Result<u8, Failure> {
    let global = cli.global;
    match cli.command {
        Command::Up(_)
        | Command::Down(_)
        | Command::Replay(_)
        | Command::Simulate(_)
        | Command::Setup(_)
        | Command::Doctor(_) => local::exec()?,
        Command::Config(command) => config::run(command, &global)?,
        Command::Completion(args) => completion::run(&args)?,
        Command::Version(args) => status::version(&args, &global).await?,
        Command::Status(args) => return status::status(&args, &Session::open(&global)?).await,
        Command::Image(command) => image::run(command, &Session::open(&global)?).await?,
        Command::Flavor(command) => flavor::run(command, &Session::open(&global)?).await?,
        Command::Host(command) => host::run(command, &Session::open(&global)?).await?,
        Command::Instance(command) => return instance::run(command, &Session::open(&global)?).await,
        Command::Kind(command) => kinds::run(&command, &Session::open(&global)?).await?,
        Command::Events(args) => events::run(args, &Session::open(&global)?).await?,
        Command::Operation(command) => operation::run(command, &Session::open(&global)?).await?,
        Command::Audit(command) => audit::run(command, &global).await?,
        Command::Login(args) => login::login(args, &global).await?,
        Command::Logout(_) => login::logout(&global).await?,
        Command::Whoami(_) => login::whoami(&Session::open(&global)?).await?,
        Command::Tenant(command) => tenant::run(command, &Session::open(&global)?).await?,
        Command::Quota(command) => {
            quota::run(command, &Session::open(&global)?, global.idempotency_key.is_some()).await?;
        }
        Command::User(command) => user::run(command, &Session::open(&global)?).await?,
        Command::Role(command) => role::run(command, &Session::open(&global)?).await?,
        Command::Token(command) => token::run(command, &Session::open(&global)?).await?,
        Command::Webhook(command) => webhook::run(command, &Session::open(&global)?).await?,
        Command::Dead(command) => dead::run(command, &Session::open(&global)?).await?,
    }
    Ok(0)
}

#[cfg(test)]
#[path = "parsing_tests.rs"]
mod tests;
