//! The GPUs of each host, one by one.

use crate::resources::Gpus;

/// What is free of the GPUs of each host. A share is free only on one GPU, a whole one only where nobody has a share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::solver) struct GpuColumns {
    /// How many a host has.
    pub count: Vec<u32>,
    /// How many of them are entirely free.
    pub whole: Vec<u32>,
    /// Most thousandths that are free on one of them.
    pub most: Vec<u32>,
    /// Thousandths that are free on all of them.
    pub left: Vec<u32>,
    /// 1,000,000 / thousandths of all, in 16-bit fixed point, for scoring without dividing; 0 without GPUs.
    pub reciprocal: Vec<u64>,
    /// Thousandths that are taken of each. May be longer than `count`: GPUs may vanish under their holders.
    taken: Vec<Vec<u32>>,
    /// Thousandths that are free of each.
    free: Vec<Vec<u32>>,
}

impl GpuColumns {
    pub fn insert(&mut self, host: usize, count: u32) {
        for column in [&mut self.count, &mut self.whole, &mut self.most, &mut self.left] {
            column.insert(host, 0);
        }
        self.reciprocal.insert(host, 0);
        self.taken.insert(host, Vec::new());
        self.free.insert(host, Vec::new());
        self.set_count(host, count);
    }

    pub fn remove(&mut self, host: usize) {
        for column in [&mut self.count, &mut self.whole, &mut self.most, &mut self.left] {
            column.remove(host);
        }
        self.reciprocal.remove(host);
        self.taken.remove(host);
        self.free.remove(host);
    }

    pub fn set_count(&mut self, host: usize, count: u32) {
        self.count[host] = count;
        self.reciprocal[host] = (1000_u64 << 16).checked_div(u64::from(count)).unwrap_or(0);
        self.sum_up(host);
    }

    pub fn take(&mut self, host: usize, gpus: Gpus, indexes: &[u32]) {
        for index in indexes.iter().filter_map(|index| usize::try_from(*index).ok()) {
            let taken = &mut self.taken[host];
            if taken.len() <= index {
                taken.resize(index + 1, 0);
            }
            taken[index] = taken[index].saturating_add(gpus.milli);
        }
        self.sum_up(host);
    }

    pub fn give_back(&mut self, host: usize, gpus: Gpus, indexes: &[u32]) {
        for index in indexes.iter().filter_map(|index| usize::try_from(*index).ok()) {
            if let Some(taken) = self.taken[host].get_mut(index) {
                *taken = taken.saturating_sub(gpus.milli);
            }
        }
        while self.taken[host].last() == Some(&0) {
            self.taken[host].pop();
        }
        self.sum_up(host);
    }

    /// The GPUs that `gpus` gets on a host with room for it: whole ones in order; a share where the least is left,
    /// so that whole ones stay whole.
    pub fn choose(&self, host: usize, gpus: Gpus) -> Vec<u32> {
        let free = (0..self.count[host]).zip(self.free_of(host));
        if gpus.count == 1 && gpus.milli < Gpus::WHOLE {
            let fitting = free.filter(|(_, free)| *free >= gpus.milli);
            return fitting
                .min_by_key(|(index, free)| (*free, *index))
                .map(|(index, _)| index)
                .into_iter()
                .collect();
        }
        let wanted = usize::try_from(gpus.count).unwrap_or(usize::MAX);
        free.filter(|(_, free)| *free == Gpus::WHOLE).map(|(index, _)| index).take(wanted).collect()
    }

    /// What is free of the GPU on which [`Self::choose`] would put a share; 0: there is none with so much.
    pub fn least_with(&self, host: usize, milli: u32) -> u32 {
        self.free_of(host).filter(|free| *free >= milli).min().unwrap_or(0)
    }

    /// What is free of each.
    pub fn free_of(&self, host: usize) -> impl Iterator<Item = u32> + '_ {
        self.free[host].iter().copied()
    }

    fn sum_up(&mut self, host: usize) {
        let taken = self.taken[host].iter().copied().chain(std::iter::repeat(0));
        let each = (0..self.count[host]).zip(taken).map(|(_, taken)| Gpus::WHOLE.saturating_sub(taken));
        self.free[host].clear();
        self.free[host].extend(each);
        let (mut whole, mut most, mut left) = (0, 0, 0);
        for free in self.free_of(host) {
            whole += u32::from(free == Gpus::WHOLE);
            most = most.max(free);
            left += free;
        }
        (self.whole[host], self.most[host], self.left[host]) = (whole, most, left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: Gpus = Gpus { count: 1, milli: 400 };

    #[test]
    fn shares_fill_one_gpu_before_they_break_another() {
        let mut gpus = GpuColumns::default();
        gpus.insert(0, 2);
        assert_eq!(gpus.choose(0, SHARE), [0]);
        gpus.take(0, SHARE, &[0]);
        assert_eq!(gpus.choose(0, SHARE), [0], "600 are left there");
        gpus.take(0, SHARE, &[0]);
        assert_eq!(gpus.choose(0, SHARE), [1], "200 are not enough");
        assert_eq!(gpus.choose(0, Gpus { count: 1, milli: 1000 }), [1]);
        assert_eq!((gpus.whole[0], gpus.most[0], gpus.left[0]), (1, 1000, 1200));
        gpus.give_back(0, SHARE, &[0]);
        assert_eq!((gpus.whole[0], gpus.most[0], gpus.left[0]), (1, 1000, 1600));
    }

    #[test]
    fn gpus_that_vanish_are_not_free() {
        let mut gpus = GpuColumns::default();
        gpus.insert(0, 4);
        let two = Gpus { count: 2, milli: 1000 };
        gpus.take(0, two, &[0, 3]);
        gpus.set_count(0, 2);
        assert_eq!((gpus.whole[0], gpus.left[0]), (1, 1000));
        gpus.set_count(0, 4);
        assert_eq!((gpus.whole[0], gpus.choose(0, two)), (2, vec![1, 2]));
    }
}
