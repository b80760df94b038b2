//! Staged files: whose they are, and which imports wait for them. What an import waits for is kept, however old it is.

use ::store::{Store, StoreError};
use contracts::storage::v1::{ArtifactSource, Image, ImagePhase, artifact_source};
use sqlx::{AnyConnection, AnyExecutor};

/// The staged files that a request names.
pub fn named(sources: &[ArtifactSource]) -> Vec<String> {
    let id = |source: &ArtifactSource| match &source.source {
        Some(artifact_source::Source::UploadId(id)) => Some(id.clone()),
        _ => None,
    };
    sources.iter().filter_map(id).collect()
}

/// Until the transaction ends nobody else accepts an import of this file or gives it up.
pub async fn lock(store: &Store, tx: &mut AnyConnection, upload_id: &str) -> Result<(), StoreError> {
    store.lock(tx, &format!("upload {upload_id}")).await
}

/// The first of these files that is not staged for the tenant (any more).
pub async fn missing<'i>(
    db: &mut AnyConnection,
    ids: &'i [String],
    tenant: &str,
) -> Result<Option<&'i str>, sqlx::Error> {
    for id in ids {
        if !is_of(&mut *db, id, tenant).await? {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// Takes in that an image is asked for that is made of these files. Its import may have ended already: events that were
/// lost come late.
pub async fn wanted(db: &mut AnyConnection, ids: &[String], image_id: &str) -> Result<(), sqlx::Error> {
    if ids.is_empty() {
        return Ok(());
    }
    let phase: Option<i64> = sqlx::query_scalar("SELECT phase FROM images WHERE id = $1")
        .bind(image_id)
        .fetch_optional(&mut *db)
        .await?;
    let ended = phase.is_some_and(|phase| phase != i64::from(ImagePhase::Importing as i32));
    for id in ids {
        note(db, id, image_id, ended).await?;
    }
    Ok(())
}

/// Takes in of which staged files an image is made. An import that ended stays ended, in whatever order it is heard, for
/// all files that were named when it was asked for.
pub async fn put(db: &mut AnyConnection, image: &Image) -> Result<(), sqlx::Error> {
    let ended = image.phase != ImagePhase::Importing as i32;
    for id in named(&image.sources) {
        note(db, &id, &image.id, ended).await?;
    }
    if ended {
        sqlx::query("UPDATE image_uploads SET ended = 1 WHERE image_id = $1 AND ended = 0")
            .bind(&image.id)
            .execute(db)
            .await?;
    }
    Ok(())
}

async fn note(
    db: &mut AnyConnection,
    upload_id: &str,
    image_id: &str,
    ended: bool,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO image_uploads (upload_id, image_id, ended) VALUES ($1, $2, $3)
         ON CONFLICT (upload_id, image_id) DO UPDATE SET ended = excluded.ended
         WHERE image_uploads.ended < excluded.ended",
    )
    .bind(upload_id)
    .bind(image_id)
    .bind(i64::from(ended))
    .execute(db)
    .await?;
    Ok(())
}

/// Gives a file up: from now on no import of it is accepted, and its bytes may go. False: an import waits for it, or
/// none has used it yet and it is not `old`.
pub async fn give_up(db: &mut AnyConnection, upload_id: &str, old: bool) -> Result<bool, sqlx::Error> {
    let imports: Vec<i64> = sqlx::query_scalar("SELECT ended FROM image_uploads WHERE upload_id = $1")
        .bind(upload_id)
        .fetch_all(&mut *db)
        .await?;
    if imports.contains(&0) || imports.is_empty() && !old {
        return Ok(false);
    }
    sqlx::query("DELETE FROM staged_files WHERE upload_id = $1").bind(upload_id).execute(db).await?;
    Ok(true)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MIGRATIONS;
    use testkit::databases;

    #[tokio::test]
    async fn a_file_is_given_up_or_imported_and_never_both() {
        for database in databases(MIGRATIONS).await {
            let mut tx = database.store.begin().await.expect("tx");
            let files = ["a", "b"].map(str::to_owned);
            for file in &files {
                staged(&mut tx, file, "acme").await.expect("staged");
            }
            assert_eq!(missing(&mut tx, &files, "acme").await.expect("read"), None);
            assert_eq!(missing(&mut tx, &files, "evil").await.expect("read"), Some("a"));
            assert!(!give_up(&mut tx, "a", false).await.expect("kept"), "new, and nobody imported it yet");
            wanted(&mut tx, &files[..1], "image").await.expect("noted");
            for (file, goes) in [("a", false), ("b", true)] {
                assert_eq!(give_up(&mut tx, file, true).await.expect("decided"), goes, "{file}");
            }
            assert_eq!(missing(&mut tx, &files, "acme").await.expect("read"), Some("b"));
            let ended = Image { id: "image".into(), phase: ImagePhase::Rejected as i32, ..Image::default() };
            put(&mut tx, &ended).await.expect("ended");
            assert!(give_up(&mut tx, "a", false).await.expect("spent"));
            // its acceptance is heard once more, late
            wanted(&mut tx, &files[..1], "image").await.expect("noted");
            assert!(give_up(&mut tx, "a", false).await.expect("still spent"));
            drop(tx);
            database.remove().await;
        }
    }
}
