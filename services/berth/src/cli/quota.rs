//! `berth quota`.

use super::Session;
use super::arguments::{size, vcpus};
use super::login::there;
use super::session::all_pages;
use crate::output::Table;
use clap::{Args, Subcommand};
use client::Failure;
use contracts::gateway::v1::{
    GetQuotaRequest, GetQuotaResponse, ListQuotasRequest, ListQuotasResponse, QuotaUse, SetQuotaRequest,
};
use kernel::quota::{Limits, Quota};

/// How much tenants may have
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  berth quota show
  berth quota set acme --instances 10 --vcpus 16 --memory 64GiB --disk 500GiB --requests-per-second 50")]
pub enum QuotaCommand {
    /// Show what a tenant may have and what it has
    #[command(after_help = "Examples:
  berth quota show
  berth quota show acme -o json | jq '.uses[] | select(.name == \"instances\")'")]
    Show {
        /// Tenant [default: the one you act in]
        #[arg(hide_default_value = true, default_value = "")]
        name: String,
    },
    /// List the quotas of all tenants
    #[command(after_help = "Examples:\n  berth quota list\n  berth quota list -o yaml")]
    List,
    /// Change limits of a tenant; those that are not named stay
    #[command(after_help = "Less than is used takes nothing away: nothing new comes in until there is room.

Examples:
  berth quota set acme --instances 10 --vcpus 4 --memory 8GiB
  berth quota set acme --no-limit memory --no-limit disk")]
    Set(SetArgs),
}

/// What to change.
#[derive(Debug, Args)]
#[group(id = "limits", required = true, multiple = true)]
struct LimitArgs {
    /// Instances that are not deleted
    #[arg(long, value_name = "COUNT")]
    instances: Option<u64>,
    /// Their CPUs, such as 16 or 0.5
    #[arg(long, value_name = "CPUS", value_parser = vcpus)]
    vcpus: Option<u64>,
    /// Their memory, such as 64GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
    /// Their disks, such as 500GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    disk: Option<u64>,
    /// Images
    #[arg(long, value_name = "COUNT")]
    images: Option<u64>,
    /// Files of images, such as 100GiB
    #[arg(long, value_name = "SIZE", value_parser = size)]
    image_bytes: Option<u64>,
    /// Snapshots (nothing counts them yet)
    #[arg(long, value_name = "COUNT")]
    snapshots: Option<u64>,
    /// Backups (nothing counts them yet)
    #[arg(long, value_name = "COUNT")]
    backups: Option<u64>,
    /// Networks (nothing counts them yet)
    #[arg(long, value_name = "COUNT")]
    networks: Option<u64>,
    /// Floating IPs (nothing counts them yet)
    #[arg(long, value_name = "COUNT")]
    floating_ips: Option<u64>,
    /// API requests in a second, all tokens together
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    requests_per_second: Option<u32>,
    /// Take a limit away: instances, vcpus, memory, … (repeatable)
    #[arg(long, value_name = "NAME", value_parser = quota)]
    no_limit: Vec<Quota>,
}

/// Whose limits, and which.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// Tenant
    name: String,
    #[command(flatten)]
    limits: LimitArgs,
}

fn quota(name: &str) -> Result<Quota, String> {
    Quota::of(&name.replace('-', "_")).ok_or_else(|| {
        let known: Vec<String> = Quota::ALL.iter().map(|quota| quota.name().replace('_', "-")).collect();
        format!("there is no such limit: write one of {}", known.join(", "))
    })
}

impl LimitArgs {
    fn apply(&self, mut limits: Limits) -> Limits {
        for quota in &self.no_limit {
            limits = limits.with(*quota, None);
        }
        for (quota, limit) in [
            (Quota::Instances, self.instances),
            (Quota::Vcpus, self.vcpus),
            (Quota::Memory, self.memory),
            (Quota::Disk, self.disk),
            (Quota::Images, self.images),
            (Quota::ImageBytes, self.image_bytes),
            (Quota::Snapshots, self.snapshots),
            (Quota::Backups, self.backups),
            (Quota::Networks, self.networks),
            (Quota::FloatingIps, self.floating_ips),
            (Quota::RequestsPerSecond, self.requests_per_second.map(u64::from)),
        ] {
            if limit.is_some() {
                limits = limits.with(quota, limit);
            }
        }
        limits
    }
}

