//! `berth login`, `berth logout`, `berth whoami`.

use super::login_oidc;
use super::secret::ask;
use super::{GlobalArgs, Session};
use crate::config::{Environment, forget_session, keep_session, load};
use crate::output::{fields, local_time};
use clap::Args;
use client::{Exit, Failure};
use contracts::gateway::v1::{LoginRequest, LogoutRequest, RoleBinding, User, WhoAmIRequest};

/// Log in with a password, or through the identity provider, and keep the session in the settings file
#[derive(Debug, Args)]
#[command(
    after_help = "The session lasts 12 hours. It is kept in ~/.config/berth/config.toml, readable by you only.

Examples:
  berth login ann@acme
  berth login ann --totp 492039
  berth login ann@acme --password-stdin < password.txt
  berth login --oidc"
)]
pub struct LoginArgs {
    /// User and tenant, ann@acme; a user of the platform has no tenant
    #[arg(required_unless_present = "oidc")]
    user: Option<String>,
    /// Through the identity provider that the platform trusts, in a browser on this machine
    #[arg(long, conflicts_with_all = ["user", "password_stdin", "totp"])]
    oidc: bool,
    /// Read the password from standard input instead of asking for it
    #[arg(long)]
    password_stdin: bool,
    /// One-time code of your device, when you have set one up
    #[arg(long, value_name = "CODE", default_value = "", hide_default_value = true)]
    totp: String,
}

/// End the session and forget its token
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth logout")]
pub struct LogoutArgs {}

/// Show who you are, where you act and what you may do there
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth whoami\n  berth whoami --tenant acme -o json")]
pub struct WhoamiArgs {}

pub(super) async fn login(args: LoginArgs, global: &GlobalArgs) -> Result<(), Failure> {
    let (flags, environment) = (global.client_flags(), Environment::of_process());
    let settings = load(&flags, &environment)?;
    let session = Session::with(global, &settings)?;
    let LoginArgs { user, oidc, password_stdin, totp } = args;
    let (token, secret) = match user.filter(|_| !oidc) {
        Some(user) => {
            let password = ask("password", password_stdin)?;
            let gateway = &session.gateway;
            let request = LoginRequest { user, password, totp };
            // a lost answer leaves a session that nobody knows of and that ends by itself
            let answer = gateway.read(request, async |r| gateway.sessions().login(r).await).await?;
            (answer.token.unwrap_or_default(), answer.secret)
        }
        None => {
            let answer = login_oidc::login(&session).await?;
            (answer.token.unwrap_or_default(), answer.secret)
        }
    };
    let (context, path) = keep_session(&settings.connect, &token.user, &secret, &flags, &environment)?;
    let value = serde_json::json!({"user": token.user, "tenant": token.tenant, "context": context, "file": path, "expires_at_us": token.expires_at_us});
    session.format.print_value(&value, || {
        let until = local_time(token.expires_at_us);
        format!("logged in as {} until {until}, context {context} in {}\n", token.user, path.display())
    })
}

pub(super) async fn logout(global: &GlobalArgs) -> Result<(), Failure> {
    let (flags, environment) = (global.client_flags(), Environment::of_process());
    let session = Session::open(global)?;
    let gateway = &session.gateway;
    let ended =
        gateway.change(LogoutRequest {}, session.key(), async |r| gateway.sessions().logout(r).await).await;
    let file = forget_session(&flags, &environment)?;
    match ended {
        Ok(_) => {}
        // it had ended already: all the better
        Err(failure) if failure.code == "UNAUTHENTICATED" && file.is_some() => {}
        Err(failure) => return Err(failure),
    }
    let value = serde_json::json!({"file": file});
    session.format.print_value(&value, || "logged out\n".to_owned())
}

pub(super) async fn whoami(session: &Session) -> Result<(), Failure> {
    let gateway = &session.gateway;
    let answer = gateway.read(WhoAmIRequest {}, async |r| gateway.sessions().who_am_i(r).await).await?;
    session.format.print("WhoAmIResponse", &answer, || {
        let user = answer.user.clone().unwrap_or_default();
        let ends = answer.expires_at_us;
        fields([
            ("user", called(&user)),
            ("tenant", answer.tenant.clone()),
            ("roles", roles(&user.roles)),
            ("token", answer.token.clone()),
            ("ends", if ends == 0 { "never".to_owned() } else { local_time(ends) }),
            ("one-time codes", if user.has_totp { "needed at login" } else { "" }.to_owned()),
            ("may", answer.permissions.join("\n")),
        ])
    })
}

/// "ann@acme", "ann" of the platform.
pub(super) fn called(user: &User) -> String {
    match user.tenant.as_str() {
        kernel::PLATFORM => user.name.clone(),
        tenant => format!("{}@{tenant}", user.name),
    }
}

/// "admin in acme, auditor everywhere".
pub(super) fn roles(bindings: &[RoleBinding]) -> String {
    let one = |binding: &RoleBinding| match binding.tenant.as_str() {
        kernel::PLATFORM => format!("{} everywhere", binding.role),
        tenant => format!("{} in {tenant}", binding.role),
    };
    bindings.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The object of an answer that always has one.
pub(super) fn there<T>(object: Option<T>) -> Result<T, Failure> {
    object.ok_or_else(|| Failure::new(Exit::Failed, "the gateway's answer says nothing"))
}
