//! What takes time: operations that are waited for, programs in guests, files, consoles, dead letters.

mod harness;

use contracts::common::v1::{OperationProgress, OperationState};
use contracts::gateway::v1::{GetExecOutputRequest, WaitOperationRequest};
use contracts::host_driver::v1::{ExecFinished, ExecInVm, ExecOutput, ExecRequest};
use contracts::scheduler::v1 as scheduler;
use harness::{Gateway, PATIENCE, answer};
use prost::Message as _;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const INSTANCE: &str = "018f0000-0000-7000-8000-000000000001";
const HOST: &str = "018f0000-0000-7000-8000-0000000000aa";

fn progress(id: &Value, state: OperationState, step: &str) -> Vec<OperationProgress> {
    let id = id.as_str().expect("an id").to_owned();
    vec![OperationProgress { operation_id: id, state: state as i32, step: step.into(), refusal: None }]
}

async fn with_instance() -> Gateway {
    let gateway = Gateway::start().await;
    gateway.host(HOST, "node-1", "agent-1").await;
    gateway.ready(INSTANCE, "web-1", HOST).await;
    gateway
}

#[tokio::test]
async fn who_waits_learns_at_once() {
    let gateway = with_instance().await;
    let (status, accepted) = gateway.call("POST", "/v1/instances/web-1/stop", json!({"grace_s": 5})).await;
    assert_eq!((status, accepted["object_id"].as_str()), (202, Some(INSTANCE)));
    let id = accepted["operation_id"].clone();
    let command = gateway.command::<scheduler::StopInstance>().await;
    assert_eq!((command.instance_id.as_str(), command.grace_s), (INSTANCE, 5));

    let path = format!("/v1/operations/{}", id.as_str().expect("an id"));
    let (_, now) = gateway.call("GET", &path, Value::Null).await;
    assert_eq!(
        (&now["operation"]["state"], &now["operation"]["revision"]),
        (&json!("OPERATION_STATE_PENDING"), &json!(1))
    );

    // nothing happens: the answer comes when the time is up
    let began = Instant::now();
    let (status, same) =
        gateway.call("GET", &format!("{path}/wait?after_revision=1&timeout_ms=300"), Value::Null).await;
    assert_eq!((status, &same["operation"]["revision"]), (200, &json!(1)));
    assert!(began.elapsed() >= Duration::from_millis(300));

    let mut operations = gateway.operations().await;
    let request = WaitOperationRequest {
        operation: id.as_str().expect("an id").into(),
        after_revision: 1,
        timeout_ms: 60_000,
    };
    let waiting = tokio::spawn(async move { operations.wait_operation(request).await });
    let stopped = scheduler::Instance {
        id: INSTANCE.into(),
        tenant: "default".into(),
        name: "web-1".into(),
        revision: 2,
        phase: scheduler::InstancePhase::Stopped as i32,
        ..scheduler::Instance::default()
    };
    let operations = progress(&id, OperationState::Succeeded, "stopped");
    gateway.say(&scheduler::InstanceStopped { instance: Some(stopped), operations }).await;
    let answer = tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("in time")
        .expect("no panic")
        .expect("an answer");
    let operation = answer.into_inner().operation.expect("an operation");
    assert_eq!(operation.state, OperationState::Succeeded as i32);
    assert_eq!(operation.steps.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["accepted", "stopped"]);

    // what is final does not keep anybody waiting
    let began = Instant::now();
    gateway.call("GET", &format!("{path}/wait?after_revision=99"), Value::Null).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    let (_, list) = gateway.call("GET", &format!("/v1/operations?object_id={INSTANCE}"), Value::Null).await;
    assert_eq!(list["operations"][0]["id"], id);
    gateway.stop().await;
}

