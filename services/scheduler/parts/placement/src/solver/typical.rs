//! What those who have GPUs asked for: the best guess of what will be asked for next.

use super::fleet::{GpuColumns, coarse};
use super::rows::Resident;
use crate::resources::Gpus;
use std::collections::BTreeMap;

/// How many kinds of request are looked at; the rarer ones hardly change the sum.
const MOST: usize = 8;
/// Shares of a GPU that differ by less than this are one kind.
const TENTH: u32 = 100;

/// All who have GPUs, by kind: how many GPUs, and which share of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    by_kind: BTreeMap<(u32, u32), Sums>,
    /// The most frequent kinds first.
    pub typical: Vec<Typical>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    instances: u64,
    milli: u64,
    cpus: u64,
    memory: u64,
}

/// One kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Typical {
    /// Thousandths of one GPU; [`Gpus::WHOLE`] of several.
    pub milli: u32,
    /// How many.
    pub count: u32,
    /// The mean, in thousandths of a CPU.
    pub cpus: u64,
    /// The mean, in MiB.
    pub memory: u64,
    /// Millionths of all requests that are looked at.
    pub weight: i64,
}

impl Asked {
    pub fn join(&mut self, resident: &Resident) {
        self.change(resident, u64::saturating_add);
    }

    pub fn leave(&mut self, resident: &Resident) {
        self.change(resident, u64::saturating_sub);
    }

    fn change(&mut self, resident: &Resident, by: fn(u64, u64) -> u64) {
        let Gpus { count, milli } = resident.gpus;
        if count == 0 || milli == 0 {
            return;
        }
        let kind = (count, milli.div_ceil(TENTH));
        let sums = self.by_kind.entry(kind).or_default();
        let [cpus, memory, _] = resident.resources.amounts();
        sums.instances = by(sums.instances, 1);
        sums.milli = by(sums.milli, u64::from(milli));
        sums.cpus = by(sums.cpus, cpus);
        sums.memory = by(sums.memory, coarse(1, memory));
        if sums.instances == 0 {
            self.by_kind.remove(&kind);
        }
        let mut all: Vec<(&(u32, u32), &Sums)> = self.by_kind.iter().collect();
        // stable: of equally frequent ones the smaller first
        all.sort_by_key(|(_, sums)| std::cmp::Reverse(sums.instances));
        all.truncate(MOST);
        let sum: u64 = all.iter().map(|(_, sums)| sums.instances).sum();
        let typical = all.into_iter().map(|((count, _), sums)| Typical {
            milli: u32::try_from(sums.milli / sums.instances).unwrap_or(Gpus::WHOLE),
            count: *count,
            cpus: sums.cpus / sums.instances,
            memory: sums.memory / sums.instances,
            weight: i64::try_from(u128::from(sums.instances) * 1_000_000 / u128::from(sum)).unwrap_or(0),
        });
        self.typical = typical.collect();
    }
}

impl Typical {
    /// Thousandths of GPUs that requests of this kind can have of a host where so many are of use to them, with so many
    /// CPUs (thousandths) and so much memory (MiB) free. Never more when less is free.
    pub fn usable(&self, of_gpus: u64, cpus: u64, memory: u64) -> u64 {
        let each = self.each();
        // where there is enough for all no division is needed
        let by = |free: u64, asked: u64| {
            if free.saturating_mul(each) >= of_gpus.saturating_mul(asked) {
                of_gpus
            } else {
                free / asked * each
            }
        };
        by(cpus, self.cpus).min(by(memory, self.memory))
    }

    fn each(&self) -> u64 {
        u64::from(self.count) * u64::from(self.milli)
    }
}

/// What a request takes of a host's GPUs: whole ones, or a share of one of which so much was free.
pub(super) struct Taken {
    gpus: Gpus,
    free: u32,
}

impl Taken {
    pub fn of(columns: &GpuColumns, host: usize, gpus: Gpus) -> Self {
        let shared = gpus.count == 1 && gpus.milli < Gpus::WHOLE;
        Self { gpus, free: if shared { columns.least_with(host, gpus.milli) } else { Gpus::WHOLE } }
    }

    /// Thousandths of the host's GPUs that are of use to typical requests, before and after.
    pub fn of_use(&self, columns: &GpuColumns, host: usize, typical: &Typical) -> [u64; 2] {
        let stays = self.free.saturating_sub(self.gpus.milli);
        if typical.milli == Gpus::WHOLE {
            let whole = columns.whole[host];
            let broken = if self.free == Gpus::WHOLE { self.gpus.count } else { 0 };
            let in_whole = |whole: u32| u64::from(whole / typical.count) * typical.each();
            return [in_whole(whole), in_whole(whole.saturating_sub(broken))];
        }
        let of_use = |free: u32| if free >= typical.milli { u64::from(free) } else { 0 };
        // small numbers without jumps, several at a time
        let before: u32 =
            columns.free_of(host).map(|free| if free >= typical.milli { free } else { 0 }).sum();
        let before = u64::from(before);
        let lost = (of_use(self.free) - of_use(stays)) * u64::from(self.gpus.count);
        [before, before.saturating_sub(lost)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_without_cpus_or_memory_are_of_no_use() {
        let two = Typical { milli: 1000, count: 2, cpus: 16_000, memory: 1024, weight: 1_000_000 };
        assert_eq!(two.usable(8000, 64_000, 1 << 20), 8000, "enough for all four");
        assert_eq!(two.usable(8000, 40_000, 1 << 20), 4000, "CPUs for two of them");
        assert_eq!(two.usable(8000, 64_000, 1023), 0, "memory for none");
    }
}
