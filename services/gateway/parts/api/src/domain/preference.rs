//! What a caller would like of an answer: the header `Prefer` (RFC 7240). What is not understood, or cannot be done, is
//! passed over, as that says.

use std::time::Duration;

/// Longest that an answer waits for the end of its operation.
pub const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// How long the answer may wait: the first `wait=5`, in seconds, up to [`WAIT_LIMIT`], in any of these headers. Nothing =
/// not at all.
pub fn wait<'a>(prefer: impl IntoIterator<Item = &'a str>) -> Duration {
    let wished = prefer.into_iter().flat_map(preferences).find_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        let wait = name.trim().eq_ignore_ascii_case("wait");
        wait.then(|| value.trim().trim_matches('"').parse().ok()).flatten()
    });
    wished.map_or(Duration::ZERO, |seconds| Duration::from_secs(seconds).min(WAIT_LIMIT))
}

/// The preferences of one header: what stands between its commas, but those within quotes.
fn preferences(header: &str) -> Vec<&str> {
    let (mut all, mut begin, mut quoted) = (Vec::new(), 0, false);
    for (at, c) in header.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => {
                all.push(&header[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    all.push(&header[begin..]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_preferences_only_the_time_is_read() {
        for (prefer, seconds) in [
            (&[""][..], 0),
            (&[], 0),
            (&["respond-async"], 0),
            (&["wait=5"], 5),
            (&["respond-async", "wait=5"], 5),
            (&["respond-async, Wait = 30 ;x=1"], 30),
            (&["return=minimal, wait=\"2\""], 2),
            (&["foo=\"a,wait=9\", wait=3"], 3),
            (&["wait=0"], 0),
            (&["wait=31"], 30),
            (&["wait="], 0),
            (&["wait=soon, wait=4"], 4),
            (&["wait=-1"], 0),
        ] {
            assert_eq!(wait(prefer.iter().copied()), Duration::from_secs(seconds), "{prefer:?}");
        }
    }
}
