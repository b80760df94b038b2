//! `berth instance explain`: decisions in words.

use super::show::phase;
use crate::output::{local_time, refusal_line, word};
use contracts::gateway::v1::{ExplainInstanceResponse, PreviewInstanceResponse, Waiting};
use contracts::scheduler::v1::{PlacementDecision, PlacementPolicy, Rejection};
use std::collections::BTreeMap;

/// Rejections of one filter shown one by one; the rest is counted.
const SHOWN_HOSTS: usize = 5;

pub(super) fn explain(answer: &ExplainInstanceResponse) -> String {
    let instance = answer.instance.clone().unwrap_or_default();
    let place =
        if instance.host_name.is_empty() { String::new() } else { format!(" on {}", instance.host_name) };
    let mut text = format!("{} is {}{place}.\n", instance.name, phase(&instance));
    let why = refusal_line(instance.refusal.as_ref());
    if !why.is_empty() {
        text += &format!("Because {why}.\n");
    }
    text += &answer.waiting.as_ref().map(waits).unwrap_or_default();
    if !instance.hypervisor_state.is_empty() {
        text += &format!("Its hypervisor says: {}.\n", instance.hypervisor_state);
    }
    if answer.decisions.is_empty() {
        text += "No host has been chosen or ruled out for it yet.\n";
    }
    for (index, decision) in answer.decisions.iter().enumerate() {
        text += if index == 0 { "\nThe newest decision, " } else { "\nBefore that, " };
        text += &decided(decision);
    }
    text
}

/// That others may come before it, and how many did.
fn waits(waiting: &Waiting) -> String {
    let rule = "Room is not held back for what waits";
    let whose = if waiting.of_all_tenants { "" } else { " of this tenant" };
    match waiting.overtaken_by {
        0 => format!("{rule}: a smaller one that is asked for later may be placed before it.\n"),
        1 => format!("{rule}: 1 smaller instance{whose}, asked for later, was placed before it.\n"),
        many => format!("{rule}: {many} smaller instances{whose}, asked for later, were placed before it.\n"),
    }
}

/// What would become of an instance of this name.
pub(super) fn preview(name: &str, answer: &PreviewInstanceResponse) -> String {
    match &answer.decision {
        None => format!("{name} would not be accepted.\n"),
        Some(decision) if answer.fits && decision.host_name.is_empty() => {
            format!("{name} would fit.\n{}", decided(decision))
        }
        Some(decision) if answer.fits => {
            format!("{name} would fit on {}.\n{}", decision.host_name, decided(decision))
        }
        Some(decision) => format!("{name} would wait for a host.\n{}", decided(decision)),
    }
}

fn decided(decision: &PlacementDecision) -> String {
    let at = local_time(decision.decided_at_us);
    let policy = word(decision.policy().as_str_name(), "PLACEMENT_POLICY_");
    let considered = counted(u64::from(decision.hosts_considered), "host was", "hosts were");
    let mut text = format!("{at}: {considered} considered, policy {policy}.\n");
    if decision.host_id.is_empty() {
        let why = refusal_line(decision.refusal.as_ref());
        text += &match why.is_empty() {
            true => "  No host would do.\n".to_owned(),
            false => format!("  No host would do: {why}.\n"),
        };
    } else {
        text += &format!("  {} was chosen.\n", decision.host_name);
    }
    if !decision.candidates.is_empty() {
        let by = match decision.policy() {
            PlacementPolicy::Pack => " (what the instance would waste there counts against a host)",
            _ => "",
        };
        text += &format!("  Hosts that would do, best first{by}:\n");
        for candidate in &decision.candidates {
            let mark = if candidate.host_id == decision.host_id { "  <- chosen" } else { "" };
            text += &format!("    {} scored {}{mark}\n", candidate.host_name, candidate.score);
        }
    }
    text + &ruled_out(decision)
}

fn ruled_out(decision: &PlacementDecision) -> String {
    let mut by_filter: BTreeMap<&str, Vec<&Rejection>> = BTreeMap::new();
    for rejection in &decision.rejections {
        by_filter.entry(rejection.filter.as_str()).or_default().push(rejection);
    }
    for filter in decision.rejected_by_filter.keys() {
        by_filter.entry(filter.as_str()).or_default();
    }
    let mut text = String::new();
    for (filter, rejections) in by_filter {
        let listed = u32::try_from(rejections.len()).unwrap_or(u32::MAX);
        let count = decision.rejected_by_filter.get(filter).copied().unwrap_or(listed);
        let hosts = counted(u64::from(count), "host was", "hosts were");
        // of a decision that found a host in a large fleet the others are only counted
        let end = if rejections.is_empty() { '.' } else { ':' };
        text += &format!("  {hosts} ruled out by {filter}{end}\n");
        for rejection in rejections.iter().take(SHOWN_HOSTS) {
            text += &format!("    {}: {}\n", rejection.host_name, rejection.reason);
        }
        let shown = rejections.len().min(SHOWN_HOSTS) as u64;
        let more = u64::from(count).saturating_sub(shown);
        if more > 0 && shown > 0 {
            text += &format!("    and {more} more\n");
        }
    }
    text
}

