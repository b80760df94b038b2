//! `berth host`.

use super::Session;
use super::arguments::{ListArgs, WaitArgs};
use super::quarantine;
use super::session::all_pages;
use crate::output::{Table, age, bytes, fields, local_time, word};
use clap::Subcommand;
use client::Failure;
use contracts::common::v1::Resources;
use contracts::gateway::v1::{
    CordonHostRequest, DropQuarantinedRequest, GetHostRequest, HostWithUse, ListHostsRequest,
    ListHostsResponse, SetHostOvercommitRequest, UncordonHostRequest,
};
use contracts::host_driver::v1::HostCondition;
use contracts::scheduler::v1::{Host, Overcommit};
use kernel::MilliVcpus;
use kernel::limits::OVERCOMMIT_PERCENT;

/// The machines that run instances
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  berth host list
  berth host cordon node-2 --reason 'disk is failing'")]
pub enum HostCommand {
    /// List hosts with what is promised on them
    #[command(
        after_help = "Examples:\n  berth host list\n  berth host list --label rack=a1 --filter 'cordoned = false'\n  berth host list -o json | jq -r '.hosts[].host.name'"
    )]
    List(ListArgs),
    /// Show one host
    #[command(after_help = "Examples:\n  berth host show rack1-7")]
    Show {
        /// Name or id
        host: String,
    },
    /// Place nothing new on a host; what runs there goes on
    #[command(after_help = "Examples:\n  berth host cordon rack1-7 --reason 'disk is failing' --wait")]
    Cordon {
        /// Name or id
        host: String,
        /// Why; shown to whoever asks why nothing is placed there
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Use a host again
    #[command(after_help = "Examples:\n  berth host uncordon rack1-7")]
    Uncordon {
        /// Name or id
        host: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Remove disks that a host put aside, for good; berth host show lists them
    #[command(
        after_help = "Examples:\n  berth host drop-quarantined rack1-7 01890a5d-ac96-774b-bcce-b302099a8057 --wait"
    )]
    DropQuarantined {
        /// Name or id
        host: String,
        /// Id of the disks
        quarantine_id: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Say how far a host's resources may be promised, in percent of what it has
    ///
    /// Less than what is promised already takes nothing away: nothing new is placed there until enough is given back.
    #[command(after_help = "Examples:\n  berth host set-overcommit rack1-7 --vcpus 400 --memory 100 --wait")]
    SetOvercommit {
        /// Name or id
        host: String,
        /// Percent of the CPUs; 100 = no overcommit
        #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=i64::from(OVERCOMMIT_PERCENT)), required_unless_present_any = ["memory", "disk"])]
        vcpus: Option<u32>,
        /// Percent of the memory
        #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=i64::from(OVERCOMMIT_PERCENT)))]
        memory: Option<u32>,
        /// Percent of the disk
        #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u32).range(1..=i64::from(OVERCOMMIT_PERCENT)))]
        disk: Option<u32>,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

pub(super) async fn run(command: HostCommand, session: &Session) -> Result<(), Failure> {
    let gateway = &session.gateway;
    match command {
        HostCommand::List(which) => {
            let mut all = ListHostsResponse::default();
            all_pages(async |page_token| {
                let (labels, filter) = (which.labels()?, which.filter.clone());
                let request =
                    ListHostsRequest { page_size: kernel::limits::PAGE, page_token, labels, filter };
                let page = gateway.read(request, async |r| gateway.hosts().list_hosts(r).await).await?;
                all.hosts.extend(page.hosts);
                Ok(page.next_page_token)
            })
            .await?;
            session.format.print("ListHostsResponse", &all, || list(&all.hosts))
        }
        HostCommand::Show { host } => {
            let answer =
                gateway.read(GetHostRequest { host }, async |r| gateway.hosts().get_host(r).await).await?;
            session.format.print("GetHostResponse", &answer, || {
                let text = answer.host.as_ref().map(show).unwrap_or_default();
                format!("{text}{}", quarantine::list(&answer.quarantine))
            })
        }
        HostCommand::Cordon { host, reason, wait } => {
            let done = format!("cordoned {host}");
            let request = CordonHostRequest { host, reason };
            let answer = gateway
                .change(request, session.key(), async |r| gateway.hosts().cordon_host(r).await)
                .await?;
            session.accepted(&answer, &wait, &done).await
        }
        HostCommand::Uncordon { host, wait } => {
            let done = format!("uncordoned {host}");
            let request = UncordonHostRequest { host };
            let answer = gateway
                .change(request, session.key(), async |r| gateway.hosts().uncordon_host(r).await)
                .await?;
            session.accepted(&answer, &wait, &done).await
        }
        HostCommand::DropQuarantined { host, quarantine_id, wait } => {
            let done = format!("removed {quarantine_id}");
            let request = DropQuarantinedRequest { host, quarantine_id };
            let answer = gateway
                .change(request, session.key(), async |r| gateway.hosts().drop_quarantined(r).await)
                .await?;
            session.accepted(&answer, &wait, &done).await
        }
        HostCommand::SetOvercommit { host, vcpus, memory, disk, wait } => {
            let done = format!("set the overcommit of {host}");
            let request = SetHostOvercommitRequest {
                host,
                vcpus_percent: vcpus.unwrap_or_default(),
                memory_percent: memory.unwrap_or_default(),
                disk_percent: disk.unwrap_or_default(),
            };
            let answer = gateway
                .change(request, session.key(), async |r| gateway.hosts().set_host_overcommit(r).await)
                .await?;
            session.accepted(&answer, &wait, &done).await
        }
    }
}

fn state(host: &Host) -> String {
    let mut state = word(host.state().as_str_name(), "HOST_STATE_");
    if !host.conditions.is_empty() {
        state += ", in trouble";
    }
    if host.cordoned { format!("{state}, cordoned") } else { state }
}

fn list(hosts: &[HostWithUse]) -> String {
    let mut table = Table::new(
        ["name", "state", "drivers", "instances", "vcpus", "memory", "disk", "changed"],
        "no hosts",
    );
    for entry in hosts {
        let Some(host) = &entry.host else { continue };
        let [vcpus, memory, disk] = use_of(host, entry.reserved.as_ref());
        let drivers = drivers(host);
        let row = [
            host.name.clone(),
            state(host),
            drivers,
            entry.instances.to_string(),
            vcpus,
            memory,
            disk,
            age(host.updated_at_us),
        ];
        table.row(row);
    }
    table.render()
}

fn drivers(host: &Host) -> String {
    host.drivers().map(|driver| word(driver.as_str_name(), "DRIVER_")).collect::<Vec<_>>().join(",")
}

/// "promised/may be promised" of each resource.
fn use_of(host: &Host, reserved: Option<&Resources>) -> [String; 3] {
    let none = Resources::default();
    let (used, capacity) = (reserved.unwrap_or(&none), host.capacity.as_ref().unwrap_or(&none));
    let full = Overcommit { vcpus_percent: 100, memory_percent: 100, disk_percent: 100 };
    let over = host.overcommit.as_ref().unwrap_or(&full);
    let promise =
        |real: u64, percent: u32| real / 100 * u64::from(percent) + real % 100 * u64::from(percent) / 100;
    let cpus = MilliVcpus(promise(capacity.vcpus_milli, over.vcpus_percent));
    [
        format!("{}/{cpus}", MilliVcpus(used.vcpus_milli)),
        format!(
            "{}/{}",
            bytes(used.memory_bytes),
            bytes(promise(capacity.memory_bytes, over.memory_percent))
        ),
        format!("{}/{}", bytes(used.disk_bytes), bytes(promise(capacity.disk_bytes, over.disk_percent))),
    ]
}

fn overcommit(host: &Host) -> String {
    host.overcommit.as_ref().map_or_else(String::new, |over| {
        let (vcpus, memory, disk) = (over.vcpus_percent, over.memory_percent, over.disk_percent);
        format!("vcpus {vcpus}%, memory {memory}%, disk {disk}%")
    })
}

fn gpus(host: &Host) -> String {
    match (host.gpus, host.gpu_model.as_str()) {
        (0, _) => String::new(),
        (count, "") => count.to_string(),
        (count, model) => format!("{count} x {model}"),
    }
}

/// What keeps it from working as it should, a line each.
fn conditions(host: &Host) -> String {
    let line = |c: &HostCondition| format!("{} ({}) since {}", c.message, c.code, local_time(c.since_us));
    host.conditions.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn show(entry: &HostWithUse) -> String {
    let Some(host) = &entry.host else { return String::new() };
    let [vcpus, memory, disk] = use_of(host, entry.reserved.as_ref());
    let labels: Vec<String> = host.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    fields([
        ("name", host.name.clone()),
        ("id", host.id.clone()),
        ("state", state(host)),
        ("trouble", conditions(host)),
        ("cordoned because", host.cordon_reason.clone()),
        ("architecture", host.architecture.clone()),
        ("drivers", drivers(host)),
        ("hypervisor", host.hypervisor.clone()),
        ("instances", entry.instances.to_string()),
        ("vcpus", vcpus),
        ("memory", memory),
        ("disk", disk),
        ("overcommit", overcommit(host)),
        ("gpus", gpus(host)),
        ("labels", labels.join("\n")),
        ("agent", host.agent_id.clone()),
        ("since", local_time(host.created_at_us)),
        ("changed", local_time(host.updated_at_us)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_told_against_what_may_be_promised() {
        let capacity = Resources { vcpus_milli: 4000, memory_bytes: 8 << 30, disk_bytes: 100 << 30 };
        let host = Host {
            name: "h1".into(),
            state: 1,
            cordoned: true,
            capacity: Some(capacity),
            overcommit: Some(Overcommit { vcpus_percent: 400, memory_percent: 100, disk_percent: 150 }),
            drivers: vec![1, 4],
            ..Host::default()
        };
        let reserved = Resources { vcpus_milli: 1500, memory_bytes: 1 << 30, disk_bytes: 0 };
        let text = list(&[HostWithUse { host: Some(host), reserved: Some(reserved), instances: 3 }]);
        assert!(text.lines().next().is_some_and(|titles| titles.ends_with("CHANGED")), "{text}");
        let row: Vec<&str> = text
            .lines()
            .nth(1)
            .expect("a row")
            .split("   ")
            .map(str::trim)
            .filter(|c| !c.is_empty())
            .collect();
        assert_eq!(
            row,
            ["h1", "up, cordoned", "libvirt,simulated", "3", "1.5/16", "1 GiB/8 GiB", "0 B/150 GiB", "-"]
        );
    }
}
