//! `berth status` and `berth version`.

use super::{GlobalArgs, Session};
use crate::output::{Format, Table};
use clap::Args;
use client::{Exit, Failure};
use contracts::gateway::v1::{GetStatusRequest, GetStatusResponse};

/// Show the health of every part of the platform
#[derive(Debug, Args)]
#[command(after_help = "Ends with 1 when a part is not healthy.

Examples:
  berth status
  berth status -o json | jq '.components[] | select(.healthy | not)'")]
pub struct StatusArgs {}

pub(super) async fn status(_args: &StatusArgs, session: &Session) -> Result<u8, Failure> {
    let answer = ask(session).await?;
    session.format.print("GetStatusResponse", &answer, || render(&answer, session.gateway.endpoint()))?;
    let healthy = answer.components.iter().all(|component| component.healthy);
    Ok(if healthy { 0 } else { Exit::Failed as u8 })
}

async fn ask(session: &Session) -> Result<GetStatusResponse, Failure> {
    session.gateway.read(GetStatusRequest {}, async |r| session.gateway.platform().get_status(r).await).await
}

fn render(status: &GetStatusResponse, endpoint: &str) -> String {
    let mut table = Table::new(["component", "health", "detail"], "no components");
    for component in &status.components {
        let health = if component.healthy { "ok" } else { "BAD" };
        table.row([component.name.clone(), health.to_owned(), component.detail.clone()]);
    }
    format!("Berth {} at {endpoint}\n{}", status.version, table.render())
}

/// Print the version of this program, and with --server that of the gateway
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth version\n  berth version --server -o json")]
pub struct VersionArgs {
    /// Ask the gateway for its version too
    #[arg(long)]
    server: bool,
}

pub(super) async fn version(args: &VersionArgs, global: &GlobalArgs) -> Result<(), Failure> {
    let client = env!("CARGO_PKG_VERSION");
    if !args.server {
        let value = serde_json::json!({"client": client});
        return global.output.unwrap_or_default().print_value(&value, || format!("berth {client}\n"));
    }
    let session = Session::open(global)?;
    let server = ask(&session).await?.version;
    let value = serde_json::json!({"client": client, "server": server});
    let format: Format = session.format;
    format.print_value(&value, || format!("berth {client}\ngateway {server}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::gateway::v1::ComponentHealth;

    #[test]
    fn what_is_bad_stands_out() {
        let part = |name: &str, healthy| ComponentHealth {
            name: name.into(),
            healthy,
            detail: "d".into(),
            ..ComponentHealth::default()
        };
        let status = GetStatusResponse {
            version: "0.1.0".into(),
            components: vec![part("nats", true), part("scheduler", false)],
        };
        assert_eq!(
            render(&status, "http://x"),
            "Berth 0.1.0 at http://x\nCOMPONENT   HEALTH   DETAIL\nnats        ok       d\nscheduler   BAD      d\n"
        );
    }
}
