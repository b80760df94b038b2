//! The table `image_uses`: which instance boots from which image, as the scheduler says.

use kernel::ImageId;
use sqlx::{AnyConnection, Row};
use store::StoreError;

/// An instance's use of an image, at a revision of the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The instance.
    pub instance_id: String,
    /// Its name, for people.
    pub instance_name: String,
    /// The image it boots from.
    pub image_id: String,
    /// False: the instance is gone.
    pub in_use: bool,
    /// Of the instance.
    pub revision: i64,
}

/// Takes note, unless something newer is known.
pub async fn put(tx: &mut AnyConnection, it: &Use) -> Result<(), StoreError> {
    let sql = "INSERT INTO image_uses (instance_id, image_id, instance_name, in_use, revision) VALUES ($1, $2, $3, $4, $5) \
               ON CONFLICT (instance_id) DO UPDATE SET image_id = excluded.image_id, \
               instance_name = excluded.instance_name, in_use = excluded.in_use, revision = excluded.revision \
               WHERE image_uses.revision < excluded.revision";
    sqlx::query(sql)
        .bind(&it.instance_id)
        .bind(&it.image_id)
        .bind(&it.instance_name)
        .bind(i64::from(it.in_use))
        .bind(it.revision)
        .execute(tx)
        .await?;
    Ok(())
}

/// Names of the instances that use an image, at most a thousand.
pub async fn users(tx: &mut AnyConnection, image: ImageId) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT instance_name FROM image_uses WHERE image_id = $1 AND in_use = 1 ORDER BY instance_name LIMIT 1000";
    let rows = sqlx::query(sql).bind(image.to_string()).fetch_all(tx).await?;
    rows.iter().map(|row| Ok(row.try_get("instance_name")?)).collect()
}
