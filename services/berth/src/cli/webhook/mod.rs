//! `berth webhook`.

mod show;

use super::Session;
use super::arguments::{duration, pair};
use super::login::there;
use super::session::all_pages;
use clap::{Args, Subcommand, ValueEnum};
use client::{Exit, Failure};
use contracts::gateway::v1 as wire;
use contracts::gateway::v1::{DeliveryState, WebhookState};
use kernel::limits::{PAGE, WEBHOOK_OVERLAP_DEFAULT_S, WEBHOOK_OVERLAP_S};
use std::time::Duration;

/// Events sent to receivers outside, signed, in order and again until they arrive
#[derive(Debug, Subcommand)]
#[command(after_help = "Requests are CloudEvents in JSON, signed by the scheme of Standard Webhooks.

Examples:
  berth webhook create deploys --url https://hooks.example.com/berth --type scheduler.InstanceReady
  berth webhook probe deploys
  berth webhook deliveries deploys --state failed")]
pub enum WebhookCommand {
    /// Make a webhook and print its secret, once
    #[command(after_help = "Examples:
  berth webhook create deploys --url https://hooks.example.com/berth
  berth webhook create web --url https://hooks.example.com/web --type scheduler --label team=web -q > web.secret")]
    Create {
        /// What it is called; unique among the webhooks of its tenant
        name: String,
        /// Where events are sent
        #[arg(long)]
        url: String,
        #[command(flatten)]
        filter: FilterArgs,
    },
    /// List webhooks
    #[command(
        after_help = "Examples:\n  berth webhook list\n  berth webhook list -o json | jq -r '.webhooks[].url'"
    )]
    List,
    /// Show one webhook and how far it is
    #[command(after_help = "Examples:\n  berth webhook show deploys")]
    Show {
        /// Name or id
        webhook: String,
    },
    /// Change where or what is sent, disable or enable
    #[command(after_help = "Examples:
  berth webhook update deploys --url https://hooks.example.com/new
  berth webhook update deploys --type scheduler --type storage.ImageImported
  berth webhook update deploys --disable
  berth webhook update deploys --enable")]
    Update(UpdateArgs),
    /// Remove a webhook and what waits to be sent
    #[command(after_help = "Examples:\n  berth webhook delete deploys")]
    Delete {
        /// Name or id
        webhook: String,
    },
    /// Give a webhook another secret and print it; for a while both sign
    #[command(after_help = "Examples:
  berth webhook rotate-secret deploys --overlap 1h
  berth webhook rotate-secret deploys --at-once")]
    RotateSecret {
        /// Name or id
        webhook: String,
        #[arg(
            long,
            value_name = "TIME",
            value_parser = duration,
            help = format!(
                "How long the old secret signs as well, up to {}h [default: {}h]",
                WEBHOOK_OVERLAP_S / 3600,
                WEBHOOK_OVERLAP_DEFAULT_S / 3600
            )
        )]
        overlap: Option<Duration>,
        /// The old secret is good for nothing from now on: it got out
        #[arg(long, conflicts_with = "overlap")]
        at_once: bool,
    },
    /// Send a trial event at once and say what came of it
    #[command(after_help = "Examples:\n  berth webhook probe deploys")]
    Probe {
        /// Name or id
        webhook: String,
    },
    /// List what was sent and what waits, newest first
    #[command(after_help = "Examples:
  berth webhook deliveries deploys
  berth webhook deliveries deploys --state failed --limit 20")]
    Deliveries {
        /// Name or id
        webhook: String,
        /// Only these
        #[arg(long, value_enum)]
        state: Option<State>,
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(PAGE)))]
        limit: u32,
    },
    /// Send an event again, under its own id
    #[command(after_help = "Examples:\n  berth webhook resend deploys 018f0000-0000-7000-8000-000000000001")]
    Resend {
        /// Name or id
        webhook: String,
        /// Id of the delivery
        delivery: String,
    },
}

/// Which events
#[derive(Debug, Clone, Default, Args)]
pub struct FilterArgs {
    /// scheduler.InstanceReady, or scheduler for all of a service; may be repeated [default: all]
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only about the object with this id
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    object: String,
    /// Only events that carry this label, key=value; may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
}

impl FilterArgs {
    fn is_empty(&self) -> bool {
        self.types.is_empty() && self.object.is_empty() && self.labels.is_empty()
    }

    fn into_wire(self) -> wire::WebhookFilter {
        let labels = self.labels.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        wire::WebhookFilter { types: self.types, object_id: self.object, labels }
    }
}

/// What to change
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Name or id
    webhook: String,
    /// Where events are sent
    #[arg(long, default_value = "", hide_default_value = true)]
    url: String,
    #[command(flatten)]
    filter: FilterArgs,
    /// No filter any more
    #[arg(long, conflicts_with_all = ["types", "object", "labels"])]
    all_events: bool,
    /// Send again, from where it stopped
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Send nothing for now
    #[arg(long)]
    disable: bool,
}

impl UpdateArgs {
    fn into_request(self) -> Result<wire::UpdateWebhookRequest, Failure> {
        let filter = (self.all_events || !self.filter.is_empty()).then(|| self.filter.into_wire());
        let state = match (self.enable, self.disable) {
            (true, _) => WebhookState::Active,
            (_, true) => WebhookState::Disabled,
            _ => WebhookState::Unspecified,
        };
        if self.url.is_empty() && filter.is_none() && state == WebhookState::Unspecified {
            return Err(Failure::usage("nothing to change: give --url, a filter, --enable or --disable"));
        }
        Ok(wire::UpdateWebhookRequest { webhook: self.webhook, url: self.url, filter, state: state as i32 })
    }
}

