//! `berth audit export`.

use super::FilterArgs;
use crate::cli::Session;
use crate::output::{json_of, print_bytes};
use clap::{Args, ValueEnum};
use client::{Exit, Failure};
use contracts::gateway::v1::ExportAuditRequest;
use serde_json::Value;

/// Write all records that match, oldest first
#[derive(Debug, Args)]
#[command(after_help = "Cells that a spreadsheet would take for a formula get an apostrophe in front.

Examples:
  berth audit export > audit.jsonl
  berth audit export --format csv --since 7d > audit.csv")]
pub struct ExportArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// A JSON object a line, or comma-separated values with a line of titles
    #[arg(long, value_enum, default_value_t = Form::Jsonl)]
    format: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Jsonl,
    Csv,
}

pub(super) async fn run(args: ExportArgs, session: &Session) -> Result<(), Failure> {
    let gateway = &session.gateway;
    let request = ExportAuditRequest {
        user: args.filter.user,
        object: args.filter.object,
        operation: args.filter.operation,
        outcome: args.filter.outcome.unwrap_or_default(),
        since_us: args.filter.since.unwrap_or(0),
        until_us: args.filter.until.unwrap_or(0),
        tenant: args.filter.tenant,
    };
    let failed = |status: tonic::Status| Failure::from_status(&status, gateway.endpoint());
    let mut stream = gateway.audit().export_audit(request).await.map_err(failed)?.into_inner();
    let columns = columns();
    if args.format == Form::Csv {
        print_bytes(&csv_line(&columns)?)?;
    }
    while let Some(answer) = stream.message().await.map_err(failed)? {
        let Some(record) = answer.record else { continue };
        let json = json_of("berth.gateway.v1.AuditRecord", &record)?;
        match args.format {
            Form::Jsonl => print_bytes(format!("{json}\n").as_bytes())?,
            Form::Csv => {
                let cells: Vec<String> = columns.iter().map(|column| cell(&json[column])).collect();
                print_bytes(&csv_line(&cells)?)?;
            }
        }
    }
    Ok(())
}

fn columns() -> Vec<String> {
    let record = contracts::pool().get_message_by_name("berth.gateway.v1.AuditRecord");
    record.map(|record| record.fields().map(|field| field.name().to_owned()).collect()).unwrap_or_default()
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    // what strangers sent is in it
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text }
}

fn csv_line(cells: &[String]) -> Result<Vec<u8>, Failure> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |error: String| Failure::new(Exit::Failed, format!("cannot be written as CSV: {error}"));
    writer.write_record(cells).map_err(|error| failed(error.to_string()))?;
    writer.into_inner().map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_the_fields_and_no_cell_is_a_formula() {
        assert_eq!(columns().first().map(String::as_str), Some("id"));
        let cells = [cell(&Value::from("=cmd()")), cell(&serde_json::json!([1, 2]))];
        let line = String::from_utf8(csv_line(&cells).expect("a line")).expect("text");
        assert_eq!(line, "'=cmd(),\"[1,2]\"\n");
    }
}
