//! Segments that are in the object store.

use contracts::archive::v1::Segment;
use prost::Message as _;
use sqlx::{AnyConnection, AnyExecutor, Row};

fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Writes a segment; a segment that is there stays.
pub async fn put(db: &mut AnyConnection, segment: &Segment) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO segments (number, sha256, bytes, snapshot) VALUES ($1, $2, $3, $4)
         ON CONFLICT (number) DO NOTHING",
    )
    .bind(column(segment.number))
    .bind(&segment.sha256)
    .bind(column(segment.bytes))
    .bind(segment.encode_to_vec())
    .execute(db)
    .await?;
    Ok(())
}

/// The newest segment.
pub async fn newest<'a>(db: impl AnyExecutor<'a>) -> Result<Option<Segment>, sqlx::Error> {
    let row =
        sqlx::query("SELECT snapshot FROM segments ORDER BY number DESC LIMIT 1").fetch_optional(db).await?;
    let Some(row) = row else { return Ok(None) };
    let bytes: Vec<u8> = row.try_get("snapshot")?;
    Segment::decode(&*bytes).map(Some).map_err(|e| sqlx::Error::Decode(Box::new(e)))
}

/// How many segments there are, and their bytes.
pub async fn size<'a>(db: impl AnyExecutor<'a>) -> Result<(u64, u64), sqlx::Error> {
    // sums of 64-bit numbers are wider than 64 bits in PostgreSQL
    let row = sqlx::query(
        "SELECT COUNT(*) AS segments, CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes FROM segments",
    )
    .fetch_one(db)
    .await?;
    let (segments, bytes): (i64, i64) = (row.try_get("segments")?, row.try_get("bytes")?);
    Ok((u64::try_from(segments).unwrap_or(0), u64::try_from(bytes).unwrap_or(0)))
}
