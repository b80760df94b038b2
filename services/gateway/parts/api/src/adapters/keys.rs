//! The key under which tokens are hashed, and the file with the first token.

use anyhow::Context;
use chassis::private_file;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::path::Path;

const KEY_BYTES: usize = 32;

/// Hashes tokens: HMAC-SHA256 under a key of this installation. A token is 256 random bits, so nothing slow is needed;
/// the key makes a stolen table useless without the key file.
pub struct TokenKey([u8; KEY_BYTES]);

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

impl TokenKey {
    /// Reads the key file (64 hex digits); makes one, for its owner only, when there is none.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let place = || format!("token key {}", path.display());
        let text = private_file::read_or_make(path, random_hex).with_context(place)?;
        let mut key = [0; KEY_BYTES];
        hex::decode_to_slice(text.trim(), &mut key)
            .with_context(|| format!("{}: expected 64 hex digits", place()))?;
        Ok(Self(key))
    }

    /// The hash of a token in hex.
    pub fn hash(&self, token: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(token.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    /// What tells one request from another, in hex: HMAC-SHA256 of its method and its bytes. A plain hash of a small
    /// request could be guessed by whoever reads the event that carries it.
    pub fn fingerprint(&self, method: &str, request: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        // no token begins like this: the two uses of the key never meet
        mac.update(b"berth request\0");
        mac.update(method.as_bytes());
        mac.update(&[0]);
        mac.update(request);
        hex::encode(mac.finalize().into_bytes())
    }
}

/// 256 random bits in hex.
pub fn random_hex() -> String {
    hex::encode(rand::random::<[u8; KEY_BYTES]>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_is_made_once_and_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/token.key");
        let (first, second) =
            (TokenKey::from_file(&path).expect("made"), TokenKey::from_file(&path).expect("read"));
        assert_eq!(first.hash("token"), second.hash("token"));
        assert_ne!(first.hash("token"), first.hash("tokem"));
        assert_eq!(std::fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "short").expect("write");
        assert!(format!("{:#}", TokenKey::from_file(&path).expect_err("refused")).contains("64 hex digits"));
    }

    #[test]
    fn a_request_cannot_be_guessed_from_its_fingerprint_without_the_key() {
        let (one, other) = (TokenKey([1; 32]), TokenKey([2; 32]));
        let print = one.fingerprint("CreateInstance", b"web-1");
        assert_eq!(print, one.fingerprint("CreateInstance", b"web-1"));
        for different in [
            other.fingerprint("CreateInstance", b"web-1"),
            one.fingerprint("CreateInstance", b"web-2"),
            one.fingerprint("DeleteInstance", b"web-1"),
            one.hash("web-1"),
        ] {
            assert_ne!(print, different);
        }
    }

    /// Test cases 1 and 2 of RFC 4231 (sections 4.2 and 4.3). Their keys are shorter than ours; HMAC fills keys up with
    /// zeros (RFC 2104, section 2), so that they are the same keys with zeros behind them.
    #[test]
    fn the_hash_is_hmac_sha256() {
        let published: [(&[u8], &str, &str); 2] = [
            (&[0x0b; 20], "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
        ];
        for (short, data, expected) in published {
            let mut key = [0; KEY_BYTES];
            key[..short.len()].copy_from_slice(short);
            assert_eq!(TokenKey(key).hash(data), expected, "{data}");
        }
    }
}
