//! Judging one file of an image: what was said of it against what it is.

use super::disk::{self, Disk, DiskFormat};
use super::kernel_file::{self, Architecture};
use super::{code, initramfs};
use kernel::Refusal;

/// Bytes from the start of a file that [`judge`] wants to see (all of it when it is shorter).
pub const HEAD_BYTES: usize = disk::HEAD_BYTES;

/// What a file of an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The disk the guest boots from or mounts as root.
    Disk,
    /// The kernel of a direct boot.
    Kernel,
    /// What the kernel unpacks first.
    Initramfs,
}

impl Role {
    /// The role in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Kernel => "kernel",
            Self::Initramfs => "initramfs",
        }
    }
}

/// Where a file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A finished upload in the staging area.
    Upload(String),
    /// An http or https address.
    Url(String),
}

/// A file to take in, and what the caller says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What it is for.
    pub role: Role,
    /// Where it comes from.
    pub origin: Origin,
    /// 64 lower-case hex digits, or "" when not said.
    pub sha256: String,
    /// Of disks; `None` = not said.
    pub format: Option<DiskFormat>,
    /// Bytes; 0 = not said.
    pub size: u64,
}

/// A file that was taken in: part of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// What it is for.
    pub role: Role,
    /// SHA-256 of the file, 64 lower-case hex digits; its name in the datastore.
    pub sha256: String,
    /// Bytes of the file.
    pub size: u64,
    /// Of disks only.
    pub disk: Option<Disk>,
}

/// What was found in a file.
#[derive(Debug, Clone)]
pub struct Found<'a> {
    /// Its first bytes: [`HEAD_BYTES`], or all when it is shorter.
    pub head: &'a [u8],
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the file, 64 lower-case hex digits.
    pub sha256: &'a str,
}

/// Holds what was said of a file against what was found in it. `max_virtual`: the largest disk taken, in bytes.
pub fn judge(
    source: &Source,
    architecture: Architecture,
    found: &Found<'_>,
    max_virtual: u64,
) -> Result<Artifact, Refusal> {
    let role = source.role.name();
    // a cut transfer is told apart from a changed file where the caller said how long it is
    if source.size != 0 && source.size != found.size {
        let message = format!("the {role} has {} bytes; {} were declared", found.size, source.size);
        let code = if found.size < source.size { code::TRUNCATED } else { code::SIZE_MISMATCH };
        return Err(Refusal::new(code, message));
    }
    if !source.sha256.is_empty() && source.sha256 != found.sha256 {
        let message = format!("the {role} has SHA-256 {}; {} was declared", found.sha256, source.sha256);
        return Err(Refusal::new(code::DIGEST_MISMATCH, message));
    }
    let disk = match source.role {
        Role::Disk => {
            let disk = disk::inspect(found.head, found.size, max_virtual)?;
            if let Some(declared) = source.format.filter(|f| *f != disk.format) {
                let message =
                    format!("the disk is {}; it was declared {}", disk.format.name(), declared.name());
                return Err(Refusal::new(code::FORMAT_MISMATCH, message));
            }
            Some(disk)
        }
        Role::Kernel => kernel_file::inspect(found.head, found.size, architecture).map(|()| None)?,
        Role::Initramfs => initramfs::inspect(found.head, found.size).map(|()| None)?,
    };
    Ok(Artifact { role: source.role, sha256: found.sha256.to_owned(), size: found.size, disk })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{partition, qcow2};

    const SHA: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn source() -> Source {
        Source {
            role: Role::Disk,
            origin: Origin::Upload("u".into()),
            sha256: SHA.into(),
            format: None,
            size: 0,
        }
    }

    fn code_of(source: &Source, head: &[u8], size: u64) -> String {
        let found = Found { head, size, sha256: SHA };
        judge(source, Architecture::X86_64, &found, 1 << 40).err().map(|r| r.code).unwrap_or_default()
    }

    #[test]
    fn a_file_that_is_what_it_says_is_taken() {
        let head = partition::tests::mbr(1, 7);
        let found = Found { head: &head, size: 4096, sha256: SHA };
        let source = Source { format: Some(DiskFormat::Raw), size: 4096, ..source() };
        let artifact = judge(&source, Architecture::X86_64, &found, 1 << 40).expect("taken");
        assert_eq!(artifact.disk, Some(Disk { format: DiskFormat::Raw, virtual_size: 4096 }));
        assert_eq!((artifact.sha256.as_str(), artifact.size), (SHA, 4096));
    }

    #[test]
    fn a_file_that_lies_is_refused() {
        let raw = partition::tests::mbr(1, 7);
        let (qcow, size) = qcow2::tests::sound(1 << 30);
        let says = |format| Source { format: Some(format), ..source() };
        assert_eq!(code_of(&says(DiskFormat::Qcow2), &raw, 4096), code::FORMAT_MISMATCH);
        // a raw "disk" that begins like qcow2 would be opened as one by a host that guesses
        assert_eq!(code_of(&says(DiskFormat::Raw), &qcow, size), code::FORMAT_MISMATCH);
        assert_eq!(
            code_of(&Source { sha256: "0".repeat(64), ..source() }, &raw, 4096),
            code::DIGEST_MISMATCH
        );
        assert_eq!(code_of(&Source { size: 8192, ..source() }, &raw, 4096), code::TRUNCATED);
        assert_eq!(code_of(&Source { size: 512, ..source() }, &raw, 4096), code::SIZE_MISMATCH);
        assert_eq!(code_of(&Source { role: Role::Kernel, ..source() }, &qcow, size), code::FORMAT_MISMATCH);
        assert_eq!(code_of(&Source { role: Role::Initramfs, ..source() }, &raw, 4096), code::FORMAT_MISMATCH);
    }
}
