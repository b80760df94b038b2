//! What users and tenants are called, and what a password is.

use gateway_api::domain::names;
use gateway_api::domain::violation::Violation;
use kernel::PLATFORM;
use kernel::limits::{PASSWORD, PASSWORD_LEAST};

/// Longest description, in bytes.
pub const DESCRIPTION_LIMIT: usize = 1024;
/// Longest life of a token that ends, in seconds: ten years.
pub const LIFETIME_LIMIT_S: u64 = 10 * 366 * 86_400;

/// The name of a new tenant.
pub fn tenant_name(field: &str, name: &str) -> Result<(), Violation> {
    names::instance(field, name)?;
    if name == PLATFORM {
        return Err(Violation::new(
            field,
            format!("{PLATFORM:?} stands for the platform itself: choose another name"),
        ));
    }
    Ok(())
}

/// One line about something.
pub fn description(field: &str, text: &str) -> Result<(), Violation> {
    if text.len() > DESCRIPTION_LIMIT || text.chars().any(char::is_control) {
        let text = format!("a description is one line of at most {DESCRIPTION_LIMIT} bytes");
        return Err(Violation::new(field, text));
    }
    Ok(())
}

/// A password that may be set. What it is does not appear in what is said about it.
pub fn password(field: &str, text: &str) -> Result<(), Violation> {
    if (PASSWORD_LEAST..=PASSWORD).contains(&text.len()) {
        return Ok(());
    }
    let text = format!("a password has {PASSWORD_LEAST} to {PASSWORD} bytes, this one has {}", text.len());
    Err(Violation::new(field, text))
}

/// How a user is called in records and at login: "ann@acme", "ann" of the platform.
pub fn qualified(name: &str, tenant: &str) -> String {
    if tenant == PLATFORM { name.to_owned() } else { format!("{name}@{tenant}") }
}

/// Name and tenant of a qualified name.
pub fn split(qualified: &str) -> (&str, &str) {
    qualified.split_once('@').unwrap_or((qualified, PLATFORM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_platform_is_no_tenant() {
        assert_eq!(tenant_name("name", "acme"), Ok(()));
        for wrong in [PLATFORM, "", "Acme", "a.b", "a_b", "-a", "_"] {
            assert_eq!(tenant_name("name", wrong).map_err(|v| v.field), Err("name".to_owned()), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_never_repeated() {
        let violation = password("password", "hunter2").expect_err("too short");
        assert!(!violation.message.contains("hunter2") && violation.message.contains('7'));
        assert_eq!(password("password", &"x".repeat(12)), Ok(()));
        assert!(password("password", &"x".repeat(257)).is_err());
        assert!(description("description", "two\nlines").is_err() && description("description", "").is_ok());
    }

    #[test]
    fn a_name_says_where_its_user_is_at_home() {
        for (name, tenant, whole) in [("ann", "acme", "ann@acme"), ("ann", PLATFORM, "ann")] {
            assert_eq!(qualified(name, tenant), whole);
            assert_eq!(split(whole), (name, tenant));
        }
        assert_eq!(split("a@b@c"), ("a", "b@c"));
    }
}
