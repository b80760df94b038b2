//! `berth role`.

use super::Session;
use crate::output::{Table, fields};
use clap::Subcommand;
use client::{Exit, Failure};
use contracts::gateway::v1::{ListRolesRequest, ListRolesResponse};

/// What users can be, and what that permits
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  berth role list\n  berth role show developer")]
pub enum RoleCommand {
    /// List roles
    #[command(after_help = "Examples:\n  berth role list")]
    List,
    /// Show what a role permits
    #[command(after_help = "Examples:\n  berth role show operator")]
    Show {
        /// One of `berth role list`
        role: String,
    },
}

pub(super) async fn run(command: RoleCommand, session: &Session) -> Result<(), Failure> {
    let gateway = &session.gateway;
    let answer = gateway.read(ListRolesRequest {}, async |r| gateway.users().list_roles(r).await).await?;
    match command {
        RoleCommand::List => session.format.print("ListRolesResponse", &answer, || {
            let mut table = Table::new(["role", "what it is for"], "no roles");
            for role in &answer.roles {
                table.row([role.name.clone(), role.description.clone()]);
            }
            table.render()
        }),
        RoleCommand::Show { role: name } => {
            let names: Vec<&str> = answer.roles.iter().map(|role| role.name.as_str()).collect();
            let missing = || {
                Failure::new(Exit::NotFound, format!("no role is called {name:?}"))
                    .hint(format!("roles: {}", names.join(", ")))
            };
            let role = answer.roles.iter().find(|role| role.name == name).ok_or_else(missing)?;
            let one = ListRolesResponse { roles: vec![role.clone()] };
            session.format.print("ListRolesResponse", &one, || {
                fields([
                    ("role", role.name.clone()),
                    ("what it is for", role.description.clone()),
                    ("in a tenant", role.tenant_permissions.join("\n")),
                    ("platform-wide also", role.platform_permissions.join("\n")),
                ])
            })
        }
    }
}
