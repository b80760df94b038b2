//! Whether the clocks agree: this machine's, the gateway's, the database's, the broker's; and whether this one is steady.

use super::Check;
use crate::doctor::{Finding, Ground, Thresholds, Time};
use async_trait::async_trait;
use std::time::Duration;
use tokio::process::Command;

/// How long the two clocks of this machine are watched.
const WATCH: Duration = Duration::from_millis(300);

/// See the module.
pub struct Clock;

#[async_trait]
impl Check for Clock {
    fn name(&self) -> &'static str {
        "clock"
    }

    fn about(&self) -> &'static str {
        "the clocks of host, gateway, database and broker agree, and this one is steady"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let mut found = offsets(ground);
        found.push(steady(&*ground.time, &ground.limits).await);
        found.push(synchronised().await);
        found
    }
}

/// How far each other clock is from this one.
fn offsets(ground: &Ground) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Ok(diagnosis) = &ground.diagnosis {
        found.push(offset("the gateway", diagnosis.now_us, ground.asked_at_us, &ground.limits));
        if diagnosis.database_now_us != 0 {
            // both were read by the gateway, one right after the other
            let database = ("the gateway's database", diagnosis.database_now_us);
            found.push(offset(database.0, database.1, diagnosis.now_us, &ground.limits));
        }
    }
    if let Ok(broker) = &ground.broker
        && broker.now_us != 0
    {
        found.push(offset("the broker", broker.now_us, broker.asked_at_us, &ground.limits));
    }
    found
}

fn offset(who: &str, theirs_us: i64, ours_us: i64, limits: &Thresholds) -> Finding {
    let apart = Duration::from_micros(theirs_us.abs_diff(ours_us));
    let which = if theirs_us < ours_us { "behind" } else { "ahead" };
    let text = format!("the clock of {who} is {} ms {which}", apart.as_millis());
    let advice = format!(
        "switch on NTP on both machines (timedatectl set-ntp true); leases and deadlines of {who} go by its clock"
    );
    let (warning, problem) = limits.clock_offset;
    match apart {
        apart if apart > problem => Finding::problem(text, advice),
        apart if apart > warning => Finding::warning(text, advice),
        _ => Finding::ok(text),
    }
}

/// The wall clock must gain nothing on the clock that only goes forward.
async fn steady(time: &dyn Time, limits: &Thresholds) -> Finding {
    let (wall, mono) = (time.now().micros(), time.elapsed());
    tokio::time::sleep(WATCH).await;
    let (walked, went) = (time.now().micros() - wall, time.elapsed().saturating_sub(mono));
    let jump = i128::from(walked) - i128::try_from(went.as_micros()).unwrap_or(i128::MAX);
    if jump.unsigned_abs() > limits.clock_jump.as_micros() {
        return Finding::warning(
            format!("the clock of this machine jumped by {} ms while it was watched", jump / 1000),
            "something sets the clock in steps: let one NTP service slew it (chronyd, systemd-timesyncd), and stop the others",
        );
    }
    Finding::ok(format!("the clock of this machine is steady over {} ms", WATCH.as_millis()))
}

async fn synchronised() -> Finding {
    let output =
        Command::new("timedatectl").args(["show", "--property=NTPSynchronized", "--value"]).output().await;
    judge(&output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default())
}

fn judge(said: &str) -> Finding {
    match said {
        "yes" => Finding::ok("the clock of this machine is synchronised by NTP"),
        "no" => Finding::warning(
            "the clock of this machine is not synchronised by NTP",
            "timedatectl set-ntp true, or install chrony",
        ),
        _ => Finding::skipped("timedatectl does not say whether NTP is at work"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::finds;
    use super::*;
    use crate::doctor::State;
    use contracts::gateway::v1::{BrokerDiagnosis, GetDiagnosisResponse};
    use kernel::Timestamp;
    use std::sync::atomic::{AtomicI64, Ordering};

    const NOW: i64 = 1_700_000_000_000_000;

    /// A wall clock that jumps each time it is read.
    struct Jumping {
        by_us: i64,
        reads: AtomicI64,
    }

    impl Time for Jumping {
        fn now(&self) -> Timestamp {
            Timestamp(NOW + self.reads.fetch_add(1, Ordering::Relaxed) * self.by_us)
        }

        fn elapsed(&self) -> Duration {
            Duration::ZERO
        }
    }

    #[tokio::test]
    async fn clocks_that_disagree_are_named() {
        let broker = BrokerDiagnosis { now_us: NOW - 700_000, asked_at_us: NOW, ..Default::default() };
        let diagnosis =
            GetDiagnosisResponse { now_us: NOW, database_now_us: NOW + 9_000_000, ..Default::default() };
        let ground =
            Ground { diagnosis: Ok(diagnosis), asked_at_us: NOW, broker: Ok(broker), ..Ground::empty() };
        let found = Clock.look(&ground).await;
        finds(&found, State::Ok, "the gateway is 0 ms", "");
        finds(&found, State::Problem, "the gateway's database is 9000 ms ahead", "NTP");
        finds(&found, State::Warning, "the broker is 700 ms behind", "NTP");
        finds(&found, State::Ok, "steady", "");
    }

    #[tokio::test]
    async fn a_clock_that_jumps_is_found() {
        for by_us in [2_000_000, -2_000_000] {
            let time = Box::new(Jumping { by_us, reads: AtomicI64::new(0) });
            let found = Clock.look(&Ground { time, ..Ground::empty() }).await;
            finds(&found, State::Warning, "jumped by", "slew");
        }
    }

    #[test]
    fn what_nobody_says_is_not_called_well() {
        assert_eq!(judge("yes").state, State::Ok);
        assert_eq!(judge("no").state, State::Warning);
        assert_eq!(judge("").state, State::Skipped);
    }
}
