//! Integers out of untrusted bytes: every read is checked, nothing panics.

/// `len` bytes at `at`, or nothing when they are not all there.
pub fn slice(bytes: &[u8], at: usize, len: usize) -> Option<&[u8]> {
    bytes.get(at..at.checked_add(len)?)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    slice(bytes, at, N)?.try_into().ok()
}

/// Whether `magic` stands at `at`.
pub fn has(bytes: &[u8], at: usize, magic: &[u8]) -> bool {
    slice(bytes, at, magic.len()) == Some(magic)
}

/// Little-endian 16 bits.
pub fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

/// Little-endian 32 bits.
pub fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

/// Little-endian 64 bits.
pub fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// Big-endian 32 bits.
pub fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

/// Big-endian 64 bits.
pub fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_past_the_end_is_nothing() {
        let bytes = [1, 2, 3, 4, 5];
        assert_eq!(le16(&bytes, 3), Some(0x0504));
        assert_eq!(le16(&bytes, 4), None);
        assert_eq!(be32(&bytes, 0), Some(0x0102_0304));
        assert_eq!(le64(&bytes, usize::MAX), None);
        assert!(!has(&bytes, usize::MAX - 1, b"abc"));
    }
}
