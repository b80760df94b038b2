//! What labels have to look like, whoever reads them. An error is one sentence, with what would be right.

use crate::excerpt;
use std::collections::BTreeMap;

/// Most labels of one object.
pub const LABELS_LIMIT: usize = 64;
/// Longest key of a label, in bytes.
pub const LABEL_KEY_LIMIT: usize = 63;
/// Longest value of a label, in bytes.
pub const LABEL_VALUE_LIMIT: usize = 255;

/// Keys begin and end with a letter or digit and hold `-`, `_`, `.` and `/` between ("example.com/team"); values are
/// anything printable. The error names the key whose value is wrong.
pub fn labels(labels: &BTreeMap<String, String>) -> Result<(), (Option<String>, String)> {
    if labels.len() > LABELS_LIMIT {
        return Err((None, format!("{} labels are too many: at most {LABELS_LIMIT}", labels.len())));
    }
    for (key, value) in labels {
        if !is_label_key(key) {
            let why = format!(
                "{:?} is not a label key: write 1 to {LABEL_KEY_LIMIT} letters, digits, '-', '_', '.' and '/', beginning and ending with a letter or digit",
                excerpt(key, 80)
            );
            return Err((None, why));
        }
        if value.len() > LABEL_VALUE_LIMIT || value.chars().any(char::is_control) {
            let why =
                format!("a label value has at most {LABEL_VALUE_LIMIT} bytes and no control characters");
            return Err((Some(key.clone()), why));
        }
    }
    Ok(())
}

/// Whether a label may be called so.
pub fn is_label_key(key: &str) -> bool {
    (1..=LABEL_KEY_LIMIT).contains(&key.len())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'))
        && key.starts_with(|c: char| c.is_ascii_alphanumeric())
        && key.ends_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_say_what_is_wrong() {
        let one = |key: &str, value: &str| labels(&BTreeMap::from([(key.to_owned(), value.to_owned())]));
        assert!(one("example.com/Team_1", "Nö & so <on>").is_ok());
        assert_eq!(one("a b", "v").expect_err("a space").0, None);
        assert_eq!(one("team", "a\nb").expect_err("a line").0.as_deref(), Some("team"));
    }
}
