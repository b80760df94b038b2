//! `berth flavor`.

use super::Session;
use super::arguments::{instance_vcpus, size};
use crate::output::{Table, age, resources};
use clap::Subcommand;
use client::Failure;
use contracts::common::v1::Resources;
use contracts::gateway::v1::{CreateFlavorRequest, Flavor, ListFlavorsRequest};

/// Named sizes
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  berth flavor list
  berth flavor create tiny --vcpus 0.5 --memory 256MiB --disk 2GiB")]
pub enum FlavorCommand {
    /// List flavors
    #[command(
        after_help = "Examples:\n  berth flavor list\n  berth flavor list -o json | jq -r '.flavors[].name'"
    )]
    List,
    /// Make a flavor
    #[command(after_help = "Examples:\n  berth flavor create small --vcpus 1 --memory 512MiB --disk 4GiB")]
    Create {
        /// Lower case letters, digits, '.' and '-'
        name: String,
        /// CPUs, such as 2 or 0.5
        #[arg(long, value_parser = instance_vcpus)]
        vcpus: u64,
        /// Memory, such as 512MiB
        #[arg(long, value_parser = size)]
        memory: u64,
        /// Disk, such as 10GiB
        #[arg(long, value_parser = size)]
        disk: u64,
        /// What it is for
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
    },
}

pub(super) async fn run(command: FlavorCommand, session: &Session) -> Result<(), Failure> {
    let gateway = &session.gateway;
    match command {
        FlavorCommand::List => {
            let answer = gateway
                .read(ListFlavorsRequest {}, async |r| gateway.flavors().list_flavors(r).await)
                .await?;
            session.format.print("ListFlavorsResponse", &answer, || render(&answer.flavors))
        }
        FlavorCommand::Create { name, vcpus, memory, disk, description } => {
            let resources = Resources { vcpus_milli: vcpus, memory_bytes: memory, disk_bytes: disk };
            let request = CreateFlavorRequest { name, resources: Some(resources), description };
            let answer = gateway
                .change(request, session.key(), async |r| gateway.flavors().create_flavor(r).await)
                .await?;
            session.format.print("CreateFlavorResponse", &answer, || render(answer.flavor.as_slice()))
        }
    }
}

fn render(flavors: &[Flavor]) -> String {
    let mut table = Table::new(["name", "vcpus", "memory", "disk", "age", "description"], "no flavors");
    for flavor in flavors {
        let [vcpus, memory, disk] = resources(flavor.resources.as_ref());
        table.row([
            flavor.name.clone(),
            vcpus,
            memory,
            disk,
            age(flavor.created_at_us),
            flavor.description.clone(),
        ]);
    }
    table.render()
}
