//! `berth instance`.

mod console;
mod create;
mod exec;
pub(super) mod expect_agent;
mod explain;
mod power;
mod restore;
mod show;

use super::Session;
use super::arguments::ListArgs;
use super::quarantine;
use super::session::all_pages;
use clap::Subcommand;
use client::Failure;
use contracts::gateway::v1::{
    ExplainInstanceRequest, GetInstanceRequest, GetInstanceResponse, ListInstancesRequest,
    ListInstancesResponse,
};

/// Instances: microVMs and virtual machines
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  berth instance create web-1 --image debian-12 --flavor small --wait
  berth instance list
  berth instance exec web-1 -- uname -a
  berth instance explain web-1")]
pub enum InstanceCommand {
    Create(Box<create::CreateArgs>),
    /// List instances
    #[command(
        after_help = "Examples:\n  berth instance list\n  berth instance list --label team=web --filter 'phase = READY AND created_at_us > 2026-01-31T12:00:00Z'\n  berth instance list -o json | jq -r '.instances[] | select(.phase == \"INSTANCE_PHASE_READY\").name'"
    )]
    List {
        #[command(flatten)]
        which: ListArgs,
        /// Also those that are deleted
        #[arg(long)]
        all: bool,
    },
    /// Show one instance, why it waits, and the time each step took
    #[command(after_help = "Examples:\n  berth instance show web-1\n  berth instance show web-1 -o yaml")]
    Show {
        /// Name or id
        instance: String,
    },
    #[command(flatten)]
    Power(power::PowerCommand),
    #[command(flatten)]
    Restore(restore::RestoreCommand),
    Exec(exec::ExecArgs),
    Console(console::ConsoleArgs),
    ExpectAgent(expect_agent::ExpectAgentArgs),
    /// Tell why an instance is where it is, or why it waits
    #[command(after_help = "Examples:\n  berth instance explain web-1")]
    Explain {
        /// Name or id
        instance: String,
    },
}

/// The exit code of the program.
pub(super) async fn run(command: InstanceCommand, session: &Session) -> Result<u8, Failure> {
    let gateway = &session.gateway;
    match command {
        InstanceCommand::Exec(args) => return exec::run(args, session).await,
        InstanceCommand::Create(args) => create::run(*args, session).await?,
        InstanceCommand::Power(command) => power::run(command, session).await?,
        InstanceCommand::Restore(command) => restore::run(command, session).await?,
        InstanceCommand::Console(args) => console::run(args, session).await?,
        InstanceCommand::ExpectAgent(args) => expect_agent::run(args, session).await?,
        InstanceCommand::List { which, all: include_deleted } => {
            let mut all = ListInstancesResponse::default();
            all_pages(async |page_token| {
                let (labels, filter) = (which.labels()?, which.filter.clone());
                let request = ListInstancesRequest {
                    page_size: kernel::limits::PAGE,
                    page_token,
                    include_deleted,
                    labels,
                    filter,
                };
                let page =
                    gateway.read(request, async |r| gateway.instances().list_instances(r).await).await?;
                all.instances.extend(page.instances);
                Ok(page.next_page_token)
            })
            .await?;
            session.format.print("ListInstancesResponse", &all, || show::list(&all.instances))?;
        }
        InstanceCommand::Show { instance } => {
            let answer = get(&instance, session).await?;
            session.format.print("GetInstanceResponse", &answer, || {
                let text = answer.instance.as_ref().map(show::show).unwrap_or_default();
                format!("{text}{}", quarantine::list(&answer.quarantine))
            })?;
        }
        InstanceCommand::Explain { instance } => {
            let request = ExplainInstanceRequest { instance };
            let answer =
                gateway.read(request, async |r| gateway.instances().explain_instance(r).await).await?;
            session.format.print("ExplainInstanceResponse", &answer, || explain::explain(&answer))?;
        }
    }
    Ok(0)
}

async fn get(instance: &str, session: &Session) -> Result<GetInstanceResponse, Failure> {
    let request = GetInstanceRequest { instance: instance.to_owned() };
    let gateway = &session.gateway;
    gateway.read(request, async |r| gateway.instances().get_instance(r).await).await
}
