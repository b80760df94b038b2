//! Reading and checking a request to take in an image.

use super::image::{format_from_wire, role_from_wire};
use crate::domain::artifact::{Origin, Role, Source};
use crate::domain::code;
use crate::domain::image::Request;
use crate::domain::kernel_file::Architecture;
use contracts::storage::v1::artifact_source::Source as WireOrigin;
use contracts::storage::v1::{ArtifactSource, ImportImage};
use kernel::limits::{IMAGE_FILES, KERNEL_CMDLINE, URL};
use kernel::names::NAME_LIMIT;
use kernel::{Bytes, Refusal, UploadId};
use reqwest::Url;

/// What a request may ask for.
#[derive(Debug, Clone, Copy)]
pub struct ImportLimits {
    /// Bytes of one file.
    pub max_file_bytes: u64,
}

/// The request, and whether it can be met. What cannot be understood is left out of it, so that the answer can be
/// kept like any other image. The outer error: a message that nobody can be answered for.
pub fn request(message: ImportImage, limits: ImportLimits) -> Result<(Request, Result<(), Refusal>), String> {
    let id = message.image_id.parse().map_err(|e: kernel::InvalidId| e.to_string())?;
    for (what, text) in [("tenant", &message.tenant), ("operation_id", &message.operation_id)] {
        if text.is_empty() {
            return Err(format!("ImportImage without {what}"));
        }
    }
    let sources = sources(&message.sources, limits);
    let architecture = match message.architecture.as_str() {
        "" => Some(Architecture::X86_64),
        text => Architecture::parse(text),
    };
    let mut problems = Vec::new();
    problems.extend(name_problem(&message.name));
    problems.extend(sources.as_ref().err().cloned());
    if let Ok(sources) = &sources {
        problems.extend(set_problem(sources));
        problems.extend(cmdline_problem(&message.kernel_cmdline, sources));
    }
    if architecture.is_none() {
        problems
            .push(format!("architecture: {:?} is none of x86_64, aarch64", shorten(&message.architecture)));
    }
    let verdict = match problems.is_empty() {
        true => Ok(()),
        false => Err(Refusal::new(code::INVALID_REQUEST, "the image cannot be taken in as described")
            .because(problems)),
    };
    let request = Request {
        id,
        tenant: message.tenant,
        name: message.name.chars().take(NAME_LIMIT).collect(),
        sources: sources.unwrap_or_default(),
        architecture: architecture.unwrap_or(Architecture::X86_64),
        kernel_cmdline: message.kernel_cmdline.chars().take(KERNEL_CMDLINE.length()).collect(),
        guest_agent: message.guest_agent,
        operation_id: message.operation_id,
    };
    Ok((request, verdict))
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

fn name_problem(name: &str) -> Option<String> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.' | b'_');
    let outer = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = name.as_bytes();
    let good = bytes.len() <= NAME_LIMIT
        && bytes.iter().all(|b| inner(*b))
        && outer(bytes.first())
        && outer(bytes.last());
    (!good).then(|| {
        format!(
            "name: {:?} is no image name: 1 to {NAME_LIMIT} lower-case letters, digits, '-', '.' and '_', beginning and ending with a letter or digit",
            shorten(name)
        )
    })
}

/// What is wrong with the files together.
fn set_problem(sources: &[Source]) -> Option<String> {
    let count = |role| sources.iter().filter(|s| s.role == role).count();
    if let Some(role) = [Role::Disk, Role::Kernel, Role::Initramfs].into_iter().find(|role| count(*role) > 1)
    {
        return Some(format!("sources: an image has one {} at most", role.name()));
    }
    let (disk, kernel, initramfs) =
        (count(Role::Disk) > 0, count(Role::Kernel) > 0, count(Role::Initramfs) > 0);
    if initramfs && !kernel {
        return Some("sources: an initramfs needs a kernel".into());
    }
    let boots = disk || (kernel && initramfs);
    if !boots {
        return Some("sources: an image needs a disk, or a kernel and an initramfs".into());
    }
    None
}

fn cmdline_problem(cmdline: &str, sources: &[Source]) -> Option<String> {
    if cmdline.len() > KERNEL_CMDLINE.length() || !cmdline.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Some(format!("kernel_cmdline: at most {} printable ASCII characters", KERNEL_CMDLINE.0));
    }
    let has_kernel = sources.iter().any(|s| s.role == Role::Kernel);
    (!cmdline.is_empty() && !has_kernel).then(|| "kernel_cmdline: only an image with a kernel has one".into())
}

fn sources(given: &[ArtifactSource], limits: ImportLimits) -> Result<Vec<Source>, String> {
    // more are not even read: what is refused is kept as an answer, and must stay small
    if given.len() > IMAGE_FILES {
        return Err(format!("sources: {} files; an image has one of each role at most", given.len()));
    }
    let read =
        |(n, it): (usize, &ArtifactSource)| source(it, limits).map_err(|e| format!("sources[{n}]: {e}"));
    given.iter().enumerate().map(read).collect()
}

fn source(source: &ArtifactSource, limits: ImportLimits) -> Result<Source, String> {
    let role = role_from_wire(source.role()).ok_or("role: say disk, kernel or initramfs")?;
    let sha256 = source.sha256.to_ascii_lowercase();
    if !sha256.is_empty() && (sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Err(format!("sha256: {:?} is not 64 hex digits", shorten(&source.sha256)));
    }
    let origin = match source.source.as_ref().ok_or("say upload_id or url")? {
        WireOrigin::UploadId(id) => {
            let id: UploadId = id.parse().map_err(|e: kernel::InvalidId| format!("upload_id: {e}"))?;
            Origin::Upload(id.to_string())
        }
        WireOrigin::Url(url) => {
            if sha256.is_empty() {
                return Err("sha256: required for a url; the publisher lists it beside the file".into());
            }
            check_url(url).map(|()| Origin::Url(url.clone()))?
        }
    };
    let format = format_from_wire(source.format());
    if format.is_some() && role != Role::Disk {
        return Err(format!("format: only disks have one, not a {}", role.name()));
    }
    if source.size_bytes > limits.max_file_bytes {
        let (size, limit) = (Bytes(source.size_bytes), Bytes(limits.max_file_bytes));
        return Err(format!("size_bytes: {size} is more than the limit of {limit}"));
    }
    Ok(Source { role, origin, sha256, format, size: source.size_bytes })
}

fn check_url(text: &str) -> Result<(), String> {
    if text.len() > URL.length() {
        return Err(format!("url: longer than {} bytes", URL.0));
    }
    let url = Url::parse(text).map_err(|e| format!("url: {:?}: {e}", shorten(text)))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("url: only http and https are fetched, not {}", url.scheme()));
    }
    // events are kept for ever and read by many
    if !url.username().is_empty() || url.password().is_some() {
        return Err("url: must not hold a user name or password".into());
    }
    Ok(())
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
