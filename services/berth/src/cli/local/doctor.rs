//! What `berth doctor` understands.

use clap::Args;

/// Check a node and say what to do about each finding
#[derive(Debug, Args)]
#[command(
    after_help = "Looks at the node in the data folder of this machine, running or not, and asks the gateway when it answers.
Repairs nothing. Ends with 0 when there is no problem, with 1 when there is one, and with 2 when what was asked for is wrong;
--strict counts warnings as problems. What was skipped was not looked at: the reason says what it takes.

Examples:
  berth doctor
  berth doctor --data-dir /var/lib/berth --strict
  berth doctor --only clock --only certificates -o json
  berth doctor --list"
)]
pub struct DoctorArgs {
    /// Only this check; repeatable
    #[arg(long, value_name = "NAME")]
    pub only: Vec<String>,
    /// List the checks instead of making them
    #[arg(long)]
    pub list: bool,
    /// Warnings count as problems
    #[arg(long)]
    pub strict: bool,
    /// Monitoring port of a broker that somebody else runs, http://host:8222: its settings are looked at there
    #[arg(long, value_name = "URL", default_value = "", hide_default_value = true)]
    pub nats_monitor: String,
}