/// What became of a delivery
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// It will be sent, or sent again.
    Waiting,
    /// It arrived.
    Delivered,
    /// It was given up.
    Failed,
}

pub(super) async fn run(command: WebhookCommand, session: &Session) -> Result<(), Failure> {
    let (gateway, key) = (&session.gateway, session.key());
    match command {
        WebhookCommand::Create { name, url, filter } => {
            let request = wire::CreateWebhookRequest { name, url, filter: Some(filter.into_wire()) };
            let answer =
                gateway.change(request, key, async |r| gateway.webhooks().create_webhook(r).await).await?;
            said_once(session, &there(answer.webhook.as_ref())?.name, &answer.secret);
            session.format.print("CreateWebhookResponse", &answer, || format!("{}\n", answer.secret))
        }
        WebhookCommand::List => {
            let mut list = wire::ListWebhooksResponse::default();
            all_pages(async |page_token| {
                let request = wire::ListWebhooksRequest { page_size: kernel::limits::PAGE, page_token };
                let page = gateway.read(request, async |r| gateway.webhooks().list_webhooks(r).await).await?;
                list.webhooks.extend(page.webhooks);
                Ok(page.next_page_token)
            })
            .await?;
            session.format.print("ListWebhooksResponse", &list, || show::webhooks(&list.webhooks))
        }
        WebhookCommand::Show { webhook } => {
            let request = wire::GetWebhookRequest { webhook };
            let answer = gateway.read(request, async |r| gateway.webhooks().get_webhook(r).await).await?;
            let webhook = there(answer.webhook.as_ref())?;
            session.format.print("GetWebhookResponse", &answer, || show::webhook(webhook))
        }
        WebhookCommand::Update(args) => {
            let request = args.into_request()?;
            let answer =
                gateway.change(request, key, async |r| gateway.webhooks().update_webhook(r).await).await?;
            let webhook = there(answer.webhook.as_ref())?;
            session.format.print("UpdateWebhookResponse", &answer, || format!("changed {}\n", webhook.name))
        }
        WebhookCommand::Delete { webhook } => {
            let request = wire::DeleteWebhookRequest { webhook };
            let answer =
                gateway.change(request, key, async |r| gateway.webhooks().delete_webhook(r).await).await?;
            let webhook = there(answer.webhook.as_ref())?;
            session.format.print("DeleteWebhookResponse", &answer, || format!("deleted {}\n", webhook.name))
        }
        WebhookCommand::RotateSecret { webhook, overlap, at_once } => {
            let overlap_s = overlap.map_or(0, |time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
            let request = wire::RotateWebhookSecretRequest { webhook, overlap_s, at_once };
            let answer = gateway
                .change(request, key, async |r| gateway.webhooks().rotate_webhook_secret(r).await)
                .await?;
            said_once(session, &there(answer.webhook.as_ref())?.name, &answer.secret);
            session.format.print("RotateWebhookSecretResponse", &answer, || format!("{}\n", answer.secret))
        }
        WebhookCommand::Probe { webhook } => {
            let request = wire::ProbeWebhookRequest { webhook };
            let answer =
                gateway.change(request, key, async |r| gateway.webhooks().probe_webhook(r).await).await?;
            session.format.print("ProbeWebhookResponse", &answer, || show::probe(&answer))?;
            match answer.delivered {
                true => Ok(()),
                false => Err(Failure::new(Exit::Failed, "the receiver did not take the trial event")),
            }
        }
        WebhookCommand::Deliveries { webhook, state, limit } => {
            let state = match state {
                None => DeliveryState::Unspecified,
                Some(State::Waiting) => DeliveryState::Waiting,
                Some(State::Delivered) => DeliveryState::Delivered,
                Some(State::Failed) => DeliveryState::Failed,
            };
            let page_token = String::new();
            let request =
                wire::ListDeliveriesRequest { webhook, page_size: limit, page_token, state: state as i32 };
            let answer = gateway.read(request, async |r| gateway.webhooks().list_deliveries(r).await).await?;
            session.format.print("ListDeliveriesResponse", &answer, || show::deliveries(&answer.deliveries))
        }
        WebhookCommand::Resend { webhook, delivery } => {
            let request = wire::ResendDeliveryRequest { webhook, delivery };
            let answer =
                gateway.change(request, key, async |r| gateway.webhooks().resend_delivery(r).await).await?;
            let delivery = there(answer.delivery.as_ref())?;
            session
                .format
                .print("ResendDeliveryResponse", &answer, || format!("{} is sent again\n", delivery.id))
        }
    }
}

fn said_once(session: &Session, name: &str, secret: &str) {
    if secret.is_empty() {
        session.note("it was made before and shown then: rotate the secret if it is lost");
    } else {
        session.note(&format!("the secret of {name}: keep it, it is not shown again"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn update() -> UpdateArgs {
        UpdateArgs {
            webhook: "deploys".into(),
            url: String::new(),
            filter: FilterArgs::default(),
            all_events: false,
            enable: false,
            disable: false,
        }
    }

    #[test]
    fn what_is_not_given_stays_as_it_is() {
        let request = UpdateArgs { disable: true, ..update() }.into_request().expect("something");
        assert_eq!(
            (request.state(), request.filter, request.url.as_str()),
            (WebhookState::Disabled, None, "")
        );
        let filter = FilterArgs { labels: vec![("team".into(), "web".into())], ..FilterArgs::default() };
        let request = UpdateArgs { filter, ..update() }.into_request().expect("something");
        assert_eq!(request.filter.expect("a filter").labels, ["team=web"]);
        let request = UpdateArgs { all_events: true, ..update() }.into_request().expect("something");
        assert_eq!(request.filter, Some(wire::WebhookFilter::default()));
        assert_eq!(update().into_request().expect_err("nothing").exit, Exit::Usage);
    }
}
