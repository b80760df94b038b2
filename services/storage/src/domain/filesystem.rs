//! File systems that fill a whole raw file, as root disks of direct kernel boot do. Superblock layouts: Linux's
//! fs/ext4/ext4.h, fs/xfs/libxfs/xfs_format.h, fs/btrfs (ctree), fs/squashfs/squashfs_fs.h, fs/erofs/erofs_fs.h.

use super::code;
use super::read::{be32, be64, has, le16, le32, le64};
use kernel::Refusal;

/// Bytes from the start that hold all superblocks looked for: btrfs has its own at 64 KiB.
pub const HEAD_BYTES: usize = 68 * 1024;

/// The file system's name, or `None` when none is found; refuses a file shorter than its file system.
pub fn read(head: &[u8], file_size: u64) -> Result<Option<&'static str>, Refusal> {
    let Some((name, length)) = find(head) else { return Ok(None) };
    match length {
        Some(length) if length <= file_size => Ok(Some(name)),
        Some(length) => {
            let message = format!(
                "the disk is cut off: its {name} file system has {length} bytes, the file {file_size}"
            );
            Err(Refusal::new(code::TRUNCATED, message))
        }
        None => Err(Refusal::new(code::CORRUPT, format!("the disk's {name} superblock is damaged"))),
    }
}

/// Name and length in bytes; no length when the superblock contradicts itself.
fn find(head: &[u8]) -> Option<(&'static str, Option<u64>)> {
    if le16(head, 1024 + 0x38) == Some(0xEF53) {
        return Some(("ext", ext_length(head)));
    }
    if has(head, 0, b"XFSB") {
        let length =
            be32(head, 4).zip(be64(head, 8)).and_then(|(block, blocks)| blocks.checked_mul(block.into()));
        return Some(("xfs", length));
    }
    if has(head, 0x10040, b"_BHRfS_M") {
        return Some(("btrfs", le64(head, 0x10070)));
    }
    if has(head, 0, b"hsqs") {
        return Some(("squashfs", le64(head, 40)));
    }
    if le32(head, 1024) == Some(0xE0F5_E1E2) {
        let length = le32(head, 1024 + 36)
            .zip(head.get(1024 + 12))
            .and_then(|(blocks, bits)| u64::from(blocks).checked_mul(1u64.checked_shl(u32::from(*bits))?));
        return Some(("erofs", length));
    }
    None
}

fn ext_length(head: &[u8]) -> Option<u64> {
    let (low, log_block) = (le32(head, 1024 + 4)?, le32(head, 1024 + 0x18)?);
    let has_64bit = le32(head, 1024 + 0x60)? & 0x80 != 0;
    let high = if has_64bit { le32(head, 1024 + 0x150)? } else { 0 };
    // blocks of 1 KiB << log: 64 KiB is the largest there is
    let block = if log_block <= 6 { 1024u64 << log_block } else { return None };
    (u64::from(high) << 32 | u64::from(low)).checked_mul(block)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The superblock of an ext file system of `blocks` KiB.
    pub(crate) fn ext(blocks: u32) -> Vec<u8> {
        let mut head = vec![0u8; 4096];
        head[1028..1032].copy_from_slice(&blocks.to_le_bytes());
        head[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xEF]);
        head
    }

    #[test]
    fn a_file_system_shorter_than_itself_is_refused() {
        assert_eq!(read(&ext(8), 8192), Ok(Some("ext")));
        assert_eq!(read(&ext(8), 8191).err().map(|r| r.code), Some(code::TRUNCATED.to_owned()));
        let mut nonsense = ext(8);
        nonsense[1024 + 0x18] = 200;
        assert_eq!(read(&nonsense, 8192).err().map(|r| r.code), Some(code::CORRUPT.to_owned()));
        assert_eq!(read(&[0; 4096], 4096), Ok(None));
    }

    #[test]
    fn other_file_systems_are_known() {
        let mut squash = b"hsqs".to_vec();
        squash.resize(40, 0);
        squash.extend(96u64.to_le_bytes());
        assert_eq!(read(&squash, 96), Ok(Some("squashfs")));
        assert!(read(&squash, 95).is_err());
        let mut xfs = b"XFSB".to_vec();
        xfs.extend(4096u32.to_be_bytes());
        xfs.extend(2u64.to_be_bytes());
        assert_eq!(read(&xfs, 8192), Ok(Some("xfs")));
        assert!(read(&xfs, 8000).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512), size in any::<u64>()) {
            for start in [0usize, 1024] {
                let mut head = ext(8);
                let end = (start + bytes.len()).min(head.len());
                head[start..end].copy_from_slice(&bytes[..end - start]);
                let _ = read(&head, size);
            }
            let _ = read(&bytes, size);
        }
    }
}
