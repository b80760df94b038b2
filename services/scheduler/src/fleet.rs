//! All hosts and reservations in memory, exactly as they are in the tables, whoever writes there.
//!
//! Who changes a host or a reservation *holds* the fleet first: it takes the placement lock, which all schedulers on
//! the database share, and reads the changes that others committed since it looked last. From then until its
//! transaction ends the fleet in memory is the one its transaction sees. Its own changes go into the memory at once,
//! so that the next message of a batch decides by them, and are taken back when the message or the whole transaction
//! is undone. Both are paid once for a batch of messages.

mod memory;

use crate::metrics::Metrics;
use crate::store::fleet::{self as table, Changed};
use ::store::Store;
use bus::{End, Failure, Work};
use kernel::{HostId, InstanceId};
use memory::Memory;
use scheduler_placement::solver::{Fleet, HostRow, Resident};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// With more changes than this it is cheaper to read everything.
const CATCH_UP: usize = 2_000;

/// The fleet of this process. Cheap to clone.
#[derive(Clone)]
pub struct FleetMemory {
    store: Store,
    memory: Arc<Mutex<Memory>>,
}

impl FleetMemory {
    /// Reads the tables when it is held for the first time.
    pub fn new(store: Store) -> Self {
        Self { store, memory: Arc::default() }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here until the work ends nobody else changes a host or a reservation, and the fleet in memory is the one
    /// in the tables. To be called before anything is written that others may need: who waits here holds nothing.
    pub async fn hold(&self, work: &mut Work, metrics: &Metrics) -> Result<(), Failure> {
        let id = work.id();
        if self.memory().held_by(id) {
            return Ok(());
        }
        self.store.lock(work.tx(), table::PLACEMENT).await?;
        // whoever held it before has ended; what it left behind is judged by the tables
        let known = self.memory().known();
        let changes = match known {
            Some(version) => table::since(work.tx(), version, CATCH_UP).await?,
            None => None,
        };
        match changes {
            None => {
                let (fleet, version) = (table::load(work.tx()).await?, table::newest(work.tx()).await?);
                self.memory().replace(fleet, version);
                metrics.fleet_read("whole");
            }
            Some(changes) => {
                for changed in &changes {
                    match *changed {
                        Changed::Reservation(id) => {
                            let now = table::resident(work.tx(), id).await?;
                            self.memory().follow_reservation(id, now);
                        }
                        Changed::Host(id) => {
                            let now = table::host(work.tx(), id).await?;
                            self.memory().follow_host(id, now);
                        }
                    }
                }
                self.memory().followed(changes.len());
                if !changes.is_empty() {
                    metrics.fleet_read("changes");
                }
            }
        }
        self.memory().hold(id);
        let fleet = self.clone();
        work.at_end(move |_| fleet.memory().let_go(id));
        Ok(())
    }

    /// Looks at the fleet. What one decides by it is right only while the fleet is held.
    pub fn read<T>(&self, look: impl FnOnce(&Fleet) -> T) -> T {
        look(self.memory().settled())
    }

    /// The process that answers for a host, if the work holds the fleet and the host is known.
    pub fn agent_of(&self, work: &Work, host: HostId) -> Option<String> {
        let memory = self.memory();
        if !memory.held_by(work.id()) {
            return None;
        }
        let fleet = memory.fleet();
        fleet.index_of(host).map(|index| fleet.host(index).agent_id.clone())
    }

    /// An instance holds this now; its row says so when the work is committed. Hold the fleet before.
    pub fn reserved(&self, work: &mut Work, instance: InstanceId, now: Option<Resident>) {
        let version = self.memory().next_version();
        table::note(work, version, Changed::Reservation(instance));
        let change = self.memory().change_reservation(instance, now);
        self.settle(work, change);
    }

    /// A host is this now; its row says so already. Hold the fleet before.
    pub fn changed(&self, work: &mut Work, host: HostId, now: Option<HostRow>) {
        let version = self.memory().next_version();
        table::note(work, version, Changed::Host(host));
        let change = self.memory().change_host(host, now);
        self.settle(work, change);
    }

    fn settle(&self, work: &mut Work, change: u64) {
        let fleet = self.clone();
        work.at_end(move |end| match end {
            End::Committed => fleet.memory().commit(change),
            End::Undone => fleet.memory().undo(change),
        });
    }
}
