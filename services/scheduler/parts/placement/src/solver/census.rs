//! How many hosts each filter rules out, over the whole fleet: one pass without jumps over columns of small numbers, which
//! the compiler turns into vector instructions; then what only some requests ask is laid over it.

use super::decision::Filter;
use super::filters;
use super::fleet::{Fleet, KINDS, bit};
use super::request::Prepared;
use super::tally::Counts;

/// No filter is against the host. Any filter's number is lower, so that the first filter is the least number.
const NONE: u8 = u8::MAX;
/// Hosts whose numbers are added up in one byte.
const BYTES: usize = 255;

/// The first filter against each host.
pub(super) struct Census {
    /// By host: the number of the filter, or [`NONE`].
    verdicts: Vec<u8>,
}

impl Census {
    /// Asks every filter of every host.
    pub fn of(fleet: &Fleet, prepared: &Prepared<'_>) -> Self {
        let verdicts = match prepared.lanes() {
            Some(asked) => {
                let mut verdicts = plain(fleet, prepared, asked);
                lay_over(fleet, prepared, &mut verdicts);
                verdicts
            }
            None => {
                let verdict =
                    |host| filters::first_against(fleet, prepared, host).map_or(NONE, |filter| filter as u8);
                (0..fleet.len()).map(verdict).collect()
            }
        };
        Self { verdicts }
    }

    /// How many hosts each filter rules out.
    pub fn counts(&self) -> Counts {
        Filter::ALL.map(|filter| self.count(filter))
    }

    fn count(&self, filter: Filter) -> usize {
        let number = filter as u8;
        let in_chunk = |chunk: &[u8]| chunk.iter().map(|verdict| u8::from(*verdict == number)).sum::<u8>();
        self.verdicts.chunks(BYTES).map(|chunk| usize::from(in_chunk(chunk))).sum()
    }

    /// The hosts that this filter rules out, in order.
    pub fn rejected_by(&self, filter: Filter) -> impl Iterator<Item = usize> + '_ {
        let verdicts = self.verdicts.iter().enumerate();
        verdicts.filter(move |(_, verdict)| **verdict == filter as u8).map(|(host, _)| host)
    }

    /// The hosts that are ruled out, in order.
    pub fn rejected(&self) -> impl Iterator<Item = usize> + '_ {
        let numbered = self.verdicts.chunks(BYTES).enumerate();
        // most parts of most fleets have none: they are passed by as a whole
        let with_any =
            numbered.filter(|(_, chunk)| chunk.iter().fold(NONE, |all, verdict| all & verdict) != NONE);
        with_any.flat_map(|(number, chunk)| {
            let hosts = (number * BYTES..).zip(chunk);
            hosts.filter(|(_, verdict)| **verdict != NONE).map(|(host, _)| host)
        })
    }
}

/// Every filter that is a comparison of numbers.
fn plain(fleet: &Fleet, prepared: &Prepared<'_>, asked: [u32; KINDS]) -> Vec<u8> {
    let count = fleet.len();
    let [cpus, memory, disk] = [0, 1, 2].map(|kind: usize| &fleet.lanes[kind][..count]);
    let (traits, architecture) = (&fleet.traits[..count], &fleet.architecture[..count]);
    let (whole, most) = (&fleet.gpus.whole[..count], &fleet.gpus.most[..count]);
    let any_architecture = prepared.architecture.is_none();
    let wanted = prepared.architecture.unwrap_or(u16::MAX);
    let (drivers, boots) = (prepared.drivers, prepared.boots);
    let mut verdicts = vec![NONE; count];
    for host in 0..count {
        let traits = traits[host];
        let has = (traits >> bit::HAS) & drivers;
        let able = has & (traits >> boots);
        let fits = (cpus[host] >= asked[0]) & (memory[host] >= asked[1]) & (disk[host] >= asked[2]);
        let gpus = (whole[host] >= prepared.gpus_whole) & (most[host] >= prepared.gpu_share);
        let right = any_architecture | (architecture[host] == wanted);
        let mut verdict = NONE;
        verdict = if fits { verdict } else { Filter::Capacity as u8 };
        verdict = if gpus { verdict } else { Filter::Gpu as u8 };
        verdict = if right & (able != 0) { verdict } else { Filter::Image as u8 };
        verdict = if has != 0 { verdict } else { Filter::Driver as u8 };
        verdict = if traits & bit::OPEN != 0 { verdict } else { Filter::Cordon as u8 };
        verdict = if traits & bit::UP != 0 { verdict } else { Filter::State as u8 };
        verdicts[host] = verdict;
    }
    verdicts
}

/// The filters that speak of single hosts.
fn lay_over(fleet: &Fleet, prepared: &Prepared<'_>, verdicts: &mut [u8]) {
    if prepared.any_label {
        fleet.with_wrong_labels(prepared.request, |host| against(verdicts, host, Filter::Labels));
    }
    if let Some(together) = &prepared.together {
        let mut next = 0;
        for host in together.iter().map(|host| *host as usize).chain([verdicts.len()]) {
            (next..host).for_each(|elsewhere| against(verdicts, elsewhere, Filter::Affinity));
            next = host + 1;
        }
    }
    prepared.apart.iter().for_each(|host| against(verdicts, *host as usize, Filter::AntiAffinity));
    prepared.failed.iter().for_each(|host| against(verdicts, *host as usize, Filter::FailedBefore));
}

fn against(verdicts: &mut [u8], host: usize, filter: Filter) {
    verdicts[host] = verdicts[host].min(filter as u8);
}
