//! `berth user`.

use super::Session;
use super::login::{called, roles, there};
use super::secret::{ask, ask_new};
use super::session::all_pages;
use crate::output::{Table, age, fields, local_time};
use clap::{Args, Subcommand};
use client::Failure;
use contracts::gateway::v1 as wire;

/// People and programs, and the roles they hold
#[derive(Debug, Subcommand)]
#[command(after_help = "Users of the tenant in which you act; with --tenant platform those of the platform.

Examples:
  berth --tenant acme user create ann --role admin --password
  berth user create robot --role developer
  berth user bind ann developer")]
pub enum UserCommand {
    /// Make a user; without a password it comes in with tokens only
    #[command(after_help = "Examples:
  berth user create ann --role developer --password
  berth user create ann-smith --role developer --oidc-name Ann.Smith@example.com
  berth user create robot --role operator --description 'deploys'")]
    Create {
        /// Lower case letters, digits and '-'
        name: String,
        /// A role where the user is at home, may be repeated
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<String>,
        /// One line about it
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
        /// Logs in through the identity provider: whoever first comes from there under this name
        #[arg(long, conflicts_with_all = ["password", "password_stdin"])]
        oidc: bool,
        /// The same, where the provider calls them otherwise, letter by letter: Ann.Smith@example.com
        #[arg(
            long,
            value_name = "NAME",
            default_value = "",
            hide_default_value = true,
            conflicts_with_all = ["password", "password_stdin"]
        )]
        oidc_name: String,
        #[command(flatten)]
        password: PasswordArgs,
    },
    /// List users
    #[command(after_help = "Examples:\n  berth user list\n  berth user list -o json | jq -r '.users[].name'")]
    List,
    /// Show one user
    #[command(after_help = "Examples:\n  berth user show ann")]
    Show {
        /// Name or id
        user: String,
    },
    /// Let a user in no more, with whatever token
    #[command(after_help = "Examples:\n  berth user disable ann")]
    Disable {
        /// Name or id
        user: String,
    },
    /// Let a user in again
    #[command(after_help = "Examples:\n  berth user enable ann")]
    Enable {
        /// Name or id
        user: String,
    },
    /// Remove a user
    #[command(after_help = "Examples:\n  berth user delete ann")]
    Delete {
        /// Name or id
        user: String,
    },
    /// Give a user another password; without a name, change your own
    #[command(after_help = "Your own password is asked for first; on standard input it is the first line.

Examples:
  berth user set-password
  berth user set-password ann
  berth user set-password robot --none")]
    SetPassword {
        /// Name or id [default: you]
        user: Option<String>,
        /// No password any more: the user comes in with tokens only
        #[arg(long, requires = "user", conflicts_with = "password_stdin")]
        none: bool,
        /// Read passwords from standard input, one a line
        #[arg(long)]
        password_stdin: bool,
    },
    /// Give a user a role
    #[command(
        after_help = "Examples:\n  berth user bind ann developer\n  berth --tenant platform user bind ann auditor --in acme"
    )]
    Bind {
        /// Name or id
        user: String,
        /// One of `berth role list`
        role: String,
        /// In which tenant [default: where you act]
        #[arg(long = "in", value_name = "TENANT", default_value = "", hide_default_value = true)]
        place: String,
    },
    /// Take a role from a user
    #[command(after_help = "Examples:\n  berth user unbind ann developer")]
    Unbind {
        /// Name or id
        user: String,
        /// The role
        role: String,
        /// In which tenant [default: where you act]
        #[arg(long = "in", value_name = "TENANT", default_value = "", hide_default_value = true)]
        place: String,
    },
    #[command(subcommand)]
    Totp(TotpCommand),
}

/// Where a password comes from.
#[derive(Debug, Args)]
pub struct PasswordArgs {
    /// Ask for a password
    #[arg(long)]
    password: bool,
    /// Read the password from standard input
    #[arg(long, conflicts_with = "password")]
    password_stdin: bool,
}

