//! Commands are lost from the middle of their queues while nobody is there to take them: everything comes to its end all
//! the same, and each thing is done once.

use crate::one_instance::{create, prepare};
use std::collections::BTreeMap;
use std::time::Duration;
use stories::cli::Cli;
use stories::platform::{Extra, Platform};
use stories::programs::small_image;
use testkit::{NatsServer, eventually};

const PATIENCE: Duration = Duration::from_secs(90);

/// The server takes a second copy for a duplicate for two minutes; here for as short a time as it can.
async fn forgets_at_once(bus: &bus::Connection, queue: &str) {
    let stream = bus.jetstream().get_stream(queue).await.expect("the queue");
    let mut config = stream.cached_info().config.clone();
    config.duplicate_window = Duration::from_millis(100);
    bus.jetstream().update_stream(config).await.expect("updated");
}

/// Waits until three commands lie in a queue, and takes the middle one out. On a busy machine some are told again before
/// that, and come after them.
async fn lose_the_middle(bus: &bus::Connection, queue: &str, subject: &str) {
    let stream = bus.jetstream().get_stream_no_info(queue).await.expect("the queue");
    let place = eventually(PATIENCE, "three commands to wait", async || {
        let (mut places, mut next) = (Vec::new(), 1);
        while let Ok(message) = stream.direct_get_next_for_subject(subject, Some(next)).await {
            next = message.sequence + 1;
            places.push(message.sequence);
        }
        (places.len() >= 3).then(|| places[1])
    })
    .await;
    stream.delete_message(place).await.expect("deleted");
}

/// How many events of a type there are of each object that three names begin like `prefix`.
fn times(cli: &Cli, kind: &str, object: &str, prefix: &str) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for record in cli.events(&["--type", kind]) {
        let name = record["event"]["data"][object]["name"].as_str().unwrap_or_default();
        if name.starts_with(prefix) {
            *times.entry(name.to_owned()).or_default() += 1;
        }
    }
    times
}

fn each_once(names: &[&str]) -> BTreeMap<String, usize> {
    names.iter().map(|name| ((*name).to_owned(), 1)).collect()
}

/// Waits until each is there and in this phase.
async fn all_are(cli: &Cli, verb: &str, names: &[&str], phase: &str) {
    eventually(PATIENCE, phase, async || {
        let is = |name: &&str| {
            let shown = cli.run(&[verb, "show", name, "-o", "json"]);
            shown.code == 0 && shown.out.contains(&format!("\"{phase}\""))
        };
        names.iter().all(is).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_a_queue_loses_from_its_middle_is_done_all_the_same() {
    let nats = NatsServer::start().await;
    let settings = [
        ("host-driver", "simulated.count = 2\nsimulated.host.boot_ms = 1"),
        ("scheduler", "order_patience_s = 6"),
        ("gateway", "unanswered_after_s = 2"),
    ];
    let mut platform =
        Platform::start_with(&nats.url(), Extra { lines: &settings, ..Extra::default() }).await;
    let cli = platform.cli();
    prepare(&cli).await;
    let bus = nats.connect().await;

    let names = ["asked-1", "asked-2", "asked-3"];
    platform.kill("scheduler");
    forgets_at_once(&bus, "CMD_SCHEDULER").await;
    names.iter().for_each(|name| drop(cli.ok(&create(name, &[]))));
    lose_the_middle(&bus, "CMD_SCHEDULER", "cmd.scheduler.v1.CreateInstance.>").await;
    platform.start_again("scheduler");
    all_are(&cli, "instance", &names, "INSTANCE_PHASE_READY").await;
    assert_eq!(times(&cli, "scheduler.InstanceAccepted", "instance", "asked"), each_once(&names));

    let names = ["ordered-1", "ordered-2", "ordered-3"];
    platform.kill("host-driver");
    names.iter().for_each(|name| drop(cli.ok(&create(name, &[]))));
    lose_the_middle(&bus, "CMD_HOST_DRIVER", "cmd.host_driver.v1.EnsureVm.>").await;
    platform.start_again("host-driver");
    all_are(&cli, "instance", &names, "INSTANCE_PHASE_READY").await;
    assert_eq!(times(&cli, "host_driver.VmIntended", "spec", "ordered"), each_once(&names));

    let names = ["kept-1", "kept-2", "kept-3"];
    platform.kill("storage");
    forgets_at_once(&bus, "CMD_STORAGE").await;
    let manifest = small_image().display().to_string();
    names
        .iter()
        .for_each(|name| drop(cli.ok(&["image", "import", name, "--manifest", &manifest, "--no-wait"])));
    lose_the_middle(&bus, "CMD_STORAGE", "cmd.storage.v1.ImportImage.>").await;
    platform.start_again("storage");
    all_are(&cli, "image", &names, "IMAGE_PHASE_READY").await;
    assert_eq!(times(&cli, "storage.ImageImported", "image", "kept"), each_once(&names));

    for name in ["asked", "ordered"] {
        for number in 1..=3 {
            cli.ok(&["instance", "delete", &format!("{name}-{number}"), "--wait"]);
        }
    }
    assert!(cli.ok(&["dead", "list"]).contains("no dead letters"));
}
