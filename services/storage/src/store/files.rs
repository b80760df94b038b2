//! Which image has which file. A file is removed only when no image has it or claims it, and nobody may claim a file
//! that is being removed. Transactions that change claims hold the lock [`LOCK`].

use crate::domain::image::{Image, Phase};
use kernel::ImageId;
use sqlx::{AnyConnection, AnyPool, Row};
use store::StoreError;

/// The name of the lock around claims and removals.
pub const LOCK: &str = "storage.files";

/// Keeps the tables of files in step with an image's phase: files of a ready image are its own; once it is being
/// deleted it merely claims them, and gives them up one day.
pub async fn follow(tx: &mut AnyConnection, image: &Image) -> Result<(), StoreError> {
    let id = image.id.to_string();
    match image.phase {
        Phase::Importing => {}
        Phase::Ready => {
            for artifact in &image.artifacts {
                let sql = "INSERT INTO image_files (image_id, sha256) VALUES ($1, $2) ON CONFLICT DO NOTHING";
                sqlx::query(sql).bind(&id).bind(&artifact.sha256).execute(&mut *tx).await?;
            }
            sqlx::query("DELETE FROM file_claims WHERE image_id = $1").bind(&id).execute(tx).await?;
        }
        Phase::Deleting => {
            let sql = "INSERT INTO file_claims (image_id, sha256) SELECT image_id, sha256 FROM image_files \
                       WHERE image_id = $1 ON CONFLICT DO NOTHING";
            sqlx::query(sql).bind(&id).execute(&mut *tx).await?;
            sqlx::query("DELETE FROM image_files WHERE image_id = $1").bind(&id).execute(tx).await?;
        }
        Phase::Rejected | Phase::Deleted => release(tx, image.id).await?,
    }
    Ok(())
}

/// Claims a file for an image; false while the file is being removed.
pub async fn claim(tx: &mut AnyConnection, image: ImageId, sha256: &str) -> Result<bool, StoreError> {
    let removal = sqlx::query("SELECT sha256 FROM file_removals WHERE sha256 = $1").bind(sha256);
    if removal.fetch_optional(&mut *tx).await?.is_some() {
        return Ok(false);
    }
    let sql = "INSERT INTO file_claims (image_id, sha256) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    sqlx::query(sql).bind(image.to_string()).bind(sha256).execute(tx).await?;
    Ok(true)
}

/// Digests that an image claims.
pub async fn claims(tx: &mut AnyConnection, image: ImageId) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT sha256 FROM file_claims WHERE image_id = $1 ORDER BY sha256";
    let rows = sqlx::query(sql).bind(image.to_string()).fetch_all(tx).await?;
    rows.iter().map(|row| Ok(row.try_get("sha256")?)).collect()
}

/// Gives up what an image claims; files that nobody else has or claims are to be removed.
pub async fn release(tx: &mut AnyConnection, image: ImageId) -> Result<(), StoreError> {
    let claimed = claims(tx, image).await?;
    sqlx::query("DELETE FROM file_claims WHERE image_id = $1")
        .bind(image.to_string())
        .execute(&mut *tx)
        .await?;
    for sha256 in claimed {
        remove_if_orphan(tx, &sha256).await?;
    }
    Ok(())
}

/// Marks a file for removal unless somebody has or claims it.
pub async fn remove_if_orphan(tx: &mut AnyConnection, sha256: &str) -> Result<(), StoreError> {
    if !is_held(tx, sha256).await? {
        let sql = "INSERT INTO file_removals (sha256) VALUES ($1) ON CONFLICT DO NOTHING";
        sqlx::query(sql).bind(sha256).execute(tx).await?;
    }
    Ok(())
}

/// Whether any image has the file or claims it.
pub async fn is_held(tx: &mut AnyConnection, sha256: &str) -> Result<bool, StoreError> {
    let sql = "SELECT image_id FROM image_files WHERE sha256 = $1 UNION ALL SELECT image_id FROM file_claims WHERE sha256 = $1";
    Ok(sqlx::query(sql).bind(sha256).fetch_optional(tx).await?.is_some())
}

/// What is to become of a file that was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nobody has it, and it was given up: it goes.
    Remove,
    /// Somebody has it or claims it.
    Held,
    /// Nobody has it, and nobody gave it up that these tables know of: it stays, as a file no image has.
    Unknown,
}

/// What is to become of a file that was set aside before this was asked.
pub async fn fate(tx: &mut AnyConnection, sha256: &str) -> Result<Fate, StoreError> {
    if is_held(tx, sha256).await? {
        return Ok(Fate::Held);
    }
    let given_up = sqlx::query("SELECT sha256 FROM file_removals WHERE sha256 = $1").bind(sha256);
    Ok(if given_up.fetch_optional(tx).await?.is_some() { Fate::Remove } else { Fate::Unknown })
}

/// Files that are to be removed.
pub async fn removals(pool: &AnyPool) -> Result<Vec<String>, StoreError> {
    let rows = sqlx::query("SELECT sha256 FROM file_removals ORDER BY sha256").fetch_all(pool).await?;
    rows.iter().map(|row| Ok(row.try_get("sha256")?)).collect()
}

/// The file is gone.
pub async fn removed(tx: &mut AnyConnection, sha256: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM file_removals WHERE sha256 = $1").bind(sha256).execute(tx).await?;
    Ok(())
}

/// Digests of all files that some image has or claims, or that are to be removed.
pub async fn known(pool: &AnyPool) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT sha256 FROM image_files UNION SELECT sha256 FROM file_claims UNION SELECT sha256 FROM file_removals";
    let rows = sqlx::query(sql).fetch_all(pool).await?;
    rows.iter().map(|row| Ok(row.try_get("sha256")?)).collect()
}

/// Digests of files that ready images have.
pub async fn held_by_ready(pool: &AnyPool) -> Result<std::collections::BTreeSet<String>, StoreError> {
    let rows = sqlx::query("SELECT DISTINCT sha256 FROM image_files").fetch_all(pool).await?;
    rows.iter().map(|row| Ok(row.try_get("sha256")?)).collect()
}