fn counted(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::common::v1::Refusal;
    use contracts::scheduler::v1::{Candidate, Instance};

    fn rejection(host: &str, filter: &str, reason: &str) -> Rejection {
        Rejection {
            host_id: host.into(),
            host_name: host.into(),
            filter: filter.into(),
            reason: reason.into(),
        }
    }

    #[test]
    fn a_choice_is_told_with_scores_and_reasons() {
        let decision = PlacementDecision {
            host_id: "a".into(),
            host_name: "host-a".into(),
            policy: 2,
            hosts_considered: 9,
            candidates: vec![
                Candidate { host_id: "a".into(), host_name: "host-a".into(), score: 90 },
                Candidate { host_id: "b".into(), host_name: "host-b".into(), score: 40 },
            ],
            rejections: vec![rejection("c", "capacity", "1 GiB memory free, 2 GiB needed")],
            rejected_by_filter: [("capacity".to_owned(), 6), ("cordon".to_owned(), 1)].into(),
            ..PlacementDecision::default()
        };
        let instance =
            Instance { name: "web-1".into(), phase: 4, host_name: "host-a".into(), ..Instance::default() };
        let text = explain(&ExplainInstanceResponse {
            instance: Some(instance),
            decisions: vec![decision],
            waiting: None,
        });
        assert_eq!(
            text,
            "web-1 is ready on host-a.\n\n\
             The newest decision, -: 9 hosts were considered, policy spread.\n\
             \x20 host-a was chosen.\n\
             \x20 Hosts that would do, best first:\n\
             \x20   host-a scored 90  <- chosen\n\
             \x20   host-b scored 40\n\
             \x20 6 hosts were ruled out by capacity:\n\
             \x20   c: 1 GiB memory free, 2 GiB needed\n\
             \x20   and 5 more\n\
             \x20 1 host was ruled out by cordon.\n"
        );
    }

    #[test]
    fn a_guest_that_stands_still_is_explained() {
        let refusal = Refusal {
            code: "GUEST_SUSPENDED".into(),
            message: "the guest suspended itself".into(),
            reasons: vec![],
        };
        let instance = Instance {
            name: "web-1".into(),
            phase: 7,
            refusal: Some(refusal),
            hypervisor_state: "pmsuspended".into(),
            ..Instance::default()
        };
        let text =
            explain(&ExplainInstanceResponse { instance: Some(instance), decisions: vec![], waiting: None });
        let said = "web-1 is paused.\nBecause the guest suspended itself (GUEST_SUSPENDED).\n\
                    Its hypervisor says: pmsuspended.\n";
        assert!(text.starts_with(said), "{text}");
    }

    #[test]
    fn negative_scores_are_explained() {
        let candidate = Candidate { host_id: "a".into(), host_name: "host-a".into(), score: -7 };
        let mut decision = PlacementDecision { candidates: vec![candidate], ..PlacementDecision::default() };
        decision.set_policy(PlacementPolicy::Pack);
        let text =
            explain(&ExplainInstanceResponse { instance: None, decisions: vec![decision], waiting: None });
        let words =
            "best first (what the instance would waste there counts against a host):\n    host-a scored -7\n";
        assert!(text.contains(words), "{text}");
    }

    #[test]
    fn no_choice_is_told_with_the_refusal() {
        let refusal =
            Refusal { code: "NO_HOST_HAS_ROOM".into(), message: "no host has room".into(), reasons: vec![] };
        let decision = PlacementDecision {
            refusal: Some(refusal.clone()),
            hosts_considered: 1,
            ..PlacementDecision::default()
        };
        let instance =
            Instance { name: "web-1".into(), phase: 1, refusal: Some(refusal), ..Instance::default() };
        let text = explain(&ExplainInstanceResponse {
            instance: Some(instance),
            decisions: vec![decision],
            waiting: None,
        });
        assert!(
            text.starts_with("web-1 is pending.\nBecause no host has room (NO_HOST_HAS_ROOM).\n"),
            "{text}"
        );
        assert!(text.contains("No host would do: no host has room (NO_HOST_HAS_ROOM).\n"), "{text}");
    }

    #[test]
    fn who_waits_is_told_who_came_before() {
        let told = |overtaken_by, of_all_tenants| {
            let waiting = Some(Waiting { since_us: 1, overtaken_by, of_all_tenants });
            let instance = Instance { name: "big".into(), phase: 1, ..Instance::default() };
            explain(&ExplainInstanceResponse { instance: Some(instance), decisions: Vec::new(), waiting })
        };
        assert!(told(0, false).contains("may be placed before it"), "{}", told(0, false));
        assert!(told(1, false).contains("1 smaller instance of this tenant, asked for later, was placed"));
        assert!(told(3, true).contains("3 smaller instances, asked for later, were placed before it"));
    }
}
