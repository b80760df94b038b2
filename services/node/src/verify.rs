//! Which tables of a node are made of events, and by whom.

use super::archived::archive;
use super::assembly::given;
use super::compare::{Subject, TableVerdict, verify};
use super::services::SERVICES;
use super::settings::NodeSettings;

/// Rebuilds every table of the node in `settings.data_dir` from the event stream, and from the archive what the stream does
/// not hold any more, beside the present ones, and compares them row by row. Changes nothing. A node that works is given
/// a minute to bring its tables up to the stream: until then an event that is on its way is no difference.
pub async fn replay_verify(settings: NodeSettings) -> anyhow::Result<Vec<TableVerdict>> {
    let bus = super::broker_settings(&settings)?;
    let connection = bus::Connection::open(&bus, "replay verify", bus::Report::none()).await?;
    let scratch = tempfile::Builder::new().prefix("berth-verify").tempdir_in(&settings.data_dir)?;
    verify(&connection, &archive(&settings)?, &subjects(&settings), scratch.path()).await
}

/// The services of a node with what their tables are made from.
pub(super) fn subjects(settings: &NodeSettings) -> Vec<Subject> {
    SERVICES.into_iter().map(|service| Subject { service, given: given(service, settings, None) }).collect()
}
