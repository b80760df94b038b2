//! Who waits for an operation learns at once that it changed.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, broadcast};

/// Changes that may wait for a slow listener; one that lags looks into the table.
const BACKLOG: usize = 1024;

/// How often a waiter looks into the table although nobody woke it: another replica may have written.
const POLL: Duration = Duration::from_secs(1);

/// Tells waiters in this process of changed operations, and the staging area of images that changed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Wakeups {
    changes: broadcast::Sender<String>,
    staging: Arc<Notify>,
}

impl Default for Wakeups {
    fn default() -> Self {
        Self { changes: broadcast::channel(BACKLOG).0, staging: Arc::default() }
    }
}

impl Wakeups {
    /// The operation, or object, of this id changed.
    pub fn changed(&self, id: String) {
        // nobody waits: nobody to tell
        let _ = self.changes.send(id);
    }

    /// Begins to listen: what changes from now on is not missed.
    pub fn listen(&self) -> Listener {
        Listener(self.changes.subscribe())
    }

    /// Woken when an image changed: its uploads may be of no more use.
    pub fn staging(&self) -> Arc<Notify> {
        self.staging.clone()
    }
}

/// A waiter.
pub struct Listener(broadcast::Receiver<String>);

impl Listener {
    /// Returns when `id` changed, or after a while: the caller looks again either way.
    pub async fn changed(&mut self, id: &str) {
        let heard = async {
            loop {
                match self.0.recv().await {
                    Ok(changed) if changed == id => return,
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Lagged(_)) => return,
                    Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
                }
            }
        };
        let _ = tokio::time::timeout(POLL, heard).await;
    }
}
