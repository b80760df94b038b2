//! Labels: `key=value` pairs on instances and hosts, and wishes about them.

use super::violation::{Violation, excerpt};
use kernel::labels::{LABEL_KEY_LIMIT, is_label_key};
use std::collections::BTreeMap;

/// Keys begin and end with a letter or digit and hold `-`, `_`, `.` and `/` between ("example.com/team");
/// values are anything printable.
pub fn check(field: &str, labels: &BTreeMap<String, String>) -> Result<(), Violation> {
    kernel::labels::labels(labels).map_err(|(key, why)| {
        let field = key.map_or_else(|| field.to_owned(), |key| format!("{field}.{key}"));
        Violation::new(field, why)
    })
}

/// Name of an affinity group: like a label key; "" = none.
pub fn group(field: &str, name: &str) -> Result<(), Violation> {
    if name.is_empty() || is_label_key(name) {
        return Ok(());
    }
    Err(Violation::new(
        field,
        format!(
            "{:?} is not a group: write 1 to {LABEL_KEY_LIMIT} letters, digits, '-', '_', '.' and '/'",
            excerpt(name, 80)
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &str) -> Result<(), Violation> {
        check("labels", &BTreeMap::from([(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn usual_labels_are_right() {
        assert!(one("team", "").is_ok());
        assert!(one("example.com/Team_1", "Nö & so <on>").is_ok());
    }

    #[test]
    fn others_say_what_is_wrong() {
        for key in ["", "-a", "a-", "a b", "a=b", "ü", &"k".repeat(64)] {
            assert_eq!(one(key, "v").expect_err(key).field, "labels");
        }
        assert_eq!(one("team", "a\nb").expect_err("newline").field, "labels.team");
        assert!(one("team", &"v".repeat(256)).is_err());
        let many = (0..65).map(|n| (format!("k{n}"), String::new())).collect();
        assert!(check("labels", &many).is_err());
    }

    #[test]
    fn no_group_is_a_group() {
        assert!(group("affinity_group", "").is_ok());
        assert!(group("affinity_group", "db").is_ok());
        assert!(group("affinity_group", "a b").is_err());
    }
}
