//! What texts have to look like, whoever reads them: names, labels, public keys. An error is one sentence, with what would
//! be right.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;

/// Longest name: a DNS label (RFC 1035, section 2.3.4).
pub const NAME_LIMIT: usize = 63;
/// Longest host name (RFC 1035, section 2.3.4).
pub const HOST_NAME_LIMIT: usize = 253;
/// Most labels of one object.
pub const LABELS_LIMIT: usize = 64;
/// Longest key of a label, in bytes.
pub const LABEL_KEY_LIMIT: usize = 63;
/// Longest value of a label, in bytes.
pub const LABEL_VALUE_LIMIT: usize = 255;
/// Longest public key with its comment, in bytes: RSA of 16384 bits.
pub const SSH_KEY_LIMIT: usize = 8 * 1024;

/// Type and key of Ed25519 with their lengths (RFC 8709, section 4).
const ED25519_BYTES: usize = 4 + 11 + 4 + 32;

/// Key types of OpenSSH 9 that a server accepts.
const SSH_KEY_TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// The first `limit` characters of a text from outside, for error messages.
pub fn excerpt(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A text as every table and every line of a record takes it: PostgreSQL has no U+0000 in texts (its documentation, section
/// 8.3), and other control characters hide what stands beside them. Each becomes U+FFFD.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// One lower case DNS label: `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`.
pub fn is_dns_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=NAME_LIMIT).contains(&text.len())
        && text.chars().all(|c| inner(c) || c == '-')
        && text.starts_with(inner)
        && text.ends_with(inner)
}

/// A name is a DNS label that begins with a letter.
pub fn name(text: &str) -> Result<(), String> {
    if text.starts_with(|c: char| c.is_ascii_lowercase()) && is_dns_label(text) {
        return Ok(());
    }
    Err(format!(
        "{:?} is not a name: write 1 to {NAME_LIMIT} lower case letters, digits and '-', beginning with a letter and not ending with '-'",
        excerpt(text, 80)
    ))
}

/// A host name: DNS labels with dots between, in any case.
pub fn host_name(text: &str) -> Result<(), String> {
    if text.len() <= HOST_NAME_LIMIT && text.to_ascii_lowercase().split('.').all(is_dns_label) {
        return Ok(());
    }
    Err(format!(
        "{:?} is not a host name: write labels of letters, digits and '-' with dots between, such as web-1.example.com",
        excerpt(text, 80)
    ))
}

/// Keys begin and end with a letter or digit and hold `-`, `_`, `.` and `/` between ("example.com/team"); values are
/// anything printable. The error names the key whose value is wrong.
pub fn labels(labels: &BTreeMap<String, String>) -> Result<(), (Option<String>, String)> {
    if labels.len() > LABELS_LIMIT {
        return Err((None, format!("{} labels are too many: at most {LABELS_LIMIT}", labels.len())));
    }
    for (key, value) in labels {
        if !is_label_key(key) {
            let why = format!(
                "{:?} is not a label key: write 1 to {LABEL_KEY_LIMIT} letters, digits, '-', '_', '.' and '/', beginning and ending with a letter or digit",
                excerpt(key, 80)
            );
            return Err((None, why));
        }
        if value.len() > LABEL_VALUE_LIMIT || value.chars().any(char::is_control) {
            let why =
                format!("a label value has at most {LABEL_VALUE_LIMIT} bytes and no control characters");
            return Err((Some(key.clone()), why));
        }
    }
    Ok(())
}

/// Whether a label may be called so.
pub fn is_label_key(key: &str) -> bool {
    (1..=LABEL_KEY_LIMIT).contains(&key.len())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
        && key.starts_with(|c: char| c.is_ascii_alphanumeric())
        && key.ends_with(|c: char| c.is_ascii_alphanumeric())
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// "ssh-ed25519".
    pub algorithm: &'static str,
    /// What its fingerprint is the SHA-256 of.
    pub blob: Vec<u8>,
}

/// Whether a text is, or holds, a private key as OpenSSH, PEM or PuTTY write one.
pub fn is_private_key(text: &str) -> bool {
    ["PRIVATE KEY", "PuTTY-User-Key-File", "Private-Lines:"].iter().any(|mark| text.contains(mark))
}

