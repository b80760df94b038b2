//! Each place in which something can be held up, brought about on purpose: whoever asks where it is is told that place.

use bus::Envelope;
use kernel::{Clock, MessageId, SystemClock};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use stories::chaos::stage::Stage;
use stories::chaos::users::MEMORY;
use stories::whereabouts::{Place, Search, Sought, Whereabouts};
use testkit::eventually;

/// How long a place may take to show, on a machine that is busy with other tests.
const SHOWS: Duration = Duration::from_secs(60);

/// A platform with one host, and whoever asks something of it.
struct Asking {
    stage: Stage,
}

impl Asking {
    /// `hosts` is further lines of the host-driver's settings.
    async fn of(hosts: &str) -> Self {
        let room = format!("reserve_memory_bytes = 0\nsimulated.host.memory_bytes = {}", 4 * MEMORY);
        let stage = Stage::start(1, &format!("simulated.count = 1\n{room}\n{hosts}")).await;
        stage.import(1).await;
        Self { stage }
    }

    async fn create(&self, name: &str, memory: u64) -> Sought {
        let body = json!({
            "name": name, "image": "berth-small",
            "resources": {"vcpus_milli": 100, "memory_bytes": memory, "disk_bytes": 64 << 20},
        });
        let (status, answer) = self.stage.door.ask(Method::POST, "/v1/instances", name, Some(&body)).await;
        let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
        assert_eq!(status, 202, "{answer:#}");
        Sought {
            what: format!("create {name}"),
            operation: text("operation_id"),
            instance: text("instance_id"),
        }
    }

    async fn where_is(&self, sought: &Sought) -> Whereabouts {
        let Stage { platform, nats, door, .. } = &self.stage;
        let search = Search::begin(&platform.data_dir(), &nats.url(), door).await;
        search.find(sought).await
    }

    /// Asks until the answer is the place that is meant.
    async fn is_at(&self, sought: &Sought, what: &str, place: impl Fn(&Place) -> bool) -> Whereabouts {
        let mut last = String::new();
        let looking = eventually(2 * SHOWS, what, async || {
            let found = self.where_is(sought).await;
            last = found.to_string();
            place(&found.place).then_some(found)
        });
        match tokio::time::timeout(SHOWS, looking).await {
            Ok(found) => found,
            Err(_) => panic!("expected: {what}\nfound: {last}"),
        }
    }
}

#[tokio::test]
async fn a_command_that_is_not_published_is_in_the_outbox_of_its_sender() {
    let mut asking = Asking::of("").await;
    asking.stage.nats.kill();
    let sought = asking.create("web", MEMORY).await;
    let found = asking.where_is(&sought).await;
    assert!(matches!(&found.place, Place::Outbox { service, .. } if service == "gateway"), "{found}");
    assert!(found.message.starts_with("command CreateInstance"), "{found}");
    // the broker cannot be asked, and says so
    let told = asking.stage.whereabouts(std::slice::from_ref(&sought)).await;
    let words = ["the broker: ", "1 of them: in the outbox of gateway", "not published, waiting"];
    assert!(words.iter().all(|word| told.contains(word)), "{told}");
}

