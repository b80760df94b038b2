//! `berth events publish`.

use super::Session;
use super::arguments::pair;
use crate::output::Table;
use clap::Args;
use client::{Exit, Failure};
use contracts::gateway::v1::external_attribute::Value as Attribute;
use contracts::gateway::v1::external_event::Data;
use contracts::gateway::v1::{ExternalAttribute, ExternalEvent, PublishEventsRequest, PublishEventsResponse};
use kernel::limits::EVENT;
use kernel::{Clock as _, SystemClock};
use std::io::Read as _;

/// Send an event of another system: a CloudEvent that stands in the stream with the platform's own
#[derive(Debug, Args)]
#[command(
    after_help = "An event is known by its source and id, and is taken once in 30 days: sent again it is a duplicate.

Examples:
  berth events publish --type com.example.deploy.done --source /ci/web --data '{\"commit\":\"4f2a\"}'
  berth events publish --type com.example.report --source /reports --subject march --data @report.json --id march-1
  uptime | berth events publish --type com.example.uptime --source /hosts/a --data-type text/plain --data @-"
)]
pub struct PublishArgs {
    /// What happened, such as com.example.deploy.done
    #[arg(long = "type", value_name = "TYPE")]
    kind: String,
    /// Where it happened: a URI-reference, such as /ci/web
    #[arg(long, value_name = "URI")]
    source: String,
    /// What it is about, within the source
    #[arg(long, value_name = "SUBJECT", default_value = "", hide_default_value = true)]
    subject: String,
    /// Tells the event from all others of its source [default: a new UUID]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// When it happened, RFC 3339 [default: now]
    #[arg(long, value_name = "TIME")]
    time: Option<String>,
    #[arg(
        long,
        value_name = "DATA",
        help = format!(
            "Its data, @FILE for what a file holds, @- for standard input; an event has at most {EVENT} in all"
        )
    )]
    data: Option<String>,
    /// Media type of the data
    #[arg(long, value_name = "TYPE", default_value = "application/json")]
    data_type: String,
    /// A further attribute; repeatable
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = pair)]
    attributes: Vec<(String, String)>,
}

pub(super) async fn run(args: PublishArgs, session: &Session) -> Result<(), Failure> {
    let request = PublishEventsRequest { events: vec![event(args)?] };
    let gateway = &session.gateway;
    let answer = gateway
        .change(request, session.key(), async |r| gateway.external_events().publish_events(r).await)
        .await?;
    session.format.print("PublishEventsResponse", &answer, || render(&answer))
}

fn event(args: PublishArgs) -> Result<ExternalEvent, Failure> {
    let data = args.data.as_deref().map(|data| read(data, &args.data_type)).transpose()?;
    let attribute = |(name, text)| (name, ExternalAttribute { value: Some(Attribute::Text(text)) });
    Ok(ExternalEvent {
        // the same when the call is sent again after a lost answer
        id: args.id.unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
        source: args.source,
        specversion: "1.0".to_owned(),
        r#type: args.kind,
        subject: args.subject,
        time: args.time.unwrap_or_else(now),
        datacontenttype: if data.is_some() { args.data_type } else { String::new() },
        extensions: args.attributes.into_iter().map(attribute).collect(),
        data,
        ..ExternalEvent::default()
    })
}

fn now() -> String {
    let now = jiff::Timestamp::from_microsecond(SystemClock.now().micros());
    now.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

fn read(data: &str, media_type: &str) -> Result<Data, Failure> {
    let failed = |file: &str, error: std::io::Error| {
        Failure::new(Exit::Usage, format!("--data: cannot read {file}: {error}"))
    };
    let mut bytes = Vec::new();
    match data.strip_prefix('@') {
        None => bytes.extend(data.as_bytes()),
        Some("-") => {
            std::io::stdin()
                .take(EVENT.0 + 1)
                .read_to_end(&mut bytes)
                .map_err(|e| failed("standard input", e))?;
        }
        Some(file) => {
            let open = std::fs::File::open(file).map_err(|e| failed(file, e))?;
            open.take(EVENT.0 + 1).read_to_end(&mut bytes).map_err(|e| failed(file, e))?;
        }
    }
    if bytes.len() > EVENT.length() {
        return Err(Failure::usage(format!("--data: an event has at most {EVENT}; send where the data are")));
    }
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if essence.ends_with("/json") || essence.ends_with("+json") {
        let text =
            String::from_utf8(bytes).ok().filter(|t| serde_json::from_str::<serde_json::Value>(t).is_ok());
        let wrong = || {
            let text = "--data: this is not JSON; name its media type with --data-type, such as text/plain";
            Failure::new(Exit::Usage, text)
        };
        return text.map(|text| Data::Json(text.trim().to_owned())).ok_or_else(wrong);
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => Data::Text(text),
        Err(binary) => Data::Binary(binary.into_bytes()),
    })
}

fn render(answer: &PublishEventsResponse) -> String {
    let mut table = Table::new(["id", "source", "object", "outcome"], "nothing was sent");
    for event in &answer.events {
        let outcome = if event.duplicate { "duplicate" } else { "accepted" };
        table.row([event.id.clone(), event.source.clone(), event.key.clone(), outcome.to_owned()]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_what_its_type_says() {
        assert_eq!(read(" {\"a\": 1} ", "application/json").expect("json"), Data::Json("{\"a\": 1}".into()));
        assert_eq!(read("hello", "text/plain").expect("text"), Data::Text("hello".into()));
        assert!(read("hello", "application/json").expect_err("no json").to_string().contains("--data-type"));
        assert!(
            read("@/nonexistent", "text/plain").expect_err("no file").to_string().contains("/nonexistent")
        );
        let long = read(&"x".repeat(EVENT.length() + 1), "text/plain").expect_err("too long");
        assert!(long.to_string().contains("64 KiB"), "{long}");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("x");
        std::fs::write(&file, [0xff, 0]).expect("written");
        let data = read(&format!("@{}", file.display()), "application/octet-stream").expect("bytes");
        assert_eq!(data, Data::Binary(vec![0xff, 0]));
    }
}
