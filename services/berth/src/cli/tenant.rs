//! `berth tenant`.

use super::Session;
use super::login::there;
use super::session::all_pages;
use crate::output::{Table, age, fields, local_time, word};
use clap::Subcommand;
use client::Failure;
use contracts::gateway::v1::{
    CreateTenantRequest, DeleteTenantRequest, DisableTenantRequest, EnableTenantRequest, GetTenantRequest,
    ListTenantsRequest, ListTenantsResponse, Tenant,
};

/// Those who own instances and images, apart from all others
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  berth tenant create acme --description 'Acme Ltd.'
  berth --tenant acme user create ann --role admin --password")]
pub enum TenantCommand {
    /// Make a tenant
    #[command(after_help = "Examples:\n  berth tenant create acme --description customer")]
    Create {
        /// Lower case letters, digits and '-'; never used again for another tenant
        name: String,
        /// One line about it
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
    },
    /// List tenants
    #[command(
        after_help = "Examples:\n  berth tenant list\n  berth tenant list -o json | jq -r '.tenants[].name'"
    )]
    List,
    /// Show one tenant
    #[command(after_help = "Examples:\n  berth tenant show acme")]
    Show {
        /// Name
        name: String,
    },
    /// Refuse every change in a tenant; what runs goes on
    #[command(after_help = "Examples:\n  berth tenant disable acme")]
    Disable {
        /// Name
        name: String,
    },
    /// Take changes again
    #[command(after_help = "Examples:\n  berth tenant enable acme")]
    Enable {
        /// Name
        name: String,
    },
    /// Remove a tenant that is disabled and owns nothing any more
    #[command(after_help = "Examples:\n  berth tenant delete acme")]
    Delete {
        /// Name
        name: String,
    },
}

pub(super) async fn run(command: TenantCommand, session: &Session) -> Result<(), Failure> {
    let (gateway, key) = (&session.gateway, session.key());
    match command {
        TenantCommand::Create { name, description } => {
            let request = CreateTenantRequest { name, description };
            let answer =
                gateway.change(request, key, async |r| gateway.tenants().create_tenant(r).await).await?;
            let tenant = there(answer.tenant.as_ref())?;
            session
                .format
                .print("CreateTenantResponse", &answer, || format!("made the tenant {}\n", tenant.name))
        }
        TenantCommand::List => {
            let mut all = ListTenantsResponse::default();
            all_pages(async |page_token| {
                let request = ListTenantsRequest { page_size: kernel::limits::PAGE, page_token };
                let page = gateway.read(request, async |r| gateway.tenants().list_tenants(r).await).await?;
                all.tenants.extend(page.tenants);
                Ok(page.next_page_token)
            })
            .await?;
            session.format.print("ListTenantsResponse", &all, || list(&all.tenants))
        }
        TenantCommand::Show { name: tenant } => {
            let request = GetTenantRequest { tenant };
            let answer = gateway.read(request, async |r| gateway.tenants().get_tenant(r).await).await?;
            let tenant = there(answer.tenant.as_ref())?;
            session.format.print("GetTenantResponse", &answer, || show(tenant))
        }
        TenantCommand::Disable { name: tenant } => {
            let request = DisableTenantRequest { tenant };
            let answer =
                gateway.change(request, key, async |r| gateway.tenants().disable_tenant(r).await).await?;
            let name = &there(answer.tenant.as_ref())?.name;
            session.format.print("DisableTenantResponse", &answer, || format!("disabled {name}\n"))
        }
        TenantCommand::Enable { name: tenant } => {
            let request = EnableTenantRequest { tenant };
            let answer =
                gateway.change(request, key, async |r| gateway.tenants().enable_tenant(r).await).await?;
            let name = &there(answer.tenant.as_ref())?.name;
            session.format.print("EnableTenantResponse", &answer, || format!("enabled {name}\n"))
        }
        TenantCommand::Delete { name: tenant } => {
            let request = DeleteTenantRequest { tenant };
            let answer =
                gateway.change(request, key, async |r| gateway.tenants().delete_tenant(r).await).await?;
            let name = &there(answer.tenant.as_ref())?.name;
            session.format.print("DeleteTenantResponse", &answer, || format!("deleted {name}\n"))
        }
    }
}

fn state(tenant: &Tenant) -> String {
    word(tenant.state().as_str_name(), "TENANT_STATE_")
}

fn list(tenants: &[Tenant]) -> String {
    let mut table = Table::new(["name", "state", "age", "description"], "no tenants");
    for tenant in tenants {
        let row = [tenant.name.clone(), state(tenant), age(tenant.created_at_us), tenant.description.clone()];
        table.row(row);
    }
    table.render()
}

fn show(tenant: &Tenant) -> String {
    fields([
        ("name", tenant.name.clone()),
        ("description", tenant.description.clone()),
        ("state", state(tenant)),
        ("since", local_time(tenant.created_at_us)),
        ("changed", local_time(tenant.updated_at_us)),
    ])
}
