//! How often a failed message is tried, and when it becomes a dead letter.

use std::time::Duration;

/// When a failed message is tried again, and when it is given up.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Attempts before a message becomes a dead letter.
    pub attempts: i64,
    /// Delay before the second attempt; doubles each time.
    pub first_delay: Duration,
    /// Longest delay.
    pub max_delay: Duration,
    /// How long the server waits for an acknowledgement before it gives a message to somebody else; prolonged for as long
    /// as this process has it in hand. What a killed process had in hand lies still for so long.
    pub ack_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 12,
            first_delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(30),
            ack_wait: Duration::from_secs(2),
        }
    }
}

impl RetryPolicy {
    /// The pause after this attempt, the first being 1.
    pub(super) fn delay(&self, attempt: i64) -> Duration {
        let doublings = u32::try_from(attempt.saturating_sub(1).clamp(0, 16)).unwrap_or(16);
        self.first_delay.saturating_mul(1 << doublings).min(self.max_delay)
    }
}
