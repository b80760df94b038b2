//! Which images were made of which staged files.

use contracts::storage::v1::{Image, ImagePhase, artifact_source};
use sqlx::{AnyConnection, AnyExecutor};

/// Takes in of which staged files an image is made. An import that ended stays ended, in whatever order it is heard.
pub async fn put(db: &mut AnyConnection, image: &Image) -> Result<(), sqlx::Error> {
    let ended = i64::from(image.phase != ImagePhase::Importing as i32);
    for source in &image.sources {
        let Some(artifact_source::Source::UploadId(upload_id)) = &source.source else { continue };
        sqlx::query(
            "INSERT INTO image_uploads (upload_id, image_id, ended) VALUES ($1, $2, $3)
             ON CONFLICT (upload_id, image_id) DO UPDATE SET ended = excluded.ended
             WHERE image_uploads.ended < excluded.ended",
        )
        .bind(upload_id)
        .bind(&image.id)
        .bind(ended)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// Whether an upload was used, and every import that used it has ended.
pub async fn is_spent<'a>(db: impl AnyExecutor<'a>, upload_id: &str) -> Result<bool, sqlx::Error> {
    let open: Vec<i64> = sqlx::query_scalar("SELECT ended FROM image_uploads WHERE upload_id = $1")
        .bind(upload_id)
        .fetch_all(db)
        .await?;
    Ok(!open.is_empty() && open.iter().all(|ended| *ended == 1))
}

/// Notes whose a staged file is.
pub async fn staged(db: &mut AnyConnection, upload_id: &str, tenant: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO staged_files (upload_id, tenant) VALUES ($1, $2) ON CONFLICT (upload_id) DO NOTHING",
    )
    .bind(upload_id)
    .bind(tenant)
    .execute(db)
    .await?;
    Ok(())
}

/// Whether a staged file is this tenant's.
pub async fn is_of<'a>(db: impl AnyExecutor<'a>, upload_id: &str, tenant: &str) -> Result<bool, sqlx::Error> {
    let row = sqlx::query("SELECT upload_id FROM staged_files WHERE upload_id = $1 AND tenant = $2")
        .bind(upload_id)
        .bind(tenant)
        .fetch_optional(db)
        .await?;
    Ok(row.is_some())
}
