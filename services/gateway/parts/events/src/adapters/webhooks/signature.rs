//! Secrets of webhooks and what is signed with them, by the scheme of Standard Webhooks 1.0 (standardwebhooks.com,
//! `spec/standard-webhooks.md`): HMAC-SHA256 over "id.timestamp.body".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What secrets begin with, so that scanners for leaked secrets find them.
const PREFIX: &str = "whsec_";
/// The scheme asks for 24 to 64 bytes.
const BYTES: usize = 32;

/// A new secret: "whsec_" and 32 random bytes in base64.
pub fn fresh_secret() -> String {
    format!("{PREFIX}{}", STANDARD.encode(rand::random::<[u8; BYTES]>()))
}

/// The header `webhook-signature`: one signature for each secret, the present one first. Text that is no secret signs
/// nothing.
pub fn header(secrets: &[String], id: &str, timestamp: i64, body: &[u8]) -> String {
    let signatures = secrets.iter().filter_map(|secret| sign(secret, id, timestamp, body));
    signatures.collect::<Vec<_>>().join(" ")
}

fn sign(secret: &str, id: &str, timestamp: i64, body: &[u8]) -> Option<String> {
    let key = STANDARD.decode(secret.strip_prefix(PREFIX)?).ok()?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    // computed apart from this code, from a secret, an id and a body that other implementations of the scheme test with
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = b"{\"test\": 2432232314}";
    const EXPECTED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn a_signature_is_the_one_others_compute() {
        assert_eq!(header(&[SECRET.to_owned()], ID, 1_614_265_330, BODY), EXPECTED);
    }

    #[test]
    fn it_covers_id_time_and_body() {
        let of = |id: &str, at: i64, body: &[u8]| header(&[SECRET.to_owned()], id, at, body);
        for other in
            [of("msg_other", 1_614_265_330, BODY), of(ID, 1_614_265_331, BODY), of(ID, 1_614_265_330, b"{}")]
        {
            assert_ne!(other, EXPECTED);
        }
    }

    #[test]
    fn during_a_rotation_both_secrets_sign() {
        let fresh = fresh_secret();
        let both = header(&[fresh.clone(), SECRET.to_owned()], ID, 1_614_265_330, BODY);
        let (first, second) = both.split_once(' ').expect("two");
        assert_eq!(second, EXPECTED);
        assert_eq!(first, header(&[fresh], ID, 1_614_265_330, BODY));
    }

    #[test]
    fn secrets_are_random_and_of_the_right_length() {
        let (one, other) = (fresh_secret(), fresh_secret());
        assert_ne!(one, other);
        let bytes = STANDARD.decode(one.strip_prefix(PREFIX).expect("prefix")).expect("base64");
        assert_eq!(bytes.len(), BYTES);
        assert_eq!(header(&["hunter2".to_owned()], ID, 0, BODY), "");
    }
}
