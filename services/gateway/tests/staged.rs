//! Staged files wait for imports that nobody has taken on yet.

mod harness;

use contracts::storage::v1 as storage;
use harness::{Gateway, PATIENCE, answer};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use testkit::eventually;

async fn staged(gateway: &Gateway) -> (String, PathBuf) {
    let (_, answer) = answer(gateway.rest("PUT", "/v1/uploads").body("kernel")).await;
    let id = answer["upload_id"].as_str().expect("an id").to_owned();
    let file = gateway.folder.path().join("datastore/staging").join(&id);
    // the day before yesterday
    #[allow(clippy::disallowed_methods)] // times of files are the machine's own
    let old = std::time::SystemTime::now() - Duration::from_secs(2 * 86_400);
    std::fs::File::options().write(true).open(&file).and_then(|f| f.set_modified(old)).expect("old");
    (id, file)
}

/// The staging area is looked through: what nobody imports is gone afterwards.
async fn looks_through(gateway: &Gateway, revision: u64) {
    let (_, unused) = staged(gateway).await;
    let image = storage::Image {
        id: "018f0000-0000-7000-8000-0000000000ee".into(),
        tenant: "default".into(),
        name: "other".into(),
        revision,
        phase: storage::ImagePhase::Ready as i32,
        ..storage::Image::default()
    };
    gateway.say(&storage::ImageImported { image: Some(image), operations: vec![] }).await;
    eventually(PATIENCE, "an old file that nobody imports to go", async || (!unused.exists()).then_some(()))
        .await;
}

#[tokio::test]
async fn a_staged_file_waits_for_an_import_that_nobody_has_taken_on() {
    let mut gateway = Gateway::start().await;
    let (upload, file) = staged(&gateway).await;
    let body = json!({"name": "slow", "sources": [{"role": "ARTIFACT_ROLE_DISK", "upload_id": upload}]});
    let (status, accepted) = gateway.call("POST", "/v1/images", body.clone()).await;
    assert_eq!(status, 202, "{accepted}");
    looks_through(&gateway, 1).await;
    assert!(file.exists(), "an accepted import names it");

    // the gateway's database is lost; its events tell that the file is waited for
    gateway.chassis.stop().await;
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(gateway.folder.path().join(format!("gateway/gateway.db{end}")));
    }
    gateway.again().await;
    let url = format!("sqlite://{}/others.db", gateway.folder.path().display());
    gateway.others = gateway.chassis.desk("scheduler", &url, &[]).await.expect("a desk for the others");
    looks_through(&gateway, 2).await;
    assert!(file.exists(), "an import names it that was accepted before");

    // the import came to an end that does not even say of what it was to be made
    let image = storage::Image {
        id: accepted["image_id"].as_str().expect("an id").into(),
        tenant: "default".into(),
        name: "slow".into(),
        revision: 1,
        phase: storage::ImagePhase::Rejected as i32,
        ..storage::Image::default()
    };
    gateway.say(&storage::ImageRejected { image: Some(image), operations: vec![] }).await;
    eventually(PATIENCE, "the file to go", async || (!file.exists()).then_some(())).await;
    let (status, problem) = gateway.call("POST", "/v1/images", body).await;
    assert_eq!((status, &problem["code"]), (404, &Value::from("UPLOAD_UNKNOWN")));
    gateway.stop().await;
}
