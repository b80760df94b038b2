//! Hosts.

use super::{column, damaged, one_row};
use crate::translate::{host as translate, names};
use bus::Failure;
use contracts::scheduler::v1 as wire;
use kernel::HostId;
use prost::Message;
use scheduler_placement::host::Host;
use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection};

const INSERT: &str =
    "INSERT INTO hosts (name, agent_id, state, snapshot, revision, id) VALUES ($1, $2, $3, $4, $5, $6)";
const UPDATE: &str = "UPDATE hosts SET name = $1, agent_id = $2, state = $3, snapshot = $4, revision = $5 \
     WHERE id = $6 AND revision = $7";

fn bind<'q>(query: Query<'q, Any, AnyArguments>, host: &Host) -> Query<'q, Any, AnyArguments> {
    query
        .bind(host.name.clone())
        .bind(host.agent_id.clone())
        .bind(names::host_state_out(host.state).as_str_name())
        .bind(translate::host_out(host).encode_to_vec())
        .bind(column(host.revision))
        .bind(host.id.to_string())
}

pub(super) fn read(bytes: &[u8]) -> Result<Host, Failure> {
    let snapshot = wire::Host::decode(bytes).map_err(|error| damaged("hosts", error))?;
    translate::host(snapshot).map_err(|error| damaged("hosts", error))
}

/// A new row.
pub async fn insert(tx: &mut AnyConnection, host: &Host) -> Result<(), Failure> {
    bind(sqlx::query(INSERT), host).execute(tx).await?;
    Ok(())
}

/// Writes the host over the row of the revision it was made from; fails as transient if that is gone.
pub async fn update(tx: &mut AnyConnection, host: &Host, from: u64) -> Result<(), Failure> {
    let done = bind(sqlx::query(UPDATE), host).bind(column(from)).execute(tx).await?;
    one_row(done.rows_affected(), "host", &host.id.to_string())
}

/// Writes the host unless the row is as new already: rebuilding from events. Answers whether it did.
pub async fn restore(tx: &mut AnyConnection, host: &Host) -> Result<bool, Failure> {
    match find(tx, &host.id.to_string()).await? {
        None => insert(tx, host).await?,
        Some(known) if known.revision < host.revision => update(tx, host, known.revision).await?,
        Some(_) => return Ok(false),
    }
    Ok(true)
}

/// A host by id.
pub async fn find(tx: &mut AnyConnection, id: &str) -> Result<Option<Host>, Failure> {
    let row: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT snapshot FROM hosts WHERE id = $1").bind(id).fetch_optional(tx).await?;
    row.map(|bytes| read(&bytes)).transpose()
}

/// The process that answers for a host.
pub async fn agent_of(tx: &mut AnyConnection, id: HostId) -> Result<Option<String>, Failure> {
    let sql = "SELECT agent_id FROM hosts WHERE id = $1";
    Ok(sqlx::query_scalar(sql).bind(id.to_string()).fetch_optional(tx).await?)
}

/// Id of every host and whether it is thought to answer, in order of ids.
pub async fn states(tx: &mut AnyConnection) -> Result<Vec<(String, bool)>, Failure> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT id, state FROM hosts ORDER BY id").fetch_all(tx).await?;
    let up = wire::HostState::Up.as_str_name();
    Ok(rows.into_iter().map(|(id, state)| (id, state == up)).collect())
}
