//! A place in the event stream in one word, as clients keep it: "incarnation:sequence".

/// Reads a cursor. A sequence alone belongs to whichever stream is there now: its incarnation is "". `None` = neither.
pub fn read(text: &str) -> Option<(String, u64)> {
    let (incarnation, sequence) = text.rsplit_once(':').unwrap_or(("", text));
    let digits = !sequence.is_empty() && sequence.bytes().all(|b| b.is_ascii_digit());
    let named = !text.contains(':') || !incarnation.is_empty();
    (digits && named).then(|| Some((incarnation.to_owned(), sequence.parse().ok()?))).flatten()
}

/// The word of a cursor.
pub fn write(incarnation: &str, sequence: u64) -> String {
    format!("{incarnation}:{sequence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back() {
        for (incarnation, sequence) in
            [("1700000000000000000", 17), ("EVENTS@2026-01-01T00:00:00Z", u64::MAX)]
        {
            let word = write(incarnation, sequence);
            assert_eq!(read(&word), Some((incarnation.to_owned(), sequence)), "{word}");
        }
        assert_eq!(read("17"), Some((String::new(), 17)));
    }

    #[test]
    fn other_words_are_no_cursors() {
        for wrong in ["", ":", ":17", "abc", "abc:", "abc:-1", "abc:+1", "1:99999999999999999999"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
