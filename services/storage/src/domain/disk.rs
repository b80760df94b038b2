//! What a file given as a disk really is, told by its content and never by its name.

use super::read::has;
use super::{code, filesystem, partition, qcow2};
use kernel::{Bytes, Refusal};

/// Bytes from the start that [`inspect`] wants to see (all of the file when it is shorter).
pub const HEAD_BYTES: usize = 72 * 1024;

/// How the bytes of a disk are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskFormat {
    /// As the guest sees them.
    Raw,
    /// QEMU's copy-on-write format.
    Qcow2,
}

impl DiskFormat {
    /// "raw" or "qcow2", as qemu-img says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// A disk that a guest can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// The layout found.
    pub format: DiskFormat,
    /// Bytes the guest sees.
    pub virtual_size: u64,
}

/// Formats that are known only to say what to do with them: magic, where it stands, name.
const FOREIGN: [(&[u8], usize, &str); 9] = [
    (b"KDMV", 0, "a VMDK disk"),
    (b"# Disk DescriptorFile", 0, "a VMDK descriptor"),
    (b"COWD", 0, "a VMDK disk"),
    (b"vhdxfile", 0, "a VHDX disk"),
    (b"conectix", 0, "a VHD disk"),
    (&[0x7f, 0x10, 0xda, 0xbe], 0x40, "a VDI disk"),
    (b"QED\0", 0, "a QED disk"),
    (b"WithoutFreeSpace", 0, "a Parallels disk"),
    (b"Bochs Virtual HD Image", 0, "a Bochs disk"),
];

/// Compressed files and archives: magic, where it stands, name, and how to unpack.
const PACKED: [(&[u8], usize, &str, &str); 8] = [
    (&[0x1f, 0x8b], 0, "gzip", "gunzip"),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], 0, "xz", "unxz"),
    (&[0x28, 0xb5, 0x2f, 0xfd], 0, "zstd", "unzstd"),
    (b"BZh", 0, "bzip2", "bunzip2"),
    (&[0x04, 0x22, 0x4d, 0x18], 0, "lz4", "unlz4"),
    (b"PK\x03\x04", 0, "zip", "unzip"),
    (&[b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c], 0, "7z", "7z x"),
    (b"ustar", 257, "tar", "tar -x"),
];

/// Refuses a compressed file or archive where `what` was expected.
pub fn refuse_packed(head: &[u8], what: &str) -> Result<(), Refusal> {
    match PACKED.iter().find(|(magic, at, ..)| has(head, *at, magic)) {
        Some((_, _, name, tool)) => {
            let message =
                format!("the file is packed with {name}; a {what} is taken unpacked: use {tool} first");
            Err(Refusal::new(code::COMPRESSED, message))
        }
        None => Ok(()),
    }
}

/// Tells what disk the first bytes of a file of `file_size` bytes belong to. `max_virtual` bytes is the largest
/// disk taken.
pub fn inspect(head: &[u8], file_size: u64, max_virtual: u64) -> Result<Disk, Refusal> {
    if file_size == 0 {
        return Err(Refusal::new(code::TRUNCATED, "the file is empty"));
    }
    if qcow2::is_qcow2(head) {
        let header = qcow2::read(head, file_size, max_virtual)?;
        return Ok(Disk { format: DiskFormat::Qcow2, virtual_size: header.virtual_size });
    }
    if let Some((_, _, name)) = FOREIGN.iter().find(|(magic, at, _)| has(head, *at, magic)) {
        let message = format!("the file is {name}: convert with qemu-img convert -O qcow2");
        return Err(Refusal::new(code::UNSUPPORTED_FORMAT, message));
    }
    refuse_packed(head, "disk")?;
    inspect_raw(head, file_size, max_virtual)
}

fn inspect_raw(head: &[u8], file_size: u64, max_virtual: u64) -> Result<Disk, Refusal> {
    let table = partition::read(head, file_size)?;
    let filesystem = filesystem::read(head, file_size)?;
    if table.is_none() && filesystem.is_none() {
        let iso = has(head, 0x8001, b"CD001");
        return Err(match iso {
            true => Refusal::new(
                code::UNSUPPORTED_FORMAT,
                "the file is a CD image (ISO 9660) without a partition table: import an installed disk or a cloud image",
            ),
            false => Refusal::new(
                code::UNKNOWN_FORMAT,
                "the file is no disk known here: not qcow2, and as a raw disk it has neither partition table nor file system",
            ),
        });
    }
    if !file_size.is_multiple_of(512) {
        let message =
            format!("the disk is cut off: {file_size} bytes are not a whole number of 512-byte sectors");
        return Err(Refusal::new(code::TRUNCATED, message));
    }
    if file_size > max_virtual {
        let message = format!("the disk has {}; the limit is {}", Bytes(file_size), Bytes(max_virtual));
        return Err(Refusal::new(code::TOO_LARGE, message));
    }
    Ok(Disk { format: DiskFormat::Raw, virtual_size: file_size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: u64 = 16 << 40;

    fn code_of(head: &[u8], size: u64) -> String {
        inspect(head, size, MAX).err().map(|r| r.code).unwrap_or_default()
    }

    #[test]
    fn disks_are_known_by_content() {
        let (head, size) = qcow2::tests::sound(1 << 30);
        assert_eq!(inspect(&head, size, MAX), Ok(Disk { format: DiskFormat::Qcow2, virtual_size: 1 << 30 }));
        let mbr = partition::tests::mbr(1, 7);
        assert_eq!(inspect(&mbr, 4096, MAX), Ok(Disk { format: DiskFormat::Raw, virtual_size: 4096 }));
        let ext = filesystem::tests::ext(4);
        assert_eq!(inspect(&ext, 4096, MAX), Ok(Disk { format: DiskFormat::Raw, virtual_size: 4096 }));
    }

    #[test]
    fn other_files_are_refused_with_what_to_do() {
        let padded = |magic: &[u8], at: usize| {
            let mut head = vec![0u8; at];
            head.extend(magic);
            head.resize(head.len().max(4096), 0);
            head
        };
        for (magic, at, _) in FOREIGN {
            let refusal = inspect(&padded(magic, at), 4096, MAX).expect_err("foreign");
            assert_eq!(refusal.code, code::UNSUPPORTED_FORMAT);
            assert!(refusal.message.contains("qemu-img convert"), "{refusal}");
        }
        for (magic, at, name, _) in PACKED {
            let refusal = inspect(&padded(magic, at), 4096, MAX).expect_err("packed");
            assert_eq!(refusal.code, code::COMPRESSED);
            assert!(refusal.message.contains(name), "{refusal}");
        }
        assert_eq!(code_of(&padded(b"CD001", 0x8001), 1 << 20), code::UNSUPPORTED_FORMAT);
        assert_eq!(code_of(b"<!DOCTYPE html>", 15), code::UNKNOWN_FORMAT);
        assert_eq!(code_of(&[0; 4096], 1 << 20), code::UNKNOWN_FORMAT);
        assert_eq!(code_of(b"", 0), code::TRUNCATED);
    }

    #[test]
    fn half_a_sector_means_a_cut_disk() {
        assert_eq!(code_of(&partition::tests::mbr(1, 7), 4097), code::TRUNCATED);
    }

    #[test]
    fn a_disk_over_the_limit_is_refused() {
        let refusal = inspect(&partition::tests::mbr(1, 7), 4096, 4095).expect_err("too large");
        assert_eq!(refusal.code, code::TOO_LARGE);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048), size in any::<u64>()) {
            let _ = inspect(&bytes, size, MAX);
        }
    }
}
