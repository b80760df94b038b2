//! Names: of instances, images and flavors, host names, and what names an object in a request.

use super::violation::{Violation, excerpt};
use kernel::names::{NAME_LIMIT, is_dns_label};

/// Longest host name (RFC 1035, section 2.3.4).
const HOSTNAME_LIMIT: usize = 253;

/// An instance is called like a DNS label: `^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`.
pub fn instance(field: &str, name: &str) -> Result<(), Violation> {
    kernel::names::name(name).map_err(|why| Violation::new(field, why))
}

/// Images and flavors may also have dots: "debian-12.5", "m1.small".
pub fn dotted(field: &str, name: &str) -> Result<(), Violation> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let allowed = |c: char| inner(c) || matches!(c, '.' | '-' | '_');
    if (1..=NAME_LIMIT).contains(&name.len())
        && name.chars().all(allowed)
        && name.starts_with(inner)
        && name.ends_with(inner)
    {
        return Ok(());
    }
    Err(Violation::new(
        field,
        format!(
            "{:?} is not a name: write 1 to {NAME_LIMIT} lower case letters, digits, '.', '-' and '_', beginning and ending with a letter or digit",
            excerpt(name, 80)
        ),
    ))
}

/// A host name: DNS labels with dots between, at most 253 bytes.
pub fn hostname(field: &str, name: &str) -> Result<(), Violation> {
    let right = name.len() <= HOSTNAME_LIMIT && name.to_ascii_lowercase().split('.').all(is_dns_label);
    if right {
        return Ok(());
    }
    Err(Violation::new(
        field,
        format!(
            "{:?} is not a host name: write labels of letters, digits and '-' with dots between, such as web-1.example.com",
            excerpt(name, 80)
        ),
    ))
}

/// Something that names an object: its name or its id, not resolved yet.
pub fn reference(field: &str, text: &str) -> Result<(), Violation> {
    let shown = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=128).contains(&text.len()) && text.chars().all(shown) {
        return Ok(());
    }
    Err(Violation::new(field, "write the name or the id: 1 to 128 letters, digits, '-', '_' and '.'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_that_are_right() {
        let longest = "a".repeat(63);
        for name in ["a", "web-1", "w--1", longest.as_str()] {
            assert_eq!(instance("name", name), Ok(()), "{name}");
        }
        for name in ["m1.small", "debian-12.5", "0x"] {
            assert_eq!(dotted("name", name), Ok(()), "{name}");
        }
        for name in ["Web-1.Example.com", "a", "1.2"] {
            assert_eq!(hostname("hostname", name), Ok(()), "{name}");
        }
    }

    #[test]
    fn names_that_are_wrong_name_their_field() {
        let long = "a".repeat(64);
        for name in ["", "1a", "-a", "a-", "A", "a.b", "a_b", "é", "a b", "a/../b", long.as_str()] {
            let violation = instance("name", name).expect_err(name);
            assert_eq!(violation.field, "name");
        }
        for name in ["", ".", "a..b", "a.", "-a.b", "a\nb"] {
            assert!(hostname("hostname", name).is_err(), "{name:?}");
        }
        assert!(dotted("name", "a/b").is_err());
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_safe_in_paths_and_documents(name in "\\PC{0,70}") {
            if instance("name", &name).is_ok() {
                prop_assert!(name.len() <= 63 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            }
        }
    }
}
