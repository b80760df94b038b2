//! The loop every reconciler runs in: woken, and by a timer as the safety below; it never ends by failing, and is
//! started again when it hangs.

use crate::HealthHandle;
use bus::{Pulse, Trouble, Watchdog, watchdog};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::StoreError;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A reconciler's loop: when it passes, and how long a pass may take.
pub struct Loop {
    name: &'static str,
    wake: Arc<Notify>,
    period: Duration,
    patience: Duration,
}

impl Loop {
    /// A loop that passes at once and every `period`. `name` is that of its component in health and metrics:
    /// "scheduler.placement".
    pub fn every(period: Duration, name: &'static str) -> Self {
        Self { name, wake: Arc::default(), period, patience: watchdog::PATIENCE }
    }

    /// It passes as well when it is woken.
    #[must_use]
    pub fn woken_by(self, wake: Arc<Notify>) -> Self {
        Self { wake, ..self }
    }

    /// A pass may take so long before it is given up, dropped where it is, and begun again: what it legitimately takes
    /// when there is very much to do, or when what it asks is slow.
    #[must_use]
    pub fn patient_for(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// The name of its component.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Runs `pass` until told to stop. A pass that fails is said in the health and tried again after a pause that
    /// doubles from 100 ms to 30 s.
    pub(crate) async fn run<F, Fut>(
        self,
        stop: CancellationToken,
        health: HealthHandle,
        meter: Meter,
        pass: F,
    ) where
        F: FnMut() -> Fut + Send,
        Fut: Future<Output = anyhow::Result<()>>,
    {
        health.ok("not through yet");
        let report = health.report();
        let state = Passes {
            name: self.name,
            report: report.part("pass"),
            pulse: Pulse::default(),
            measures: Measures::new(&meter, self.name),
        };
        let pass = Mutex::new(pass);
        let begin = || (pass.lock().unwrap_or_else(PoisonError::into_inner))();
        let watchdog = Watchdog::new(self.name, self.patience, report.part("watchdog"));
        watchdog.over(&state.pulse, || state.repeat(&stop, &self.wake, self.period, &begin)).await;
    }
}

/// What remains when a pass is given up.
struct Passes {
    name: &'static str,
    report: bus::Report,
    pulse: Pulse,
    measures: Measures,
}

impl Passes {
    async fn repeat<Fut>(
        &self,
        stop: &CancellationToken,
        wake: &Notify,
        period: Duration,
        begin: &(impl Fn() -> Fut + Sync),
    ) where
        Fut: Future<Output = anyhow::Result<()>>,
    {
        let mut failures: u32 = 0;
        while !stop.is_cancelled() {
            self.pulse.works(|_| "a pass".to_owned());
            let pause = match begin().await {
                Ok(()) => {
                    failures = 0;
                    self.report.well("passes");
                    self.measures.passed();
                    period
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    let text = format!("{error:#}");
                    tracing::warn!(reconciler = self.name, error = text, failures, "pass failed");
                    self.report.unwell(trouble(&error), format!("a pass failed: {text}"));
                    self.measures.failed();
                    Duration::from_millis(100u64 << failures.min(9)).min(LONGEST_PAUSE)
                }
            };
            self.pulse.rests();
            tokio::select! {
                () = stop.cancelled() => {}
                () = wake.notified(), if failures == 0 => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

/// A database in trouble has a part of its own that says so, and keeps new work out; here it is the reason of a pass.
fn trouble(error: &anyhow::Error) -> Trouble {
    match error.downcast_ref::<StoreError>().map(Trouble::of_store) {
        // one that was locked for a moment is no reason to turn others away
        None | Some(Trouble::StoreLocked) => Trouble::Other,
        Some(trouble) => trouble,
    }
}

/// How a loop does.
struct Measures {
    failures: Counter<u64>,
    label: [KeyValue; 1],
    last: Arc<Mutex<Instant>>,
}

impl Measures {
    fn new(meter: &Meter, name: &'static str) -> Self {
        let (last, label) = (Arc::new(Mutex::new(Instant::now())), [KeyValue::new("loop", name)]);
        let (seen, labelled) = (Arc::downgrade(&last), label.clone());
        // asked when somebody looks: a loop that hangs records nothing
        meter
            .f64_observable_gauge("berth_loop_last_success_seconds")
            .with_description(
                "Time since the last pass of a reconciler that went well, or since its start, by loop.",
            )
            .with_callback(move |gauge| {
                if let Some(last) = seen.upgrade() {
                    let last = *last.lock().unwrap_or_else(PoisonError::into_inner);
                    gauge.observe(last.elapsed().as_secs_f64(), &labelled);
                }
            })
            .build();
        let failures = meter
            .u64_counter("berth_loop_failures")
            .with_description("Passes of reconcilers that failed, by loop.")
            .build();
        Self { failures, label, last }
    }

    fn passed(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn failed(&self) {
        self.failures.add(1, &self.label);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Health;
    use std::sync::atomic::{AtomicU32, Ordering};

    const PERIOD: Duration = Duration::from_secs(1);
    const PATIENCE: Duration = Duration::from_secs(15);

    /// Runs a loop whose n-th pass is `pass(n)`, until it has passed `passes` times. Answers what its health said, in
    /// order.
    async fn told<Fut>(passes: u32, pass: impl Fn(u32) -> Fut + Sync) -> Vec<(bool, String)>
    where
        Fut: Future<Output = anyhow::Result<()>>,
    {
        let (health, stop, count) = (Health::default(), CancellationToken::new(), AtomicU32::new(0));
        let meter = opentelemetry::global::meter("test");
        let plan = Loop::every(PERIOD, "test.loop").patient_for(PATIENCE);
        let running = plan.run(stop.clone(), health.component("test.loop"), meter, || {
            let number = count.fetch_add(1, Ordering::SeqCst);
            if number + 1 == passes {
                stop.cancel();
            }
            pass(number)
        });
        let mut told = Vec::new();
        let looking = async {
            loop {
                let now = health.all().first().map(|c| (c.healthy, c.detail.clone())).expect("the loop");
                if told.last() != Some(&now) {
                    told.push(now);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! { () = running => {} () = looking => {} }
        let now = health.all().first().map(|c| (c.healthy, c.detail.clone())).expect("the loop");
        told.push(now);
        told
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_fails_is_said_and_forgotten_with_the_next_good_one() {
        let told = told(4, async |number| {
            anyhow::ensure!(number != 1, "the shelf is empty");
            Ok(())
        })
        .await;
        let at = told.iter().position(|(well, _)| !well).expect("it was said");
        assert!(told[at].1.contains("the shelf is empty"), "{told:?}");
        assert_eq!(told.last(), Some(&(true, "passes".to_owned())), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_that_hangs_is_given_up_and_the_next_one_goes_well() {
        let told = told(40, async |number| {
            if number == 2 {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
        .await;
        let (_, detail) = told.iter().find(|(well, _)| !well).expect("it was said");
        assert!(detail.contains("hung for 15"), "{told:?}");
        assert!(told.last().is_some_and(|(well, _)| *well), "{told:?}");
    }
}
