//! What must hold once nothing is under way: the log, the tables and the hypervisors say the same.

use super::accounts::Accounts;
use super::checker::{Checker, phase};
use super::truth::{PowerSeen, Truth};
use super::violation::{Found, Violation};
use crate::store::tables::{InstanceRow, Tables};
use contracts::common::v1::OperationState;
use contracts::scheduler::v1::{DesiredPower, InstancePhase};
use std::collections::{BTreeMap, HashMap};

/// Everything that the end is judged by.
#[derive(Debug, Clone, Default)]
pub struct Closing {
    /// What the services' tables hold.
    pub tables: Tables,
    /// What the hypervisors have; `None` = they could not be asked.
    pub truth: Option<Truth>,
    /// What became of every command.
    pub accounts: Accounts,
}

/// Judges the end of a log. Call it when the platform is quiet: what is under way looks wrong.
pub fn judge_end(checker: &Checker, closing: &Closing) -> Vec<Found> {
    let mut wrong = Vec::new();
    for row in &closing.tables.instances {
        judge_row(row, &mut wrong);
    }
    judge_log(checker, &closing.tables, &mut wrong);
    judge_operations(&closing.tables, &mut wrong);
    judge_deletions(checker, &closing.tables, &mut wrong);
    if let Some(truth) = &closing.truth {
        judge_truth(truth, &closing.tables, &mut wrong);
        judge_disks(truth, &closing.tables, &mut wrong);
    }
    let accounts = &closing.accounts;
    for (message, subject, reason) in accounts.dead.iter().cloned() {
        wrong.push(Violation::DeadLetter { message, subject, reason });
    }
    for (service, count) in accounts.unpublished.iter().filter(|(_, count)| *count > 0) {
        wrong.push(Violation::Unpublished { service: service.clone(), count: *count });
    }
    wrong.extend(accounts.lost().map(|sent| Violation::CommandLost {
        service: sent.service.clone(),
        message: sent.id.clone(),
        subject: sent.subject.clone(),
    }));
    wrong.into_iter().map(|what| Found::at(checker.last(), what)).collect()
}

fn judge_row(row: &InstanceRow, wrong: &mut Vec<Violation>) {
    let now = &row.snapshot;
    let lives = now.phase() != InstancePhase::Deleted && !now.host_id.is_empty();
    if row.reserved != lives {
        wrong.push(Violation::ReservationLeaked {
            instance: now.id.clone(),
            host: now.host_id.clone(),
            phase: phase(now.phase()),
            reserved: row.reserved,
        });
    }
    let settled = match now.desired() {
        DesiredPower::Absent => now.phase() == InstancePhase::Deleted,
        DesiredPower::Stopped => now.phase() == InstancePhase::Stopped,
        DesiredPower::Paused => now.phase() == InstancePhase::Paused,
        // one that waits for a host, or failed with a reason, is told so: that is an answer
        _ => match now.phase() {
            InstancePhase::Ready => true,
            InstancePhase::Running => !now.boot.as_ref().is_some_and(|boot| boot.guest_agent),
            // so is one whose guest is held, or suspended itself
            InstancePhase::Pending | InstancePhase::Failed | InstancePhase::Paused => now.refusal.is_some(),
            InstancePhase::Deleted => true,
            _ => false,
        },
    };
    if !settled {
        wrong.push(Violation::NotAsRequested {
            instance: now.id.clone(),
            desired: now.desired().as_str_name().trim_start_matches("DESIRED_POWER_").to_lowercase(),
            phase: phase(now.phase()),
        });
    }
}

fn judge_log(checker: &Checker, tables: &Tables, wrong: &mut Vec<Violation>) {
    let rows: HashMap<&str, u64> =
        tables.instances.iter().map(|row| (row.snapshot.id.as_str(), row.snapshot.revision)).collect();
    let mut all: Vec<&str> =
        rows.keys().copied().chain(checker.instances.keys().map(String::as_str)).collect();
    all.sort_unstable();
    all.dedup();
    for id in all {
        let table = rows.get(id).copied().unwrap_or(0);
        let log = checker.instances.get(id).map_or(0, |known| known.revision);
        if table != log {
            wrong.push(Violation::TableDiffers { instance: id.to_owned(), table, log });
        }
    }
}

