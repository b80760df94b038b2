//! What came of a run.

use super::Options;
use super::drive::{Driven, Plan};
use super::history::{History, Life};
use super::measure::{Fleet, Sample, Shares, Typical};
use super::rows::Workload;
use berth::cli::local::policy_name;
use checker::Judgement;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Sentences that are shown for each reason.
const EXAMPLES: usize = 3;

/// What became of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It got a host.
    Placed,
    /// It still waits for one.
    Waiting,
    /// It was deleted while it waited.
    NeverPlaced,
    /// It was refused.
    Refused,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InstanceReport {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
    /// Its host; "" = none.
    pub host: String,
    /// Seconds of virtual time that it waited for a host.
    pub waited_s: f64,
    /// Why it waited or was refused; "" = neither.
    pub code: String,
    /// The reasons, most important first.
    pub reasons: Vec<String>,
}

/// Instances that waited, or were refused, for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// "NO_HOST_HAS_ROOM".
    pub code: String,
    /// How many.
    pub instances: u64,
    /// Some of the sentences.
    pub examples: Vec<String>,
}

/// How instances fared.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Fates {
    /// Asked for.
    pub asked: u64,
    /// Got a host.
    pub placed: u64,
    /// Waited for a while before.
    pub placed_after_waiting: u64,
    /// Still wait at the end.
    pub waiting: u64,
    /// Were deleted while they waited.
    pub never_placed: u64,
    /// Were refused.
    pub refused: u64,
    /// Most that waited at one time.
    pub peak_waiting: u64,
    /// Longest wait in seconds of virtual time, also of those that still wait.
    pub longest_wait_s: f64,
    /// Mean wait of those that waited.
    pub mean_wait_s: f64,
}

/// What came of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// "pack", "spread".
    pub policy: String,
    /// Hosts of the fleet.
    pub hosts: u64,
    /// Seconds of virtual time.
    pub virtual_s: u64,
    /// Resolution of virtual time in seconds.
    pub tick_s: u64,
    /// Seconds it took to bring the system up.
    pub set_up_s: f64,
    /// Seconds from the first request to the last rest.
    pub wall_s: f64,
    /// Seconds by which virtual time was late at most, when it had a pace.
    pub late_s: f64,
    /// Placements per second of `wall_s`.
    pub placements_per_s: f64,
    /// How instances fared.
    pub instances: Fates,
    /// Why instances waited at the end, or never got a host.
    pub waiting: Vec<Reason>,
    /// Why instances were refused.
    pub refused: Vec<Reason>,
    /// Most that was promised at one time, of each resource.
    pub peak_utilisation: Shares,
    /// The mean over virtual time.
    pub mean_utilisation: Shares,
    /// The mean over virtual time.
    pub mean_fragmentation: Shares,
    /// Most hosts in use at one time.
    pub peak_hosts_used: u64,
    /// The requests by which fragmentation is measured: a typical one, and a typical one with GPUs.
    pub typical: [Typical; 2],
    /// The fleet over time.
    pub samples: Vec<Sample>,
    /// The checker's judgement of every event and of the end.
    pub checked: Judgement,
    /// Each instance.
    pub details: Vec<InstanceReport>,
}

/// Puts everything together.
pub fn of(
    workload: &Workload,
    options: &Options,
    plan: &Plan,
    driven: &Driven,
    history: &History,
    checked: Judgement,
    (set_up, host_ids): (Duration, &[String]),
) -> Report {
    let end = plan.span_s() as f64;
    let details: Vec<InstanceReport> = workload
        .instances
        .iter()
        .zip(&history.lives)
        .map(|(row, life)| detail(&row.name, life, plan, end))
        .collect();
    let mut report = Report {
        policy: policy_name(options.policy).to_owned(),
        hosts: workload.hosts.len() as u64,
        virtual_s: plan.span_s(),
        tick_s: plan.tick_s,
        set_up_s: set_up.as_secs_f64(),
        wall_s: driven.wall.as_secs_f64(),
        late_s: driven.lag.as_secs_f64(),
        placements_per_s: 0.0,
        instances: fates(&details),
        waiting: reasons(&details, &[Outcome::Waiting, Outcome::NeverPlaced]),
        refused: reasons(&details, &[Outcome::Refused]),
        peak_utilisation: Shares::default(),
        mean_utilisation: Shares::default(),
        mean_fragmentation: Shares::default(),
        peak_hosts_used: 0,
        typical: Default::default(),
        samples: Vec::new(),
        checked,
        details,
    };
    let placements = history.changes.iter().filter(|change| change.comes).count();
    report.placements_per_s = placements as f64 / report.wall_s.max(f64::EPSILON);
    follow(&mut report, workload, options, history, host_ids, end);
    report
}

