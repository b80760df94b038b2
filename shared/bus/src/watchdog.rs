//! Loops under watch: one that has work and gets nowhere is said to be unwell, with what it is at, and started again.
//!
//! A task that hangs says nothing, and whatever it was to do is late without an error. Its future is dropped where it
//! is, which by design is like `kill -9` at that line: transactions are rolled back, messages come again. Whoever keeps
//! something in memory distrusts it when it is started again.

use crate::{Report, Trouble};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a loop that has work may get nowhere.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// How many times the loop is looked at in this time.
const LOOKS: u32 = 10;

type Name = dyn Fn(usize) -> String + Send + Sync;

/// What a loop is at, for whoever watches it. Cheap to clone, and to touch for every message.
#[derive(Clone, Default)]
pub struct Pulse(Arc<State>);

#[derive(Default)]
struct State {
    beats: AtomicU64,
    item: AtomicUsize,
    work: Mutex<Option<Arc<Name>>>,
}

impl Pulse {
    /// The loop has work; `name` says what, given the number that was last handed to [`Self::at`].
    pub fn works(&self, name: impl Fn(usize) -> String + Send + Sync + 'static) {
        self.0.item.store(0, Ordering::Relaxed);
        self.set(Some(Arc::new(name)));
    }

    /// The loop has nothing to do.
    pub fn rests(&self) {
        self.set(None);
    }

    /// The loop got somewhere.
    pub fn beats(&self) {
        self.0.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// The loop got to this one of many things.
    pub fn at(&self, item: usize) {
        self.0.item.store(item, Ordering::Relaxed);
        self.beats();
    }

    /// What the loop is at; `None` when it rests.
    pub fn doing(&self) -> Option<String> {
        let name = self.0.work.lock().unwrap_or_else(PoisonError::into_inner).clone();
        name.map(|name| name(self.0.item.load(Ordering::Relaxed)))
    }

    fn set(&self, work: Option<Arc<Name>>) {
        *self.0.work.lock().unwrap_or_else(PoisonError::into_inner) = work;
        self.beats();
    }

    fn look(&self) -> (u64, bool) {
        let rests = self.0.work.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        (self.0.beats.load(Ordering::Relaxed), rests)
    }
}

/// Watches one loop.
pub struct Watchdog {
    name: String,
    patience: Duration,
    report: Report,
    restarts: Counter<u64>,
}

impl Watchdog {
    /// A loop of this name may get nowhere for `patience`; `report` is told when it does, and when it is well again.
    pub fn new(name: impl Into<String>, patience: Duration, report: Report) -> Self {
        let restarts = opentelemetry::global::meter("bus")
            .u64_counter("berth_loop_restarts")
            .with_description("Loops that had work, got nowhere and were started again, by loop.")
            .build();
        Self { name: name.into(), patience, report, restarts }
    }

    /// Runs what `start` makes until it ends, and starts another whenever one hangs.
    pub async fn over<F: Future>(self, pulse: &Pulse, mut start: impl FnMut() -> F) -> F::Output {
        let mut restarted = None;
        loop {
            let hangs = tokio::select! {
                biased;
                ended = start() => return ended,
                hangs = self.hangs(pulse, restarted) => hangs,
            };
            let doing = pulse.doing().unwrap_or_default();
            let since = hangs.elapsed();
            tracing::error!(r#loop = self.name, doing, ?since, "hangs; starting it again");
            self.report
                .unwell(Trouble::Stuck, format!("hung for {since:.1?} and was started again: {doing}"));
            self.restarts.add(1, &[KeyValue::new("loop", self.name.clone())]);
            pulse.rests();
            restarted = Some(Instant::now());
        }
    }

    /// Resolves when the loop hangs, with the time since when. A loop that was `restarted` is well again when it has not
    /// hung for as long as it may.
    async fn hangs(&self, pulse: &Pulse, mut restarted: Option<Instant>) -> Instant {
        let mut looks = tokio::time::interval((self.patience / LOOKS).max(Duration::from_millis(1)));
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut last, mut moved) = (pulse.look().0, Instant::now());
        loop {
            let asked = Instant::now();
            looks.tick().await;
            let (beats, rests) = pulse.look();
            let moves = rests || beats != last;
            if moves {
                (last, moved) = (beats, Instant::now());
            } else if asked.elapsed() > self.patience {
                // it was not the loop that stood still, but the process: it was stopped, or the machine slept
                moved = Instant::now();
            } else if moved.elapsed() >= self.patience {
                return moved;
            }
            if moves && restarted.is_some_and(|at| at.elapsed() >= self.patience) {
                restarted = None;
                self.report.well("working again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    type Told = Arc<Mutex<Vec<(bool, String)>>>;

    fn watchdog(patience: Duration) -> (Watchdog, Told) {
        let told = Told::default();
        let listener = told.clone();
        let report = Report::new(move |outcome, detail| {
            listener.lock().expect("lock").push((outcome.is_ok(), detail));
        });
        (Watchdog::new("test", patience, report), told)
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_hangs_is_named_and_started_again_and_is_well_when_it_moves() {
        let (watchdog, told) = watchdog(PATIENCE);
        let (pulse, runs) = (Pulse::default(), AtomicU32::new(0));
        let began = Instant::now();
        watchdog
            .over(&pulse, async || {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                pulse.works(|item| format!("message {item}"));
                pulse.at(7);
                if run == 0 {
                    std::future::pending::<()>().await;
                }
                for _ in 0..100 {
                    pulse.beats();
                    tokio::time::sleep(PATIENCE / 3).await;
                }
            })
            .await;
        let told = told.lock().expect("lock");
        assert_eq!(runs.load(Ordering::SeqCst), 2);
        assert!(!told[0].0 && told[0].1.contains("message 7"), "{told:?}");
        assert_eq!((told.len(), told[1].0), (2, true), "{told:?}");
        assert!(began.elapsed() > PATIENCE * 34, "the second run went on to its end");
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_rests_or_moves_is_left_alone() {
        let (watchdog, told) = watchdog(PATIENCE);
        let pulse = Pulse::default();
        watchdog
            .over(&pulse, async || {
                tokio::time::sleep(PATIENCE * 10).await;
                pulse.works(|_| "something long".to_owned());
                for _ in 0..10 {
                    tokio::time::sleep(PATIENCE / 2).await;
                    pulse.beats();
                }
                pulse.rests();
                tokio::time::sleep(PATIENCE * 10).await;
            })
            .await;
        assert_eq!(*told.lock().expect("lock"), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_hangs_again_and_again_is_never_said_to_be_well() {
        let (watchdog, told) = watchdog(PATIENCE);
        let (pulse, runs) = (Pulse::default(), AtomicU32::new(0));
        watchdog
            .over(&pulse, async || {
                if runs.fetch_add(1, Ordering::SeqCst) == 5 {
                    return;
                }
                // the message comes again a little later
                tokio::time::sleep(PATIENCE / 2).await;
                pulse.works(|_| "the same message".to_owned());
                std::future::pending::<()>().await;
            })
            .await;
        let told = told.lock().expect("lock");
        assert!(told.len() == 5 && told.iter().all(|(well, _)| !well), "{told:?}");
    }
}
