//! What a public key has to look like, whoever reads it. An error is one sentence, with what would be right.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

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

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// "ssh-ed25519".
    pub algorithm: &'static str,
    /// What its fingerprint is the SHA-256 of.
    pub blob: Vec<u8>,
    /// Options stand before it, which may hold anything.
    pub has_options: bool,
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

/// Options that sshd takes before a key, in lower case (sshd(8), "AUTHORIZED_KEYS FILE FORMAT").
const SSH_KEY_OPTIONS: [&str; 22] = [
    "agent-forwarding",
    "cert-authority",
    "command",
    "environment",
    "expiry-time",
    "from",
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-pty",
    "no-touch-required",
    "no-user-rc",
    "no-x11-forwarding",
    "permitlisten",
    "permitopen",
    "port-forwarding",
    "principals",
    "pty",
    "restrict",
    "tunnel",
    "user-rc",
    "verify-required",
    "x11-forwarding",
];

/// A key without what editors and shells leave around it: blanks, the end of the line, a byte order mark.
pub fn bare_key(text: &str) -> &str {
    text.trim_start_matches('\u{feff}').trim()
}

/// The keys of an `authorized_keys` file as sshd reads it: comments and blank lines are passed over. An error in one of
/// several lines names it, counted from 1; nothing of the text is repeated in it.
pub fn authorized_keys(text: &str) -> Result<Vec<&str>, String> {
    if let Some(why) = no_such_file(text) {
        return Err(why.to_owned());
    }
    let several = text.trim().lines().count() > 1;
    let mut keys = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = bare_key(line);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        public_key(line).map_err(|why| if several { format!("line {number}: {why}") } else { why })?;
        keys.push(line);
    }
    if keys.is_empty() { Err("there is no key in it".to_owned()) } else { Ok(keys) }
}

/// Files of other formats that people take for one of public keys.
fn no_such_file(text: &str) -> Option<&'static str> {
    if is_private_key(text) {
        return Some(
            "this is a private key: send the public one (the .pub file), and consider this one leaked",
        );
    }
    // RFC 4716, what PuTTYgen saves as the public key
    text.contains("BEGIN SSH2 PUBLIC KEY")
        .then_some("this is the format of SSH2 (RFC 4716): ssh-keygen -i -f FILE writes it as OpenSSH does")
}

/// What follows the options at the beginning of a line: they end at the first blank outside of quotes.
fn after_options(line: &str) -> Option<(&str, &str)> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ' ' | '\t' if !quoted => return Some((&line[..at], line[at..].trim_start())),
            _ => {}
        }
        escaped = c == '\\';
    }
    None
}

/// Whether all of them are options that sshd knows; with another one it would pass over the key.
fn are_options(mut text: &str) -> bool {
    loop {
        let end = text.find(['=', ',']).unwrap_or(text.len());
        if !SSH_KEY_OPTIONS.contains(&text[..end].to_ascii_lowercase().as_str()) {
            return false;
        }
        let Some(value) = text[end..].strip_prefix('=') else {
            match text[end..].strip_prefix(',') {
                Some(next) => text = next,
                None => return true,
            }
            continue;
        };
        let Some(value) = value.strip_prefix('"') else { return false };
        let mut escaped = false;
        let closing = value.char_indices().find(|(_, c)| {
            let closes = *c == '"' && !escaped;
            escaped = *c == '\\';
            closes
        });
        let Some((closing, _)) = closing else { return false };
        match (value[closing + 1..].strip_prefix(','), value.len() == closing + 1) {
            (Some(next), _) => text = next,
            (None, ended) => return ended,
        }
    }
}

/// One line as in `authorized_keys` (sshd(8)): `type base64 comment`, with options before them or without. Around it may
/// stand what [`bare_key`] takes away.
pub fn public_key(line: &str) -> Result<PublicKey, String> {
    if let Some(why) = no_such_file(line) {
        return Err(why.to_owned());
    }
    let line = bare_key(line);
    if line.len() > SSH_KEY_LIMIT || line.chars().any(|c| c.is_control() && c != '\t') {
        return Err(format!("a key is one line of at most {SSH_KEY_LIMIT} bytes"));
    }
    let known = |line: &str| {
        let kind = line.split([' ', '\t']).next().unwrap_or_default();
        SSH_KEY_TYPES.into_iter().find(|known| *known == kind)
    };
    let (key, has_options) = match (known(line), after_options(line)) {
        (None, Some((options, rest))) if known(rest).is_some() && are_options(options) => (rest, true),
        _ => (line, false),
    };
    let Some(algorithm) = known(key) else {
        return Err(format!(
            "a key begins with its type, one of {}, or with options of sshd(8) before it",
            SSH_KEY_TYPES.join(", ")
        ));
    };
    let mut words = key.split([' ', '\t']).filter(|word| !word.is_empty());
    let (kind, blob) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
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
            Ok(PublicKey { algorithm, blob, has_options })
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
    fn a_file_of_keys_is_taken_as_sshd_takes_it() {
        let options = r#"restrict,Command="echo \"a, b\" c",from="10.0.0.0/8""#;
        let file = format!("\u{feff}# my keys\r\n\r\n{ED25519}\r\n  {options}\t{ED25519}\r\n#\n\n");
        let with_options = format!("{options}\t{ED25519}");
        assert_eq!(authorized_keys(&file), Ok(vec![ED25519, with_options.as_str()]));
        let key = public_key(&with_options).expect("a key");
        assert_eq!((key.algorithm, key.has_options, key.blob), ("ssh-ed25519", true, ssh_blob()));
        assert!(!public_key(&format!("{ED25519}\n")).expect("a key").has_options);
        let tabs = ED25519.replace(' ', "\t");
        assert_eq!(public_key(&tabs).expect("a key").blob, ssh_blob());
    }

    #[test]
    fn a_wrong_line_of_a_file_is_named_and_not_repeated() {
        let wrong = |text: &str| authorized_keys(text).expect_err("wrong");
        let told = wrong(&format!("# mine\n{ED25519}\nhunter2\n"));
        assert!(
            told.starts_with("line 3: a key begins with its type") && !told.contains("hunter2"),
            "{told}"
        );
        for options in ["hunter2", "command", "command=\"x", "command=x", "restrict,", "restrict,,pty"] {
            let fine = options == "command";
            assert_eq!(authorized_keys(&format!("{options} {ED25519}")).is_ok(), fine, "{options}");
        }
        assert!(wrong("# nothing\n").contains("no key"));
        let puttygen =
            "---- BEGIN SSH2 PUBLIC KEY ----\nComment: \"me\"\nAAAA\n---- END SSH2 PUBLIC KEY ----\n";
        assert!(wrong(puttygen).contains("ssh-keygen -i -f"));
        assert!(wrong("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n").contains("private"));
    }

    #[test]
    fn anything_else_says_why() {
        let message = |line: &str| public_key(line).expect_err(line);
        assert!(message("").contains("type"));
        assert!(message("-----BEGIN OPENSSH PRIVATE KEY-----").contains("private"));
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
}
