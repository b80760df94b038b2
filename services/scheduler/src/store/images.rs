//! Images, as the storage service last said they are.

use super::{column, damaged};
use bus::Failure;
use contracts::storage::v1::Image;
use prost::Message;
use sqlx::AnyConnection;

/// Writes the image unless the row is as new already. Answers whether it did.
pub async fn restore(tx: &mut AnyConnection, image: &Image) -> Result<bool, Failure> {
    let sql = "INSERT INTO images (id, revision, snapshot) VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE \
         SET revision = excluded.revision, snapshot = excluded.snapshot WHERE images.revision < excluded.revision";
    let done = sqlx::query(sql)
        .bind(image.id.clone())
        .bind(column(image.revision))
        .bind(image.encode_to_vec())
        .execute(tx)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// An image by id, whoever's it is and whatever became of it.
pub async fn find(tx: &mut AnyConnection, id: &str) -> Result<Option<Image>, Failure> {
    let row: Option<Vec<u8>> =
        sqlx::query_scalar("SELECT snapshot FROM images WHERE id = $1").bind(id).fetch_optional(tx).await?;
    row.map(|bytes| Image::decode(bytes.as_slice()).map_err(|error| damaged("images", error))).transpose()
}
