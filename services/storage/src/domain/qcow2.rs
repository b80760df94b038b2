//! The header of a qcow2 file, versions 2 and 3. Layout and limits: QEMU's docs/interop/qcow2.txt and block/qcow2.h.
//!
//! A header is written by whoever made the file. What is refused here would otherwise make a host open files of
//! its own (backing and data files) or allocate without bound (tables).

use super::code;
use super::read::{be32, be64, has, slice};
use kernel::{Bytes, Refusal};

/// The first four bytes.
pub const MAGIC: &[u8] = b"QFI\xfb";

/// Bytes from the start of the file that [`read`] wants to see at most: the largest cluster is 2 MiB, header
/// extensions live in the first one, but no tool writes more than a few hundred bytes of them.
pub const HEAD_BYTES: usize = 64 * 1024;

const INCOMPATIBLE_DIRTY: u64 = 1;
const INCOMPATIBLE_CORRUPT: u64 = 1 << 1;
const INCOMPATIBLE_DATA_FILE: u64 = 1 << 2;
const INCOMPATIBLE_COMPRESSION: u64 = 1 << 3;
const INCOMPATIBLE_EXTENDED_L2: u64 = 1 << 4;
const KNOWN: u64 = INCOMPATIBLE_DIRTY
    | INCOMPATIBLE_CORRUPT
    | INCOMPATIBLE_DATA_FILE
    | INCOMPATIBLE_COMPRESSION
    | INCOMPATIBLE_EXTENDED_L2;

const EXTENSION_END: u32 = 0;
const EXTENSION_BACKING_FORMAT: u32 = 0xE279_2ACA;
const EXTENSION_DATA_FILE: u32 = 0x4441_5441;
const EXTENSION_ENCRYPTION: u32 = 0x0537_BE77;

/// QEMU's own bound on the L1 table (QCOW_MAX_L1_SIZE).
const MAX_L1_BYTES: u64 = 32 << 20;
/// QEMU's own bound on the refcount table (QCOW_MAX_REFTABLE_SIZE).
const MAX_REFCOUNT_TABLE_BYTES: u64 = 8 << 20;

/// What a sound header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// 2 or 3.
    pub version: u32,
    /// Bytes the guest sees.
    pub virtual_size: u64,
    /// A cluster has `1 << cluster_bits` bytes: 9 to 21.
    pub cluster_bits: u32,
}

fn refused(code: &str, message: impl Into<String>) -> Refusal {
    Refusal::new(code, message)
}

fn truncated(what: &str, end: u64, file_size: u64) -> Refusal {
    refused(
        code::TRUNCATED,
        format!("the qcow2 file is cut off: its {what} ends at byte {end}, the file at byte {file_size}"),
    )
}

/// Reads the header from the first bytes of a file of `file_size` bytes; refuses what no host may open and disks
/// larger than `max_virtual` bytes.
pub fn read(head: &[u8], file_size: u64, max_virtual: u64) -> Result<Header, Refusal> {
    let short =
        || refused(code::TRUNCATED, format!("the qcow2 header is cut off after {} bytes", head.len()));
    if !has(head, 0, MAGIC) {
        return Err(refused(code::FORMAT_MISMATCH, "the file does not begin as a qcow2 file does"));
    }
    let version = be32(head, 4).ok_or_else(short)?;
    if version != 2 && version != 3 {
        return Err(refused(
            code::UNSUPPORTED_FORMAT,
            format!("qcow version {version} is not supported: convert with qemu-img convert -O qcow2"),
        ));
    }
    let (incompatible, header_length, refcount_order) = match version {
        2 => (0, 72, 4),
        _ => (
            be64(head, 72).ok_or_else(short)?,
            be32(head, 100).ok_or_else(short)?,
            be32(head, 96).ok_or_else(short)?,
        ),
    };
    refuse_features(incompatible)?;
    if be64(head, 8).ok_or_else(short)? != 0 || be32(head, 16).ok_or_else(short)? != 0 {
        return Err(refused(
            code::BACKING_FILE,
            "the qcow2 file is only a difference to a backing file: flatten it with qemu-img convert -O qcow2",
        ));
    }
    if be32(head, 32).ok_or_else(short)? != 0 {
        return Err(refused(
            code::ENCRYPTED,
            "the qcow2 file is encrypted: decrypt it with qemu-img convert first",
        ));
    }
    let header = Header {
        version,
        virtual_size: be64(head, 24).ok_or_else(short)?,
        cluster_bits: be32(head, 20).ok_or_else(short)?,
    };
    check_sizes(&header, max_virtual, refcount_order)?;
    refuse_extensions(head, header_length, header.cluster_bits)?;
    check_tables(head, &header, incompatible, file_size).ok_or_else(short)??;
    Ok(header)
}

