//! The all-in-one node: the broker, every service and a host in one process, behind `berth up`.

pub mod settings;

pub use settings::NodeSettings;

use std::path::PathBuf;
use tokio_util::sync::CancellationToken;

/// What a client needs to talk to a node that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// `http://127.0.0.1:7480` or `https://…`.
    pub endpoint: String,
    /// The administrator's API token, "" = the node asks for none.
    pub token: String,
    /// The certificate authority of the node in PEM, when it speaks TLS.
    pub ca_file: Option<PathBuf>,
}

/// Runs the node until `stop` is cancelled, then shuts it down in order and returns.
///
/// `ready` is called once, when the gateway answers: the command line then writes `<data_dir>/client.toml` and tells
/// the user. `settings` are checked already and `data_dir` exists. An error is printed to the user as it is, with its
/// causes: it should say what would be right.
pub async fn up(
    settings: NodeSettings,
    ready: impl FnOnce(Ready) + Send,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let _ = (settings, ready, stop);
    anyhow::bail!("this build of berth carries no node")
}

/// What rebuilding one table from the event stream showed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TableVerdict {
    /// "scheduler".
    pub service: String,
    /// "instances".
    pub table: String,
    /// Rows compared.
    pub rows: u64,
    /// One line for each row that differs, empty = the table is proven.
    pub differences: Vec<String>,
}

/// Rebuilds every table of the node in `settings.data_dir` from the event stream, beside the present ones, and
/// compares them row by row. Changes nothing.
pub async fn replay_verify(settings: NodeSettings) -> anyhow::Result<Vec<TableVerdict>> {
    let _ = settings;
    anyhow::bail!("this build of berth carries no node, so it has no tables to compare")
}
