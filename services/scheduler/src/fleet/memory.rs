//! The fleet with changes that are not committed yet, and how they are taken back.

use kernel::{HostId, InstanceId};
use scheduler_placement::solver::{Fleet, HostRow, Resident};
use std::collections::VecDeque;

/// What to bring back when a change is undone.
enum Before {
    Reservation(InstanceId, Option<Resident>),
    Host(HostId, Option<HostRow>),
}

struct Pending {
    number: u64,
    before: Before,
}

/// The fleet of one process.
#[derive(Default)]
pub(super) struct Memory {
    /// As committed at `version`, with all of `pending` on top.
    fleet: Fleet,
    /// None: never read.
    version: Option<i64>,
    /// Oldest first.
    pending: VecDeque<Pending>,
    /// The unit of work that has the lock and looked at the tables.
    holder: Option<u64>,
    changes: u64,
}

impl Memory {
    /// Ready for decisions.
    pub fn settled(&mut self) -> &Fleet {
        self.fleet.settle();
        &self.fleet
    }

    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    pub fn held_by(&self, work: u64) -> bool {
        self.holder == Some(work)
    }

    pub fn hold(&mut self, work: u64) {
        self.holder = Some(work);
    }

    /// The unit of work has ended.
    pub fn let_go(&mut self, work: u64) {
        self.holder = self.holder.filter(|holder| *holder != work);
    }

    /// The version to read on from. Changes of former holders that have not said how they ended are taken back: if
    /// they were committed, the tables tell.
    pub fn known(&mut self) -> Option<i64> {
        self.holder = None;
        self.undo_from(0);
        self.version
    }

    pub fn replace(&mut self, fleet: Fleet, version: i64) {
        self.pending.clear();
        self.fleet = fleet;
        self.version = Some(version);
    }

    pub fn follow_reservation(&mut self, instance: InstanceId, now: Option<Resident>) {
        set_reservation(&mut self.fleet, instance, now);
    }

    pub fn follow_host(&mut self, host: HostId, now: Option<HostRow>) {
        set_host(&mut self.fleet, host, now);
    }

    /// So many changes of others were taken in.
    pub fn followed(&mut self, changes: usize) {
        self.version =
            self.version.map(|version| version.saturating_add(i64::try_from(changes).unwrap_or(0)));
    }

    /// What the next change is noted under.
    pub fn next_version(&self) -> i64 {
        let pending = i64::try_from(self.pending.len()).unwrap_or(0);
        self.version.unwrap_or(0).saturating_add(pending).saturating_add(1)
    }

    pub fn change_reservation(&mut self, instance: InstanceId, now: Option<Resident>) -> u64 {
        let before = set_reservation(&mut self.fleet, instance, now);
        self.push(Before::Reservation(instance, before))
    }

    pub fn change_host(&mut self, host: HostId, now: Option<HostRow>) -> u64 {
        let before = set_host(&mut self.fleet, host, now);
        self.push(Before::Host(host, before))
    }

    fn push(&mut self, before: Before) -> u64 {
        self.changes += 1;
        self.pending.push_back(Pending { number: self.changes, before });
        self.changes
    }

    /// A change was committed. One that is no longer pending was judged by the tables meanwhile.
    pub fn commit(&mut self, number: u64) {
        while self.pending.front().is_some_and(|pending| pending.number <= number) {
            self.pending.pop_front();
            self.followed(1);
        }
    }

    /// A change was undone, and with it all that came after it.
    pub fn undo(&mut self, number: u64) {
        if let Some(place) = self.pending.iter().position(|pending| pending.number == number) {
            self.undo_from(place);
        }
    }

    fn undo_from(&mut self, place: usize) {
        while self.pending.len() > place {
            match self.pending.pop_back().map(|pending| pending.before) {
                Some(Before::Reservation(instance, before)) => {
                    set_reservation(&mut self.fleet, instance, before);
                }
                Some(Before::Host(host, before)) => {
                    set_host(&mut self.fleet, host, before);
                }
                None => {}
            }
        }
    }
}

fn set_reservation(fleet: &mut Fleet, instance: InstanceId, now: Option<Resident>) -> Option<Resident> {
    match now {
        Some(resident) => fleet.reserve(resident),
        None => fleet.release(instance),
    }
}

fn set_host(fleet: &mut Fleet, host: HostId, now: Option<HostRow>) -> Option<HostRow> {
    match now {
        Some(row) => fleet.put(row),
        None => fleet.remove(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::MilliVcpus;
    use scheduler_placement::resources::{Gpus, Resources};

    fn resident(instance: u128, host: u128) -> Resident {
        Resident {
            instance: InstanceId::from_u128(instance),
            host: HostId::from_u128(host),
            resources: Resources { vcpus: MilliVcpus(100), ..Resources::default() },
            affinity: None,
            anti_affinity: None,
            max_per_host: 0,
            gpus: Gpus::default(),
            gpu_indexes: Vec::new(),
        }
    }

    fn on(memory: &Memory) -> Vec<(u128, u128)> {
        let mut all: Vec<_> =
            memory.fleet.residents().map(|r| (r.instance.as_u128(), r.host.as_u128())).collect();
        all.sort_unstable();
        all
    }

    fn change(memory: &mut Memory, instance: u128, now: Option<Resident>) -> u64 {
        memory.change_reservation(InstanceId::from_u128(instance), now)
    }

    fn filled() -> Memory {
        let mut memory = Memory::default();
        memory.replace(Fleet::new(Vec::new(), [resident(1, 1)]), 7);
        memory
    }

    #[test]
    fn what_is_undone_is_taken_back_with_all_that_came_after_it() {
        let mut memory = filled();
        let kept = change(&mut memory, 2, Some(resident(2, 1)));
        // the message after it moves and releases, and is undone: told in the order in which they came
        let undone = [change(&mut memory, 2, Some(resident(2, 9))), change(&mut memory, 1, None)];
        assert_eq!(on(&memory), [(2, 9)]);
        undone.into_iter().for_each(|number| memory.undo(number));
        assert_eq!(on(&memory), [(1, 1), (2, 1)]);
        assert_eq!(memory.next_version(), 9);
        memory.commit(kept);
        assert_eq!(on(&memory), [(1, 1), (2, 1)]);
        assert_eq!(memory.version, Some(8));
    }

    #[test]
    fn the_tables_judge_what_nobody_has_told_of_yet() {
        let mut memory = filled();
        let late = change(&mut memory, 2, Some(resident(2, 1)));
        // somebody else holds the fleet before the first has told of its commit: the change is in the tables
        assert_eq!(memory.known(), Some(7));
        assert_eq!(on(&memory), [(1, 1)]);
        memory.follow_reservation(InstanceId::from_u128(2), Some(resident(2, 1)));
        memory.followed(1);
        let own = change(&mut memory, 3, Some(resident(3, 1)));
        memory.commit(late);
        assert_eq!(memory.version, Some(8), "it counts once");
        memory.undo(own);
        assert_eq!(on(&memory), [(1, 1), (2, 1)]);
    }

    #[test]
    fn who_holds_it_lets_go_of_it_and_nobody_else() {
        let mut memory = filled();
        memory.hold(1);
        memory.let_go(2);
        assert!(memory.held_by(1));
        memory.let_go(1);
        assert!(!memory.held_by(1));
    }
}
