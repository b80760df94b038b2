//! What a caller would like of an answer: the header `Prefer` (RFC 7240).

use super::violation::{Violation, excerpt};
use std::time::Duration;

/// Longest that an answer waits for the end of its operation.
pub const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// How long the answer may wait: `wait=5`, in seconds, among other preferences, which are passed over. Nothing = not at
/// all.
pub fn wait(prefer: &str) -> Result<Duration, Violation> {
    let preferences = prefer.split(',').filter_map(|one| one.split(';').next()).map(str::trim);
    let value = preferences.filter_map(|one| one.split_once('=')).find_map(|(name, value)| {
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
    });
    let Some(value) = value else { return Ok(Duration::ZERO) };
    match value.parse() {
        Ok(seconds) if seconds <= WAIT_LIMIT.as_secs() => Ok(Duration::from_secs(seconds)),
        _ => {
            let (value, most) = (excerpt(value, 20), WAIT_LIMIT.as_secs());
            let text = format!("{value:?} is no time to wait: write wait=5, whole seconds up to {most}");
            Err(Violation::new("prefer", text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_preferences_only_the_time_is_read() {
        for (prefer, seconds) in [
            ("", 0),
            ("respond-async", 0),
            ("wait=5", 5),
            ("respond-async, Wait = 30 ;x=1", 30),
            ("return=minimal, wait=\"2\"", 2),
            ("wait=0", 0),
        ] {
            assert_eq!(wait(prefer), Ok(Duration::from_secs(seconds)), "{prefer}");
        }
        for prefer in ["wait=", "wait=soon", "wait=31", "wait=-1", "wait=1.5"] {
            let wrong = wait(prefer).expect_err(prefer);
            assert!(wrong.field == "prefer" && wrong.message.contains("wait=5"), "{wrong}");
        }
    }
}