#[tokio::test]
async fn a_command_waits_in_its_queue_for_a_service_that_is_dead_or_held() {
    let mut asking = Asking::of("").await;
    asking.stage.platform.kill("scheduler");
    let sought = asking.create("web-1", MEMORY).await;
    let queued = |place: &Place| {
        matches!(place, Place::Stream { stream, consumer, asking: 0, .. }
            if stream == "CMD_SCHEDULER" && consumer == "scheduler")
    };
    asking.is_at(&sought, "in the queue of a dead scheduler", queued).await;
    assert!(asking.stage.platform.processes().contains(&("scheduler", "not running".to_owned())));
    let connection = asking.stage.nats.connect().await;
    let queue = connection.jetstream().get_stream("CMD_SCHEDULER").await.expect("the queue");
    queue.delete_consumer("scheduler").await.expect("nobody uses it");
    asking.is_at(&sought, "in a queue without any consumer", queued).await;
    let told = asking.stage.whereabouts(&[]).await;
    assert!(told.contains("CMD_SCHEDULER: nobody consumes it"), "{told}");

    asking.stage.platform.start_again("scheduler");
    asking.is_at(&sought, "done, by the next scheduler", |place| *place == Place::Settled).await;
    asking.stage.platform.pause("scheduler", true);
    let sought = asking.create("web-2", MEMORY).await;
    let delivered = |place: &Place| {
        matches!(place, Place::Delivered { stream, consumer, .. }
            if stream == "CMD_SCHEDULER" && consumer == "scheduler")
    };
    let found = asking.is_at(&sought, "delivered to a scheduler that is held", delivered).await;
    assert!(found.to_string().contains("is \"OPERATION_STATE_PENDING\" (200 OK)"), "{found}");
    assert!(asking.stage.platform.is_held("scheduler"));
    asking.stage.platform.pause("scheduler", false);
}

#[tokio::test]
async fn an_order_waits_in_its_queue_for_a_host_driver_that_is_dead() {
    let mut asking = Asking::of("").await;
    asking.stage.platform.kill("host-driver");
    let sought = asking.create("web", MEMORY).await;
    let queued = |place: &Place| {
        matches!(place, Place::Stream { stream, consumer, .. }
            if stream == "CMD_HOST_DRIVER" && consumer.starts_with("host_driver-"))
    };
    let found = asking.is_at(&sought, "in the queue of a dead host-driver", queued).await;
    assert!(found.message.starts_with("command EnsureVm"), "{found}");
}

#[tokio::test]
async fn an_event_waits_in_the_outbox_of_the_scheduler_while_the_log_is_full() {
    let asking = Asking::of("").await;
    let connection = asking.stage.nats.connect().await;
    let log = connection.jetstream().get_stream("EVENTS").await.expect("the log");
    let mut full = log.cached_info().config.clone();
    full.max_messages = i64::try_from(log.cached_info().state.messages).expect("a number");
    connection.jetstream().update_stream(full).await.expect("the log takes no more");
    let sought = asking.create("web", MEMORY).await;
    let held_up = |place: &Place| matches!(place, Place::Outbox { service, .. } if service == "scheduler");
    let found = asking.is_at(&sought, "in the outbox of the scheduler", held_up).await;
    let taken = |fact: &String| fact.contains("CreateInstance") && fact.contains("taken by scheduler");
    assert!(found.facts.iter().any(taken), "{found}");
}

#[tokio::test]
async fn an_event_waits_in_the_log_for_a_gateway_that_is_dead() {
    let mut asking = Asking::of("").await;
    // it comes no further than to the host until the gateway is gone
    asking.stage.platform.pause("host-driver", true);
    let sought = asking.create("web", MEMORY).await;
    let ordered =
        |place: &Place| matches!(place, Place::Delivered { stream, .. } if stream == "CMD_HOST_DRIVER");
    asking.is_at(&sought, "delivered to a host-driver that is held", ordered).await;
    asking.stage.platform.kill("gateway");
    asking.stage.platform.pause("host-driver", false);
    let queued = |place: &Place| matches!(place, Place::Stream { stream, consumer, .. } if stream == "EVENTS" && consumer == "gateway");
    let found = asking.is_at(&sought, "in the log, for the gateway", queued).await;
    assert!(found.message.starts_with("event "), "{found}");
    let told = asking.stage.whereabouts(std::slice::from_ref(&sought)).await;
    assert!(
        told.contains("the public door does not answer") && told.contains("gateway: not running"),
        "{told}"
    );
}