fn judge_operations(tables: &Tables, wrong: &mut Vec<Violation>) {
    let busy: HashMap<&str, &str> = tables
        .instances
        .iter()
        .filter_map(|row| {
            Some((row.snapshot.id.as_str(), row.snapshot.operation.as_ref()?.operation_id.as_str()))
        })
        .collect();
    // an instance that waits for room works on its creation; everything else is over
    for row in &tables.operations {
        let open = matches!(row.state, OperationState::Pending | OperationState::Running);
        if open && busy.get(row.object_id.as_str()) != Some(&row.id.as_str()) {
            wrong.push(Violation::StuckOperation {
                operation: row.id.clone(),
                method: row.method.clone(),
                object: row.object_id.clone(),
            });
        }
    }
}

/// Hosts delete what was deleted, and nothing else. (While things are under way, the order may be heard of first.)
fn judge_deletions(checker: &Checker, tables: &Tables, wrong: &mut Vec<Violation>) {
    for row in &tables.instances {
        let now = &row.snapshot;
        let lives = now.desired() != DesiredPower::Absent;
        let deleted = checker
            .disks
            .deleted
            .iter()
            .filter(|((_, instance), up_to)| *instance == now.id && **up_to >= now.generation);
        for ((host, _), _) in deleted.filter(|_| lives) {
            wrong.push(Violation::DeletedUnasked { instance: now.id.clone(), host: host.clone() });
        }
    }
}

/// Every instance that ran on a host has its disk there.
fn judge_disks(truth: &Truth, tables: &Tables, wrong: &mut Vec<Violation>) {
    let Some(disks) = &truth.disks else { return };
    for row in &tables.instances {
        let now = &row.snapshot;
        let ran =
            now.has_booted && now.phase() != InstancePhase::Deleted && truth.hosts.contains(&now.host_id);
        let there = disks.iter().any(|disk| disk.host == now.host_id && disk.instance == now.id);
        if ran && !there {
            wrong.push(Violation::DiskLost {
                instance: now.id.clone(),
                host: now.host_id.clone(),
                how: "it does not lie on the host's disk".to_owned(),
            });
        }
    }
}

fn judge_truth(truth: &Truth, tables: &Tables, wrong: &mut Vec<Violation>) {
    let mut places: BTreeMap<&str, Vec<(&str, PowerSeen)>> = BTreeMap::new();
    for vm in &truth.vms {
        places.entry(&vm.instance).or_default().push((&vm.host, vm.power));
    }
    let rows: HashMap<&str, &InstanceRow> =
        tables.instances.iter().map(|row| (row.snapshot.id.as_str(), row)).collect();
    for (instance, vms) in &places {
        if vms.len() > 1 {
            let hosts = vms.iter().map(|(host, _)| (*host).to_owned()).collect();
            wrong.push(Violation::Doubled { instance: (*instance).to_owned(), hosts });
        }
        for (host, _) in vms {
            let claimed = rows.get(instance).is_some_and(|row| {
                row.snapshot.host_id == *host && row.snapshot.phase() != InstancePhase::Deleted
            });
            if !claimed {
                wrong.push(Violation::Orphan { instance: (*instance).to_owned(), host: (*host).to_owned() });
            }
        }
    }
    for row in &tables.instances {
        let now = &row.snapshot;
        let wanted: &[PowerSeen] = match now.phase() {
            InstancePhase::Running | InstancePhase::Ready => &[PowerSeen::Running],
            InstancePhase::Paused => &[PowerSeen::Paused],
            InstancePhase::Stopped => &[PowerSeen::Off],
            _ => continue,
        };
        if now.host_id.is_empty() || !truth.hosts.contains(&now.host_id) {
            continue;
        }
        let there =
            places.get(now.id.as_str()).and_then(|vms| vms.iter().find(|(host, _)| *host == now.host_id));
        match there {
            // one that was stopped before it ever started has no VM yet
            None if now.phase() == InstancePhase::Stopped && !now.has_booted => {}
            None => wrong.push(Violation::Lost { instance: now.id.clone(), host: now.host_id.clone() }),
            Some((_, power)) if !wanted.contains(power) => wrong.push(Violation::WrongPower {
                instance: now.id.clone(),
                phase: phase(now.phase()),
                power: power.word().to_owned(),
            }),
            Some(_) => {}
        }
    }
}
