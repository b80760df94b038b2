//! The read model of instances.

use ::store::many as rows;
use async_trait::async_trait;
use bus::LateRows;
use contracts::common::v1::Resources;
use contracts::scheduler::v1::{Instance, InstancePhase};
use gateway_api::domain::page::Page;
use gateway_api::store::{after, column, number, snapshot, snapshots};
use prost::Message as _;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyExecutor, AssertSqlSafe, Row};
use std::collections::BTreeMap;

const DELETED: i64 = InstancePhase::Deleted as i64;

/// Instances that were heard of and are not in the table yet, each as it was said last.
#[derive(Debug, Default)]
pub struct Rows(BTreeMap<String, Instance>);

impl Rows {
    /// Takes an instance in, unless a newer one is there already.
    pub fn note(&mut self, instance: Instance) {
        match self.0.get(&instance.id) {
            Some(known) if known.revision >= instance.revision => {}
            _ => drop(self.0.insert(instance.id.clone(), instance)),
        }
    }
}

#[async_trait]
impl LateRows for Rows {
    async fn write(&mut self, tx: &mut AnyConnection) -> Result<(), ::store::StoreError> {
        // in the order of their ids: two who write many rows do not wait for each other in a circle
        let all: Vec<Instance> = std::mem::take(&mut self.0).into_values().collect();
        for part in rows::parts(&all) {
            upsert(tx, part).await?;
        }
        Ok(())
    }
}

/// Writes instances; a row of a newer revision stays.
async fn upsert(db: &mut AnyConnection, instances: &[Instance]) -> Result<(), sqlx::Error> {
    const COLUMNS: usize = 11;
    let sql = format!(
        "INSERT INTO instances (id, tenant, name, phase, host_id, vcpus_milli, memory_bytes, disk_bytes, image_id, revision, snapshot)
         VALUES {}
         ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, name = excluded.name, phase = excluded.phase,
           host_id = excluded.host_id, vcpus_milli = excluded.vcpus_milli, memory_bytes = excluded.memory_bytes,
           disk_bytes = excluded.disk_bytes, image_id = excluded.image_id, revision = excluded.revision, snapshot = excluded.snapshot
         WHERE instances.revision < excluded.revision",
        rows::places(instances.len(), COLUMNS)
    );
    let mut upsert = sqlx::query(AssertSqlSafe(sql));
    for instance in instances {
        let resources = instance.spec.as_ref().and_then(|spec| spec.resources).unwrap_or_default();
        let image_id = instance.spec.as_ref().map_or("", |spec| spec.image_id.as_str());
        upsert = upsert
            .bind(&instance.id)
            .bind(&instance.tenant)
            .bind(&instance.name)
            .bind(i64::from(instance.phase))
            .bind(&instance.host_id)
            .bind(column(resources.vcpus_milli))
            .bind(column(resources.memory_bytes))
            .bind(column(resources.disk_bytes))
            .bind(image_id)
            .bind(column(instance.revision))
            .bind(instance.encode_to_vec());
    }
    upsert.execute(db).await?;
    Ok(())
}

/// An instance of a tenant by id, or by name among those that are not deleted.
pub async fn find<'a>(
    db: impl AnyExecutor<'a>,
    tenant: &str,
    name_or_id: &str,
) -> Result<Option<Instance>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT snapshot FROM instances WHERE tenant = $1 AND (id = $2 OR (name = $2 AND phase <> $3))
         ORDER BY CASE WHEN id = $2 THEN 0 ELSE 1 END, id DESC LIMIT 1",
    )
    .bind(tenant)
    .bind(name_or_id)
    .bind(DELETED)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(snapshot).transpose()
}

/// The instance of a tenant that holds a name: the one that is not deleted.
pub async fn holder_of_name<'a>(
    db: impl AnyExecutor<'a>,
    tenant: &str,
    name: &str,
) -> Result<Option<Instance>, sqlx::Error> {
    let row = sqlx::query(
        "SELECT snapshot FROM instances WHERE tenant = $1 AND name = $2 AND phase <> $3 ORDER BY id DESC LIMIT 1",
    )
    .bind(tenant)
    .bind(name)
    .bind(DELETED)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(snapshot).transpose()
}

