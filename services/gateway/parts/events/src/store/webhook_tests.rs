//! Webhooks and their deliveries on both databases.

use super::deliveries::{self, New, Outcome};
use super::webhooks::{self, Cursor};
use contracts::gateway::v1::{DeliveryState, Webhook, WebhookRecord, WebhookState};
use gateway_access::store::tenants;
use gateway_api::domain::page::Page;
use gateway_api::store::MIGRATIONS;
use testkit::databases;

fn webhook(id: &str, tenant: &str, name: &str, revision: u64, state: WebhookState) -> WebhookRecord {
    let (id, tenant, name) = (id.into(), tenant.into(), name.into());
    let webhook = Webhook { id, tenant, name, revision, state: state as i32, ..Webhook::default() };
    WebhookRecord { webhook: Some(webhook), ..WebhookRecord::default() }
}

fn new(event_id: &str, object: &str) -> New {
    New {
        event_id: event_id.into(),
        r#type: "scheduler.InstanceReady".into(),
        object_key: object.into(),
        object_id: object.into(),
        occurred_at_us: 50,
        body: b"{}".to_vec(),
    }
}

fn outcome(state: DeliveryState, next_at_us: i64) -> Outcome<'static> {
    Outcome { state, status: 500, error: "no", duration_us: 7, next_at_us }
}

#[tokio::test]
async fn webhooks_are_found_in_their_tenant_while_they_are_there() {
    for database in databases(MIGRATIONS).await {
        let mut tx = database.store.begin().await.expect("begins");
        for record in [
            webhook("1", "acme", "a", 1, WebhookState::Active),
            webhook("2", "other", "a", 1, WebhookState::Active),
            webhook("3", "acme", "b", 2, WebhookState::Disabled),
            webhook("3", "acme", "b", 1, WebhookState::Active),
            webhook("4", "acme", "c", 1, WebhookState::Deleted),
        ] {
            webhooks::put(&mut tx, &record).await.expect("written");
        }
        let find = async |tx: &mut sqlx::AnyConnection, name: &str| {
            let found = webhooks::find(tx, "acme", name).await.expect("read");
            found.and_then(|record| record.webhook).map(|webhook| webhook.id)
        };
        assert_eq!(find(&mut tx, "a").await.as_deref(), Some("1"));
        assert_eq!(find(&mut tx, "2").await, None, "an id of another tenant");
        assert_eq!(find(&mut tx, "c").await, None);
        assert_eq!(webhooks::count(&mut *tx, "acme").await.expect("read"), 2);
        let active = webhooks::active(&mut *tx).await.expect("read");
        assert_eq!(active, [("1".to_owned(), 1), ("2".to_owned(), 1)], "the older word came later");
        let left = tenants::belongings(&mut tx, "acme").await.expect("read");
        assert_eq!(left, ["2 webhooks"]);
        deliveries::add(&mut tx, "1", 1, &new("e", "x")).await.expect("written");
        let standing = webhooks::standing(&mut *tx).await.expect("read");
        let row = |state: WebhookState| standing.iter().find(|row| row.0 == state as i32).copied();
        assert_eq!(row(WebhookState::Active), Some((1, 2, 1, 50)));
        assert_eq!(row(WebhookState::Disabled), Some((2, 1, 0, 0)));
        drop(tx);
        database.remove().await;
    }
}

#[tokio::test]
async fn one_process_holds_the_right_to_send_until_it_is_over() {
    for database in databases(MIGRATIONS).await {
        let mut tx = database.store.begin().await.expect("begins");
        let mut hold = async |owner: &str, now: i64| {
            webhooks::hold(&mut tx, "w", owner, now, now + 10).await.expect("written")
        };
        assert!(hold("one", 0).await);
        assert!(!hold("other", 10).await, "to the last moment");
        assert!(hold("one", 10).await, "kept");
        assert!(!hold("other", 20).await);
        assert!(hold("other", 21).await && !hold("one", 22).await, "taken over");
        webhooks::release(&mut tx, "w", "one").await.expect("written");
        assert!(!webhooks::hold(&mut tx, "w", "one", 23, 33).await.expect("written"), "it was not its own");
        webhooks::release(&mut tx, "w", "other").await.expect("written");
        assert!(webhooks::hold(&mut tx, "w", "one", 23, 33).await.expect("written"));
        drop(tx);
        database.remove().await;
    }
}

