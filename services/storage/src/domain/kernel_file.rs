//! Kernels for direct boot: Linux bzImage (Documentation/arch/x86/boot.rst), arm64 Image
//! (Documentation/arch/arm64/booting.rst), ELF, and EFI stubs (PE).

use super::read::{has, le16, le32, le64};
use super::{code, disk};
use kernel::Refusal;

/// Bytes from the start that [`inspect`] wants to see.
pub const HEAD_BYTES: usize = 4096;

/// The processor an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Architecture {
    /// "x86_64" or "aarch64", as `uname -m` says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Reads what [`Self::name`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::X86_64, Self::Aarch64].into_iter().find(|a| a.name() == text)
    }
}

/// Refuses a file that is no kernel of `wanted`, or one whose end is missing.
pub fn inspect(head: &[u8], file_size: u64, wanted: Architecture) -> Result<(), Refusal> {
    if file_size == 0 {
        return Err(Refusal::new(code::TRUNCATED, "the kernel file is empty"));
    }
    disk::refuse_packed(head, "kernel")?;
    let Some((found, length)) = find(head) else {
        let message = "the file is no kernel known here: expected a Linux bzImage, an arm64 Image, an ELF file or an EFI stub";
        return Err(Refusal::new(code::FORMAT_MISMATCH, message));
    };
    if found != wanted {
        let message = format!("the kernel is for {}, the image is declared {}", found.name(), wanted.name());
        return Err(Refusal::new(code::ARCHITECTURE_MISMATCH, message));
    }
    if length > file_size {
        let message =
            format!("the kernel is cut off: its header says {length} bytes, the file has {file_size}");
        return Err(Refusal::new(code::TRUNCATED, message));
    }
    Ok(())
}

/// Architecture, and the least number of bytes the file must have.
fn find(head: &[u8]) -> Option<(Architecture, u64)> {
    if has(head, 0x202, b"HdrS") && le16(head, 0x1fe) == Some(0xAA55) {
        // sectors of set-up code (0 means 4) and the boot sector, then 16-byte paragraphs of the protected-mode kernel
        let sectors = match *head.get(0x1f1)? {
            0 => 4,
            n => u64::from(n),
        };
        return Some((Architecture::X86_64, (sectors + 1) * 512 + u64::from(le32(head, 0x1f4)?) * 16));
    }
    if has(head, 0x38, b"ARM\x64") {
        return Some((Architecture::Aarch64, 64));
    }
    if has(head, 0, b"\x7fELF") {
        // 64-bit, little-endian; the section table is the last thing in the file
        let architecture = match (has(head, 4, &[2, 1]), le16(head, 18)?) {
            (true, 62) => Architecture::X86_64,
            (true, 183) => Architecture::Aarch64,
            _ => return None,
        };
        let table = u64::from(le16(head, 58)?) * u64::from(le16(head, 60)?);
        return Some((architecture, le64(head, 40)?.saturating_add(table)));
    }
    if has(head, 0, b"MZ") {
        let pe = usize::try_from(le32(head, 0x3c)?).ok()?;
        if !has(head, pe, b"PE\0\0") {
            return None;
        }
        let architecture = match le16(head, pe.checked_add(4)?)? {
            0x8664 => Architecture::X86_64,
            0xAA64 => Architecture::Aarch64,
            _ => return None,
        };
        return Some((architecture, pe as u64 + 24));
    }
    None
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A bzImage of 1024 + `paragraphs` * 16 bytes.
    pub(crate) fn bzimage(paragraphs: u32) -> Vec<u8> {
        let mut file = vec![0u8; 1024 + paragraphs as usize * 16];
        file[0x1f1] = 1;
        file[0x1f4..0x1f8].copy_from_slice(&paragraphs.to_le_bytes());
        file[0x1fe..0x200].copy_from_slice(&[0x55, 0xAA]);
        file[0x202..0x206].copy_from_slice(b"HdrS");
        file
    }

    fn elf(machine: u16) -> Vec<u8> {
        let mut file = vec![0u8; 4096];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        file[40..48].copy_from_slice(&4000u64.to_le_bytes());
        file
    }

    fn code_of(file: &[u8], wanted: Architecture) -> String {
        inspect(&file[..file.len().min(HEAD_BYTES)], file.len() as u64, wanted)
            .err()
            .map(|r| r.code)
            .unwrap_or_default()
    }

    #[test]
    fn kernels_are_known() {
        assert_eq!(code_of(&bzimage(100), Architecture::X86_64), "");
        assert_eq!(code_of(&elf(62), Architecture::X86_64), "");
        assert_eq!(code_of(&elf(183), Architecture::Aarch64), "");
        let mut efi = vec![0u8; 512];
        efi[..2].copy_from_slice(b"MZ");
        efi[0x3c] = 0x80;
        efi[0x80..0x86].copy_from_slice(b"PE\0\0\x64\xAA");
        assert_eq!(code_of(&efi, Architecture::Aarch64), "");
    }

    #[test]
    fn what_is_no_kernel_or_another_machines_is_refused() {
        assert_eq!(code_of(b"hello", Architecture::X86_64), code::FORMAT_MISMATCH);
        assert_eq!(code_of(b"", Architecture::X86_64), code::TRUNCATED);
        assert_eq!(code_of(&[0x1f, 0x8b, 8, 0], Architecture::X86_64), code::COMPRESSED);
        assert_eq!(code_of(&elf(62), Architecture::Aarch64), code::ARCHITECTURE_MISMATCH);
        assert_eq!(code_of(&elf(40), Architecture::Aarch64), code::FORMAT_MISMATCH);
        let whole = bzimage(100);
        assert_eq!(code_of(&whole[..whole.len() - 1], Architecture::X86_64), code::TRUNCATED);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..1024), magic in 0usize..3) {
            let mut head = [b"MZ".as_slice(), b"\x7fELF\x02\x01", b""][magic].to_vec();
            head.extend(bytes);
            let _ = inspect(&head, head.len() as u64, Architecture::X86_64);
        }
    }
}