/// Names of a tenant's instances that boot from an image and are not deleted, at most `limit`.
pub async fn names_on_image<'a>(
    db: impl AnyExecutor<'a>,
    tenant: &str,
    image_id: &str,
    limit: i64,
) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT name FROM instances WHERE image_id = $1 AND image_id <> '' AND tenant = $2 AND phase <> $3
         ORDER BY name, id LIMIT $4",
    )
    .bind(image_id)
    .bind(tenant)
    .bind(DELETED)
    .bind(limit)
    .fetch_all(db)
    .await
}

/// How many instances that were asked for later than this one, and take no more than it, have a host: of a tenant, or of
/// all (`None`).
pub async fn overtaken_by<'a>(
    db: impl AnyExecutor<'a>,
    waiting: &Instance,
    tenant: Option<&str>,
) -> Result<u32, sqlx::Error> {
    let resources = waiting.spec.as_ref().and_then(|spec| spec.resources).unwrap_or_default();
    // ids are in the order in which instances were asked for (UUIDv7)
    let count: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM instances WHERE id > $1 AND host_id <> '' AND phase <> $2
           AND vcpus_milli <= $3 AND memory_bytes <= $4 AND disk_bytes <= $5 AND ($6 = '' OR tenant = $6)",
    )
    .bind(&waiting.id)
    .bind(DELETED)
    .bind(column(resources.vcpus_milli))
    .bind(column(resources.memory_bytes))
    .bind(column(resources.disk_bytes))
    .bind(tenant.unwrap_or_default())
    .fetch_one(db)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// A page of a tenant's instances, by name.
pub async fn page<'a>(
    db: impl AnyExecutor<'a>,
    tenant: &str,
    include_deleted: bool,
    page: &Page,
) -> Result<Vec<Instance>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT snapshot FROM instances WHERE tenant = $1 AND ($2 = 1 OR phase <> $3)
           AND (name > $4 OR (name = $4 AND id > $5)) ORDER BY name, id LIMIT $6",
    )
    .bind(tenant)
    .bind(i64::from(include_deleted))
    .bind(DELETED)
    .bind(after(page, 0))
    .bind(after(page, 1))
    .bind(page.probe())
    .fetch_all(db)
    .await?;
    snapshots(&rows)
}

/// What is promised on a host, and to how many instances.
pub type Promised = (Resources, u32);

/// What is promised on each host of a page of hosts, by host id; a host without instances is not in it.
pub async fn promised<'a>(
    db: impl AnyExecutor<'a>,
    page: &Page,
) -> Result<BTreeMap<String, Promised>, sqlx::Error> {
    // SUM of BIGINT is NUMERIC on PostgreSQL
    let rows = sqlx::query(
        "SELECT host_id, COUNT(*) AS instances, CAST(SUM(vcpus_milli) AS BIGINT) AS vcpus,
           CAST(SUM(memory_bytes) AS BIGINT) AS memory, CAST(SUM(disk_bytes) AS BIGINT) AS disk
         FROM instances WHERE phase <> $1 AND host_id IN (
           SELECT id FROM hosts WHERE name > $2 OR (name = $2 AND id > $3) ORDER BY name, id LIMIT $4)
         GROUP BY host_id",
    )
    .bind(DELETED)
    .bind(after(page, 0))
    .bind(after(page, 1))
    .bind(page.probe())
    .fetch_all(db)
    .await?;
    rows.iter().map(|row| Ok((row.try_get("host_id")?, sums(row)?))).collect()
}

/// What is promised on one host.
pub async fn promised_on<'a>(db: impl AnyExecutor<'a>, host_id: &str) -> Result<Promised, sqlx::Error> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS instances, CAST(COALESCE(SUM(vcpus_milli), 0) AS BIGINT) AS vcpus,
           CAST(COALESCE(SUM(memory_bytes), 0) AS BIGINT) AS memory, CAST(COALESCE(SUM(disk_bytes), 0) AS BIGINT) AS disk
         FROM instances WHERE host_id = $1 AND phase <> $2",
    )
    .bind(host_id)
    .bind(DELETED)
    .fetch_one(db)
    .await?;
    sums(&row)
}

fn sums(row: &AnyRow) -> Result<Promised, sqlx::Error> {
    let resources = Resources {
        vcpus_milli: number(row.try_get("vcpus")?),
        memory_bytes: number(row.try_get("memory")?),
        disk_bytes: number(row.try_get("disk")?),
    };
    Ok((resources, u32::try_from(row.try_get::<i64, _>("instances")?).unwrap_or(u32::MAX)))
}