#[tokio::test]
async fn deliveries_are_counted_before_they_are_sent_and_known_by_their_event() {
    for database in databases(MIGRATIONS).await {
        let mut tx = database.store.begin().await.expect("begins");
        assert!(deliveries::add(&mut tx, "w", 1, &new("a", "x")).await.expect("written"));
        assert!(!deliveries::add(&mut tx, "w", 2, &new("a", "x")).await.expect("written"), "known");
        assert!(
            deliveries::add(&mut tx, "v", 1, &new("a", "x")).await.expect("written"),
            "another webhook's"
        );
        assert!(deliveries::add(&mut tx, "w", 2, &new("b", "y")).await.expect("written"));
        for (attempt, now) in [(1, 100), (2, 200)] {
            let begun = deliveries::begin(&mut tx, "w", 1, now).await.expect("read").expect("waits");
            assert_eq!(
                (begun.attempts, begun.tried_since_us, begun.body.as_slice()),
                (attempt, 100, &b"{}"[..])
            );
        }
        deliveries::end(&mut tx, "w", 1, outcome(DeliveryState::Waiting, 900)).await.expect("written");
        let waiting = deliveries::waiting(&mut *tx, "w").await.expect("read");
        let shown: Vec<(i64, i64)> = waiting.iter().map(|w| (w.position, w.next_at_us)).collect();
        assert_eq!(shown, [(1, 900), (2, 0)]);
        deliveries::end(&mut tx, "w", 1, outcome(DeliveryState::Failed, 0)).await.expect("written");
        assert!(deliveries::begin(&mut tx, "w", 1, 300).await.expect("read").is_none(), "it does not wait");
        let kept = deliveries::get(&mut *tx, "w", "a").await.expect("read").expect("there");
        assert_eq!(
            (kept.attempts, kept.status, kept.error.as_str(), kept.attempted_at_us),
            (2, 500, "no", 200)
        );
        assert!(deliveries::resend(&mut tx, "w", "a", 400).await.expect("written"));
        assert!(!deliveries::resend(&mut tx, "w", "c", 400).await.expect("written"));
        let begun = deliveries::begin(&mut tx, "w", 1, 500).await.expect("read").expect("waits again");
        assert_eq!((begun.attempts, begun.tried_since_us), (3, 500), "the clock begins anew");
        let cursor = Cursor {
            incarnation: "1".into(),
            after: 9,
            position: 2,
            failing_since_us: 5,
            delivered_at_us: 0,
        };
        webhooks::move_to(&mut tx, "w", &cursor).await.expect("written");
        let progress = webhooks::progress(&mut tx, "w").await.expect("read").expect("there");
        assert_eq!((progress.sequence, progress.waiting, progress.oldest_us), (9, 2, 50));
        webhooks::begin_anew(&mut tx, "w").await.expect("written");
        let progress = webhooks::progress(&mut tx, "w").await.expect("read").expect("there");
        assert_eq!(progress.failing_since_us, 0);
        webhooks::forget(&mut tx, "w").await.expect("written");
        assert!(webhooks::cursor(&mut *tx, "w").await.expect("read").is_none());
        assert!(deliveries::waiting(&mut *tx, "w").await.expect("read").is_empty());
        assert_eq!(deliveries::waiting(&mut *tx, "v").await.expect("read").len(), 1);
        drop(tx);
        database.remove().await;
    }
}

#[tokio::test]
async fn the_log_is_kept_short_and_nothing_that_waits_is_cut() {
    for database in databases(MIGRATIONS).await {
        let mut tx = database.store.begin().await.expect("begins");
        for position in 1..=10 {
            let event = new(&format!("e{position}"), "x");
            assert!(deliveries::add(&mut tx, "w", position, &event).await.expect("written"));
            deliveries::begin(&mut tx, "w", position, position * 100).await.expect("written");
            if position != 2 {
                deliveries::end(&mut tx, "w", position, outcome(DeliveryState::Delivered, 0))
                    .await
                    .expect("written");
            }
        }
        assert_eq!(deliveries::trim(&mut tx, "w", 0, 100).await.expect("written"), 0);
        assert_eq!(deliveries::trim(&mut tx, "w", 350, 100).await.expect("written"), 2, "by age");
        assert_eq!(deliveries::trim(&mut tx, "w", 0, 3).await.expect("written"), 4, "by number");
        let all = DeliveryState::Unspecified;
        let page =
            deliveries::page(&mut *tx, "w", all, &Page { size: 2, after: vec![] }).await.expect("read");
        assert_eq!(page.iter().map(|row| row.0).collect::<Vec<i64>>(), [10, 9, 8], "a page and one more");
        let page = Page { size: 5, after: vec!["9".into()] };
        let rows = deliveries::page(&mut *tx, "w", all, &page).await.expect("read");
        assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<i64>>(), [8, 2]);
        let rows =
            deliveries::page(&mut *tx, "w", DeliveryState::Waiting, &Page { size: 5, after: vec![] }).await;
        assert_eq!(rows.expect("read").iter().map(|row| row.0).collect::<Vec<i64>>(), [2]);
        drop(tx);
        database.remove().await;
    }
}
