//! `berth token`.

use super::Session;
use super::arguments::duration;
use super::login::there;
use super::session::all_pages;
use crate::output::{Table, age, local_time, word};
use clap::Subcommand;
use client::{Exit, Failure};
use contracts::gateway::v1::{
    CreateTokenRequest, ListTokensRequest, ListTokensResponse, RevokeTokenRequest, Token,
};
use std::time::Duration;

/// What programs come in with
#[derive(Debug, Subcommand)]
#[command(
    after_help = "A token acts where it was made: in one tenant, or (made with --tenant platform) wherever its user may.

Examples:
  berth token create ci --permission instance.read --permission instance.create --expires 720h
  berth token list"
)]
pub enum TokenCommand {
    /// Make a token and print it, once
    #[command(after_help = "Examples:
  berth token create ci --permission instance.read --expires 720h
  berth token create deploy --user robot -q > robot.token")]
    Create {
        /// What it is called; unique among the tokens of its user
        name: String,
        /// Whose it is, name or id [default: yours]
        #[arg(long, default_value = "", hide_default_value = true)]
        user: String,
        /// What it may do, may be repeated [default: whatever its user may]
        #[arg(long = "permission", value_name = "PERMISSION")]
        permissions: Vec<String>,
        /// How long it is good for, such as 90s, 10m or 720h [default: until it is revoked]
        #[arg(long, value_name = "TIME", value_parser = duration)]
        expires: Option<Duration>,
    },
    /// List tokens, newest first
    #[command(after_help = "Examples:\n  berth token list\n  berth token list --user robot --all")]
    List {
        /// Whose, name or id [default: yours]
        #[arg(long, default_value = "", hide_default_value = true)]
        user: String,
        /// Also those that are revoked or have expired
        #[arg(long)]
        all: bool,
    },
    /// Take a token away, at once
    #[command(after_help = "Examples:\n  berth token revoke ci\n  berth token revoke deploy --user robot")]
    Revoke {
        /// Name or id
        token: String,
        /// Whose, name or id [default: yours]
        #[arg(long, default_value = "", hide_default_value = true)]
        user: String,
    },
}

pub(super) async fn run(command: TokenCommand, session: &Session) -> Result<(), Failure> {
    let (gateway, key) = (&session.gateway, session.key());
    match command {
        TokenCommand::Create { name, user, permissions, expires } => {
            let lifetime_s = expires.map_or(0, |time| time.as_secs());
            let request = CreateTokenRequest { name, user, permissions, lifetime_s };
            let answer =
                gateway.change(request, key, async |r| gateway.tokens().create_token(r).await).await?;
            let token = there(answer.token.as_ref())?;
            if answer.secret.is_empty() {
                // whoever writes the output into a file should not take nothing for a token
                session.format.print("CreateTokenResponse", &answer, String::new)?;
                let hint = format!("berth token revoke {}, then create it again with another key", token.id);
                return Err(Failure::new(Exit::Refused, answer.note.clone()).hint(hint));
            }
            session.note(&format!("{} of {}: keep it, it is not shown again", token.name, token.user));
            session.format.print("CreateTokenResponse", &answer, || format!("{}\n", answer.secret))
        }
        TokenCommand::List { user, all } => {
            let mut list = ListTokensResponse::default();
            all_pages(async |page_token| {
                let request = ListTokensRequest {
                    page_size: kernel::limits::PAGE,
                    page_token,
                    user: user.clone(),
                    include_revoked: all,
                };
                let page = gateway.read(request, async |r| gateway.tokens().list_tokens(r).await).await?;
                list.tokens.extend(page.tokens);
                Ok(page.next_page_token)
            })
            .await?;
            session.format.print("ListTokensResponse", &list, || table(&list.tokens))
        }
        TokenCommand::Revoke { token, user } => {
            let request = RevokeTokenRequest { token, user };
            let answer =
                gateway.change(request, key, async |r| gateway.tokens().revoke_token(r).await).await?;
            let name = &there(answer.token.as_ref())?.name;
            session.format.print("RevokeTokenResponse", &answer, || format!("revoked {name}\n"))
        }
    }
}

fn table(tokens: &[Token]) -> String {
    let mut table =
        Table::new(["name", "kind", "acts in", "may", "age", "ends", "last used", "from"], "no tokens");
    for token in tokens {
        let may = match token.permissions.as_slice() {
            [] => "all its user may".to_owned(),
            list => list.join(","),
        };
        let ends = match (token.revoked_at_us, token.expires_at_us) {
            (0, 0) => "never".to_owned(),
            (0, at) => local_time(at),
            _ => "revoked".to_owned(),
        };
        let used = if token.last_used_at_us == 0 { "never".to_owned() } else { age(token.last_used_at_us) };
        table.row([
            token.name.clone(),
            word(token.kind().as_str_name(), "TOKEN_KIND_"),
            token.tenant.clone(),
            may,
            age(token.created_at_us),
            ends,
            used,
            token.last_used_from.clone(),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_with_what_it_opens() {
        let token =
            Token { name: "ci".into(), kind: 1, tenant: "acme".into(), revoked_at_us: 5, ..Token::default() };
        let text = table(&[token]);
        for part in ["ci", "api", "acme", "all its user may", "revoked", "never"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
