//! Public keys of SSH on the command line.

use client::Failure;

/// The public keys in a file, or the one key that was written out.
pub fn keys_of(text: &str) -> Result<Vec<String>, Failure> {
    const KINDS: [&str; 4] = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"];
    let is_key = |line: &str| KINDS.iter().any(|kind| line.starts_with(kind)) && line.contains(' ');
    let bare = kernel::public_keys::bare_key(text);
    if is_key(bare) || kernel::public_keys::public_key(bare).is_ok() {
        return Ok(vec![bare.to_owned()]);
    }
    let explain = |why: String| Failure::usage(format!("SSH key {text:?}: {why}"));
    let content = std::fs::read(text)
        .map_err(|error| explain(format!("neither a public key nor a file that can be read: {error}")))?;
    if content.starts_with(&[0xff, 0xfe]) || content.starts_with(&[0xfe, 0xff]) {
        return Err(explain("the file is UTF-16, which no SSH server reads: save it as UTF-8".into()));
    }
    let content =
        String::from_utf8(content).map_err(|_| explain("the file is no text: name a .pub file".into()))?;
    if kernel::public_keys::is_private_key(&content) {
        return Err(explain(
            "this is a private key, which must never leave this machine: name the .pub file beside it".into(),
        ));
    }
    // what is no key does not leave this machine, whatever it is
    let keys = kernel::public_keys::authorized_keys(&content).map_err(explain)?;
    Ok(keys.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@laptop";

    #[test]
    fn keys_come_from_files_or_the_command_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("writes");
            path.display().to_string()
        };
        assert_eq!(keys_of("ssh-ed25519 AAAA me").expect("a key"), ["ssh-ed25519 AAAA me"]);
        let keys = keys_of(&file("a.pub", &format!("# mine\n{KEY}\n\n{KEY} too\n"))).expect("two keys");
        assert_eq!(keys, [KEY.to_owned(), format!("{KEY} too")]);
        let windows = format!("\u{feff}# mine\r\n\r\nrestrict,command=\"a b\" {KEY}\r\n");
        let with_options = format!("restrict,command=\"a b\" {KEY}");
        assert_eq!(keys_of(&file("w.pub", &windows)).expect("a key"), std::slice::from_ref(&with_options));
        assert_eq!(keys_of(&with_options).expect("a key"), [with_options]);
        let wrong = keys_of(&file("x.pub", &format!("{KEY}\n\nssh-rsa AAAA\n"))).expect_err("a line");
        assert!(wrong.message.contains("line 3: "), "{wrong}");
        let failure =
            keys_of(&file("id", "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n")).expect_err("private");
        assert!(
            failure.message.contains("never leave") && !failure.to_string().contains("secret"),
            "{failure}"
        );
        let token = keys_of(&file("admin.token", "hunter2\n")).expect_err("no key");
        assert!(!token.to_string().contains("hunter2"), "{token}");
        assert!(keys_of(&file("empty", "\n")).is_err() && keys_of("/nowhere/key.pub").is_err());
    }
}
