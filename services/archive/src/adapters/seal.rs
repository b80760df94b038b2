//! Entries as a file and back: linked one to the next, compressed, hashed and signed.

use super::key::{Key, PublicKey};
use bytes::Bytes;
use contracts::archive::v1::{Checkpoint, Entry, Linked, Segment, entry};
use prost::Message as _;
use sha2::{Digest, Sha256};
use std::io::Read as _;

/// Compression: fast, and a tenth of the size for events that are alike.
const LEVEL: i32 = 3;
/// Longest file after decompression: more is an attack on the reader's memory.
const LIMIT: u64 = 1 << 30;

/// What is wrong with a segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);

/// The link that follows `before`.
fn link(before: &[u8], entry: &[u8]) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(entry);
    hash.finalize().to_vec()
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A segment that is being filled.
#[derive(Debug, Default)]
pub struct Draft {
    entries: Vec<Entry>,
    bytes: u64,
}

impl Draft {
    /// Adds an entry.
    pub fn push(&mut self, entry: Entry) {
        self.bytes += entry.encoded_len() as u64;
        self.entries.push(entry);
    }

    /// Entries so far.
    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes so far, before compression.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// A segment as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Sealed {
    /// What is known of it.
    pub segment: Segment,
    /// The file.
    pub file: Bytes,
    /// The checkpoint.
    pub head: Bytes,
}

/// Seals entries into the segment after `before`. `place`: stream, last place, present time; `occurred_at`: of an
/// event, in microseconds since the epoch.
pub fn seal(
    draft: &Draft,
    before: Option<&Segment>,
    (incarnation, last_sequence, sealed_at_us): (&str, u64, i64),
    occurred_at: impl Fn(&contracts::archive::v1::ArchivedEvent) -> i64,
    key: &Key,
) -> std::io::Result<Sealed> {
    let previous = before.map(|segment| sha256(&segment.encode_to_vec())).unwrap_or_default();
    let mut last = previous.clone().into_bytes();
    let mut plain = Vec::new();
    for entry in &draft.entries {
        let entry = entry.encode_to_vec();
        last = link(&last, &entry);
        let linked = Linked { entry, link: last.clone() };
        plain.extend(linked.encode_length_delimited_to_vec());
    }
    let file = Bytes::from(zstd::encode_all(plain.as_slice(), LEVEL)?);
    let events = || {
        draft.entries.iter().filter_map(|entry| match &entry.what {
            Some(entry::What::Event(event)) => Some(event),
            _ => None,
        })
    };
    let segment = Segment {
        number: before.map_or(1, |segment| segment.number + 1),
        previous,
        sha256: sha256(&file),
        bytes: file.len() as u64,
        entries: draft.len(),
        link: hex::encode(&last),
        incarnation: incarnation.to_owned(),
        first_sequence: events().next().map_or(0, |event| event.sequence),
        last_sequence,
        first_at_us: events().next().map_or(0, &occurred_at),
        last_at_us: events().next_back().map_or(0, &occurred_at),
        sealed_at_us,
    };
    let bytes = segment.encode_to_vec();
    let signature = key.sign(&bytes);
    let head = Checkpoint { segment: bytes, signature, public_key: key.public().bytes() };
    Ok(Sealed { segment, file, head: head.encode_to_vec().into() })
}

/// Opens a checkpoint: signed by `key`, with this number, and following `before`.
pub fn checkpoint(
    bytes: &[u8],
    number: u64,
    before: Option<&Segment>,
    key: &PublicKey,
) -> Result<Segment, Broken> {
    let wrong = |why: String| Broken(format!("segment {number}: {why}"));
    let head = Checkpoint::decode(bytes).map_err(|e| wrong(format!("its checkpoint cannot be read: {e}")))?;
    if !key.vouches(&head.segment, &head.signature) {
        return Err(wrong(if head.public_key == key.bytes() {
            "its checkpoint was changed: the signature does not fit".to_owned()
        } else {
            format!("its checkpoint is signed by another key, {}", hex::encode(&head.public_key))
        }));
    }
    let segment = Segment::decode(&*head.segment)
        .map_err(|e| wrong(format!("its checkpoint holds no segment: {e}")))?;
    if segment.number != number {
        return Err(wrong(format!("segment {} stands in its place", segment.number)));
    }
    let expected = before.map(|segment| sha256(&segment.encode_to_vec())).unwrap_or_default();
    if segment.previous != expected {
        return Err(wrong("it does not follow the segment before it: one of them was replaced".to_owned()));
    }
    Ok(segment)
}

/// Opens the file of a segment whose checkpoint is right. The error names the first entry that is not as it was
/// written.
pub fn open(segment: &Segment, file: &[u8]) -> Result<Vec<Entry>, Broken> {
    let number = segment.number;
    let wrong = |why: String| Broken(format!("segment {number}: {why}"));
    // which entry it is can only be told from inside
    let same = sha256(file) == segment.sha256;
    let mut plain = Vec::new();
    let opened = zstd::Decoder::new(file).and_then(|decoder| decoder.take(LIMIT).read_to_end(&mut plain));
    if let Err(error) = opened
        && plain.is_empty()
    {
        return Err(wrong(format!("its file was changed and cannot be unpacked: {error}")));
    }
    let mut left = plain.as_slice();
    let mut last = segment.previous.clone().into_bytes();
    let mut entries = Vec::new();
    while !left.is_empty() {
        let at = entries.len() + 1;
        let name = |entry: Option<&Entry>| match entry.and_then(|entry| entry.what.as_ref()) {
            Some(entry::What::Event(event)) => {
                format!("record {at} (event {} of the stream, {})", event.sequence, event.subject)
            }
            _ => format!("record {at}"),
        };
        let linked = Linked::decode_length_delimited(&mut left)
            .map_err(|_| wrong(format!("{} was changed: it cannot be read", name(None))))?;
        let entry = Entry::decode(&*linked.entry).ok();
        last = link(&last, &linked.entry);
        if last != linked.link {
            let text = "was changed, inserted or moved, or the one before it is missing";
            return Err(wrong(format!("{} {text}", name(entry.as_ref()))));
        }
        entries.push(entry.ok_or_else(|| wrong(format!("{} is no entry", name(None))))?);
    }
    let count = entries.len() as u64;
    if count < segment.entries {
        return Err(wrong(format!(
            "record {} is missing: {count} of {} are there",
            count + 1,
            segment.entries
        )));
    }
    if count > segment.entries {
        return Err(wrong(format!(
            "record {} was added: there were {}",
            segment.entries + 1,
            segment.entries
        )));
    }
    if hex::encode(&last) != segment.link {
        return Err(wrong("its records were replaced by others".to_owned()));
    }
    if !same {
        return Err(wrong("its file was changed, though the records in it are the same".to_owned()));
    }
    Ok(entries)
}
