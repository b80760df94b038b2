//! Public keys that may log in to an instance.

use super::violation::Violation;
use kernel::public_keys::public_key;

/// Most keys of one instance.
pub const COUNT_LIMIT: usize = 64;

/// There are not too many.
pub fn count(field: &str, keys: &[String]) -> Result<(), Violation> {
    if keys.len() > COUNT_LIMIT {
        return Err(Violation::new(
            field,
            format!("{} keys are too many: at most {COUNT_LIMIT}", keys.len()),
        ));
    }
    Ok(())
}

/// Every line is one public key.
pub fn check(field: &str, keys: &[String]) -> Result<(), Violation> {
    count(field, keys)?;
    for (index, key) in keys.iter().enumerate() {
        public_key(key).map_err(|why| Violation::new(format!("{field}[{index}]"), why))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@laptop";

    #[test]
    fn a_wrong_key_says_which_and_why() {
        let keys = [ED25519.to_owned(), "nonsense".to_owned()];
        let violation = check("keys", &keys).expect_err("second");
        assert!(violation.field == "keys[1]" && violation.message.contains("type"), "{violation}");
        assert_eq!(check("keys", &keys[..1]), Ok(()));
        assert_eq!(check("keys", &vec![ED25519.to_owned(); 65]).expect_err("too many").field, "keys");
    }
}