fn detail(name: &str, life: &Life, plan: &Plan, end: f64) -> InstanceReport {
    let outcome = match life {
        Life { refused: true, .. } => Outcome::Refused,
        Life { placed_s: Some(_), .. } => Outcome::Placed,
        Life { deleted_s: Some(_), .. } => Outcome::NeverPlaced,
        _ => Outcome::Waiting,
    };
    let until = life.placed_s.or(life.deleted_s).unwrap_or(end);
    // what happens within one moment took no time
    let waited = (until - life.asked_s).max(0.0);
    let waited_s =
        if outcome == Outcome::Refused || waited < plan.tick_s as f64 / 2.0 { 0.0 } else { waited };
    let refusal = life.refusal.clone().unwrap_or_default();
    let mut reasons = refusal.reasons;
    if !refusal.message.is_empty() {
        reasons.insert(0, refusal.message);
    }
    InstanceReport {
        name: name.to_owned(),
        outcome,
        host: life.host.clone(),
        waited_s: waited_s.round(),
        code: refusal.code,
        reasons,
    }
}

fn fates(details: &[InstanceReport]) -> Fates {
    let count = |outcome: Outcome| details.iter().filter(|d| d.outcome == outcome).count() as u64;
    let waits: Vec<f64> = details.iter().map(|d| d.waited_s).filter(|waited| *waited > 0.0).collect();
    Fates {
        asked: details.len() as u64,
        placed: count(Outcome::Placed),
        placed_after_waiting: details
            .iter()
            .filter(|d| d.outcome == Outcome::Placed && d.waited_s > 0.0)
            .count() as u64,
        waiting: count(Outcome::Waiting),
        never_placed: count(Outcome::NeverPlaced),
        refused: count(Outcome::Refused),
        peak_waiting: 0,
        longest_wait_s: waits.iter().copied().fold(0.0, f64::max),
        mean_wait_s: if waits.is_empty() { 0.0 } else { waits.iter().sum::<f64>() / waits.len() as f64 },
    }
}

fn reasons(details: &[InstanceReport], of: &[Outcome]) -> Vec<Reason> {
    let mut by_code: BTreeMap<&str, Reason> = BTreeMap::new();
    for detail in details.iter().filter(|detail| of.contains(&detail.outcome)) {
        let reason = by_code.entry(&detail.code).or_default();
        reason.code.clone_from(&detail.code);
        reason.instances += 1;
        let sentence = detail.reasons.join("; ");
        if reason.examples.len() < EXAMPLES && !reason.examples.contains(&sentence) {
            reason.examples.push(sentence);
        }
    }
    let mut reasons: Vec<Reason> = by_code.into_values().collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.instances));
    reasons
}

/// Runs through the reservations once more: samples, means over time, and peaks at their exact moments.
fn follow(
    report: &mut Report,
    workload: &Workload,
    options: &Options,
    history: &History,
    host_ids: &[String],
    end: f64,
) {
    let mut fleet = Fleet::new(workload, host_ids, options.overcommit_percent);
    report.typical = fleet.typical();
    let mut waits: Vec<(f64, i64)> = Vec::new();
    for (life, detail) in history.lives.iter().zip(&report.details) {
        if detail.waited_s > 0.0 {
            waits.push((life.asked_s, 1));
            waits.extend(life.placed_s.or(life.deleted_s).map(|until| (until, -1)));
        }
    }
    waits.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let (mut waits, mut waiting) = (waits.into_iter().peekable(), 0i64);
    let mut changes = history.changes.clone();
    changes.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    let samples = options.samples.max(2);
    let mut moments: Vec<f64> = (0..samples).map(|n| end * n as f64 / (samples - 1) as f64).collect();
    moments.reverse();
    let (mut at, mut index) = (0.0, 0);
    loop {
        let next = changes.get(index).map_or(f64::INFINITY, |change| change.at_s);
        while moments.last().is_some_and(|moment| *moment < next) {
            let moment = moments.pop().unwrap_or(end);
            // what happens at a moment belongs to it: readings of the clock within it are microseconds apart
            while let Some((_, by)) = waits.next_if(|(when, _)| *when <= moment + 0.5) {
                waiting += by;
                report.instances.peak_waiting = report.instances.peak_waiting.max(waiting.max(0) as u64);
            }
            report.samples.push(fleet.sample(moment, waiting.max(0) as u64));
        }
        let until = next.min(end).max(at);
        let share = if end > 0.0 { (until - at) / end } else { 0.0 };
        report.mean_utilisation = report.mean_utilisation.plus(fleet.utilisation().times(share));
        // fragmentation costs a look at every host: by the samples it is near enough
        at = until;
        while changes.get(index).is_some_and(|change| change.at_s <= next) {
            fleet.take(&changes[index]);
            index += 1;
        }
        while let Some((_, by)) = waits.next_if(|(when, _)| *when <= next) {
            waiting += by;
            report.instances.peak_waiting = report.instances.peak_waiting.max(waiting.max(0) as u64);
        }
        if next.is_infinite() {
            break;
        }
        report.peak_utilisation = report.peak_utilisation.max(fleet.utilisation());
        report.peak_hosts_used = report.peak_hosts_used.max(fleet.hosts_used());
    }
    let each = 1.0 / report.samples.len().max(1) as f64;
    report.mean_fragmentation =
        report.samples.iter().fold(Shares::default(), |sum, s| sum.plus(s.fragmentation.times(each)));
}
