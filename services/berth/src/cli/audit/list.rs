//! `berth audit list`.

use super::FilterArgs;
use crate::cli::Session;
use crate::output::{Table, local_time};
use clap::Args;
use client::Failure;
use contracts::gateway::v1::{AuditOutcome, AuditRecord, ListAuditRequest, ListAuditResponse};

/// Longest page the gateway gives.
const PAGE: u32 = 1_000;

/// List calls that changed something or were denied, newest first
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth audit list --since 2h
  berth audit list --user admin --operation DeleteInstance
  berth audit list --object web-1 -o json | jq .records[].request
  berth audit list --outcome denied --limit 1000")]
pub struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u32,
}

pub(super) async fn run(args: ListArgs, session: &Session) -> Result<(), Failure> {
    let gateway = &session.gateway;
    let mut all = ListAuditResponse::default();
    loop {
        let left = args.limit.saturating_sub(u32::try_from(all.records.len()).unwrap_or(u32::MAX));
        if left == 0 {
            break;
        }
        let request = ListAuditRequest {
            page_size: left.min(PAGE),
            page_token: all.next_page_token.clone(),
            user: args.filter.user.clone(),
            object: args.filter.object.clone(),
            operation: args.filter.operation.clone(),
            outcome: args.filter.outcome.clone().unwrap_or_default(),
            since_us: args.filter.since.unwrap_or(0),
            until_us: args.filter.until.unwrap_or(0),
            tenant: args.filter.tenant.clone(),
        };
        let page = gateway.read(request, async |r| gateway.audit().list_audit(r).await).await?;
        all.records.extend(page.records);
        all.next_page_token = page.next_page_token;
        if all.next_page_token.is_empty() {
            break;
        }
    }
    session.format.print("ListAuditResponse", &all, || table(&all.records))?;
    if !all.next_page_token.is_empty() {
        session.note("there are more: see --limit, or berth audit export");
    }
    Ok(())
}

fn table(records: &[AuditRecord]) -> String {
    let titles = ["time", "user", "tenant", "address", "operation", "object", "outcome", "calls", "events"];
    let mut table = Table::new(titles, "no records");
    for record in records {
        let object = record.objects.first().map(|object| match object.name.as_str() {
            "" => object.id.clone(),
            // whoever sent it may have made it up
            name if object.as_sent => format!("{name} (as sent)"),
            name => name.to_owned(),
        });
        let outcome = match record.outcome() {
            AuditOutcome::Ok => "ok".to_owned(),
            _ if record.refusal.is_empty() => record.code.clone(),
            _ => record.refusal.clone(),
        };
        // events are found by the correlation only when there can be any
        let events =
            if record.operation_id.is_empty() { String::new() } else { record.correlation_id.clone() };
        table.row([
            local_time(record.at_us),
            record.actor.clone(),
            record.tenant.clone(),
            record.address.clone(),
            record.method.rsplit('/').next().unwrap_or_default().to_owned(),
            object.unwrap_or_default(),
            outcome,
            record.count.to_string(),
            events,
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::gateway::v1::AuditObject;

    #[test]
    fn a_refusal_is_shown_by_its_code() {
        let record = AuditRecord {
            method: "berth.gateway.v1.FlavorService/CreateFlavor".into(),
            outcome: AuditOutcome::Refused as i32,
            code: "ALREADY_EXISTS".into(),
            refusal: "FLAVOR_EXISTS".into(),
            count: 1,
            objects: vec![AuditObject { name: "tiny".into(), as_sent: true, ..AuditObject::default() }],
            ..AuditRecord::default()
        };
        let text = table(&[record]);
        assert!(text.contains("CreateFlavor") && text.contains("FLAVOR_EXISTS"), "{text}");
        assert!(text.contains("tiny (as sent)"), "{text}");
    }
}
