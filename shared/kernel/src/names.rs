//! What a name has to look like, whoever reads it. An error is one sentence, with what would be right.

use crate::excerpt;

/// Longest name: a DNS label (RFC 1035, section 2.3.4).
pub const NAME_LIMIT: usize = 63;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_wrong_is_refused() {
        assert!(name("web-1").is_ok() && name(&"a".repeat(63)).is_ok());
        for wrong in ["", "1a", "-a", "a-", "A", "a.b", "é", "a b", &"a".repeat(64)] {
            assert!(name(wrong).is_err(), "{wrong:?}");
        }
    }
}
