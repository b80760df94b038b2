//! Public keys that have a name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use contracts::SshKeyCommand as Command;
use contracts::scheduler::v1::SshKey;
use kernel::Refusal;
use objects::{Decision, Kind, Seen, relabelled};
use sha2::{Digest, Sha256};

/// The kind.
pub struct SshKeys;

impl Kind for SshKeys {
    type Object = SshKey;

    const MOST: u64 = 1_000;

    fn decide(
        before: Option<&SshKey>,
        command: Command,
        _seen: &Seen<'_>,
    ) -> Result<Decision<SshKey>, Refusal> {
        Ok(match command {
            Command::Create(wish) => {
                let invalid = |why| Refusal::new("INVALID", format!("public_key: {why}"));
                let key = kernel::public_keys::public_key(&wish.public_key).map_err(invalid)?;
                Decision::Is(SshKey {
                    name: wish.name,
                    labels: wish.labels,
                    public_key: kernel::public_keys::bare_key(&wish.public_key).to_owned(),
                    algorithm: key.algorithm.to_owned(),
                    fingerprint: fingerprint(&key.blob),
                    ..SshKey::default()
                })
            }
            Command::Update(wish) => match before {
                Some(key) => match relabelled(&key.labels, wish.labels, &wish.remove_labels)? {
                    labels if labels != key.labels => Decision::Is(SshKey { labels, ..key.clone() }),
                    _ => Decision::Same,
                },
                None => Decision::Same,
            },
            Command::Delete(_) => Decision::Gone,
        })
    }
}

/// As ssh-keygen(1) shows it.
fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::scheduler::v1::{CreateSshKeyRequest, UpdateSshKeyRequest};
    use kernel::Timestamp;

    const SEEN: Seen<'_> = Seen { now: Timestamp(1), tenant: "acme", actor: "ann", referenced: &[] };

    #[test]
    fn a_key_is_shown_as_ssh_keygen_shows_it() {
        // ssh-keygen -lf says so of this key
        let line =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@laptop";
        let wish = CreateSshKeyRequest { name: "ann".into(), public_key: line.into(), ..Default::default() };
        let made = SshKeys::decide(None, Command::Create(Box::new(wish)), &SEEN).expect("sound");
        let Decision::Is(key) = made else { panic!("{made:?}") };
        assert_eq!(key.algorithm, "ssh-ed25519");
        assert_eq!(key.fingerprint, "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU");
        let same = UpdateSshKeyRequest { name: "ann".into(), ..Default::default() };
        let same = SshKeys::decide(Some(&key), Command::Update(Box::new(same)), &SEEN);
        assert_eq!(same, Ok(Decision::Same), "nothing changes");
    }
}