fn refuse_features(incompatible: u64) -> Result<(), Refusal> {
    let has = |bit| incompatible & bit != 0;
    if has(INCOMPATIBLE_DATA_FILE) {
        return Err(refused(
            code::EXTERNAL_DATA_FILE,
            "the qcow2 file keeps its data in another file: flatten it with qemu-img convert -O qcow2",
        ));
    }
    if has(INCOMPATIBLE_CORRUPT) {
        return Err(refused(
            code::CORRUPT,
            "the qcow2 file is marked corrupt: repair it with qemu-img check -r all",
        ));
    }
    if has(INCOMPATIBLE_DIRTY) {
        let message = "the qcow2 file was not closed properly: repair it with qemu-img check -r all";
        return Err(refused(code::CORRUPT, message));
    }
    match incompatible & !KNOWN {
        0 => Ok(()),
        unknown => {
            let message = format!("the qcow2 file uses features that are not known here (bits {unknown:#x})");
            Err(refused(code::UNSUPPORTED_FORMAT, message))
        }
    }
}

fn check_sizes(header: &Header, max_virtual: u64, refcount_order: u32) -> Result<(), Refusal> {
    if !(9..=21).contains(&header.cluster_bits) {
        let message = format!(
            "the qcow2 header says clusters of 2^{} bytes; 2^9 to 2^21 are possible",
            header.cluster_bits
        );
        return Err(refused(code::CORRUPT, message));
    }
    if refcount_order > 6 {
        return Err(refused(
            code::CORRUPT,
            format!("the qcow2 header says a refcount order of {refcount_order}; 0 to 6 are possible"),
        ));
    }
    if header.virtual_size == 0 {
        return Err(refused(code::CORRUPT, "the qcow2 header says a disk of 0 bytes"));
    }
    if header.virtual_size > max_virtual {
        let (size, limit) = (Bytes(header.virtual_size), Bytes(max_virtual));
        return Err(refused(
            code::TOO_LARGE,
            format!("the qcow2 header says a disk of {size}; the limit is {limit}"),
        ));
    }
    Ok(())
}

/// Walks the header extensions: none may name another file or a key.
fn refuse_extensions(head: &[u8], header_length: u32, cluster_bits: u32) -> Result<(), Refusal> {
    let cluster = 1usize << cluster_bits;
    let mut at = header_length as usize;
    if at < 72 || at > cluster {
        let message = format!("the qcow2 header says it is {at} bytes long; a cluster has {cluster}");
        return Err(refused(code::CORRUPT, message));
    }
    // each turn moves at least 8 bytes forward within one cluster
    while at + 8 <= cluster {
        let (Some(kind), Some(length)) = (be32(head, at), be32(head, at + 4)) else {
            let message = "the qcow2 header's extensions are cut off or far larger than any tool writes them";
            return if head.len() < HEAD_BYTES { Ok(()) } else { Err(refused(code::CORRUPT, message)) };
        };
        match kind {
            EXTENSION_END => return Ok(()),
            EXTENSION_DATA_FILE => {
                return Err(refused(
                    code::EXTERNAL_DATA_FILE,
                    "the qcow2 file names a data file outside of itself",
                ));
            }
            EXTENSION_BACKING_FORMAT => {
                return Err(refused(code::BACKING_FILE, "the qcow2 file names the format of a backing file"));
            }
            EXTENSION_ENCRYPTION => {
                return Err(refused(code::ENCRYPTED, "the qcow2 file has an encryption header"));
            }
            _ => {}
        }
        let padded = (length as usize).div_ceil(8) * 8;
        if padded > cluster - at - 8 {
            return Err(refused(
                code::CORRUPT,
                "an extension of the qcow2 header reaches beyond its cluster",
            ));
        }
        at += 8 + padded;
    }
    Ok(())
}