#[tokio::test]
async fn a_command_that_the_broker_lost_is_said_to_be_lost() {
    let mut asking = Asking::of("").await;
    asking.stage.platform.kill("scheduler");
    let sought = asking.create("web", MEMORY).await;
    let queued = |place: &Place| matches!(place, Place::Stream { .. });
    asking.is_at(&sought, "in the queue of a dead scheduler", queued).await;
    // its relay would find out and publish it again
    asking.stage.platform.kill("gateway");
    let connection = asking.stage.nats.connect().await;
    let queue = connection.jetstream().get_stream("CMD_SCHEDULER").await.expect("the queue");
    queue.purge().await.expect("the queue is emptied");
    let lost = |place: &Place| matches!(place, Place::Lost { consumer, .. } if consumer == "scheduler");
    asking.is_at(&sought, "lost", lost).await;
}

#[tokio::test]
async fn a_command_that_nobody_can_take_is_a_dead_letter_with_its_reason() {
    let asking = Asking::of("").await;
    let connection = asking.stage.nats.connect().await;
    let operation = MessageId::new().to_string();
    let mut headers = Envelope {
        id: MessageId::new(),
        subject: format!("cmd.scheduler.v1.CreateInstance.{operation}").parse().expect("a subject"),
        cause: bus::Cause::own("test"),
        occurred_at: SystemClock.now(),
        payload: bytes::Bytes::new(),
    }
    .headers();
    headers.insert("Correlation-Id".to_owned(), operation.clone());
    let mut sent = async_nats::HeaderMap::new();
    headers.iter().for_each(|(name, value)| sent.insert(name.as_str(), value.as_str()));
    let subject = format!("cmd.scheduler.v1.CreateInstance.{operation}");
    connection.client().publish_with_headers(subject, sent, "no protobuf".into()).await.expect("sent");
    let sought = Sought { what: "nonsense".to_owned(), operation, instance: String::new() };
    let dead = |place: &Place| matches!(place, Place::Dead { consumer, .. } if consumer == "scheduler");
    asking.is_at(&sought, "a dead letter of the scheduler", dead).await;
}

#[tokio::test]
async fn an_instance_that_fits_nowhere_waits_in_the_scheduler_and_says_why() {
    let asking = Asking::of("").await;
    let sought = asking.create("web", 100 * MEMORY).await;
    let waits =
        |place: &Place| matches!(place, Place::Unplaced { reason } if reason.contains("NO_HOST_HAS_ROOM"));
    asking.is_at(&sought, "in the scheduler, without a host", waits).await;
}

#[tokio::test]
async fn an_order_that_the_host_cannot_fulfil_is_there_with_its_failure() {
    let asking = Asking::of("simulated.host.faults.failures = { start = 1.0 }").await;
    let sought = asking.create("web", MEMORY).await;
    let failing = |place: &Place| matches!(place, Place::Host { attempts, failure, .. } if *attempts > 0 && failure.contains("START_FAILED"));
    asking.is_at(&sought, "on the host, which fails", failing).await;
}

#[tokio::test]
async fn a_read_model_that_fell_behind_is_told_from_what_is_under_way() {
    let asking = Asking::of("").await;
    let sought = asking.create("web", MEMORY).await;
    asking.is_at(&sought, "done", |place| *place == Place::Settled).await;
    // no service does this; it stands for an event that was taken and had no effect
    let file = asking.stage.platform.data_dir().join("gateway/gateway.db");
    let table =
        sqlx::AnyPool::connect(&format!("sqlite://{}", file.display())).await.expect("the read model");
    sqlx::query("UPDATE instances SET snapshot = x'' WHERE id = $1")
        .bind(&sought.instance)
        .execute(&table)
        .await
        .expect("our own table");
    let behind = |place: &Place| matches!(place, Place::Behind { who, whose, knows: 0, .. } if who == "gateway" && whose == "scheduler");
    asking.is_at(&sought, "known to the scheduler alone", behind).await;
}

#[tokio::test]
async fn what_nobody_wrote_down_is_nowhere() {
    let asking = Asking::of("").await;
    let sought = Sought { what: "create web".to_owned(), ..Sought::default() };
    assert_eq!(asking.where_is(&sought).await.place, Place::Nowhere);
}
