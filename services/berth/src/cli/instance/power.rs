//! `berth instance start|stop|reboot|pause|resume|delete`.

use super::super::Session;
use super::super::arguments::WaitArgs;
use clap::{Args, Subcommand};
use client::Failure;
use contracts::gateway::v1::{
    DeleteInstanceRequest, PauseInstanceRequest, RebootInstanceRequest, ResumeInstanceRequest,
    StartInstanceRequest, StopInstanceRequest,
};
use kernel::limits::{GRACE_DEFAULT_S, GRACE_S};

#[derive(Debug, Subcommand)]
pub enum PowerCommand {
    /// Start a stopped or failed instance
    #[command(after_help = "Examples:\n  berth instance start web-1 --wait")]
    Start(Which),
    /// Shut a guest down, and pull the plug after the grace time
    #[command(
        after_help = "Examples:\n  berth instance stop web-1 --wait\n  berth instance stop web-1 --grace 0"
    )]
    Stop {
        #[command(flatten)]
        which: Which,
        #[arg(
            long,
            value_name = "SECONDS",
            value_parser = clap::value_parser!(u32).range(..=i64::from(GRACE_S)),
            help = format!("Seconds the guest gets to shut down, at most {GRACE_S} [default: {GRACE_DEFAULT_S}]")
        )]
        grace: Option<u32>,
    },
    /// Restart a guest
    #[command(after_help = "Examples:\n  berth instance reboot web-1 --wait")]
    Reboot(Which),
    /// Freeze a guest
    #[command(after_help = "Examples:\n  berth instance pause web-1")]
    Pause(Which),
    /// Let a frozen guest go on
    #[command(after_help = "Examples:\n  berth instance resume web-1")]
    Resume(Which),
    /// Remove an instance and its disks
    #[command(after_help = "Examples:\n  berth instance delete web-1 --wait")]
    Delete(Which),
}

#[derive(Debug, Args)]
pub struct Which {
    /// Name or id
    instance: String,
    #[command(flatten)]
    wait: WaitArgs,
}

pub(super) async fn run(command: PowerCommand, session: &Session) -> Result<(), Failure> {
    let (gateway, key) = (&session.gateway, session.key());
    let (answer, which, done) = match command {
        PowerCommand::Start(which) => {
            let request = StartInstanceRequest { instance: which.instance.clone() };
            (
                gateway.change(request, key, async |r| gateway.instances().start_instance(r).await).await?,
                which,
                "started",
            )
        }
        PowerCommand::Stop { which, grace } => {
            let request = StopInstanceRequest { instance: which.instance.clone(), grace_s: grace };
            (
                gateway.change(request, key, async |r| gateway.instances().stop_instance(r).await).await?,
                which,
                "stopped",
            )
        }
        PowerCommand::Reboot(which) => {
            let request = RebootInstanceRequest { instance: which.instance.clone() };
            (
                gateway.change(request, key, async |r| gateway.instances().reboot_instance(r).await).await?,
                which,
                "rebooted",
            )
        }
        PowerCommand::Pause(which) => {
            let request = PauseInstanceRequest { instance: which.instance.clone() };
            (
                gateway.change(request, key, async |r| gateway.instances().pause_instance(r).await).await?,
                which,
                "paused",
            )
        }
        PowerCommand::Resume(which) => {
            let request = ResumeInstanceRequest { instance: which.instance.clone() };
            (
                gateway.change(request, key, async |r| gateway.instances().resume_instance(r).await).await?,
                which,
                "resumed",
            )
        }
        PowerCommand::Delete(which) => {
            let request = DeleteInstanceRequest { instance: which.instance.clone() };
            (
                gateway.change(request, key, async |r| gateway.instances().delete_instance(r).await).await?,
                which,
                "deleted",
            )
        }
    };
    session.accepted(&answer, &which.wait, &format!("{done} {}", which.instance)).await
}
