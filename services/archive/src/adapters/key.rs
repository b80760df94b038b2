//! The key that signs checkpoints.

use anyhow::{Context, bail};
use chassis::private_file;
use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use std::path::Path;

const KEY_BYTES: usize = 32;
/// What a signature is over begins with this, so that it means nothing anywhere else.
const CONTEXT: &[u8] = b"berth archive segment v1";

/// Signs checkpoints.
pub struct Key(SigningKey);

/// Checks them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

fn signed(segment: &[u8]) -> Vec<u8> {
    [CONTEXT, segment].concat()
}

fn read_hex(path: &Path) -> anyhow::Result<[u8; KEY_BYTES]> {
    from_hex(path, &std::fs::read_to_string(path).with_context(|| format!("key {}", path.display()))?)
}

fn from_hex(path: &Path, text: &str) -> anyhow::Result<[u8; KEY_BYTES]> {
    let mut bytes = [0; KEY_BYTES];
    hex::decode_to_slice(text.trim(), &mut bytes)
        .with_context(|| format!("key {}: expected 64 hex digits", path.display()))?;
    Ok(bytes)
}

impl Key {
    /// Reads the key file (64 hex digits).
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        Ok(Self(SigningKey::from_bytes(&read_hex(path)?)))
    }

    /// Reads the key file; makes one, for its owner only, when there is none.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let fresh = || hex::encode(rand::random::<[u8; KEY_BYTES]>());
        let text =
            private_file::read_or_make(path, fresh).with_context(|| format!("key {}", path.display()))?;
        Ok(Self(SigningKey::from_bytes(&from_hex(path, &text)?)))
    }

    /// What checks the signatures of this key.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// The signature over an encoded segment.
    pub fn sign(&self, segment: &[u8]) -> Vec<u8> {
        self.0.sign(&signed(segment)).to_bytes().to_vec()
    }
}

impl PublicKey {
    /// Reads a file with the public key (64 hex digits), as `berth audit key` prints it.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        Self::from_bytes(&read_hex(path)?).with_context(|| format!("key {}", path.display()))
    }

    /// The key with these 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> anyhow::Result<Self> {
        let Ok(bytes) = <[u8; KEY_BYTES]>::try_from(bytes) else {
            bail!("{} bytes are no Ed25519 key: expected {KEY_BYTES}", bytes.len());
        };
        Ok(Self(VerifyingKey::from_bytes(&bytes).context("this is no Ed25519 key")?))
    }

    /// 32 bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.to_bytes().to_vec()
    }

    /// 64 hex digits.
    pub fn text(&self) -> String {
        hex::encode(self.0.to_bytes())
    }

    /// Whether the signature over an encoded segment is of this key.
    pub fn vouches(&self, segment: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature).is_ok_and(|s| self.0.verify(&signed(segment), &s).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_vouches_for_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("keys/archive.key");
        let (key, again) = (Key::from_file(&path).expect("made"), Key::from_file(&path).expect("read"));
        assert_eq!(key.public(), again.public());
        let signature = key.sign(b"one");
        assert!(again.public().vouches(b"one", &signature));
        assert!(!again.public().vouches(b"two", &signature) && !again.public().vouches(b"one", b"short"));
        let other = Key::from_file(&folder.path().join("other.key")).expect("made");
        assert!(!other.public().vouches(b"one", &signature));
        std::fs::write(&path, "zz").expect("written");
        assert!(Key::from_file(&path).is_err());
    }
}
