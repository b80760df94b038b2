//! Which tables of a node are made of events, and by whom.

use super::archived::archive;
use super::assembly::{self, Folders};
use super::compare::{MakeTables, Service, TableVerdict, verify};
use super::settings::NodeSettings;

/// Rebuilds every table of the node in `settings.data_dir` from the event stream, and from the archive what the stream does
/// not hold any more, beside the present ones, and compares them row by row. Changes nothing. A node that works is given
/// a minute to bring its tables up to the stream: until then an event that is on its way is no difference.
pub async fn replay_verify(settings: NodeSettings) -> anyhow::Result<Vec<TableVerdict>> {
    let folders = Folders::of(&settings);
    let bus = super::broker_settings(&settings)?;
    let connection = bus::Connection::open(&bus, "replay verify", bus::Report::none()).await?;
    let scratch = tempfile::Builder::new().prefix("berth-verify").tempdir_in(&settings.data_dir)?;
    verify(&connection, &archive(&settings), &services(&settings, &folders)?, scratch.path()).await
}

/// The services of a node, and how their tables are made.
pub(super) fn services(settings: &NodeSettings, folders: &Folders) -> anyhow::Result<Vec<Service>> {
    let agent = assembly::host(settings, folders).agent_id()?.to_string();
    let service = |name: &'static str, migrations, tables: MakeTables| Service {
        name,
        migrations,
        tables,
        database_url: folders.database(name),
    };
    Ok(vec![
        service("gateway", gateway::MIGRATIONS, Box::new(gateway::tables)),
        service("scheduler", scheduler::MIGRATIONS, Box::new(|_| Box::new(scheduler::rebuild::Tables))),
        service("storage", storage::MIGRATIONS, Box::new(|_| Box::new(storage::Tables))),
        service("archive", archive::MIGRATIONS, Box::new(|_| Box::new(archive::Tables))),
        service(
            "host_driver",
            host_driver::MIGRATIONS,
            Box::new(move |_| Box::new(host_driver::Tables::of(&agent))),
        ),
    ])
}
