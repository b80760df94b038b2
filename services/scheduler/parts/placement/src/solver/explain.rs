//! The second pass: the decision with its reasons.

use super::census::Census;
use super::decision::{Candidate, Decision, Filter, MAX_CANDIDATES, Rejection};
use super::filters;
use super::fleet::Fleet;
use super::request::{Prepared, Request};
use super::tally;
use kernel::Refusal;

/// Decides, and says why: how many hosts each filter ruled out, and which, when there is no host or few are there.
pub fn decide(fleet: &Fleet, request: &Request) -> Decision {
    let prepared = Prepared::new(fleet, request);
    let best = super::best(fleet, &prepared, MAX_CANDIDATES);
    let index = best.first().map(|(_, host)| *host as usize);
    let named = Decision::named(index.is_some(), fleet.len());
    let counts = if named == 0 { tally::counts(fleet, &prepared) } else { None };
    // who is named must be looked for
    let census = counts.is_none().then(|| Census::of(fleet, &prepared));
    let counts = counts.or(census.as_ref().map(Census::counts)).unwrap_or_default();
    let by_filter = Filter::ALL.into_iter().map(|filter| (filter, counts[filter as usize]));
    let rejected_by: Vec<(Filter, usize)> = by_filter.filter(|(_, count)| *count > 0).collect();
    let rejected = || census.iter().flat_map(Census::rejected);
    let refusal = index.is_none().then(|| {
        let scarce =
            census.as_ref().map_or_else(Scarce::default, |census| Scarce::of(fleet, &prepared, census));
        refusal(request, &rejected_by, scarce)
    });
    let candidate = |(score, host): (i64, u32)| {
        let row = fleet.host(host as usize);
        Candidate { host: row.id, name: row.name.clone(), score }
    };
    Decision {
        index,
        driver: index.and_then(|host| Fleet::driver_of(prepared.able(fleet.traits[host]))),
        gpu_indexes: index.map(|host| fleet.choose_gpus(host, request.gpus)).unwrap_or_default(),
        policy: request.policy,
        considered: fleet.len(),
        candidates: best.into_iter().map(candidate).collect(),
        rejections: rejected().take(named).map(|host| rejection(fleet, &prepared, host)).collect(),
        rejected_by,
        refusal,
    }
}

fn rejection(fleet: &Fleet, prepared: &Prepared<'_>, host: usize) -> Rejection {
    let row = fleet.host(host);
    let filter = filters::first_against(fleet, prepared, host).unwrap_or(Filter::Capacity);
    let reason = filters::reason(filter, fleet, prepared, host);
    Rejection { host: row.id, name: row.name.clone(), filter, reason }
}

/// What the hosts lack that were ruled out for room.
#[derive(Debug, Clone, Copy, Default)]
struct Scarce {
    /// Most of all CPUs, memory, disk.
    kinds: [usize; 3],
    /// Have no GPU at all.
    without_gpu: usize,
}

impl Scarce {
    fn of(fleet: &Fleet, prepared: &Prepared<'_>, census: &Census) -> Self {
        let mut scarce = Self::default();
        let without_gpu = |host: &usize| fleet.gpus.count[*host] == 0;
        scarce.without_gpu = census.rejected_by(Filter::Gpu).filter(without_gpu).count();
        for host in census.rejected_by(Filter::Capacity) {
            if let Some(kind) = filters::scarcest(fleet, prepared, host) {
                scarce.kinds[kind] += 1;
            }
        }
        scarce
    }
}

fn refusal(request: &Request, rejected_by: &[(Filter, usize)], scarce: Scarce) -> Refusal {
    if rejected_by.is_empty() {
        return Refusal::new("NO_HOSTS", "no host has reported to this platform yet");
    }
    let mut reasons: Vec<(usize, String)> = Vec::new();
    for (filter, count) in rejected_by {
        if *filter == Filter::Capacity {
            let lack = |(count, what): (usize, &str)| (count, counted(count, "lacks", "lack", what));
            let kinds = scarce.kinds.into_iter().zip(["CPUs", "memory", "disk"]);
            reasons.extend(kinds.filter(|(count, _)| *count > 0).map(lack));
        } else if *filter == Filter::Gpu {
            let (none, busy) = (scarce.without_gpu, count - scarce.without_gpu);
            let kinds = [(none, counted(none, "has", "have", "no GPU")), (busy, told(*filter, busy))];
            reasons.extend(kinds.into_iter().filter(|(count, _)| *count > 0));
        } else {
            reasons.push((*count, told(*filter, *count)));
        }
    }
    // the most frequent reason first; equal ones stay in the order of the filters
    reasons.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let reasons: Vec<String> = reasons.into_iter().map(|(_, text)| text).collect();
    let room = rejected_by.iter().any(|(filter, count)| match filter {
        Filter::Capacity => true,
        Filter::Gpu => *count > scarce.without_gpu,
        _ => false,
    });
    let code = if room { "NO_HOST_HAS_ROOM" } else { "NO_HOST_FITS" };
    let verb = if room { "has room for" } else { "can take" };
    let mut message = format!("no host {verb} {}", request.resources);
    if request.gpus.count > 0 {
        message += &format!(", {}", request.gpus);
    }
    Refusal::new(code, message).because(reasons)
}

fn counted(count: usize, one: &str, many: &str, rest: &str) -> String {
    if count == 1 { format!("1 host {one} {rest}") } else { format!("{count} hosts {many} {rest}") }
}

fn told(filter: Filter, count: usize) -> String {
    match filter {
        Filter::State => counted(count, "is", "are", "unreachable"),
        Filter::Cordon => counted(count, "is", "are", "cordoned"),
        Filter::Driver => counted(count, "lacks", "lack", "the driver"),
        Filter::Image => counted(count, "cannot", "cannot", "boot the image"),
        Filter::Labels => counted(count, "has", "have", "the wrong labels"),
        Filter::Affinity => counted(count, "is", "are", "not where the affinity group is"),
        Filter::AntiAffinity => {
            counted(count, "has", "have", "as many members of the anti-affinity group as may be")
        }
        Filter::FailedBefore => counted(count, "could", "could", "not start it before"),
        Filter::Gpu => counted(count, "lacks", "lack", "free GPUs"),
        Filter::Capacity => counted(count, "lacks", "lack", "room"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_reason_comes_first() {
        let request = super::super::properties::plain_request();
        let counts = [(Filter::State, 1), (Filter::Cordon, 2), (Filter::Capacity, 14)];
        let refusal = refusal(&request, &counts, Scarce { kinds: [0, 13, 1], without_gpu: 0 });
        assert_eq!(refusal.code, "NO_HOST_HAS_ROOM");
        assert_eq!(
            refusal.reasons,
            ["13 hosts lack memory", "2 hosts are cordoned", "1 host is unreachable", "1 host lacks disk"]
        );
    }

    #[test]
    fn an_empty_fleet_says_so() {
        let decision = decide(&Fleet::default(), &super::super::properties::plain_request());
        assert_eq!(decision.refusal.map(|refusal| refusal.code), Some("NO_HOSTS".to_owned()));
    }
}
