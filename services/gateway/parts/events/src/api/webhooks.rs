//! Webhooks: who gets events, and what became of them.

use crate::adapters::webhooks::{Request as Post, Sender, signature};
use crate::domain::webhook_patience::{Answer as Meaning, answer};
use crate::reconcilers::webhooks::secrets;
use crate::store::deliveries;
use crate::store::webhooks::{self, Cursor};
use crate::translate::webhooks as translate;
use bus::{Connection, Desk};
use chassis::Sealer;
use contracts::gateway::v1 as wire;
use contracts::gateway::v1::WebhookState;
use contracts::gateway::v1::webhook_service_server::WebhookService;
use gateway_api::api::accept::{Accepted, Asked, Entered, Requests};
use gateway_api::api::caller;
use gateway_api::domain::caller::Caller;
use gateway_api::domain::names;
use gateway_api::domain::page::Page;
use gateway_api::domain::violation::Violation;
use gateway_api::translate::status;
use kernel::limits::{WEBHOOK_OVERLAP_DEFAULT_S, WEBHOOK_OVERLAP_S};
use kernel::{MessageId, PLATFORM, Refusal, Timestamp, WebhookId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tonic::{Code, Request, Response, Status};

type Answer<T> = Result<Response<T>, Status>;

/// Most webhooks of one tenant: each reads the stream for itself.
const WEBHOOKS_LIMIT: i64 = 50;

/// Webhooks, for those who have them.
pub struct Webhooks {
    /// Tables, clock and way out.
    pub desk: Desk,
    /// Takes requests on.
    pub requests: Requests,
    /// The broker, for where the stream ends now.
    pub bus: Connection,
    /// Seals their secrets.
    pub sealer: Arc<Sealer>,
    /// Requests to receivers.
    pub sender: Sender,
    /// Woken when a webhook changed.
    pub couriers: Arc<Notify>,
}

impl Webhooks {
    async fn webhook_record(&self, caller: &Caller, name: &str) -> Result<wire::WebhookRecord, Status> {
        names::reference("webhook", name).map_err(status::invalid)?;
        let found = webhooks::find(self.desk.store().reader(), &caller.tenant, name).await;
        found.map_err(status::broken)?.ok_or_else(|| status::not_found("webhook", "webhook", name))
    }

    /// A webhook of the tenant in which the caller acts, by name or id.
    async fn webhook(&self, caller: &Caller, name: &str) -> Result<wire::Webhook, Status> {
        let record = self.webhook_record(caller, name).await?;
        record.webhook.ok_or_else(|| status::not_found("webhook", "webhook", name))
    }

    /// A webhook as it is now, also when it was just deleted.
    async fn webhook_by_id(&self, id: &str) -> Result<Option<wire::WebhookRecord>, Status> {
        webhooks::by_id(self.desk.store().reader(), id).await.map_err(status::broken)
    }

    /// Where events are to go: a URL to which requests may be sent from here.
    fn receiver(&self, url: &str) -> Result<(), Status> {
        let parsed = translate::url("url", url).map_err(status::invalid)?;
        let closed = self.sender.check(&parsed);
        closed.map_err(|closed| status::invalid(Violation::new("url", closed.to_string())))
    }

    async fn make_webhook(
        &self,
        asked: &Asked,
        request: wire::CreateWebhookRequest,
        secret: &str,
    ) -> Result<Accepted, Status> {
        let wire::CreateWebhookRequest { name, url, filter } = request;
        let filter = filter.unwrap_or_default();
        names::dotted("name", &name).map_err(status::invalid)?;
        self.receiver(&url)?;
        translate::filter(&filter).map_err(status::invalid)?;
        let tenant = asked.caller.tenant.clone();
        may_be_sent(&asked.caller, &[&filter])?;
        let from = bus::watch::extent(&self.bus).await.map_err(status::broken)?;
        let id = WebhookId::new().to_string();
        let mut entry = match self.requests.enter(asked, &id).await? {
            Entered::Repeat(accepted) => return Ok(accepted),
            Entered::Fresh(entry) => entry,
        };
        let now_us = entry.work.now().micros();
        let tx = entry.work.tx();
        self.desk.store().lock(tx, &format!("webhooks of {tenant}")).await.map_err(status::broken)?;
        if webhooks::find(&mut *tx, &tenant, &name).await.map_err(status::broken)?.is_some() {
            let refusal =
                Refusal::new("WEBHOOK_EXISTS", format!("there is a webhook called {name:?} already"));
            return Err(status::refused(Code::AlreadyExists, refusal, "name"));
        }
        let count = webhooks::count(&mut *tx, &tenant).await.map_err(status::broken)?;
        if count >= WEBHOOKS_LIMIT {
            let text = format!("a tenant has at most {WEBHOOKS_LIMIT} webhooks: delete one first");
            return Err(status::refused(
                Code::FailedPrecondition,
                Refusal::new("TOO_MANY_WEBHOOKS", text),
                "",
            ));
        }
        let cursor = Cursor { incarnation: from.incarnation.clone(), after: from.last, ..Cursor::default() };
        webhooks::move_to(&mut *tx, &id, &cursor).await.map_err(status::broken)?;
        let webhook = wire::Webhook {
            id,
            name,
            tenant: tenant.clone(),
            url,
            filter: Some(filter),
            state: WebhookState::Active as i32,
            from_incarnation: from.incarnation,
            from_sequence: from.last,
            revision: 1,
            created_at_us: now_us,
            updated_at_us: now_us,
            ..wire::Webhook::default()
        };
        let record = wire::WebhookRecord {
            webhook: Some(webhook),
            secret: Some(self.sealer.seal(secret.as_bytes())),
            previous_secret: None,
        };
        webhooks::put(entry.work.tx(), &record).await.map_err(status::broken)?;
        entry.work.say_for(&tenant, &wire::WebhookCreated { record: Some(record) });
        asked.changed(1);
        entry.done().await
    }

    /// Changes a webhook and says so, unless nothing is different after `change`.
    async fn change_webhook(
        &self,
        asked: &Asked,
        name: &str,
        change: impl FnOnce(&mut wire::WebhookRecord, &mut wire::Webhook, Timestamp) -> Result<(), Status> + Send,
    ) -> Result<Accepted, Status> {
        let missing = || status::not_found("webhook", "webhook", name);
        let found = self.webhook(&asked.caller, name).await?;
        let mut entry = match self.requests.enter(asked, &found.id).await? {
            Entered::Repeat(accepted) => return Ok(accepted),
            Entered::Fresh(entry) => entry,
        };
        let (id, now) = (found.id, entry.work.now());
        let tx = entry.work.tx();
        self.desk.store().lock(tx, &format!("webhook {id}")).await.map_err(status::broken)?;
        let before = webhooks::by_id(&mut *tx, &id).await.map_err(status::broken)?.ok_or_else(missing)?;
        let mut record = before.clone();
        let there = |webhook: &wire::Webhook| webhook.state != WebhookState::Deleted as i32;
        let mut webhook = record.webhook.take().filter(there).ok_or_else(missing)?;
        asked.found(&id, &webhook.name, webhook.revision);
        let was = webhook.state;
        change(&mut record, &mut webhook, now)?;
        let (tenant, is) = (webhook.tenant.clone(), webhook.state);
        record.webhook = Some(webhook);
        if record != before {
            if let Some(webhook) = &mut record.webhook {
                webhook.revision += 1;
                webhook.updated_at_us = now.micros();
                asked.changed(webhook.revision);
            }
            webhooks::put(entry.work.tx(), &record).await.map_err(status::broken)?;
            let record = Some(record);
            if is == WebhookState::Deleted as i32 {
                webhooks::forget(entry.work.tx(), &id).await.map_err(status::broken)?;
                entry.work.say_for(&tenant, &wire::WebhookDeleted { record });
            } else {
                if was != is && is == WebhookState::Active as i32 {
                    webhooks::begin_anew(entry.work.tx(), &id).await.map_err(status::broken)?;
                }
                entry.work.say_for(&tenant, &wire::WebhookChanged { record });
            }
        }
        let accepted = entry.done().await?;
        self.couriers.notify_one();
        Ok(accepted)
    }

    /// The present secret of a webhook if it is this one: a repeated request is answered without it.
    fn shown(&self, record: Option<&wire::WebhookRecord>, secret: String) -> String {
        let kept = record.and_then(|record| record.secret.as_ref());
        let same = kept.is_some_and(|kept| self.sealer.open(kept).is_ok_and(|it| it == secret.as_bytes()));
        if same { secret } else { String::new() }
    }
}

/// Who may have these events sent: what leaves by a webhook is what its maker could read.
fn may_be_sent(caller: &Caller, filters: &[&wire::WebhookFilter]) -> Result<(), Status> {
    let need = |permission: &str, why: &str| {
        if caller.may(permission) {
            return Ok(());
        }
        let text = format!("{why}: that needs the permission {permission}");
        Err(status::refused(Code::PermissionDenied, Refusal::new("PERMISSION_DENIED", text), "filter"))
    };
    if filters.iter().any(|filter| translate::names_records(filter)) {
        need("audit.read", "audit records are sent")?;
    }
    if caller.tenant == PLATFORM {
        need("platform.read", "events of all tenants are sent")?;
        need("host.read", "events of all tenants are sent, with the hosts")?;
    }
    Ok(())
}

fn turn(webhook: &mut wire::Webhook, state: i32) -> Result<(), Status> {
    match WebhookState::try_from(state) {
        Ok(WebhookState::Unspecified) => {}
        Ok(WebhookState::Active) => {
            webhook.state = state;
            webhook.reason.clear();
        }
        Ok(WebhookState::Disabled) => webhook.state = state,
        _ => {
            let text = "write WEBHOOK_STATE_ACTIVE or WEBHOOK_STATE_DISABLED; to remove it, delete it";
            return Err(status::invalid(Violation::new("state", text)));
        }
    }
    Ok(())
}

#[tonic::async_trait]
impl WebhookService for Webhooks {
    async fn create_webhook(
        &self,
        request: Request<wire::CreateWebhookRequest>,
    ) -> Answer<wire::CreateWebhookResponse> {
        let asked = self.requests.asked(&request, "CreateWebhook")?;
        let fresh = signature::fresh_secret();
        let accepted =
            self.requests.once(&asked, self.make_webhook(&asked, request.into_inner(), &fresh)).await?;
        self.couriers.notify_one();
        let record = self.webhook_by_id(&accepted.object_id).await?;
        let secret = self.shown(record.as_ref(), fresh);
        Ok(Response::new(wire::CreateWebhookResponse { webhook: record.and_then(|r| r.webhook), secret }))
    }

    async fn list_webhooks(
        &self,
        request: Request<wire::ListWebhooksRequest>,
    ) -> Answer<wire::ListWebhooksResponse> {
        let caller = caller(&request)?;
        let wire::ListWebhooksRequest { page_size, page_token } = request.into_inner();
        let page = Page::read(page_size, &page_token, 1).map_err(status::invalid)?;
        let rows = webhooks::page(self.desk.store().reader(), &caller.tenant, &page).await;
        let rows = rows.map_err(status::broken)?.into_iter().filter_map(|record| record.webhook).collect();
        let (webhooks, next_page_token) = page.cut(rows, |row: &wire::Webhook| vec![row.name.clone()]);
        Ok(Response::new(wire::ListWebhooksResponse { webhooks, next_page_token }))
    }

    async fn get_webhook(
        &self,
        request: Request<wire::GetWebhookRequest>,
    ) -> Answer<wire::GetWebhookResponse> {
        let caller = caller(&request)?;
        let mut webhook = self.webhook(&caller, &request.get_ref().webhook).await?;
        let mut db = self.desk.store().reader().acquire().await.map_err(status::broken)?;
        webhook.progress = webhooks::progress(&mut db, &webhook.id).await.map_err(status::broken)?;
        Ok(Response::new(wire::GetWebhookResponse { webhook: Some(webhook) }))
    }

    async fn update_webhook(
        &self,
        request: Request<wire::UpdateWebhookRequest>,
    ) -> Answer<wire::UpdateWebhookResponse> {
        let asked = self.requests.asked(&request, "UpdateWebhook")?;
        let wire::UpdateWebhookRequest { webhook: name, url, filter, state } = request.into_inner();
        let take = async {
            if !url.is_empty() {
                self.receiver(&url)?;
            }
            if let Some(filter) = &filter {
                translate::filter(filter).map_err(status::invalid)?;
            }
            let by = asked.caller.clone();
            let change = move |_: &mut wire::WebhookRecord, webhook: &mut wire::Webhook, _: Timestamp| {
                let before = webhook.filter.clone().unwrap_or_default();
                let after = filter.unwrap_or_else(|| before.clone());
                may_be_sent(&by, &[&before, &after])?;
                turn(webhook, state)?;
                webhook.filter = Some(after);
                if !url.is_empty() {
                    webhook.url = url;
                }
                Ok(())
            };
            self.change_webhook(&asked, &name, change).await
        };
        let accepted = self.requests.once(&asked, take).await?;
        let webhook = self.webhook_by_id(&accepted.object_id).await?.and_then(|record| record.webhook);
        Ok(Response::new(wire::UpdateWebhookResponse { webhook }))
    }

    async fn delete_webhook(
        &self,
        request: Request<wire::DeleteWebhookRequest>,
    ) -> Answer<wire::DeleteWebhookResponse> {
        let asked = self.requests.asked(&request, "DeleteWebhook")?;
        let name = request.into_inner().webhook;
        let change = |record: &mut wire::WebhookRecord, webhook: &mut wire::Webhook, _: Timestamp| {
            webhook.state = WebhookState::Deleted as i32;
            (record.secret, record.previous_secret) = (None, None);
            Ok(())
        };
        let accepted = self.requests.once(&asked, self.change_webhook(&asked, &name, change)).await?;
        let webhook = self.webhook_by_id(&accepted.object_id).await?.and_then(|record| record.webhook);
        Ok(Response::new(wire::DeleteWebhookResponse { webhook }))
    }

    async fn rotate_webhook_secret(
        &self,
        request: Request<wire::RotateWebhookSecretRequest>,
    ) -> Answer<wire::RotateWebhookSecretResponse> {
        let asked = self.requests.asked(&request, "RotateWebhookSecret")?;
        let wire::RotateWebhookSecretRequest { webhook: name, overlap_s, at_once } = request.into_inner();
        let fresh = signature::fresh_secret();
        let take = async {
            if overlap_s > WEBHOOK_OVERLAP_S || (at_once && overlap_s > 0) {
                let text = format!("at most {WEBHOOK_OVERLAP_S} seconds, and none together with at_once");
                return Err(status::invalid(Violation::new("overlap_s", text)));
            }
            let overlap = if overlap_s == 0 { WEBHOOK_OVERLAP_DEFAULT_S } else { overlap_s };
            let sealed = self.sealer.seal(fresh.as_bytes());
            let change =
                move |record: &mut wire::WebhookRecord, webhook: &mut wire::Webhook, now: Timestamp| {
                    let old = record.secret.replace(sealed);
                    let until = now.after(Duration::from_secs(u64::from(overlap)));
                    (record.previous_secret, webhook.previous_secret_until_us) =
                        if at_once { (None, 0) } else { (old, until.micros()) };
                    Ok(())
                };
            self.change_webhook(&asked, &name, change).await
        };
        let accepted = self.requests.once(&asked, take).await?;
        let record = self.webhook_by_id(&accepted.object_id).await?;
        let secret = self.shown(record.as_ref(), fresh);
        let webhook = record.and_then(|record| record.webhook);
        Ok(Response::new(wire::RotateWebhookSecretResponse { webhook, secret }))
    }

    async fn probe_webhook(
        &self,
        request: Request<wire::ProbeWebhookRequest>,
    ) -> Answer<wire::ProbeWebhookResponse> {
        let asked = self.requests.asked(&request, "ProbeWebhook")?;
        let record = self.webhook_record(&asked.caller, &request.get_ref().webhook).await?;
        let webhook = record.webhook.clone().unwrap_or_default();
        asked.found(&webhook.id, &webhook.name, webhook.revision);
        let (event_id, now) = (MessageId::new().to_string(), self.desk.clock().now());
        let secrets = secrets(&self.sealer, &record, now).map_err(status::broken)?;
        let body = translate::probe(&event_id, &webhook, now.micros());
        let post = Post::signed(&webhook.url, &event_id, 1, now.micros() / 1_000_000, &secrets, body);
        let attempt = self.sender.send(post).await;
        Ok(Response::new(wire::ProbeWebhookResponse {
            delivered: answer(attempt.status) == Meaning::Taken,
            status: attempt.status,
            error: attempt.error,
            duration_us: u64::try_from(attempt.duration.as_micros()).unwrap_or(u64::MAX),
            event_id,
        }))
    }

    async fn list_deliveries(
        &self,
        request: Request<wire::ListDeliveriesRequest>,
    ) -> Answer<wire::ListDeliveriesResponse> {
        let caller = caller(&request)?;
        let state = request.get_ref().state();
        let wire::ListDeliveriesRequest { webhook, page_size, page_token, .. } = request.into_inner();
        let page = Page::read(page_size, &page_token, 1).map_err(status::invalid)?;
        let webhook = self.webhook(&caller, &webhook).await?;
        let rows = deliveries::page(self.desk.store().reader(), &webhook.id, state, &page).await;
        let (rows, next_page_token) = page.cut(rows.map_err(status::broken)?, |row| vec![row.0.to_string()]);
        let deliveries = rows.into_iter().map(|(_, delivery)| delivery).collect();
        Ok(Response::new(wire::ListDeliveriesResponse { deliveries, next_page_token }))
    }

    async fn resend_delivery(
        &self,
        request: Request<wire::ResendDeliveryRequest>,
    ) -> Answer<wire::ResendDeliveryResponse> {
        let asked = self.requests.asked(&request, "ResendDelivery")?;
        let wire::ResendDeliveryRequest { webhook, delivery } = request.into_inner();
        let take = async {
            let webhook = self.webhook(&asked.caller, &webhook).await?;
            names::reference("delivery", &delivery).map_err(status::invalid)?;
            asked.found(&webhook.id, &webhook.name, webhook.revision);
            let mut entry = match self.requests.enter(&asked, &webhook.id).await? {
                Entered::Repeat(accepted) => return Ok(accepted),
                Entered::Fresh(entry) => entry,
            };
            let now_us = entry.work.now().micros();
            let found = deliveries::resend(entry.work.tx(), &webhook.id, &delivery, now_us).await;
            if !found.map_err(status::broken)? {
                return Err(status::not_found("delivery", "delivery", &delivery));
            }
            entry.done().await
        };
        let accepted = self.requests.once(&asked, take).await?;
        self.couriers.notify_one();
        let found = deliveries::get(self.desk.store().reader(), &accepted.object_id, &delivery).await;
        Ok(Response::new(wire::ResendDeliveryResponse { delivery: found.map_err(status::broken)? }))
    }
}