/// One-time codes at login (RFC 6238)
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  berth user totp enrol\n  berth user totp confirm 492039")]
pub enum TotpCommand {
    /// Get a secret for your device; it counts once it is confirmed
    #[command(after_help = "Examples:\n  berth user totp enrol")]
    Enrol {
        /// Read your password from standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Confirm with a code of your device: from now on a login needs one
    #[command(after_help = "Examples:\n  berth user totp confirm 492039")]
    Confirm {
        /// The six digits your device shows
        code: String,
    },
    /// Log in without codes again
    #[command(after_help = "Examples:\n  berth user totp remove")]
    Remove {
        /// Read your password from standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Ask a user for codes no more, when the device is lost
    #[command(after_help = "Examples:\n  berth user totp reset ann")]
    Reset {
        /// Name or id
        user: String,
    },
}

pub(super) async fn run(command: UserCommand, session: &Session) -> Result<(), Failure> {
    let (gateway, key) = (&session.gateway, session.key());
    match command {
        UserCommand::Create { name, roles, description, oidc, oidc_name, password } => {
            let password = match (password.password, password.password_stdin) {
                (false, false) => String::new(),
                (_, stdin) => ask_new("password", stdin)?,
            };
            let request = wire::CreateUserRequest { name, description, password, roles, oidc, oidc_name };
            let answer = gateway.change(request, key, async |r| gateway.users().create_user(r).await).await?;
            let user = there(answer.user.as_ref())?;
            session
                .format
                .print("CreateUserResponse", &answer, || format!("made the user {}\n", called(user)))
        }
        UserCommand::List => {
            let mut all = wire::ListUsersResponse::default();
            all_pages(async |page_token| {
                let request = wire::ListUsersRequest { page_size: kernel::limits::PAGE, page_token };
                let page = gateway.read(request, async |r| gateway.users().list_users(r).await).await?;
                all.users.extend(page.users);
                Ok(page.next_page_token)
            })
            .await?;
            session.format.print("ListUsersResponse", &all, || list(&all.users))
        }
        UserCommand::Show { user } => {
            let request = wire::GetUserRequest { user };
            let answer = gateway.read(request, async |r| gateway.users().get_user(r).await).await?;
            let user = there(answer.user.as_ref())?;
            session.format.print("GetUserResponse", &answer, || show(user))
        }
        UserCommand::Disable { user } => {
            let request = wire::DisableUserRequest { user };
            let answer =
                gateway.change(request, key, async |r| gateway.users().disable_user(r).await).await?;
            let user = there(answer.user.as_ref())?;
            session.format.print("DisableUserResponse", &answer, || format!("disabled {}\n", called(user)))
        }
        UserCommand::Enable { user } => {
            let request = wire::EnableUserRequest { user };
            let answer = gateway.change(request, key, async |r| gateway.users().enable_user(r).await).await?;
            let user = there(answer.user.as_ref())?;
            session.format.print("EnableUserResponse", &answer, || format!("enabled {}\n", called(user)))
        }
        UserCommand::Delete { user } => {
            let request = wire::DeleteUserRequest { user };
            let answer = gateway.change(request, key, async |r| gateway.users().delete_user(r).await).await?;
            let user = there(answer.user.as_ref())?;
            session.format.print("DeleteUserResponse", &answer, || format!("deleted {}\n", called(user)))
        }
        UserCommand::SetPassword { user: None, password_stdin, .. } => {
            let current_password = ask("current password", password_stdin)?;
            let new_password = ask_new("new password", password_stdin)?;
            let request = wire::ChangePasswordRequest { current_password, new_password };
            let answer =
                gateway.change(request, key, async |r| gateway.sessions().change_password(r).await).await?;
            session.format.print("ChangePasswordResponse", &answer, || {
                "changed your password; your sessions have ended: log in again\n".to_owned()
            })
        }
        UserCommand::SetPassword { user: Some(user), none, password_stdin } => {
            let password = if none { String::new() } else { ask_new("password", password_stdin)? };
            let request = wire::SetUserPasswordRequest { user, password };
            let answer =
                gateway.change(request, key, async |r| gateway.users().set_user_password(r).await).await?;
            let user = there(answer.user.as_ref())?;
            session.format.print("SetUserPasswordResponse", &answer, || {
                format!("changed the password of {}\n", called(user))
            })
        }
        UserCommand::Bind { user, role, place: tenant } => {
            let request = wire::BindRoleRequest { user, role, tenant };
            let answer = gateway.change(request, key, async |r| gateway.users().bind_role(r).await).await?;
            let user = there(answer.user.as_ref())?;
            session.format.print("BindRoleResponse", &answer, || held(user))
        }
        UserCommand::Unbind { user, role, place: tenant } => {
            let request = wire::UnbindRoleRequest { user, role, tenant };
            let answer = gateway.change(request, key, async |r| gateway.users().unbind_role(r).await).await?;
            let user = there(answer.user.as_ref())?;
            session.format.print("UnbindRoleResponse", &answer, || held(user))
        }
        UserCommand::Totp(command) => totp(command, session).await,
    }
}

async fn totp(command: TotpCommand, session: &Session) -> Result<(), Failure> {
    let (gateway, key) = (&session.gateway, session.key());
    match command {
        TotpCommand::Enrol { password_stdin } => {
            let request = wire::EnrolTotpRequest { password: ask("password", password_stdin)? };
            let answer =
                gateway.change(request, key, async |r| gateway.sessions().enrol_totp(r).await).await?;
            session.note("put this into your device, then: berth user totp confirm CODE");
            session.format.print("EnrolTotpResponse", &answer, || {
                fields([("uri", answer.uri.clone()), ("secret", answer.secret.clone())])
            })
        }
        TotpCommand::Confirm { code } => {
            let request = wire::ConfirmTotpRequest { code };
            let answer =
                gateway.change(request, key, async |r| gateway.sessions().confirm_totp(r).await).await?;
            session.format.print("ConfirmTotpResponse", &answer, || {
                "from now on a login needs a code of this device\n".to_owned()
            })
        }
        TotpCommand::Remove { password_stdin } => {
            let request = wire::RemoveTotpRequest { password: ask("password", password_stdin)? };
            let answer =
                gateway.change(request, key, async |r| gateway.sessions().remove_totp(r).await).await?;
            session
                .format
                .print("RemoveTotpResponse", &answer, || "a login needs no code any more\n".to_owned())
        }
        TotpCommand::Reset { user } => {
            let request = wire::ResetUserTotpRequest { user };
            let answer =
                gateway.change(request, key, async |r| gateway.users().reset_user_totp(r).await).await?;
            let user = there(answer.user.as_ref())?;
            session.format.print("ResetUserTotpResponse", &answer, || {
                format!("{} logs in without a code\n", called(user))
            })
        }
    }
}

fn held(user: &wire::User) -> String {
    match roles(&user.roles).as_str() {
        "" => format!("{} has no role\n", called(user)),
        roles => format!("{} is {roles}\n", called(user)),
    }
}

fn state(user: &wire::User) -> String {
    if user.disabled { "disabled" } else { "active" }.to_owned()
}

fn comes_in(user: &wire::User) -> String {
    match (user.has_password, user.has_totp) {
        (false, _) => "tokens",
        (true, false) => "password",
        (true, true) => "password and code",
    }
    .to_owned()
}

fn list(users: &[wire::User]) -> String {
    let mut table = Table::new(["name", "state", "roles", "comes in with", "age", "description"], "no users");
    for user in users {
        table.row([
            called(user),
            state(user),
            roles(&user.roles),
            comes_in(user),
            age(user.created_at_us),
            user.description.clone(),
        ]);
    }
    table.render()
}

fn show(user: &wire::User) -> String {
    fields([
        ("name", called(user)),
        ("id", user.id.clone()),
        ("description", user.description.clone()),
        ("state", state(user)),
        ("roles", roles(&user.roles)),
        ("comes in with", comes_in(user)),
        ("since", local_time(user.created_at_us)),
        ("changed", local_time(user.updated_at_us)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_told_apart_by_where_they_are_at_home() {
        let role = |tenant: &str| wire::RoleBinding { role: "admin".into(), tenant: tenant.into() };
        let user = |tenant: &str| wire::User {
            name: "ann".into(),
            tenant: tenant.into(),
            roles: vec![role(tenant)],
            has_password: true,
            ..wire::User::default()
        };
        let text = list(&[user("acme"), user("platform")]);
        assert!(text.contains("ann@acme") && text.contains("admin in acme"), "{text}");
        assert!(text.contains("admin everywhere") && text.contains("password"), "{text}");
        assert_eq!(held(&wire::User { roles: vec![], ..user("acme") }), "ann@acme has no role\n");
    }
}
