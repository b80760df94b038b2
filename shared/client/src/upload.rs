//! Sending a file to the staging area, checked by its SHA-256 on both sides.

use super::{Exit, Failure, Gateway, IdempotencyKey, Retries, is_transport};
use contracts::gateway::v1::{UploadFileRequest, UploadFileResponse};
use futures::Stream;
use sha2::{Digest as _, Sha256};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::io::AsyncReadExt as _;
use tonic::Request;

const CHUNK_BYTES: usize = 256 << 10;

/// A file on this machine, as it was when its digest was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub size_bytes: u64,
    /// 64 hex digits.
    pub sha256: String,
}

impl LocalFile {
    /// Reads the whole file once; `progress` hears the bytes read so far. Blocks.
    pub fn read(path: &Path, mut progress: impl FnMut(u64)) -> Result<Self, Failure> {
        let explain = |error: std::io::Error| Failure::usage(format!("file {}: {error}", path.display()));
        let metadata = std::fs::metadata(path).map_err(explain)?;
        if !metadata.is_file() {
            return Err(Failure::usage(format!("{} is not a regular file", path.display())));
        }
        if metadata.len() == 0 {
            return Err(Failure::usage(format!("file {} is empty", path.display())));
        }
        let mut file = std::fs::File::open(path).map_err(explain)?;
        let (mut digest, mut buffer, mut size_bytes) = (Sha256::new(), vec![0; 1 << 20], 0);
        loop {
            let count = file.read(&mut buffer).map_err(explain)?;
            if count == 0 {
                break;
            }
            digest.update(&buffer[..count]);
            size_bytes += count as u64;
            progress(size_bytes);
        }
        Ok(Self { path: path.to_owned(), size_bytes, sha256: hex::encode(digest.finalize()) })
    }
}

/// Sends the file and returns what the platform staged, proven to be the same bytes. A connection that fails in the
/// middle begins anew. `progress` hears the bytes sent so far.
pub async fn upload(
    gateway: &Gateway,
    file: &LocalFile,
    key: &IdempotencyKey,
    progress: impl Fn(u64) + Send + Sync + 'static,
) -> Result<UploadFileResponse, Failure> {
    let progress: Arc<dyn Fn(u64) + Send + Sync> = Arc::new(progress);
    let mut retries = Retries::new(gateway.attempts);
    loop {
        let unreadable = Arc::new(Mutex::new(None));
        let mut request = Request::new(chunks(file.clone(), progress.clone(), unreadable.clone()));
        key.put_on(&mut request);
        let status = match gateway.images().upload_file(request).await {
            Ok(answer) => return checked(file, answer.into_inner()),
            Err(status) => status,
        };
        // the file vanished or shrank below us: that is the cause, whatever the connection says about it
        if let Some(error) = unreadable.lock().ok().and_then(|mut error| error.take()) {
            return Err(error);
        }
        match retries.next_pause() {
            Some(pause) if is_transport(&status) => tokio::time::sleep(pause).await,
            _ => return Err(Failure::from_status(&status, &gateway.endpoint)),
        }
    }
}

fn checked(file: &LocalFile, answer: UploadFileResponse) -> Result<UploadFileResponse, Failure> {
    if answer.sha256 == file.sha256 && answer.size_bytes == file.size_bytes {
        return Ok(answer);
    }
    Err(Failure {
        reasons: vec![
            format!("here: {} bytes, sha256 {}", file.size_bytes, file.sha256),
            format!("there: {} bytes, sha256 {}", answer.size_bytes, answer.sha256),
        ],
        ..Failure::new(Exit::Failed, format!("{} arrived changed", file.path.display()))
    }
    .hint("did the file change while it was sent? Send it again"))
}

fn chunks(
    file: LocalFile,
    progress: Arc<dyn Fn(u64) + Send + Sync>,
    unreadable: Arc<Mutex<Option<Failure>>>,
) -> impl Stream<Item = UploadFileRequest> {
    futures::stream::unfold(Reading::Closed { file }, move |reading| {
        let (progress, unreadable) = (progress.clone(), unreadable.clone());
        async move {
            match reading.next().await {
                Ok(Some((request, next, sent))) => {
                    progress(sent);
                    Some((request, next))
                }
                Ok(None) => None,
                Err(error) => {
                    if let Ok(mut slot) = unreadable.lock() {
                        *slot = Some(error);
                    }
                    None
                }
            }
        }
    })
}

enum Reading {
    Closed { file: LocalFile },
    Open { path: PathBuf, handle: tokio::fs::File, sent: u64, size_bytes: u64 },
}

impl Reading {
    async fn next(self) -> Result<Option<(UploadFileRequest, Self, u64)>, Failure> {
        let (path, mut handle, sent, size_bytes) = match self {
            Self::Closed { file } => {
                let handle =
                    tokio::fs::File::open(&file.path).await.map_err(|e| unreadable(&file.path, &e))?;
                (file.path, handle, 0, file.size_bytes)
            }
            Self::Open { path, handle, sent, size_bytes } => (path, handle, sent, size_bytes),
        };
        if sent >= size_bytes {
            return Ok(None);
        }
        let want = usize::try_from(size_bytes - sent).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let mut chunk = vec![0; want];
        handle.read_exact(&mut chunk).await.map_err(|e| unreadable(&path, &e))?;
        let first_says = if sent == 0 { size_bytes } else { 0 };
        let sent = sent + want as u64;
        Ok(Some((
            UploadFileRequest { size_bytes: first_says, chunk },
            Self::Open { path, handle, sent, size_bytes },
            sent,
        )))
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("file {} changed or vanished while it was sent: {error}", path.display()),
    )
}
