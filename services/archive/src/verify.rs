//! Reading an archive, and proving on the way that it is as it was written.

use crate::adapters::key::PublicKey;
use crate::adapters::seal::{self, Broken};
use crate::adapters::vault::{Listing, Vault};
use contracts::archive::v1::{Entry, Segment, entry};
use prost::Message as _;
use serde::Serialize;

/// What an archive holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Segments that are as they were written.
    pub segments: u64,
    /// Events in them.
    pub events: u64,
    /// Gaps of the stream that they tell of.
    pub gaps: u64,
    /// SHA-256 of the last of them: write it down elsewhere, and nothing can be taken away unseen.
    pub newest: String,
    /// The first thing that is wrong, `None` = all is right.
    pub first_problem: Option<String>,
}

/// Reads the segments of an archive one after the other, each proven before it is handed out.
pub struct Reader {
    vault: Vault,
    key: PublicKey,
    listing: Listing,
    last: Option<Segment>,
}

/// Reading failed: the archive is not as it was written, or could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not as it was written.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// It could not be reached.
    #[error(transparent)]
    Unreachable(#[from] anyhow::Error),
}

impl Reader {
    /// Begins with the first segment.
    pub async fn new(vault: Vault, key: PublicKey) -> anyhow::Result<Self> {
        let listing = vault.list().await?;
        Ok(Self { vault, key, listing, last: None })
    }

    /// The segment that was read last.
    pub fn last(&self) -> Option<&Segment> {
        self.last.as_ref()
    }

    /// The next segment; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<(Segment, Vec<Entry>)>, ReadError> {
        let number = self.last.as_ref().map_or(1, |segment| segment.number + 1);
        let missing = |what: &str| Broken(format!("segment {number}: {what} is missing"));
        let Some(head) = self.vault.head(number).await? else {
            let later = self.listing.heads.iter().any(|held| *held >= number);
            // a file without a checkpoint at the end was being written when its writer ended
            let further = self.listing.files.iter().any(|held| *held > number);
            return if later || further { Err(missing("its checkpoint").into()) } else { Ok(None) };
        };
        let segment = seal::checkpoint(&head, number, self.last.as_ref(), &self.key)?;
        let file = self.vault.file(number).await?.ok_or_else(|| missing("its file"))?;
        let entries = seal::open(&segment, &file)?;
        self.last = Some(segment.clone());
        Ok(Some((segment, entries)))
    }
}

/// SHA-256 of a segment's description: what the next one is bound to.
pub fn hash(segment: &Segment) -> String {
    seal::sha256(&segment.encode_to_vec())
}

/// Proves a whole archive. `expected`: hashes of segments that have to be in it; without any, segments taken from the
/// end of an archive cannot be missed.
pub async fn verify(vault: &Vault, key: &PublicKey, expected: &[String]) -> anyhow::Result<Verdict> {
    let mut verdict = Verdict::default();
    let mut missing: Vec<&String> = expected.iter().collect();
    let mut reader = Reader::new(vault.clone(), key.clone()).await?;
    loop {
        match reader.next().await {
            Ok(Some((segment, entries))) => {
                verdict.segments += 1;
                let gaps =
                    entries.iter().filter(|e| matches!(e.what, Some(entry::What::Gap(_)))).count() as u64;
                verdict.gaps += gaps;
                verdict.events += entries.len() as u64 - gaps;
                verdict.newest = hash(&segment);
                missing.retain(|hash| **hash != verdict.newest);
            }
            Ok(None) => {
                let cut = missing.first().map(|hash| {
                    let next = verdict.segments + 1;
                    format!("segment {next}: it is missing, or a later one: none has the hash {hash}")
                });
                verdict.first_problem = cut;
                return Ok(verdict);
            }
            Err(ReadError::Broken(broken)) => {
                verdict.first_problem = Some(broken.to_string());
                return Ok(verdict);
            }
            Err(ReadError::Unreachable(error)) => return Err(error),
        }
    }
}
