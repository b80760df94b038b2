//! Commands that leave the middle of their queue unobeyed: nothing notices but that nobody answers.

mod support;

use bus::Cause;
use bus::unanswered::send_again;
use contracts::scheduler::v1::StartInstance;
use kernel::MessageId;
use std::time::Duration;
use support::{SOON, Service, TABLES, id};
use testkit::{NatsServer, databases, eventually};

const QUEUE: &str = "CMD_SCHEDULER";

/// The server takes a second copy for a duplicate for two minutes; here for as short a time as it can.
async fn forgets_at_once(service: &Service) {
    let context = service.connection.jetstream();
    let stream = context.get_stream(QUEUE).await.expect("the queue");
    let mut config = stream.cached_info().config.clone();
    config.duplicate_window = Duration::from_millis(100);
    context.update_stream(config).await.expect("updated");
}

async fn tell(service: &Service) -> (MessageId, String) {
    let (message, instance) = (MessageId::new(), id());
    let mut work = service.desk.begin(Cause::own("test").for_tenant("acme")).await.expect("begin");
    let command = StartInstance { instance_id: instance.clone(), ..StartInstance::default() };
    work.tell_under(message, &command);
    work.commit().await.expect("commit");
    (message, instance)
}

async fn effects_are(service: &Service, wanted: &[String]) {
    eventually(SOON, "every effect", async || (service.effects().await.len() >= wanted.len()).then_some(()))
        .await;
    let (mut effects, mut wanted) = (service.effects().await, wanted.to_vec());
    effects.sort();
    wanted.sort();
    assert_eq!(effects, wanted, "each once");
}

#[tokio::test]
async fn a_command_that_was_lost_from_the_middle_is_obeyed_once() {
    for database in databases(TABLES).await {
        let nats = NatsServer::start().await;
        let mut service = Service::on(database, &nats, Duration::ZERO).await;
        service.halt().await;
        service.relay();
        forgets_at_once(&service).await;
        let mut told = Vec::new();
        for _ in 0..3 {
            told.push(tell(&service).await);
        }
        let ids: Vec<MessageId> = told.iter().map(|(message, _)| *message).collect();
        let instances: Vec<String> = told.into_iter().map(|(_, instance)| instance).collect();
        let queue = service.connection.jetstream().get_stream(QUEUE).await.expect("the queue");
        let place = eventually(SOON, "all of them to be sent", async || {
            let sql = "SELECT stream_sequence FROM outbox WHERE stream_sequence > 0 ORDER BY seq";
            let places: Vec<i64> =
                sqlx::query_scalar(sql).fetch_all(service.desk.store().reader()).await.expect("rows");
            (places.len() == 3).then(|| places[1])
        })
        .await;
        let again = send_again(&service.desk, &service.connection, &ids).await.expect("asked");
        assert!(again.is_empty(), "all of them wait in the queue: {again:?}");

        queue.delete_message(u64::try_from(place).expect("a place")).await.expect("deleted");
        service.runner(Duration::ZERO);
        effects_are(&service, &[instances[0].clone(), instances[2].clone()]).await;
        // nobody but who waits for the answer can tell it from what was obeyed
        let every = async |wanted: &[String]| {
            eventually(SOON, "the queue to be empty", async || {
                let queue = service.connection.jetstream().get_stream(QUEUE).await.expect("the queue");
                (queue.cached_info().state.messages == 0).then_some(())
            })
            .await;
            let again = send_again(&service.desk, &service.connection, &ids).await.expect("asked");
            assert_eq!(again, ids, "none is in the queue any more");
            effects_are(&service, wanted).await;
        };
        every(&instances).await;
        // what was obeyed is sent again in vain, as often as anybody likes
        every(&instances).await;
        let unknown = send_again(&service.desk, &service.connection, &[MessageId::new()]).await;
        assert!(unknown.expect("asked").is_empty());
        service.end().await;
    }
}
