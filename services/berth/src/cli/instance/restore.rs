//! `berth instance restore|drop-disks`.

use super::super::Session;
use super::super::arguments::WaitArgs;
use clap::Subcommand;
use client::Failure;
use contracts::gateway::v1::{DropInstanceDisksRequest, RestoreInstanceRequest};

#[derive(Debug, Subcommand)]
pub enum RestoreCommand {
    /// Bring an instance back with disks that were put aside
    ///
    /// A deleted instance while its disks are kept, or one that lost them. It is stopped afterwards. What lies in the
    /// place of the disks is put aside in turn.
    #[command(
        after_help = "Examples:\n  berth instance restore web-1 --wait\n  berth instance restore web-1 --quarantine-id 01890a5d-ac96-774b-bcce-b302099a8057"
    )]
    Restore {
        /// Name or id; a name means the instance that has it, or else the deleted one that had it last
        instance: String,
        /// Which disks [default: those that were put aside last]
        #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
        quarantine_id: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Remove disks of an instance that were put aside, for good
    #[command(
        after_help = "Examples:\n  berth instance show web-1\n  berth instance drop-disks web-1 01890a5d-ac96-774b-bcce-b302099a8057 --wait"
    )]
    DropDisks {
        /// Name or id; a name means the instance that has it, or else the deleted one that had it last
        instance: String,
        /// Which disks; berth instance show lists them
        quarantine_id: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

pub(super) async fn run(command: RestoreCommand, session: &Session) -> Result<(), Failure> {
    let (gateway, key) = (&session.gateway, session.key());
    match command {
        RestoreCommand::Restore { instance, quarantine_id, wait } => {
            let done = format!("restored {instance}; it is stopped");
            let request = RestoreInstanceRequest { instance, quarantine_id };
            let answer =
                gateway.change(request, key, async |r| gateway.instances().restore_instance(r).await).await?;
            session.accepted(&answer, &wait, &done).await
        }
        RestoreCommand::DropDisks { instance, quarantine_id, wait } => {
            let done = format!("removed {quarantine_id}");
            let request = DropInstanceDisksRequest { instance, quarantine_id };
            let answer = gateway
                .change(request, key, async |r| gateway.instances().drop_instance_disks(r).await)
                .await?;
            session.accepted(&answer, &wait, &done).await
        }
    }
}
