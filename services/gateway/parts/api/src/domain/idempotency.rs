//! The same request twice is one request: what an idempotency key means.

use super::violation::Violation;

/// Longest key, in bytes.
pub const KEY_LIMIT: usize = 128;

/// A request that was accepted before under the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Earlier<'a> {
    /// The method it called.
    pub method: &'a str,
    /// SHA-256 of the request in hex.
    pub request_sha256: &'a str,
}

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nobody asked this before: do it.
    Fresh,
    /// It was asked before: give the same answer again.
    Repeat,
    /// The key was used for something else.
    Conflict,
}

/// Decides by what was accepted before under the key.
pub fn decide(earlier: Option<Earlier<'_>>, method: &str, request_sha256: &str) -> Decision {
    match earlier {
        None => Decision::Fresh,
        Some(e) if e.method == method && e.request_sha256 == request_sha256 => Decision::Repeat,
        Some(_) => Decision::Conflict,
    }
}

/// A key is printable ASCII, at most 128 bytes; "" = none was given.
pub fn check_key(key: &str) -> Result<(), Violation> {
    if key.len() <= KEY_LIMIT && key.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(Violation::new(
        "idempotency-key",
        format!("write at most {KEY_LIMIT} printable ASCII characters without blanks, for example a UUID"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_request_is_answered_again() {
        let earlier = Earlier { method: "CreateInstance", request_sha256: "aa" };
        assert_eq!(decide(None, "CreateInstance", "aa"), Decision::Fresh);
        assert_eq!(decide(Some(earlier), "CreateInstance", "aa"), Decision::Repeat);
        assert_eq!(decide(Some(earlier), "CreateInstance", "bb"), Decision::Conflict);
        assert_eq!(decide(Some(earlier), "DeleteInstance", "aa"), Decision::Conflict);
    }

    #[test]
    fn keys_are_short_and_printable() {
        assert!(check_key("").is_ok() && check_key("018f-a_b:c").is_ok());
        assert!(check_key("a b").is_err() && check_key("ü").is_err() && check_key(&"k".repeat(129)).is_err());
    }
}
