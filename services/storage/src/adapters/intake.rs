//! Writing a file of unknown content into the scratch folder: counted, digested and remembered in its first bytes
//! while it streams by.

use crate::domain::artifact::HEAD_BYTES;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::io;
use std::path::Path;
use tempfile::TempPath;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter};

/// Bytes written to the disk, or read from it, at a time.
const BUFFER: usize = 1 << 20;

/// A file in the scratch folder, measured. It is removed when this is dropped, unless the datastore adopts it.
#[derive(Debug)]
pub struct ScratchFile {
    /// Where it is; removes the file when dropped.
    pub path: TempPath,
    /// What it holds.
    pub measure: Measure,
}

/// What is known of a file once all of it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    /// Bytes.
    pub size: u64,
    /// 64 lower-case hex digits.
    pub sha256: String,
    /// The first bytes: [`HEAD_BYTES`], or all.
    pub head: Vec<u8>,
}

/// Counts, digests and remembers the head of what goes by.
#[derive(Default)]
struct Meter {
    size: u64,
    digest: Sha256,
    head: Vec<u8>,
}

impl Meter {
    fn see(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.digest.update(bytes);
        let room = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn finish(self) -> Measure {
        Measure { size: self.size, sha256: hex::encode(self.digest.finalize()), head: self.head }
    }
}

/// A file being written.
pub struct Intake {
    file: BufWriter<tokio::fs::File>,
    path: TempPath,
    meter: Meter,
}

impl Intake {
    /// A new, empty file in `folder`.
    pub fn begin(folder: &Path) -> io::Result<Self> {
        let (file, path) = tempfile::Builder::new().prefix("import-").tempfile_in(folder)?.into_parts();
        let file = BufWriter::with_capacity(BUFFER, tokio::fs::File::from_std(file));
        Ok(Self { file, path, meter: Meter::default() })
    }

    /// Bytes written so far.
    pub fn size(&self) -> u64 {
        self.meter.size
    }

    /// Appends.
    pub async fn write(&mut self, chunk: &Bytes) -> io::Result<()> {
        self.meter.see(chunk);
        self.file.write_all(chunk).await
    }

    /// Nothing more comes.
    pub async fn finish(mut self) -> io::Result<ScratchFile> {
        self.file.flush().await?;
        Ok(ScratchFile { path: self.path, measure: self.meter.finish() })
    }
}

/// Reads all of a file.
pub async fn measure(path: &Path) -> io::Result<Measure> {
    let mut file = tokio::fs::File::open(path).await?;
    file.set_max_buf_size(BUFFER);
    let mut meter = Meter::default();
    let mut buffer = vec![0u8; BUFFER];
    loop {
        match file.read(&mut buffer).await? {
            0 => return Ok(meter.finish()),
            n => meter.see(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_streams_by_is_measured_as_what_is_read() {
        let folder = tempfile::tempdir().expect("folder");
        let mut intake = Intake::begin(folder.path()).expect("begin");
        for n in 0..200u8 {
            intake.write(&Bytes::from(vec![n; 1000])).await.expect("write");
        }
        let scratch = intake.finish().await.expect("finish");
        assert_eq!((scratch.measure.size, scratch.measure.head.len()), (200_000, HEAD_BYTES));
        assert_eq!(measure(&scratch.path).await.expect("measure"), scratch.measure);
        let path = scratch.path.to_path_buf();
        drop(scratch);
        assert!(!path.exists(), "what nobody adopts is removed");
    }
}