#[tokio::test]
async fn a_program_runs_in_a_guest_and_its_output_is_sealed_on_the_way() {
    let gateway = with_instance().await;
    let body = json!({"argv": ["/bin/echo", "secret"], "timeout_s": 5});
    let (status, accepted) = gateway.call("POST", "/v1/instances/web-1/exec", body).await;
    assert_eq!(status, 202, "{accepted}");
    let id = accepted["operation_id"].clone();
    let command = gateway.command::<ExecInVm>().await;
    assert_eq!(
        (command.agent_id.as_str(), command.host_id.as_str(), command.timeout_s),
        ("agent-1", HOST, 5)
    );
    let plain = gateway.chassis.sealer.open(&command.request.expect("sealed")).expect("opens");
    assert_eq!(ExecRequest::decode(&*plain).expect("a request").argv, ["/bin/echo", "secret"]);

    let output_path = format!("/v1/operations/{}/output", id.as_str().expect("an id"));
    let (status, problem) = gateway.call("GET", &output_path, Value::Null).await;
    assert_eq!((status, &problem["code"]), (409, &json!("EXEC_NOT_FINISHED")));

    let output = ExecOutput { stdout: b"secret\n".to_vec(), stderr: vec![], truncated: false };
    let finished = ExecFinished {
        instance_id: INSTANCE.into(),
        host_id: HOST.into(),
        tenant: "default".into(),
        exit_code: 7,
        output: Some(gateway.chassis.sealer.seal(&output.encode_to_vec())),
        operations: progress(&id, OperationState::Succeeded, "finished"),
    };
    gateway.say(&finished).await;
    let shown = gateway.until("GET", &output_path, |(status, _)| *status == 200).await;
    assert_eq!(shown, json!({"exit_code": 7, "stdout": "c2VjcmV0Cg==", "stderr": "", "truncated": false}));
    let request = GetExecOutputRequest { operation: id.as_str().expect("an id").into() };
    let by_grpc = gateway.instances().await.get_exec_output(request).await.expect("shown").into_inner();
    assert_eq!((by_grpc.exit_code, by_grpc.stdout.as_slice()), (7, b"secret\n".as_slice()));
    let path = format!("/v1/operations/{}", id.as_str().expect("an id"));
    let (_, operation) = gateway.call("GET", &path, Value::Null).await;
    assert_eq!(operation["operation"]["exit_code"], 7);
    assert!(!operation.to_string().contains("ciphertext"));
    gateway.stop().await;
}

#[tokio::test]
async fn a_program_whose_instance_is_gone_does_not_keep_anybody_waiting() {
    let gateway = with_instance().await;
    let (_, accepted) =
        gateway.call("POST", "/v1/instances/web-1/exec", json!({"argv": ["sleep", "1"]})).await;
    let id = accepted["operation_id"].clone();
    let deleted = scheduler::Instance {
        id: INSTANCE.into(),
        tenant: "default".into(),
        name: "web-1".into(),
        revision: 5,
        phase: scheduler::InstancePhase::Deleted as i32,
        ..scheduler::Instance::default()
    };
    gateway.say(&scheduler::InstanceDeleted { instance: Some(deleted), operations: vec![] }).await;
    let path = format!("/v1/operations/{}", id.as_str().expect("an id"));
    let failed =
        gateway.until("GET", &path, |(_, o)| o["operation"]["state"] == "OPERATION_STATE_FAILED").await;
    assert_eq!(failed["operation"]["refusal"]["code"], "INSTANCE_DELETED");

    let (status, problem) = gateway.call("POST", "/v1/instances/web-1/exec", json!({"argv": ["true"]})).await;
    assert_eq!((status, &problem["field"]), (404, &json!("instance")));
    let (status, _) = gateway.call("GET", &format!("/v1/instances/{INSTANCE}"), Value::Null).await;
    assert_eq!(status, 200, "a deleted instance is still shown by its id");
    let (status, _) = gateway.call("DELETE", &format!("/v1/instances/{INSTANCE}"), Value::Null).await;
    assert_eq!(status, 404, "but it cannot be deleted again");
    gateway.stop().await;
}

#[tokio::test]
async fn an_instance_can_be_used_by_its_id_as_soon_as_it_was_accepted() {
    let gateway = Gateway::start().await;
    gateway.image("018f0000-0000-7000-8000-0000000000bb", "debian").await;
    let body = json!({"name": "web-9", "image": "debian", "flavor": "micro"});
    let (_, accepted) = gateway.call("POST", "/v1/instances", body).await;
    let id = accepted["instance_id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/instances/{id}");
    let said = async {
        let command = gateway.command::<scheduler::CreateInstance>().await;
        let instance = scheduler::Instance {
            id: command.instance_id,
            tenant: command.tenant,
            name: command.name,
            revision: 1,
            spec: command.spec,
            ..scheduler::Instance::default()
        };
        gateway.say(&scheduler::InstanceAccepted { instance: Some(instance), operations: vec![] }).await;
    };
    let ((status, shown), ()) = tokio::join!(gateway.call("GET", &path, Value::Null), said);
    assert_eq!((status, shown["instance"]["name"].as_str()), (200, Some("web-9")));
    gateway.stop().await;
}

