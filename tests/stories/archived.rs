//! The record of what happened: who did it, the archive that proves it, and the platform as it was at a time.

use crate::one_instance::{create, prepare};
use serde_json::Value;
use std::time::Duration;
use stories::node::Node;
use testkit::eventually;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_past_is_shown_from_the_archive_after_the_stream_was_trimmed() {
    let prepared = |data: &std::path::Path| {
        std::fs::create_dir_all(data).expect("a folder");
        std::fs::write(data.join("node.toml"), "[archive]\nsegment_age_s = 1\n").expect("settings");
    };
    let mut node = Node::start_prepared(&["--simulated-hosts", "2", "--insecure-dev"], prepared).await;
    let cli = node.cli();
    prepare(&cli).await;
    cli.ok(&create("web-1", &["--wait"]));
    let shown = cli.json(&["instance", "show", "web-1"]);
    let updated = shown["instance"]["updated_at_us"].as_i64();
    let then = updated.unwrap_or_default() + 1_000;
    let then = jiff_text(then);
    cli.ok(&["instance", "delete", "web-1", "--wait"]);

    // who did it
    let records = cli.json(&["audit", "list", "--operation", "DeleteInstance"]);
    let record = &records["records"][0];
    assert_eq!((&record["actor"], &record["code"]), (&Value::from("admin"), &Value::from("OK")), "{records}");
    let caused = cli.events(&["--operation", record["correlation_id"].as_str().expect("an id")]);
    assert!(caused.iter().any(|e| e.to_string().contains("scheduler.InstanceDeleted")), "{caused:?}");
    let exported = cli.ok(&["audit", "export", "--format", "csv", "--object", "web-1"]);
    assert!(exported.starts_with("id,") && exported.contains("DeleteInstance"), "{exported}");

    // what proves it
    let archived = eventually(PATIENCE, "the end of the instance in the archive", async || {
        let at = cli.json(&["replay", "at", "0s"]);
        (at["archived_events"].as_u64()? > 10 && at["stream_events"].as_u64()? < 5).then_some(at)
    });
    let archived = archived.await;
    let living = archived["objects"].as_array().expect("objects");
    assert!(living.iter().all(|o| o["kind"] != "instance") && living.len() > 5, "{archived}");
    assert_eq!(cli.json(&["replay", "at", "0s", "web-1"])["objects"][0]["state"], "deleted");
    let verdict = cli.json(&["audit", "verify"]);
    assert_eq!(verdict["first_problem"], Value::Null, "{verdict}");

    // the beginning of the stream is gone
    let settings = node::NodeSettings { data_dir: node.data_dir(), ..Default::default() };
    let settings = node::setup_settings(&settings).expect("a broker");
    let bus = bus::Connection::open(&settings, "story", bus::Report::none()).await.expect("connects");
    let mut stream = bus.jetstream().get_stream("EVENTS").await.expect("a stream");
    let last = stream.info().await.expect("info").state.last_sequence;
    // as far as it is archived: the tables are made of both
    let told = cli.events(&["--type", "archive.SegmentArchived"]);
    let newest = told.iter().filter_map(|e| number(&e["event"]["data"]["segment"]["last_sequence"])).max();
    let newest = newest.unwrap_or_else(|| panic!("{told:?}"));
    stream.purge().sequence(newest + 1).await.expect("purged");
    cli.ok(&["replay", "verify"]);
    // further: neither has it, and that is said
    stream.purge().sequence(last).await.expect("purged");
    let at = cli.json(&["replay", "at", &then, "web-1"]);
    let found = &at["objects"][0];
    assert_eq!((&found["kind"], &found["state"]), (&Value::from("instance"), &Value::from("ready")), "{at}");
    assert_eq!(found["object"]["name"], "web-1");

    // from the archive alone
    assert!(node.stop(), "{}", node.log_tail());
    let table = cli.ok(&["replay", "at", &then, "web-1"]);
    assert!(table.contains("web-1") && table.contains("ready"), "{table}");
    let nothing = cli.run(&["replay", "at", "1970-01-02T00:00:00Z", "web-1"]);
    assert_eq!(nothing.code, 3, "{}", nothing.err);

    // and a copy of it, offline, with the public key
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("berth.pub");
    std::fs::write(&key, cli.ok(&["audit", "key"])).expect("written");
    let store = node.data_dir().join("archive/store");
    let (store, key) = (store.display().to_string(), key.display().to_string());
    cli.ok(&["audit", "verify", "--archive", &store, "--key", &key]);
    let file = node.data_dir().join("archive/store/segments/0000000001.zst");
    let mut bytes = std::fs::read(&file).expect("a segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).expect("written");
    let broken = cli.run(&["audit", "verify", "--archive", &store, "--key", &key]);
    assert!(broken.code == 1 && broken.err.contains("segment 1: "), "{} {}", broken.code, broken.err);
    assert_ne!(cli.run(&["replay", "at", &then]).code, 0, "nothing is shown that is not proven");
}

/// A whole number, however JSON carries it.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// RFC 3339 of microseconds since the epoch.
fn jiff_text(at_us: i64) -> String {
    jiff::Timestamp::from_microsecond(at_us).expect("a time").to_string()
}
