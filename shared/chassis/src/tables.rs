//! Before a service serves from its tables: are they what was said out of them?

use crate::Health;
use anyhow::{Context, bail};
use bus::rebuild::{Rebuild, Standing, rebuild, standing};
use bus::{Connection, Desk};

/// Makes a missing database's tables again; refuses one that is behind.
pub(crate) async fn make_whole(
    connection: &Connection,
    desk: &Desk,
    tables: &dyn Rebuild,
    health: &Health,
) -> anyhow::Result<()> {
    let service = tables.service();
    let health = health.component(&format!("{service}.tables"));
    let stands = standing(connection, desk, tables).await;
    match stands.with_context(|| format!("{service}: comparing the database with the events"))? {
        Standing::Current => {}
        Standing::Lost => {
            tracing::warn!(service, "the database is missing; making its tables again from the events");
            health.bad("being made again from the events");
            let rebuilt = rebuild(connection, desk, tables).await;
            let rebuilt =
                rebuilt.with_context(|| format!("{service}: making its tables again from the events"))?;
            tracing::warn!(
                service,
                events = rebuilt.events,
                own = rebuilt.own_events,
                unreadable = rebuilt.unreadable.len(),
                "the tables were made again"
            );
        }
        Standing::Behind { known, unknown } => {
            let why = format!(
                "its database is older than what it said: it knows the events up to {known}, and {unknown} is its own and \
                 not in it. Put the newer database back, or stop the process and run `berth replay rebuild {service}`"
            );
            health.bad(&why);
            bail!("{service}: {why}");
        }
    }
    health.ok("whole");
    Ok(())
}
