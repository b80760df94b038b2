//! The shape of a public key in `authorized_keys` format (sshd(8)): `type base64 comment`, without options.

use gateway_api::domain::violation::Violation;

/// Most keys of one instance.
pub const COUNT_LIMIT: usize = 64;
/// Longest line, in bytes: an RSA key of 16384 bits with a comment.
pub const LENGTH_LIMIT: usize = 8 * 1024;

/// Key types of OpenSSH 9 that a server accepts.
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Every line is one public key.
pub fn check(field: &str, keys: &[String]) -> Result<(), Violation> {
    if keys.len() > COUNT_LIMIT {
        return Err(Violation::new(
            field,
            format!("{} keys are too many: at most {COUNT_LIMIT}", keys.len()),
        ));
    }
    for (index, key) in keys.iter().enumerate() {
        one(key).map_err(|why| Violation::new(format!("{field}[{index}]"), why))?;
    }
    Ok(())
}

fn one(line: &str) -> Result<(), String> {
    if line.contains("PRIVATE KEY") {
        return Err(
            "this is a private key: send the public one (the .pub file), and consider this one leaked".into(),
        );
    }
    if line.len() > LENGTH_LIMIT || line.chars().any(char::is_control) {
        return Err(format!("a key is one line of at most {LENGTH_LIMIT} bytes"));
    }
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let (kind, blob) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if !TYPES.contains(&kind) {
        return Err(format!("a key begins with its type, one of {}", TYPES.join(", ")));
    }
    let wrong = || "the second word of a key is its base64".to_owned();
    let bytes = prefix_bytes(blob).ok_or_else(wrong)?;
    // the blob repeats the type with its length in front (RFC 4253, section 6.6)
    let named = bytes.get(..4).zip(bytes.get(4..4 + kind.len()));
    match named {
        Some((length, name)) if length == (kind.len() as u32).to_be_bytes() && name == kind.as_bytes() => {
            Ok(())
        }
        _ => Err(format!("the base64 part is not that of a {kind} key")),
    }
}

/// Decodes base64 (RFC 4648, section 4); `None` when it is not base64.
fn prefix_bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if digits.is_empty() || text.len() - digits.len() > 2 || !text.len().is_multiple_of(4) {
        return None;
    }
    let (mut bytes, mut window, mut bits) = (Vec::new(), 0u32, 0u32);
    for byte in digits.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        window = (window << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((window >> bits) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@laptop";

    fn message(line: &str) -> String {
        check("ssh_authorized_keys", &[line.to_owned()]).expect_err(line).message
    }

    #[test]
    fn a_public_key_is_right() {
        assert_eq!(check("ssh_authorized_keys", &[ED25519.to_owned()]), Ok(()));
        let (without_comment, _) = ED25519.rsplit_once(' ').expect("three words");
        assert_eq!(check("ssh_authorized_keys", &[without_comment.to_owned()]), Ok(()));
    }

    #[test]
    fn anything_else_says_which_and_why() {
        let keys = [ED25519.to_owned(), "nonsense".to_owned()];
        assert_eq!(check("keys", &keys).expect_err("second").field, "keys[1]");
        assert!(message("").contains("type"));
        assert!(message("-----BEGIN OPENSSH PRIVATE KEY-----").contains("private"));
        assert!(message(&format!("command=\"rm -rf /\" {ED25519}")).contains("type"));
        assert!(message(&format!("{ED25519}\nssh-rsa AAAA")).contains("one line"));
        assert!(message("ssh-ed25519 %%%%").contains("base64"));
        assert!(
            message(&ED25519.replacen("ssh-ed25519", "ssh-rsa", 1)).contains("not that of a ssh-rsa key")
        );
    }
}
