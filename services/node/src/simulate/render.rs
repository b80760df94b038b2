//! Reports as tables: policies side by side, reasons, and the fleet over time.

use super::measure::Shares;
use super::report::{Reason, Report};
use terminal::output::Table;

/// Violations that are shown; `-o json` has all of them.
const SHOWN: usize = 20;

/// All reports of one workload.
pub fn render(reports: &[Report]) -> String {
    let mut text = summary(reports);
    for report in reports {
        text += &reasons(report, "wait, or never got a host", &report.waiting);
        text += &reasons(report, "were refused", &report.refused);
    }
    for report in reports {
        text += &format!("\n{} over time\n{}", report.policy, over_time(report));
    }
    for report in reports {
        for found in report.checked.violations.iter().take(SHOWN) {
            text += &format!("\n{}: VIOLATED {found}", report.policy);
        }
    }
    text
}

/// One line for each measure, one column for each policy.
fn summary(reports: &[Report]) -> String {
    type Cell = fn(&Report) -> String;
    let lines: &[(&str, Cell)] = &[
        ("hosts", |r| r.hosts.to_string()),
        ("virtual time", |r| time(r.virtual_s as f64)),
        ("resolution", |r| time(r.tick_s as f64)),
        ("wall time", |r| format!("{:.1} s (and {:.1} s to set up)", r.wall_s, r.set_up_s)),
        ("placements per second", |r| format!("{:.0}", r.placements_per_s)),
        ("instances", |r| r.instances.asked.to_string()),
        ("  placed", |r| r.instances.placed.to_string()),
        ("  of these after a wait", |r| r.instances.placed_after_waiting.to_string()),
        ("  still waiting", |r| r.instances.waiting.to_string()),
        ("  deleted while waiting", |r| r.instances.never_placed.to_string()),
        ("  refused", |r| r.instances.refused.to_string()),
        ("most waiting at once", |r| r.instances.peak_waiting.to_string()),
        ("longest wait", |r| time(r.instances.longest_wait_s)),
        ("mean wait of those that waited", |r| time(r.instances.mean_wait_s)),
        ("peak utilisation", |r| shares(r.peak_utilisation)),
        ("mean utilisation", |r| shares(r.mean_utilisation)),
        ("mean fragmentation", |r| shares(r.mean_fragmentation)),
        ("most hosts in use", |r| r.peak_hosts_used.to_string()),
        ("events judged", |r| r.checked.events.to_string()),
        ("invariants violated", |r| (r.checked.violations.len() as u64 + r.checked.surplus).to_string()),
    ];
    match reports {
        [one] => {
            let mut table = Table::new(["measure", &one.policy], "");
            lines.iter().for_each(|(name, cell)| table.row([(*name).to_owned(), cell(one)]));
            table.render()
        }
        [one, other, ..] => {
            let mut table = Table::new(["measure", &one.policy, &other.policy], "");
            lines.iter().for_each(|(name, cell)| table.row([(*name).to_owned(), cell(one), cell(other)]));
            table.render()
        }
        [] => String::new(),
    }
}

fn reasons(report: &Report, what: &str, reasons: &[Reason]) -> String {
    let mut text = String::new();
    for reason in reasons {
        text += &format!("\n{}: {} {what}: {}\n", report.policy, reason.instances, reason.code);
        for example in &reason.examples {
            text += &format!("  {example}\n");
        }
    }
    text
}

fn over_time(report: &Report) -> String {
    let titles = ["at", "placed", "waiting", "hosts used", "utilisation", "fragmentation"];
    let mut table = Table::new(titles, "nothing happened");
    for sample in &report.samples {
        table.row([
            time(sample.at_s),
            sample.placed.to_string(),
            sample.waiting.to_string(),
            sample.hosts_used.to_string(),
            shares(sample.utilisation),
            shares(sample.fragmentation),
        ]);
    }
    table.render()
}

/// "cpu 71 % mem 64 % disk 12 % gpu 80 %"
fn shares(shares: Shares) -> String {
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let gpus = shares.gpus.map(|gpus| format!(" gpu {}", percent(gpus))).unwrap_or_default();
    format!(
        "cpu {} mem {} disk {}{gpus}",
        percent(shares.vcpus),
        percent(shares.memory),
        percent(shares.disk)
    )
}

/// "01:02:03"
fn time(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_shares_are_short() {
        assert_eq!((time(3723.4), time(0.0)), ("01:02:03".to_owned(), "00:00:00".to_owned()));
        let some = Shares { vcpus: 0.714, memory: 1.0, disk: 0.0, gpus: None };
        assert_eq!(shares(some), "cpu 71 % mem 100 % disk 0 %");
        assert!(shares(Shares { gpus: Some(0.5), ..some }).ends_with(" gpu 50 %"));
    }
}
