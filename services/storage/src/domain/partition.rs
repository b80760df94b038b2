//! Partition tables of a raw disk: MBR and GPT (UEFI specification 2.10, chapter 5). Only what tells whether the file
//! is a disk, and whether its end is missing.

use super::code;
use super::read::{has, le16, le32, le64, slice};
use kernel::Refusal;

/// Bytes from the start that hold both tables of a disk with 512- or 4096-byte sectors.
pub const HEAD_BYTES: usize = 64 * 1024;

const GPT_MAGIC: &[u8] = b"EFI PART";
const PROTECTIVE: u8 = 0xEE;

/// The kind of table found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// A boot sector, with or without partitions.
    Mbr,
    /// A GUID partition table.
    Gpt,
}

/// The partition table of a raw disk, or `None` when it has none; refuses a disk whose end is missing.
pub fn read(head: &[u8], file_size: u64) -> Result<Option<Table>, Refusal> {
    for sector in [512usize, 4096] {
        if has(head, sector, GPT_MAGIC) {
            return check_gpt(head, sector, file_size).map(|()| Some(Table::Gpt));
        }
    }
    if le16(head, 510) != Some(0xAA55) {
        return Ok(None);
    }
    for entry in (0..4).filter_map(|n| slice(head, 446 + n * 16, 16)) {
        let (kind, first, sectors) = (entry[4], le32(entry, 8).unwrap_or(0), le32(entry, 12).unwrap_or(0));
        if kind == 0 || kind == PROTECTIVE || sectors == 0 {
            continue;
        }
        let end = (u64::from(first) + u64::from(sectors)) * 512;
        if end > file_size {
            return Err(beyond("a partition", end, file_size));
        }
    }
    Ok(Some(Table::Mbr))
}

fn check_gpt(head: &[u8], sector: usize, file_size: u64) -> Result<(), Refusal> {
    let sector_bytes = sector as u64;
    let damaged = || Refusal::new(code::CORRUPT, "the disk's GUID partition table is damaged");
    let end_of = |lba: u64| lba.checked_add(1).and_then(|n| n.checked_mul(sector_bytes)).ok_or_else(damaged);

    let backup_end = end_of(le64(head, sector + 32).ok_or_else(damaged)?)?;
    if backup_end > file_size {
        return Err(beyond("the backup partition table", backup_end, file_size));
    }
    let entries_at =
        le64(head, sector + 72).and_then(|lba| lba.checked_mul(sector_bytes)).ok_or_else(damaged)?;
    let (count, length) =
        (le32(head, sector + 80).ok_or_else(damaged)?, le32(head, sector + 84).ok_or_else(damaged)? as usize);
    if length < 128 || !length.is_power_of_two() || count > 4096 {
        return Err(damaged());
    }
    let Ok(entries_at) = usize::try_from(entries_at) else { return Err(damaged()) };
    for n in 0..count as usize {
        // entries beyond the head are not looked at: the backup table's place already bounds the disk
        let Some(entry) = entries_at.checked_add(n * length).and_then(|at| slice(head, at, 128)) else {
            break;
        };
        if entry[..16].iter().all(|b| *b == 0) {
            continue;
        }
        let end = end_of(le64(entry, 40).ok_or_else(damaged)?)?;
        if end > file_size {
            return Err(beyond("a partition", end, file_size));
        }
    }
    Ok(())
}

fn beyond(what: &str, end: u64, file_size: u64) -> Refusal {
    let message = format!("the disk is cut off: {what} ends at byte {end}, the file at byte {file_size}");
    Refusal::new(code::TRUNCATED, message)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn mbr(first: u32, sectors: u32) -> Vec<u8> {
        let mut head = vec![0u8; 4096];
        head[450] = 0x83;
        head[454..458].copy_from_slice(&first.to_le_bytes());
        head[458..462].copy_from_slice(&sectors.to_le_bytes());
        head[510..512].copy_from_slice(&[0x55, 0xAA]);
        head
    }

    pub(crate) fn gpt(sector: usize, backup_lba: u64, last_lba: u64) -> Vec<u8> {
        let mut head = mbr(1, u32::MAX);
        head[450] = PROTECTIVE;
        head.resize(HEAD_BYTES, 0);
        head[sector..sector + 8].copy_from_slice(GPT_MAGIC);
        head[sector + 32..sector + 40].copy_from_slice(&backup_lba.to_le_bytes());
        head[sector + 72..sector + 80].copy_from_slice(&2u64.to_le_bytes());
        head[sector + 80..sector + 84].copy_from_slice(&128u32.to_le_bytes());
        head[sector + 84..sector + 88].copy_from_slice(&128u32.to_le_bytes());
        let entry = 2 * sector;
        head[entry..entry + 16].fill(7);
        head[entry + 40..entry + 48].copy_from_slice(&last_lba.to_le_bytes());
        head
    }

    fn code_of(result: Result<Option<Table>, Refusal>) -> String {
        result.err().map(|r| r.code).unwrap_or_default()
    }

    #[test]
    fn whole_disks_are_known() {
        assert_eq!(read(&mbr(2048, 2048), 4096 * 512), Ok(Some(Table::Mbr)));
        assert_eq!(read(&gpt(512, 8191, 8000), 8192 * 512), Ok(Some(Table::Gpt)));
        assert_eq!(read(&gpt(4096, 8191, 8000), 8192 * 4096), Ok(Some(Table::Gpt)));
        assert_eq!(read(&[0; 4096], 4096), Ok(None));
        assert_eq!(read(b"", 0), Ok(None));
    }

    #[test]
    fn a_missing_end_is_noticed() {
        assert_eq!(code_of(read(&mbr(2048, 2048), 4096 * 512 - 1)), code::TRUNCATED);
        assert_eq!(code_of(read(&gpt(512, 8191, 8000), 8192 * 512 - 512)), code::TRUNCATED);
        assert_eq!(code_of(read(&gpt(512, 100, 8000), 8192)), code::TRUNCATED);
        assert_eq!(
            code_of(read(&gpt(512, 100, 8000), 101 * 512)),
            code::TRUNCATED,
            "the partition reaches further"
        );
        assert_eq!(code_of(read(&gpt(512, u64::MAX, 8000), 101 * 512)), code::CORRUPT);
    }

    proptest! {
        #[test]
        fn no_change_makes_it_panic(changes in proptest::collection::vec((440usize..1200, any::<u8>()), 0..20),
                                    size in any::<u64>(), cut in 0usize..2000) {
            let mut head = gpt(512, 8191, 8000);
            for (at, byte) in changes {
                head[at] = byte;
            }
            let _ = read(&head, size);
            let _ = read(&head[..cut], size);
        }
    }
}
