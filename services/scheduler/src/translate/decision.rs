//! Why an instance was placed there, or nowhere.

use super::names;
use contracts::scheduler::v1 as wire;
use kernel::Timestamp;
use scheduler_placement::instance::Instance;
use scheduler_placement::solver::Decision;

/// A decision about an instance; `instance` as it was before the decision took effect.
pub fn decision_out(instance: &Instance, from: &Decision, now: Timestamp) -> wire::PlacementDecision {
    let chosen = from.host();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let candidates = from.candidates.iter().map(|candidate| wire::Candidate {
        host_id: candidate.host.to_string(),
        host_name: candidate.name.clone(),
        score: candidate.score,
    });
    let rejections = from.rejections.iter().map(|rejection| wire::Rejection {
        host_id: rejection.host.to_string(),
        host_name: rejection.name.clone(),
        filter: rejection.filter.name().to_owned(),
        reason: rejection.reason.clone(),
    });
    let by_filter =
        from.rejected_by.iter().map(|(filter, number)| (filter.name().to_owned(), count(*number)));
    wire::PlacementDecision {
        instance_id: instance.id.to_string(),
        host_id: chosen.map(|host| host.host.to_string()).unwrap_or_default(),
        host_name: chosen.map(|host| host.name.clone()).unwrap_or_default(),
        policy: names::policy_out(from.policy),
        hosts_considered: count(from.considered),
        candidates: candidates.collect(),
        rejections: rejections.collect(),
        rejected_by_filter: by_filter.collect(),
        refusal: from.refusal.clone().map(Into::into),
        decided_at_us: now.micros(),
        generation: instance.generation + u64::from(chosen.is_some()),
        gpu_indexes: from.gpu_indexes.clone(),
    }
}