/// The tables lie inside the file and are large enough for the disk. `None`: the head itself is too short.
fn check_tables(
    head: &[u8],
    header: &Header,
    incompatible: u64,
    file_size: u64,
) -> Option<Result<(), Refusal>> {
    let cluster = 1u64 << header.cluster_bits;
    let (l1_entries, l1_at) = (u64::from(be32(head, 36)?), be64(head, 40)?);
    let (refcounts_at, refcount_clusters) = (be64(head, 48)?, u64::from(be32(head, 56)?));
    let (snapshots, snapshots_at) = (be32(head, 60)?, be64(head, 64)?);

    let l2_entry_bytes = if incompatible & INCOMPATIBLE_EXTENDED_L2 != 0 { 16 } else { 8 };
    // one L1 entry stands for one L2 table, which is one cluster of entries for one cluster each
    let bytes_per_l1_entry = u128::from(cluster) * u128::from(cluster / l2_entry_bytes);
    let l1_needed = u128::from(header.virtual_size).div_ceil(bytes_per_l1_entry);

    let refcount_bytes = refcount_clusters.saturating_mul(cluster);
    let l1_bytes = l1_entries * 8;
    let bad = |message: String| Some(Err(refused(code::CORRUPT, message)));
    if u128::from(l1_entries) < l1_needed || l1_bytes > MAX_L1_BYTES {
        return bad(format!(
            "the qcow2 header says an L1 table of {l1_entries} entries; its disk needs {l1_needed}"
        ));
    }
    if refcount_clusters == 0 || refcount_bytes > MAX_REFCOUNT_TABLE_BYTES {
        return bad(format!("the qcow2 header says a refcount table of {refcount_clusters} clusters"));
    }
    for (what, at) in [("L1 table", l1_at), ("refcount table", refcounts_at)] {
        if at == 0 || at % cluster != 0 {
            return bad(format!(
                "the qcow2 header puts its {what} at byte {at}, which is no cluster of its own"
            ));
        }
    }
    let mut tables = vec![
        ("L1 table", l1_at.saturating_add(l1_bytes)),
        ("refcount table", refcounts_at.saturating_add(refcount_bytes)),
    ];
    if snapshots > 0 {
        tables.push(("snapshot table", snapshots_at.saturating_add(u64::from(snapshots) * 40)));
    }
    match tables.into_iter().find(|(_, end)| *end > file_size) {
        Some((what, end)) => Some(Err(truncated(what, end, file_size))),
        None => Some(Ok(())),
    }
}

