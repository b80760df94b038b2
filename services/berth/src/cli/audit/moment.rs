//! Moments as people write them.

use kernel::{Clock as _, SystemClock};

/// Microseconds since the epoch of "2026-11-21T07:30:00Z", or of how long ago: "90s", "30m", "2h", "7d".
pub fn read(text: &str) -> Result<i64, String> {
    at(text, SystemClock.now().micros())
}

fn at(text: &str, now_us: i64) -> Result<i64, String> {
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Ok(moment.as_microsecond());
    }
    let wrong =
        || "write a time with its zone, such as 2026-11-21T07:30:00Z, or how long ago: 90s, 30m, 2h, 7d";
    let (count, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong().to_owned()),
    };
    let count: u32 = count.parse().map_err(|_| wrong())?;
    Ok(now_us.saturating_sub(i64::from(count) * seconds * 1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ages_are_moments() {
        let now = 1_700_000_000_000_000;
        assert_eq!(at("1970-01-01T00:00:01Z", now), Ok(1_000_000));
        assert_eq!(at("2h", now), Ok(now - 7_200_000_000));
        assert_eq!(at("0s", now), Ok(now));
        for wrong in ["", "yesterday", "-1h", "2026-11-21", "5w", "é"] {
            assert!(at(wrong, now).is_err(), "{wrong}");
        }
    }
}
