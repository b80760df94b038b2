//! Quantities that must not be mixed up.

use std::fmt;

/// Thousandths of a virtual CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MilliVcpus(pub u64);

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub u64);

/// Money in millionths of a currency unit; never a float.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Money(pub i64);

impl fmt::Display for MilliVcpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 1000, self.0 % 1000) {
            (whole, 0) => write!(f, "{whole}"),
            (whole, rest) => f.write_str(format!("{whole}.{rest:03}").trim_end_matches('0')),
        }
    }
}

const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, size) in UNITS {
            if self.0 >= size {
                let tenths = u128::from(self.0) * 10 / u128::from(size);
                return match (tenths / 10, tenths % 10) {
                    (whole, 0) => write!(f, "{whole} {unit}"),
                    (whole, tenth) => write!(f, "{whole}.{tenth} {unit}"),
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

impl Bytes {
    /// The same as a length in memory; more than addresses reach becomes the most they do.
    pub const fn length(self) -> usize {
        if self.0 > usize::MAX as u64 { usize::MAX } else { self.0 as usize }
    }

    /// Reads "512MiB", "10 GiB", "4G" (binary, as virtual machine sizes are) or a plain number of bytes.
    /// The error says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let explain =
            || format!("{text:?} is not a size: write a number with a unit, such as 512MiB or 10GiB");
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..digits].parse().map_err(|_| explain())?;
        let factor = match text[digits..].trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            _ => return Err(explain()),
        };
        number
            .checked_mul(factor)
            .map(Bytes)
            .ok_or_else(|| format!("{text:?} is more bytes than a 64-bit number holds"))
    }
}

impl MilliVcpus {
    /// Reads "2", "0.5" or "1.25"; at most three decimals.
    pub fn parse(text: &str) -> Result<Self, String> {
        let explain = || format!("{text:?} is not a number of CPUs: write 2 or 0.5");
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        if fraction.is_empty() || fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return Err(explain());
        }
        let whole: u64 = whole.parse().map_err(|_| explain())?;
        let thousandths: u64 = format!("{fraction:0<3}").parse().map_err(|_| explain())?;
        whole.checked_mul(1000).and_then(|w| w.checked_add(thousandths)).map(MilliVcpus).ok_or_else(explain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        assert_eq!(Bytes::parse("512MiB"), Ok(Bytes(512 << 20)));
        assert_eq!(Bytes::parse("10 G"), Ok(Bytes(10 << 30)));
        assert_eq!(Bytes::parse("7"), Ok(Bytes(7)));
        assert_eq!(Bytes(1536 << 20).to_string(), "1.5 GiB");
        assert_eq!(Bytes(12).to_string(), "12 B");
        for bad in ["", "GiB", "-1G", "1.5G", "10 parsecs", "99999999999T"] {
            assert!(Bytes::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cpus_are_read_and_written() {
        assert_eq!(MilliVcpus::parse("2"), Ok(MilliVcpus(2000)));
        assert_eq!(MilliVcpus::parse("0.25"), Ok(MilliVcpus(250)));
        assert_eq!(MilliVcpus(1500).to_string(), "1.5");
        for bad in ["", "two", "1.", "1.2345", "-1", "1.-5"] {
            assert!(MilliVcpus::parse(bad).is_err(), "{bad}");
        }
    }
}
