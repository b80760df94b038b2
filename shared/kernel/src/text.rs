//! Texts from outside, as they are shown and kept.

/// The first `limit` characters of a text from outside, for error messages.
pub fn excerpt(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A text as every table and every line of a record takes it: PostgreSQL has no U+0000 in texts (its documentation, section
/// 8.3), and other control characters hide what stands beside them. Each becomes U+FFFD.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_table_takes_is_shown_as_a_sign_of_its_own() {
        assert_eq!(printable("a\0b\n\u{85}ü"), "a\u{fffd}b\u{fffd}\u{fffd}ü");
    }
}