/// Whether bytes are texts with their lengths in front (RFC 4251, section 5), at least two, and nothing else.
fn is_made_of_texts(mut blob: &[u8]) -> bool {
    let mut texts = 0;
    while !blob.is_empty() {
        let Some((length, rest)) = blob.split_first_chunk::<4>() else { return false };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some(rest) = rest.get(length..) else { return false };
        (blob, texts) = (rest, texts + 1);
    }
    texts >= 2
}

/// One line as in `authorized_keys` (sshd(8)): `type base64 comment`, without options.
pub fn public_key(line: &str) -> Result<PublicKey, String> {
    if is_private_key(line) {
        return Err(
            "this is a private key: send the public one (the .pub file), and consider this one leaked".into(),
        );
    }
    if line.len() > SSH_KEY_LIMIT || line.chars().any(char::is_control) {
        return Err(format!("a key is one line of at most {SSH_KEY_LIMIT} bytes"));
    }
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let (kind, blob) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let Some(algorithm) = SSH_KEY_TYPES.into_iter().find(|known| *known == kind) else {
        return Err(format!("a key begins with its type, one of {}", SSH_KEY_TYPES.join(", ")));
    };
    let blob = STANDARD.decode(blob).ok().filter(|blob| !blob.is_empty());
    let blob = blob.ok_or("the second word of a key is its base64")?;
    // the blob repeats the type with its length in front (RFC 4253, section 6.6)
    let named = blob.get(..4).zip(blob.get(4..4 + kind.len()));
    match named {
        Some((length, name))
            if length == (kind.len() as u32).to_be_bytes()
                && name == kind.as_bytes()
                && is_made_of_texts(&blob)
                && (algorithm != "ssh-ed25519" || blob.len() == ED25519_BYTES) =>
        {
            Ok(PublicKey { algorithm, blob })
        }
        _ => Err(format!("the base64 part is not that of a {kind} key")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@laptop";

    fn ssh_blob() -> Vec<u8> {
        public_key(ED25519).expect("a key").blob
    }

    #[test]
    fn a_public_key_is_right() {
        assert_eq!(public_key(ED25519).map(|key| (key.algorithm, key.blob.len())), Ok(("ssh-ed25519", 51)));
        let (without_comment, _) = ED25519.rsplit_once(' ').expect("three words");
        assert!(public_key(without_comment).is_ok());
    }

    #[test]
    fn anything_else_says_why() {
        let message = |line: &str| public_key(line).expect_err(line);
        assert!(message("").contains("type"));
        assert!(message("-----BEGIN OPENSSH PRIVATE KEY-----").contains("private"));
        assert!(message(&format!("command=\"rm -rf /\" {ED25519}")).contains("type"));
        assert!(message(&format!("{ED25519}\nssh-rsa AAAA")).contains("one line"));
        assert!(message("ssh-ed25519 %%%%").contains("base64"));
        assert!(message("PuTTY-User-Key-File-3: ssh-ed25519").contains("private"));
        // the type alone, and a key with something behind it
        assert!(message("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5").contains("not that of"));
        let longer = format!("ssh-ed25519 {}", STANDARD.encode([ssh_blob(), vec![0; 9]].concat()));
        assert!(message(&longer).contains("not that of"));
        assert!(
            message(&ED25519.replacen("ssh-ed25519", "ssh-rsa", 1)).contains("not that of a ssh-rsa key")
        );
    }

    #[test]
    fn what_no_table_takes_is_shown_as_a_sign_of_its_own() {
        assert_eq!(printable("a\0b\n\u{85}ü"), "a\u{fffd}b\u{fffd}\u{fffd}ü");
    }

    #[test]
    fn names_and_labels_say_what_is_wrong() {
        assert!(name("web-1").is_ok() && name(&"a".repeat(63)).is_ok());
        for wrong in ["", "1a", "-a", "a-", "A", "a.b", "é", "a b", &"a".repeat(64)] {
            assert!(name(wrong).is_err(), "{wrong:?}");
        }
        let one = |key: &str, value: &str| labels(&BTreeMap::from([(key.to_owned(), value.to_owned())]));
        assert!(one("example.com/Team_1", "Nö & so <on>").is_ok());
        assert_eq!(one("a b", "v").expect_err("a space").0, None);
        assert_eq!(one("team", "a\nb").expect_err("a line").0.as_deref(), Some("team"));
    }
}
