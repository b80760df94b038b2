//! Sealing secrets that must cross the bus: user data on its way to a guest, output of a program in a guest.
//!
//! XChaCha20-Poly1305 with a key that only gateway and host-drivers hold. What is sealed may lie in any table or
//! stream; what is open lives in memory only.

use chacha20poly1305::aead::{Aead, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use contracts::common::v1::Sealed;
use sha2::{Digest, Sha256};
use std::path::Path;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// Something could not be opened, or the key could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key file cannot be used.
    #[error("sealing key {path}: {reason}")]
    Key {
        /// Which file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Sealed with another key.
    #[error(
        "sealed with key {found}, this process holds {held}: give every gateway and host-driver the same key file"
    )]
    OtherKey {
        /// Id of the key it was sealed with.
        found: String,
        /// Id of our key.
        held: String,
    },
    /// Changed since it was sealed.
    #[error("the sealed bytes were changed or cut")]
    Damaged,
}

/// Seals and opens. Never shows its key.
pub struct Sealer {
    cipher: XChaCha20Poly1305,
    key_id: String,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealer({})", self.key_id)
    }
}

impl Sealer {
    /// A sealer with this key.
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        let key_id = hex::encode(&Sha256::digest(key)[..8]);
        Self { cipher: XChaCha20Poly1305::new(&(*key).into()), key_id }
    }

    /// Reads the key file (64 hex digits); makes one, readable by its owner only, when there is none.
    pub fn from_file(path: &Path) -> Result<Self, SealError> {
        let failed = |reason: String| SealError::Key { path: path.display().to_string(), reason };
        let fresh = || hex::encode(rand::random::<[u8; KEY_BYTES]>());
        let text = crate::private_file::read_or_make(path, fresh).map_err(|e| failed(e.to_string()))?;
        let mut key = [0; KEY_BYTES];
        hex::decode_to_slice(text.trim(), &mut key)
            .map_err(|_| failed("expected 64 hex digits".to_owned()))?;
        Ok(Self::new(&key))
    }

    /// Which key this is, without telling it: the same in every process, or what one seals another cannot open.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Seals with a random nonce.
    pub fn seal(&self, plain: &[u8]) -> Sealed {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let ciphertext = self
            .cipher
            .encrypt(&XNonce::from(nonce), plain)
            .expect("a message below 256 GiB can always be sealed");
        Sealed { key_id: self.key_id.clone(), nonce: nonce.to_vec(), ciphertext }
    }

    /// Opens what was sealed with the same key.
    pub fn open(&self, sealed: &Sealed) -> Result<Vec<u8>, SealError> {
        if sealed.key_id != self.key_id {
            return Err(SealError::OtherKey { found: sealed.key_id.clone(), held: self.key_id.clone() });
        }
        let nonce: [u8; NONCE_BYTES] = sealed.nonce.as_slice().try_into().map_err(|_| SealError::Damaged)?;
        self.cipher
            .decrypt(&XNonce::from(nonce), sealed.ciphertext.as_slice())
            .map_err(|_| SealError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_can_be_opened_with_the_same_key_only() {
        let (ours, theirs) = (Sealer::new(&[1; 32]), Sealer::new(&[2; 32]));
        let sealed = ours.seal(b"password: hunter2");
        assert!(!sealed.ciphertext.windows(7).any(|w| w == b"hunter2"));
        assert_eq!(ours.open(&sealed).expect("opens"), b"password: hunter2");
        assert!(matches!(theirs.open(&sealed), Err(SealError::OtherKey { .. })));
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let sealer = Sealer::new(&[1; 32]);
        let mut sealed = sealer.seal(b"x");
        sealed.ciphertext[0] ^= 1;
        assert!(matches!(sealer.open(&sealed), Err(SealError::Damaged)));
        sealed.nonce.pop();
        assert!(matches!(sealer.open(&sealed), Err(SealError::Damaged)));
    }

    #[test]
    fn the_key_file_is_made_once_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("keys/sealing.key");
        let first = Sealer::from_file(&path).expect("made");
        let second = Sealer::from_file(&path).expect("read");
        assert_eq!(first.key_id, second.key_id);
        assert_eq!(std::fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "short").expect("write");
        assert!(Sealer::from_file(&path).expect_err("refused").to_string().contains("64 hex digits"));
    }
}
