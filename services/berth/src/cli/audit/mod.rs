//! `berth audit`.

mod export;
mod list;
mod moment;

pub(super) use moment::read as moment;

use super::local::{self, KeyArgs, VerifyArgs};
use super::{GlobalArgs, Session};
use clap::{Args, Subcommand};
use client::Failure;
use export::ExportArgs;
use list::ListArgs;

/// Who did what, and what was denied to whom
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  berth audit list --since 2h --outcome denied
  berth audit export --format csv > audit.csv
  berth audit verify")]
#[allow(missing_docs)] // each is described by its arguments
pub enum AuditCommand {
    List(ListArgs),
    Export(ExportArgs),
    Verify(VerifyArgs),
    Key(KeyArgs),
}

/// Which records.
#[derive(Debug, Args)]
struct FilterArgs {
    /// Only calls of this user
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    user: String,
    /// Only calls about this object, by id or name
    #[arg(long, value_name = "OBJECT", default_value = "", hide_default_value = true)]
    object: String,
    /// Only calls of this operation, such as CreateInstance
    #[arg(long, value_name = "OPERATION", default_value = "", hide_default_value = true)]
    operation: String,
    /// Only calls that ended so: ok, refused, denied or unknown
    #[arg(long, value_parser = ["ok", "refused", "denied", "unknown"])]
    outcome: Option<String>,
    /// Only calls from this time on: 2026-11-21T07:30:00Z, or how long ago: 90s, 30m, 2h, 7d
    #[arg(long, value_name = "TIME", value_parser = moment::read)]
    since: Option<i64>,
    /// Only calls before this time, written like --since
    #[arg(long, value_name = "TIME", value_parser = moment::read)]
    until: Option<i64>,
    /// Only calls about objects of this tenant
    #[arg(long, value_name = "TENANT", default_value = "", hide_default_value = true)]
    tenant: String,
}

pub(super) async fn run(command: AuditCommand, global: &GlobalArgs) -> Result<(), Failure> {
    match command {
        AuditCommand::List(args) => list::run(args, &Session::open(global)?).await,
        AuditCommand::Verify(_) | AuditCommand::Key(_) => local::exec(),
        AuditCommand::Export(args) => export::run(args, &Session::open(global)?).await,
    }
}
