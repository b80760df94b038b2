//! A mishap that changes nothing is named: without this the chaos story could prove something against a monkey that
//! sleeps.

use std::time::Duration;
use stories::chaos::monkey::{Mishap, Monkey, Victims, readers};
use stories::chaos::stage::Stage;
use stories::platform::programs;

/// Once is enough.
const ONCE: Duration = Duration::ZERO;
/// For what never comes.
const SHORT: Duration = Duration::from_secs(1);

fn victims(stage: &mut Stage) -> Victims<'_> {
    Victims { platform: &mut stage.platform, nats: &mut stage.nats, proxy: &stage.proxy }
}

/// Nothing runs but the broker, and nobody can have done anything to it.
async fn with_dead_services() -> Stage {
    let mut stage = Stage::start(1, "simulated.count = 1").await;
    for service in programs() {
        assert!(stage.platform.kill(service), "{service} ran");
    }
    stage
}

#[tokio::test]
async fn mishaps_that_hit_nobody_are_named() {
    let mut stage = with_dead_services().await;
    let stream = stage.nats.connect().await.jetstream().get_stream("EVENTS").await.expect("the log");
    for consumer in readers() {
        // who died early had not made it yet
        let _ = stream.delete_consumer(consumer).await;
    }
    // the last one starts a service again
    let nobody = [
        (Mishap::HoldService, "had ended"),
        (Mishap::CutNetwork, "no connection"),
        (Mishap::BadNetwork, "any message"),
        (Mishap::ForgetConsumer, "is not there"),
        (Mishap::OldCommands, "took none"),
        (Mishap::KillService, "did not run"),
    ];
    for (mishap, why) in nobody {
        // connections end a moment after their process
        let named = testkit::eventually(Duration::from_secs(20), "nobody to be hit", async || {
            let mut monkey = Monkey::new(1);
            let done = monkey.insist(mishap, &mut victims(&mut stage), ONCE).await;
            assert_eq!(monkey.done.contains_key(&mishap), done.is_ok());
            done.err()
        })
        .await;
        assert!(named.mishap == mishap && named.why.contains(why), "{mishap:?}: {named}");
    }
    stage.nats.kill();
    for mishap in [Mishap::HoldBroker, Mishap::KillBroker] {
        stage.nats.kill();
        let named = Monkey::new(1).insist(mishap, &mut victims(&mut stage), ONCE).await;
        assert_eq!(named.map_err(|named| named.mishap), Err(mishap));
    }
}

#[tokio::test]
async fn what_does_not_come_back_is_named() {
    let mut stage = Stage::start(1, "simulated.count = 1").await;
    let mut monkey = Monkey::new(1);
    monkey.insist(Mishap::KillService, &mut victims(&mut stage), SHORT).await.expect("one was killed");
    monkey.aftermath(Duration::from_secs(60), &stage.proxy, &stage.nats).await.expect("it is back");
    monkey.insist(Mishap::KillService, &mut victims(&mut stage), SHORT).await.expect("one was killed");
    for service in programs() {
        stage.platform.kill(service);
    }
    let named = monkey.aftermath(SHORT, &stage.proxy, &stage.nats).await;
    assert_eq!(named.map_err(|named| named.mishap), Err(Mishap::KillService));

    let mut monkey = Monkey::new(1);
    monkey.insist(Mishap::ForgetConsumer, &mut victims(&mut stage), SHORT).await.expect("one was forgotten");
    let named = monkey.aftermath(SHORT, &stage.proxy, &stage.nats).await;
    assert_eq!(named.map_err(|named| named.mishap), Err(Mishap::ForgetConsumer));
}