#[tokio::test]
async fn a_file_is_staged_while_it_arrives() {
    let gateway = Gateway::start().await;
    let bytes: Vec<u8> = (0..5_000_000u32).map(|n| (n % 251) as u8).collect();
    let (status, staged) = answer(gateway.rest("PUT", "/v1/uploads").body(bytes.clone())).await;
    assert_eq!(status, 200, "{staged}");
    assert_eq!(
        (&staged["size_bytes"], &staged["sha256"]),
        (&json!(5_000_000), &json!(hex::encode(Sha256::digest(&bytes))))
    );
    let staging = gateway.folder.path().join("datastore/staging");
    let file = staging.join(staged["upload_id"].as_str().expect("an id"));
    assert_eq!(std::fs::read(file).expect("a file"), bytes);
    let (status, problem) = answer(gateway.rest("PUT", "/v1/uploads").body("")).await;
    assert_eq!(status, 400, "{problem}");
    let (status, problem) = answer(gateway.rest("PUT", "/v1/uploads?colour=red").body("x")).await;
    assert_eq!((status, &problem["field"]), (400, &json!("colour")));

    // a sender that goes away leaves nothing
    let mut stream = tokio::net::TcpStream::connect(gateway.address).await.expect("connects");
    let head = format!(
        "PUT /v1/uploads HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 1000000\r\n\r\n",
        gateway.token
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    stream.write_all(&[7; 100_000]).await.expect("sent");
    let count = || std::fs::read_dir(&staging).expect("a folder").count();
    testkit::eventually(PATIENCE, "the upload to begin", async || (count() == 2).then_some(())).await;
    drop(stream);
    testkit::eventually(PATIENCE, "the rest of it to go", async || (count() == 1).then_some(())).await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_file_beyond_the_limit_is_refused() {
    let gateway = Gateway::start_with(|settings, _| settings.upload_limit_bytes = 1000).await;
    let (status, problem) = answer(gateway.rest("PUT", "/v1/uploads").body(vec![1; 1001])).await;
    assert_eq!((status, &problem["field"]), (400, &json!("size_bytes")), "{problem}");
    gateway.stop().await;
}

/// Reads Server-Sent Events until `count` of them are complete; comments are none.
async fn events(response: &mut reqwest::Response, count: usize) -> Vec<String> {
    let complete = |text: &str| {
        let whole = text.rsplit_once("\n\n").map_or("", |(whole, _)| whole);
        whole.split("\n\n").filter(|block| block.contains("data:")).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut text = String::new();
    while complete(&text).len() < count {
        let chunk =
            tokio::time::timeout(PATIENCE, response.chunk()).await.expect("in time").expect("a stream");
        let Some(chunk) = chunk else { break };
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    complete(&text)
}

fn id_of(event: &str) -> String {
    event.lines().find_map(|line| line.strip_prefix("id: ")).expect("an id").to_owned()
}

#[tokio::test]
async fn events_are_followed_and_resumed_by_their_cursor() {
    let gateway = Gateway::start().await;
    let path = "/v1/events?follow=true&types=scheduler.HostRegistered&types=scheduler.InstanceReady";
    let mut open = gateway.rest("GET", path).send().await.expect("opens");
    assert_eq!(open.headers()["content-type"], "text/event-stream");
    gateway.host(HOST, "node-1", "agent-1").await;
    gateway.ready(INSTANCE, "web-1", HOST).await;
    let both = events(&mut open, 2).await;
    assert!(both[0].contains("event: scheduler.HostRegistered"), "{both:?}");
    assert!(both[1].contains("event: scheduler.InstanceReady"), "{both:?}");
    assert!(!both[1].contains("ciphertext"), "sealed parts stay inside: {}", both[1]);

    // from the cursor of the first one on: only the second
    let resumed =
        gateway.rest("GET", &path.replace("follow=true&", "")).header("last-event-id", id_of(&both[0]));
    let mut resumed = resumed.send().await.expect("opens");
    let rest = events(&mut resumed, 2).await;
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!(id_of(&rest[0]), id_of(&both[1]));

    // a cursor of another stream is told of the gap first
    let foreign = gateway.rest("GET", "/v1/events").header("last-event-id", "1:5");
    let mut foreign = foreign.send().await.expect("opens");
    let told = events(&mut foreign, 1).await;
    assert!(told[0].contains("event: gap"), "{told:?}");
    let (status, problem) =
        answer(gateway.rest("GET", "/v1/events").header("last-event-id", "nonsense")).await;
    assert_eq!((status, &problem["field"]), (400, &json!("Last-Event-ID")));

    // stopping ends streams that would never end
    let began = Instant::now();
    gateway.stop().await;
    assert!(began.elapsed() < Duration::from_secs(8), "it waited for an open stream");
}

#[tokio::test]
async fn a_console_is_a_web_socket() {
    let gateway = with_instance().await;
    let subject = bus::live::console_subject("agent-1");
    let mut openings = bus::live::serve(&gateway.chassis.bus, &subject).await.expect("served");
    let guest = tokio::spawn(async move {
        let opening = openings.recv().await.expect("somebody attaches");
        assert_eq!(&opening.request[..], INSTANCE.as_bytes());
        let mut channel = opening.accept().await.expect("opens");
        channel.sender.send("login: ".into()).await.expect("sent");
        let typed = channel.receiver.recv().await.expect("typed");
        assert_eq!(&typed[..], b"root\n");
    });

    let (status, problem) = gateway.call("GET", "/v1/instances/web-1/console", Value::Null).await;
    assert_eq!((status, &problem["code"]), (426, &json!("UPGRADE_REQUIRED")));

    let mut socket = tokio::net::TcpStream::connect(gateway.address).await.expect("connects");
    let head = format!(
        "GET /v1/instances/web-1/console HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        gateway.token
    );
    socket.write_all(head.as_bytes()).await.expect("sent");
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("login: ") {
        let mut part = [0; 1024];
        let read =
            tokio::time::timeout(PATIENCE, socket.read(&mut part)).await.expect("in time").expect("open");
        assert_ne!(read, 0, "closed: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&part[..read]);
    }
    assert!(seen.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&seen));
    // a client's binary frame: final, opcode 2, masked with zeros (RFC 6455, section 5.2)
    socket.write_all(&[0x82, 0x80 | 5, 0, 0, 0, 0, b'r', b'o', b'o', b't', b'\n']).await.expect("sent");
    tokio::time::timeout(PATIENCE, guest).await.expect("in time").expect("the guest saw it");

    let (status, problem) = gateway.call("GET", "/v1/instances/nothing/console", Value::Null).await;
    assert!(status == 426 || status == 404, "{problem}");
    // whoever held it is on record
    let page = gateway
        .until("GET", "/v1/audit?operation=AttachConsole", |(_, page)| {
            page["records"].as_array().is_some_and(|records| records.len() == 3)
        })
        .await;
    let record = page["records"].as_array().and_then(|records| records.iter().find(|r| r["code"] == "OK"));
    let record = record.unwrap_or_else(|| panic!("{page}"));
    assert_eq!((&record["actor"], &record["objects"][0]["id"]), (&json!("admin"), &json!(INSTANCE)));
    gateway.stop().await;
}

#[tokio::test]
async fn dead_letters_are_listed_replayed_and_dropped() {
    let gateway = Gateway::start().await;
    // events that say nothing are poison to the gateway itself
    gateway.say(&scheduler::InstanceReady::default()).await;
    gateway.say(&scheduler::HostChanged::default()).await;
    let list = gateway
        .until("GET", "/v1/dead-letters", |(_, l)| l["dead_letters"].as_array().is_some_and(|l| l.len() == 2))
        .await;
    let first = &list["dead_letters"][0];
    assert_eq!(first["consumer"], "gateway");
    assert!(
        first["subject"].as_str().is_some_and(|s| s.starts_with("evt.scheduler.v1.InstanceReady.")),
        "{first}"
    );
    let (one, two) = (first["sequence"].clone(), list["dead_letters"][1]["sequence"].clone());

    let (status, shown) = gateway.call("GET", &format!("/v1/dead-letters/{one}"), Value::Null).await;
    assert_eq!((status, &shown["dead_letter"]["message_id"]), (200, &first["message_id"]));
    let (status, page) = gateway.call("GET", "/v1/dead-letters?page_size=1", Value::Null).await;
    assert_eq!((status, page["dead_letters"].as_array().map(Vec::len)), (200, Some(1)));
    let next = format!(
        "/v1/dead-letters?page_size=1&page_token={}",
        page["next_page_token"].as_str().expect("a token")
    );
    assert_eq!(gateway.call("GET", &next, Value::Null).await.1["dead_letters"][0]["sequence"], two);

    let path = format!("/v1/dead-letters/{one}/replay");
    let (status, replayed) = gateway.keyed("POST", &path, "again", json!({})).await;
    assert_eq!(status, 200, "{replayed}");
    assert_eq!(gateway.keyed("POST", &path, "again", json!({})).await.1, replayed, "one key, one replay");
    let (status, _) = gateway.call("DELETE", &format!("/v1/dead-letters/{two}"), Value::Null).await;
    assert_eq!(status, 200);
    let (status, problem) = gateway.call("DELETE", &format!("/v1/dead-letters/{two}"), Value::Null).await;
    assert_eq!((status, &problem["field"]), (404, &json!("sequence")));
    // the replayed one is as dead as before, under its new id
    let again = gateway.until("GET", "/v1/dead-letters", |(_, l)| {
        l["dead_letters"]
            .as_array()
            .is_some_and(|l| l.len() == 1 && l[0]["message_id"] == replayed["replayed_as"])
    });
    again.await;
    gateway.stop().await;
}

#[tokio::test]
async fn the_status_names_every_part() {
    let gateway = Gateway::start().await;
    let well = gateway.until("GET", "/v1/status", |(_, s)| {
        s["components"].as_array().is_some_and(|all| all.iter().all(|c| c["healthy"] == true))
    });
    let status = well.await;
    let names: Vec<&str> =
        status["components"].as_array().expect("parts").iter().filter_map(|c| c["name"].as_str()).collect();
    for part in ["broker", "gateway.listener", "gateway.relay", "gateway.runner", "gateway.store"] {
        assert!(names.contains(&part), "{part} in {names:?}");
    }
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    gateway.stop().await;
}

#[tokio::test]
async fn with_a_certificate_both_doors_speak_tls() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let pem = made.cert.pem();
    let (cert, key) = (pem.clone(), made.signing_key.serialize_pem());
    let gateway = Gateway::start_with(move |settings, folder| {
        settings.tls_cert_file = folder.join("cert.pem");
        settings.tls_key_file = folder.join("key.pem");
        std::fs::write(&settings.tls_cert_file, cert).expect("written");
        std::fs::write(&settings.tls_key_file, key).expect("written");
    })
    .await;
    let root = reqwest::Certificate::from_pem(pem.as_bytes()).expect("a certificate");
    let http = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([root])
        .resolve("localhost", gateway.address)
        .build()
        .expect("a client");
    let url = format!("https://localhost:{}", gateway.address.port());
    let response =
        http.get(format!("{url}/v1/flavors")).bearer_auth(&gateway.token).send().await.expect("an answer");
    assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2));

    let tls = tonic::transport::ClientTlsConfig::new()
        .ca_certificate(tonic::transport::Certificate::from_pem(&pem))
        .domain_name("localhost");
    let channel = tonic::transport::Channel::from_shared(format!("https://{}", gateway.address))
        .expect("a url")
        .tls_config(tls)
        .expect("a configuration")
        .connect()
        .await
        .expect("connects");
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    health.check(tonic_health::pb::HealthCheckRequest::default()).await.expect("an answer");
    assert!(
        gateway.http.get(gateway.url("/openapi.json")).send().await.is_err(),
        "nothing is served in clear"
    );
    gateway.stop().await;
}

#[tokio::test]
async fn beyond_this_machine_nothing_is_served_in_clear() {
    let gateway = Gateway::start().await;
    let settings = gateway::Settings {
        listen: "0.0.0.0:0".into(),
        data_dir: gateway.folder.path().join("second"),
        datastore_url: format!("file://{}/datastore", gateway.folder.path().display()),
        ..gateway::Settings::default()
    };
    let refused = gateway::start(&settings, &gateway.chassis).await.expect_err("no TLS");
    assert!(format!("{refused:#}").contains("tls_cert_file"), "{refused:#}");
    gateway.stop().await;
}
