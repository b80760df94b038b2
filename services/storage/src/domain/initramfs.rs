//! Initial RAM file systems: a cpio archive, plain or packed the ways Linux unpacks itself (lib/decompress.c).

use super::code;
use super::read::has;
use kernel::Refusal;

/// Bytes from the start that [`inspect`] wants to see.
pub const HEAD_BYTES: usize = 512;

/// What Linux's decompressors look for, and the two cpio formats it reads.
const MAGICS: [&[u8]; 9] = [
    b"070701",
    b"070702",
    &[0x1f, 0x8b],
    &[0x28, 0xb5, 0x2f, 0xfd],
    &[0xfd, b'7', b'z', b'X', b'Z', 0],
    // the legacy frame is the only lz4 the kernel reads
    &[0x02, 0x21, 0x4c, 0x18],
    b"BZh",
    &[0x5d, 0, 0],
    &[0x89, b'L', b'Z', b'O'],
];

/// Refuses a file that Linux would not unpack.
pub fn inspect(head: &[u8], file_size: u64) -> Result<(), Refusal> {
    if file_size == 0 {
        return Err(Refusal::new(code::TRUNCATED, "the initramfs file is empty"));
    }
    if has(head, 0, &[0x04, 0x22, 0x4d, 0x18]) {
        return Err(Refusal::new(
            code::FORMAT_MISMATCH,
            "Linux reads an lz4 initramfs only in the legacy frame: pack it with lz4 -l",
        ));
    }
    if MAGICS.iter().any(|magic| has(head, 0, magic)) {
        return Ok(());
    }
    let message = "the file is no initramfs: expected a cpio archive (newc), plain or packed with gzip, zstd, xz, lz4 -l, bzip2, lzma or lzo";
    Err(Refusal::new(code::FORMAT_MISMATCH, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_unpacks_is_taken_and_nothing_else() {
        for magic in MAGICS {
            assert_eq!(inspect(magic, magic.len() as u64), Ok(()));
        }
        for (bad, expected) in [
            (&b""[..], code::TRUNCATED),
            (b"<html>", code::FORMAT_MISMATCH),
            (&[4, 0x22, 0x4d, 0x18], code::FORMAT_MISMATCH),
        ] {
            assert_eq!(inspect(bad, bad.len() as u64).err().map(|r| r.code), Some(expected.to_owned()));
        }
    }
}
