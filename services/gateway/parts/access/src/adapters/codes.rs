//! One-time codes of devices (RFC 6238): six digits every 30 seconds, HMAC-SHA-1, which is what all devices know.

use totp_rs::{Builder, Secret, Totp};

/// 160 bits, as RFC 4226, section 4, recommends.
const SECRET_BYTES: usize = 20;

/// A secret shared with somebody's device.
pub struct Device {
    secret: Vec<u8>,
}

impl Device {
    /// A secret that nobody has yet.
    pub fn random() -> Self {
        Self { secret: rand::random::<[u8; SECRET_BYTES]>().to_vec() }
    }

    /// A secret as it was kept.
    pub fn of(secret: Vec<u8>) -> Self {
        Self { secret }
    }

    /// The secret, to be sealed and kept.
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// The secret in base32, to type in.
    pub fn base32(&self) -> String {
        Secret::from(self.secret.clone()).to_base32()
    }

    /// What a QR code holds; `user` is shown on the device.
    pub fn uri(&self, user: &str) -> String {
        // names hold letters, digits, '-' and '@': only the last needs another form in a path
        let user = user.replace('@', "%40");
        let secret = self.base32();
        format!("otpauth://totp/Berth:{user}?secret={secret}&issuer=Berth&algorithm=SHA1&digits=6&period=30")
    }

    /// The time step whose code this is, if it is one of now or of half a minute around.
    pub fn step_of(&self, code: &str, now: kernel::Timestamp) -> Option<u64> {
        let seconds = u64::try_from(now.micros() / 1_000_000).ok()?;
        self.totp()?.check(code, seconds)
    }

    fn totp(&self) -> Option<Totp> {
        Builder::new().with_secret(self.secret.clone()).build().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::Timestamp;

    /// Appendix B of RFC 6238; its codes have eight digits, ours are the last six.
    const RFC_SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_the_standard() {
        let device = Device::of(RFC_SECRET.to_vec());
        for (second, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            let now = Timestamp(second * 1_000_000);
            assert_eq!(device.step_of(code, now), Some(second as u64 / 30), "{second}");
            let (next, later) = (Timestamp(now.0 + 30_000_000), Timestamp(now.0 + 61_000_000));
            assert_eq!(device.step_of(code, next), Some(second as u64 / 30), "clocks differ a little");
            assert_eq!(device.step_of(code, later), None);
        }
        for wrong in ["", "000000", "28708", "2870822", "287082x"] {
            assert_eq!(device.step_of(wrong, Timestamp(59_000_000)), None, "{wrong}");
        }
    }

    #[test]
    fn the_uri_says_what_a_device_needs() {
        let device = Device::of(RFC_SECRET.to_vec());
        assert_eq!(device.base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let uri = device.uri("ann@acme");
        assert!(
            uri.starts_with("otpauth://totp/Berth:ann%40acme?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&"),
            "{uri}"
        );
        assert_ne!(Device::random().secret(), Device::random().secret());
    }
}