/// `keyed`: the caller chose the idempotency key, so that the same command has to be the same request.
pub(super) async fn run(command: QuotaCommand, session: &Session, keyed: bool) -> Result<(), Failure> {
    let gateway = &session.gateway;
    match command {
        QuotaCommand::Show { name } => {
            let answer = show_of(session, name).await?;
            session.format.print("GetQuotaResponse", &answer, || show(&answer.uses))
        }
        QuotaCommand::List => {
            let mut all = ListQuotasResponse::default();
            all_pages(async |page_token| {
                let request = ListQuotasRequest { page_size: kernel::limits::PAGE, page_token };
                let page = gateway.read(request, async |r| gateway.quotas().list_quotas(r).await).await?;
                all.quotas.extend(page.quotas);
                Ok(page.next_page_token)
            })
            .await?;
            session.format.print("ListQuotasResponse", &all, || list(&all.quotas))
        }
        QuotaCommand::Set(SetArgs { name, limits }) => {
            let before = there(show_of(session, name).await?.quota)?;
            let changed = limits.apply(before.limits.as_ref().map(Limits::from).unwrap_or_default());
            let request = SetQuotaRequest {
                tenant: before.tenant,
                limits: Some((&changed).into()),
                // what somebody else set meanwhile is not undone
                if_revision: (!keyed).then_some(before.revision),
            };
            let answer =
                gateway.change(request, session.key(), async |r| gateway.quotas().set_quota(r).await).await?;
            session.format.print("SetQuotaResponse", &answer, || show(&answer.uses))
        }
    }
}

async fn show_of(session: &Session, tenant: String) -> Result<GetQuotaResponse, Failure> {
    let gateway = &session.gateway;
    gateway.read(GetQuotaRequest { tenant }, async |r| gateway.quotas().get_quota(r).await).await
}

/// Used and limit in the words of the quota; a quota that this program does not know is shown as numbers.
fn amounts(one: &QuotaUse) -> [String; 2] {
    let quota = Quota::of(&one.name);
    let text = |amount: u64| quota.map_or_else(|| amount.to_string(), |quota| quota.show(amount));
    let used = if quota == Some(Quota::RequestsPerSecond) { "-".to_owned() } else { text(one.used) };
    [used, one.limit.map_or_else(|| "no limit".to_owned(), text)]
}

fn show(uses: &[QuotaUse]) -> String {
    let mut table = Table::new(["quota", "used", "limit", "note"], "no quotas");
    for one in uses {
        let [used, limit] = amounts(one);
        let note = if one.enforced { "" } else { "nothing counts this yet" };
        table.row([one.name.clone(), used, limit, note.to_owned()]);
    }
    table.render()
}

fn list(quotas: &[GetQuotaResponse]) -> String {
    let mut table = Table::new(["tenant", "instances", "vcpus", "memory", "disk", "images"], "no tenants");
    for one in quotas {
        let cell = |quota: Quota| {
            let found = one.uses.iter().find(|one| one.name == quota.name()).map(amounts);
            found.map_or_else(String::new, |[used, limit]| format!("{used} of {limit}"))
        };
        let tenant = one.quota.as_ref().map(|quota| quota.tenant.clone()).unwrap_or_default();
        let [instances, vcpus, memory, disk, images] =
            [Quota::Instances, Quota::Vcpus, Quota::Memory, Quota::Disk, Quota::Images].map(cell);
        table.row([tenant, instances, vcpus, memory, disk, images]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str, used: u64, limit: Option<u64>, enforced: bool) -> QuotaUse {
        QuotaUse { name: name.into(), used, limit, enforced }
    }

    #[test]
    fn what_is_named_changes_and_the_rest_stays() {
        let before = Limits::default().with(Quota::Instances, Some(3)).with(Quota::Disk, Some(9));
        let args = LimitArgs {
            instances: Some(10),
            requests_per_second: Some(5),
            no_limit: vec![Quota::Disk],
            vcpus: None,
            memory: None,
            disk: None,
            images: None,
            image_bytes: None,
            snapshots: None,
            backups: None,
            networks: None,
            floating_ips: None,
        };
        let expected =
            Limits::default().with(Quota::Instances, Some(10)).with(Quota::RequestsPerSecond, Some(5));
        assert_eq!(args.apply(before), expected);
        assert_eq!(quota("floating-ips"), Ok(Quota::FloatingIps));
        assert!(quota("wishes").is_err_and(|text| text.contains("floating-ips")));
    }

    #[test]
    fn amounts_are_shown_in_their_units() {
        let text = show(&[
            one("vcpus", 1500, Some(4000), true),
            one("memory", 1 << 30, None, true),
            one("requests_per_second", 0, Some(5), true),
            one("networks", 0, Some(2), false),
            one("unheard_of", 1, Some(2), true),
        ]);
        let rows: Vec<Vec<&str>> =
            text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["vcpus", "1.5", "4", "-"]);
        assert_eq!(rows[1], ["memory", "1", "GiB", "no", "limit", "-"]);
        assert_eq!(rows[2], ["requests_per_second", "-", "5", "-"]);
        assert_eq!(rows[3], ["networks", "0", "2", "nothing", "counts", "this", "yet"]);
        assert_eq!(rows[4], ["unheard_of", "1", "2", "-"]);
    }
}
