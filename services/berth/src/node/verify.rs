//! Which tables of a node are made of events, and by whom.

use super::assembly::Folders;
use super::rebuild::{Maker, Service, TableVerdict, verify};
use super::settings::NodeSettings;

/// Rebuilds every table of the node in `settings.data_dir` from the event stream, beside the present ones, and
/// compares them row by row. Changes nothing. The node should be idle: an event that is on its way shows as a
/// difference.
pub async fn replay_verify(settings: NodeSettings) -> anyhow::Result<Vec<TableVerdict>> {
    let folders = Folders::of(&settings);
    let bus = super::broker_settings(&settings)?;
    let connection = bus::Connection::open(&bus, "replay verify", bus::Report::none()).await?;
    let scratch = tempfile::Builder::new().prefix("berth-verify").tempdir_in(&settings.data_dir)?;
    verify(&connection, &services(&folders), scratch.path()).await
}

fn services(folders: &Folders) -> Vec<Service> {
    let service = |name: &'static str, migrations, tables, maker| Service {
        name,
        migrations,
        tables,
        maker,
        database_url: folders.database(name),
    };
    vec![
        service(
            "gateway",
            gateway::MIGRATIONS,
            gateway::STATE_TABLES,
            Maker::Handlers(|store| gateway::subscriptions(store, &gateway::Wakeups::default())),
        ),
        service(
            "scheduler",
            scheduler::MIGRATIONS,
            scheduler::rebuild::STATE_TABLES,
            Maker::Fold(|tx, subject, payload| {
                Box::pin(async move {
                    let folded = scheduler::rebuild::fold(tx, &subject.service, &subject.name, payload).await;
                    folded.map(|_| ()).map_err(|e| e.to_string())
                })
            }),
        ),
        service(
            "storage",
            storage::MIGRATIONS,
            storage::STATE_TABLES,
            Maker::Fold(|tx, subject, payload| {
                Box::pin(async move { storage::apply(tx, subject, payload).await.map_err(|e| e.to_string()) })
            }),
        ),
        service(
            "host_driver",
            host_driver::MIGRATIONS,
            host_driver::STATE_TABLES,
            Maker::Fold(|tx, subject, payload| {
                Box::pin(
                    async move { host_driver::apply(tx, subject, payload).await.map_err(|e| e.to_string()) },
                )
            }),
        ),
    ]
}
