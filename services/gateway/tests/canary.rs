//! Secrets that come in by the public door stand nowhere in clear: no stream, table, log, record or metric.

mod harness;

use bus::topology;
use harness::{Gateway, answer};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

const INSTANCE: &str = "018f0000-0000-7000-8000-000000000001";
const IMAGE: &str = "018f0000-0000-7000-8000-0000000000bb";
const USER_DATA: &str = "canary-user-data-6f1b";
const ARGUMENT: &str = "canary-argument-93aa";
const INPUT: &str = "canary-input-0c77";
const TOKEN: &str = "canary-token-51d2";
const NATS_TOKEN: &str = "canary-nats-token-77b0";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no poison").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

fn holds(bytes: &[u8], secret: &str) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
}

/// What the broker is answered about a client with this token.
async fn connect(gateway: &Gateway, token: &str) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    let server = nkeys::KeyPair::new_server();
    let options = json!({"user": "default", "pass": token});
    let claims = json!({"iss": server.public_key(), "nats": {"user_nkey": "UABC", "connect_opts": options}});
    let text = format!("{}.{}", BASE64.encode("{}"), BASE64.encode(claims.to_string()));
    let signature = BASE64.encode(server.sign(text.as_bytes()).expect("signed"));
    let client = gateway.chassis.bus.client();
    let asked = client.request("$SYS.REQ.USER.AUTH", format!("{text}.{signature}").into()).await;
    let answer = asked.expect("an answer").payload;
    let part = answer.split(|byte| *byte == b'.').nth(1).expect("three parts");
    String::from_utf8(BASE64.decode(part).expect("base64")).expect("text")
}

#[tokio::test]
async fn secrets_stand_nowhere_in_clear() {
    let log = Log::default();
    let sink = log.clone();
    tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).with_writer(move || sink.clone()).init();
    // the first subscriber of a process stays: this one is for the metrics
    let _telemetry =
        chassis::Telemetry::start("gateway", &chassis::TelemetrySettings::default()).expect("metrics");
    let gateway = Gateway::start().await;
    gateway.image(IMAGE, "debian").await;
    gateway.host("h1", "node-1", "agent-1").await;
    gateway.ready(INSTANCE, "web-1", "h1").await;
    let create = json!({"name": "web-2", "image": "debian", "flavor": "small", "user_data": USER_DATA});
    assert_eq!(gateway.keyed("POST", "/v1/instances", "k1", create.clone()).await.0, 202);
    let mut refused = create;
    refused["image"] = json!("nothing");
    assert_eq!(gateway.call("POST", "/v1/instances", refused.clone()).await.0, 404);
    refused["nome"] = json!(USER_DATA);
    assert_eq!(gateway.call("POST", "/v1/instances", refused).await.0, 400);
    use base64::Engine as _;
    let stdin = base64::engine::general_purpose::STANDARD.encode(INPUT);
    let exec = json!({"argv": ["login", ARGUMENT], "stdin": stdin});
    assert_eq!(gateway.call("POST", "/v1/instances/web-1/exec", exec).await.0, 202);
    let stranger = gateway.http.delete(gateway.url("/v1/instances/web-1")).bearer_auth(TOKEN);
    assert_eq!(answer(stranger).await.0, 401);
    let refused = connect(&gateway, NATS_TOKEN).await;
    assert!(!refused.is_empty() && !refused.contains(NATS_TOKEN), "{refused}");

    // a secret of a webhook is made by the gateway and shown once; what it signs is sent
    let body = json!({"name": "hook", "url": "https://localhost:1/"});
    let (status, made) = gateway.call("POST", "/v1/webhooks", body).await;
    assert_eq!(status, 200, "{made}");
    let (_, turned) = gateway.call("POST", "/v1/webhooks/hook/rotate-secret", json!({})).await;
    assert_eq!(gateway.call("POST", "/v1/webhooks/hook/probe", json!({})).await.0, 200);
    let hooks = [&made, &turned].map(|answer| answer["secret"].as_str().expect("a secret").to_owned());
    assert!(hooks.iter().all(|secret| secret.starts_with("whsec_") && secret.len() == 50), "{hooks:?}");

    let page = gateway.until("GET", "/v1/audit", |(_, page)| {
        page["records"].as_array().is_some_and(|records| records.len() >= 5)
    });
    let page = page.await;
    assert!(page.to_string().contains("[redacted]"), "the records are there: {page}");
    let (_, operations) = gateway.call("GET", "/v1/operations", Value::Null).await;
    let metrics = gateway.http.get(gateway.ops_url("/metrics")).send().await.expect("an answer");
    let metrics = metrics.text().await.expect("a body");
    assert!(metrics.contains("berth_gateway_requests"), "{metrics}");
    let secrets = [
        USER_DATA,
        ARGUMENT,
        INPUT,
        TOKEN,
        NATS_TOKEN,
        stdin.as_str(),
        gateway.token.as_str(),
        &hooks[0],
        &hooks[1],
    ];
    for secret in secrets {
        assert!(!page.to_string().contains(secret), "{secret} in a record");
        assert!(!operations.to_string().contains(secret), "{secret} in an operation");
        assert!(!metrics.contains(secret), "{secret} in a metric");
    }
    // every message of every stream, headers and all
    let mut messages = 0;
    for config in topology::streams(1, gateway.chassis.bus.limits()) {
        let stream = gateway.chassis.bus.jetstream().get_stream(&config.name).await.expect("a stream");
        let last = stream.cached_info().state.last_sequence;
        for sequence in 1..=last {
            let Ok(message) = stream.get_raw_message(sequence).await else { continue };
            messages += 1;
            let text = format!("{} {:?}", message.subject, message.headers);
            for secret in secrets {
                assert!(!holds(&message.payload, secret), "{secret} in {}", message.subject);
                assert!(!text.contains(secret), "{secret} in the headers of {}", message.subject);
            }
        }
    }
    assert!(messages > 10, "{messages} messages");
    let token = gateway.token.clone();
    gateway.chassis.stop().await;
    let mut found = Vec::new();
    files(gateway.folder.path(), &mut found);
    for path in found {
        let Ok(bytes) = std::fs::read(&path) else { continue };
        for secret in [
            USER_DATA,
            ARGUMENT,
            INPUT,
            TOKEN,
            NATS_TOKEN,
            stdin.as_str(),
            token.as_str(),
            &hooks[0],
            &hooks[1],
        ] {
            let home = secret == token && path.ends_with("admin.token");
            assert!(home || !holds(&bytes, secret), "{secret} in {}", path.display());
        }
    }
    let log = log.0.lock().unwrap().clone();
    assert!(!log.is_empty(), "the log was read");
    for secret in
        [USER_DATA, ARGUMENT, INPUT, TOKEN, NATS_TOKEN, stdin.as_str(), token.as_str(), &hooks[0], &hooks[1]]
    {
        assert!(!holds(&log, secret), "{secret} in the log");
    }
}