/// Whether the bytes could hold the header at all; used by callers that saw only the magic.
pub fn is_qcow2(head: &[u8]) -> bool {
    slice(head, 0, 4) == Some(MAGIC)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The header `qemu-img create -f qcow2` writes for a disk of `size` bytes, and the file's size.
    pub(crate) fn sound(size: u64) -> (Vec<u8>, u64) {
        let mut h = vec![0u8; 65536];
        h[0..4].copy_from_slice(MAGIC);
        h[4..8].copy_from_slice(&3u32.to_be_bytes());
        h[20..24].copy_from_slice(&16u32.to_be_bytes());
        h[24..32].copy_from_slice(&size.to_be_bytes());
        let l1 = size.div_ceil(512 << 20) as u32;
        h[36..40].copy_from_slice(&l1.to_be_bytes());
        h[40..48].copy_from_slice(&0x30000u64.to_be_bytes());
        h[48..56].copy_from_slice(&0x10000u64.to_be_bytes());
        h[56..60].copy_from_slice(&1u32.to_be_bytes());
        h[96..100].copy_from_slice(&4u32.to_be_bytes());
        h[100..104].copy_from_slice(&112u32.to_be_bytes());
        (h, 0x30000 + u64::from(l1) * 8)
    }

    const MAX: u64 = 16 << 40;

    fn code_with(at: usize, bytes: &[u8]) -> String {
        let (mut head, size) = sound(10 << 30);
        head[at..at + bytes.len()].copy_from_slice(bytes);
        read(&head, size, MAX).err().map(|r| r.code).unwrap_or_default()
    }

    #[test]
    fn a_sound_header_is_read() {
        let (head, size) = sound(10 << 30);
        assert_eq!(
            read(&head, size, MAX),
            Ok(Header { version: 3, virtual_size: 10 << 30, cluster_bits: 16 })
        );
        let mut old = head.clone();
        old[7] = 2;
        old[72..112].fill(0);
        assert_eq!(read(&old, size, MAX).map(|h| h.version), Ok(2));
    }

    #[test]
    fn what_reaches_outside_the_file_is_refused() {
        assert_eq!(code_with(8, &112u64.to_be_bytes()), code::BACKING_FILE);
        assert_eq!(code_with(16, &4u32.to_be_bytes()), code::BACKING_FILE);
        assert_eq!(code_with(72, &4u64.to_be_bytes()), code::EXTERNAL_DATA_FILE);
        assert_eq!(code_with(32, &2u32.to_be_bytes()), code::ENCRYPTED);
        for (extension, expected) in [
            (EXTENSION_DATA_FILE, code::EXTERNAL_DATA_FILE),
            (EXTENSION_BACKING_FORMAT, code::BACKING_FILE),
            (EXTENSION_ENCRYPTION, code::ENCRYPTED),
        ] {
            // behind another, harmless one of 5 bytes (padded to 8)
            let mut bytes = 0x6803_f857u32.to_be_bytes().to_vec();
            bytes.extend(5u32.to_be_bytes());
            bytes.extend([0; 8]);
            bytes.extend(extension.to_be_bytes());
            bytes.extend(4u32.to_be_bytes());
            assert_eq!(code_with(112, &bytes), expected);
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(code_with(4, &1u32.to_be_bytes()), code::UNSUPPORTED_FORMAT);
        assert_eq!(code_with(20, &40u32.to_be_bytes()), code::CORRUPT);
        assert_eq!(code_with(24, &0u64.to_be_bytes()), code::CORRUPT);
        assert_eq!(code_with(24, &u64::MAX.to_be_bytes()), code::TOO_LARGE);
        assert_eq!(
            code_with(24, &(1u64 << 40).to_be_bytes()),
            code::CORRUPT,
            "an L1 table for 10 GiB cannot map 1 TiB"
        );
        assert_eq!(code_with(36, &u32::MAX.to_be_bytes()), code::CORRUPT);
        assert_eq!(code_with(40, &7u64.to_be_bytes()), code::CORRUPT);
        assert_eq!(code_with(72, &1u64.to_be_bytes()), code::CORRUPT);
        assert_eq!(code_with(72, &2u64.to_be_bytes()), code::CORRUPT);
        assert_eq!(code_with(72, &(1u64 << 40).to_be_bytes()), code::UNSUPPORTED_FORMAT);
        assert_eq!(code_with(96, &9u32.to_be_bytes()), code::CORRUPT);
        assert_eq!(code_with(100, &u32::MAX.to_be_bytes()), code::CORRUPT);
    }

    #[test]
    fn a_cut_file_is_noticed() {
        let (head, size) = sound(10 << 30);
        assert_eq!(read(&head, size - 1, MAX).err().map(|r| r.code), Some(code::TRUNCATED.to_owned()));
        assert_eq!(read(&head[..60], 60, MAX).err().map(|r| r.code), Some(code::TRUNCATED.to_owned()));
        assert_eq!(read(&head[..8], 8, MAX).err().map(|r| r.code), Some(code::TRUNCATED.to_owned()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), size in any::<u64>()) {
            let mut head = MAGIC.to_vec();
            head.extend(&bytes);
            let _ = read(&head, size, MAX);
            let _ = read(&bytes, size, u64::MAX);
        }

        #[test]
        fn no_change_of_a_sound_header_makes_it_panic_or_admits_another_file(
            changes in proptest::collection::vec((0usize..160, any::<u8>()), 1..6), cut in 0usize..65536,
        ) {
            let (mut head, size) = sound(10 << 30);
            for (at, byte) in changes {
                head[at] = byte;
            }
            if let Ok(header) = read(&head, size, MAX) {
                prop_assert_eq!(&head[8..16], &[0u8; 8]);
                prop_assert_eq!(head[79] & 0b111, 0);
                prop_assert!(header.virtual_size <= MAX && header.virtual_size > 0);
            }
            let _ = read(&head[..cut], size, MAX);
        }
    }
}
