//! Times, sizes and words as people read them.

use contracts::common::v1::{Refusal, Resources};
use jiff::tz::TimeZone;
use kernel::{Bytes, Clock as _, MilliVcpus, SystemClock, Timestamp};

/// "2026-11-21T07:30:01+01:00" in local time with the offset, so that it is exact anywhere; "-" = never.
pub fn local_time(at_us: i64) -> String {
    in_zone(at_us, TimeZone::system())
}

fn in_zone(at_us: i64, zone: TimeZone) -> String {
    match jiff::Timestamp::from_microsecond(at_us) {
        Ok(at) if at_us != 0 => at.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        _ => "-".to_owned(),
    }
}

/// How long ago: "12s", "5m", "3h", "9d"; "-" = never.
pub fn age(at_us: i64) -> String {
    since(at_us, SystemClock.now().micros())
}

/// How long before `now_us` (both in microseconds since the epoch).
pub fn since(at_us: i64, now_us: i64) -> String {
    if at_us == 0 {
        return "-".to_owned();
    }
    let seconds = Timestamp(now_us).since(Timestamp(at_us)).as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// The time between two moments: "850 ms", "2.41 s", "3 min 05 s".
pub fn milliseconds(from_us: i64, to_us: i64) -> String {
    let millis = Timestamp(to_us).since(Timestamp(from_us)).as_millis();
    match millis {
        0..1000 => format!("{millis} ms"),
        1000..60_000 => format!("{}.{:02} s", millis / 1000, millis % 1000 / 10),
        _ => format!("{} min {:02} s", millis / 60_000, millis % 60_000 / 1000),
    }
}

/// "1.5 GiB".
pub fn bytes(count: u64) -> String {
    Bytes(count).to_string()
}

/// CPUs, memory and disk; "-" = not said.
pub fn resources(of: Option<&Resources>) -> [String; 3] {
    match of {
        Some(r) => [MilliVcpus(r.vcpus_milli).to_string(), bytes(r.memory_bytes), bytes(r.disk_bytes)],
        None => ["-", "-", "-"].map(str::to_owned),
    }
}

/// The word for a value of an enum: `INSTANCE_PHASE_READY` with prefix `INSTANCE_PHASE_` is "ready".
pub fn word(value: &str, prefix: &str) -> String {
    match value.strip_prefix(prefix).unwrap_or(value) {
        "UNSPECIFIED" => "-".to_owned(),
        word => word.to_ascii_lowercase().replace('_', "-"),
    }
}

/// A refusal in one line, "" = there is none.
pub fn refusal_line(refusal: Option<&Refusal>) -> String {
    refusal.map(|r| kernel::Refusal::from(r.clone()).to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_and_read_back() {
        let at = 1_700_000_000_123_456;
        assert_eq!(in_zone(at, TimeZone::UTC), "2023-11-14T22:13:20+00:00");
        assert_eq!(local_time(0), "-");
        assert_eq!(local_time(i64::MAX), "-");
        let read: jiff::Timestamp = local_time(at).parse().expect("RFC 3339");
        assert_eq!(read.as_second(), 1_700_000_000);
    }

    #[test]
    fn ages_grow_coarser() {
        let s = 1_000_000;
        for (seconds, text) in [(0, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (172_800, "2d")] {
            assert_eq!(since(s, s + seconds * s), text);
        }
        assert_eq!(since(5 * s, s), "0s", "clocks differ, ages are never negative");
        assert_eq!(since(0, s), "-");
    }

    #[test]
    fn spans_and_words() {
        assert_eq!(milliseconds(0, 850_000), "850 ms");
        assert_eq!(milliseconds(0, 2_415_000), "2.41 s");
        assert_eq!(milliseconds(0, 185_000_000), "3 min 05 s");
        assert_eq!(word("INSTANCE_PHASE_READY", "INSTANCE_PHASE_"), "ready");
        assert_eq!(word("DRIVER_CLOUD_HYPERVISOR", "DRIVER_"), "cloud-hypervisor");
        assert_eq!(word("DRIVER_UNSPECIFIED", "DRIVER_"), "-");
    }
}
