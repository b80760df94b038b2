//! Tasks of a process, stopped in order: first what lets work in, then what does it, last what says it was done.

use std::future::Future;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// When a task is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Servers.
    Intake,
    /// Runners and reconcilers.
    Work,
    /// Relays, health and metrics.
    Relay,
}

const STAGES: [Stage; 3] = [Stage::Intake, Stage::Work, Stage::Relay];
/// A stage that does not end in this time is left behind: everything it does may be cut off at any line.
const PATIENCE: Duration = Duration::from_secs(10);

/// The tasks of a process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    stages: [(CancellationToken, TaskTracker); 3],
    failed: CancellationToken,
}

impl Tasks {
    /// Starts a task. It gets the token that tells it to stop. A task that ends before that takes the process down:
    /// half a service is worse than a restart.
    pub fn spawn<F, Fut>(&self, stage: Stage, name: &str, task: F)
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (token, tracker) = &self.stages[stage as usize];
        let (future, token, failed) = (task(token.clone()), token.clone(), self.failed.clone());
        let name = name.to_owned();
        tracker.spawn(async move {
            let outcome = tokio::spawn(future).await;
            if !token.is_cancelled() {
                tracing::error!(task = name, panicked = outcome.is_err(), "ended without being told to");
                failed.cancel();
            }
        });
    }

    /// Resolves when a task ended without being told to.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Stops all tasks, stage by stage.
    pub async fn stop(&self) {
        for stage in STAGES {
            let (token, tracker) = &self.stages[stage as usize];
            token.cancel();
            tracker.close();
            if tokio::time::timeout(PATIENCE, tracker.wait()).await.is_err() {
                tracing::warn!(?stage, left = tracker.len(), "did not stop in time");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[tokio::test]
    async fn stages_end_in_order() {
        let tasks = Tasks::default();
        let ended = Arc::new(Mutex::new(Vec::new()));
        for stage in [Stage::Relay, Stage::Intake, Stage::Work] {
            let ended = ended.clone();
            tasks.spawn(stage, "t", move |stop| async move {
                stop.cancelled().await;
                tokio::task::yield_now().await;
                ended.lock().expect("lock").push(stage);
            });
        }
        tasks.stop().await;
        assert_eq!(*ended.lock().expect("lock"), vec![Stage::Intake, Stage::Work, Stage::Relay]);
    }

    #[tokio::test]
    async fn a_task_that_dies_is_noticed() {
        let tasks = Tasks::default();
        tasks.spawn(Stage::Work, "short", |_| async { panic!("as planned") });
        tokio::time::timeout(Duration::from_secs(5), tasks.failed()).await.expect("noticed");
    }
}
