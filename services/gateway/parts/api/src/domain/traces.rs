//! The trace that a caller says its request belongs to. It is kept with every message that follows, so nothing else gets there.

/// A traceparent (W3C Trace Context, section 3.2); "" of anything else.
pub fn well_formed(text: &str) -> &str {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let right = text.len() == 55
        && text.bytes().enumerate().all(|(at, b)| if matches!(at, 2 | 35 | 52) { b == b'-' } else { hex(b) });
    if right { text } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trace_is_a_trace() {
        let right = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(well_formed(right), right);
        for wrong in
            ["", "x", &right[1..], &right.to_uppercase(), &"x".repeat(16 << 10), &right.replace('-', "0")]
        {
            assert_eq!(well_formed(wrong), "", "{wrong}");
        }
    }
}
