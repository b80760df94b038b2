//! Gateways that send webhooks are killed with SIGKILL in the middle: every event arrives, in the order of its object,
//! and what comes twice says so.

mod harness;

use bus::{Cause, Desk};
use chassis::{Chassis, ChassisSettings};
use contracts::scheduler::v1 as scheduler;
use harness::receiver::{Got, Receiver, Reply};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use testkit::{Database, NatsServer, eventually, free_port};

const PATIENCE: Duration = Duration::from_secs(60);
const OBJECTS: usize = 5;

/// Gateways as processes of their own, on one broker and one database.
struct Processes {
    nats: NatsServer,
    folder: tempfile::TempDir,
    children: BTreeMap<u16, Child>,
    others: Desk,
    // ends with the value
    _chassis: Chassis,
    said: BTreeMap<usize, u64>,
}

impl Processes {
    async fn start() -> Self {
        let (nats, folder) = (NatsServer::start().await, tempfile::tempdir().expect("a folder"));
        let process = ChassisSettings {
            bus: nats.settings(),
            sealing_key_file: folder.path().join("sealing.key"),
            ..ChassisSettings::default()
        };
        let chassis = Chassis::start("others", &process).await.expect("the chassis starts");
        let url = format!("sqlite://{}/others.db", folder.path().display());
        let others = chassis.desk("scheduler", &url, &[]).await.expect("a desk for the others");
        Self { nats, folder, children: BTreeMap::new(), others, _chassis: chassis, said: BTreeMap::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the gateway of a port; its database is a file when `database` is "".
    async fn up(&mut self, port: u16, database: &str) {
        let show = |name: &str| self.path(name).display().to_string();
        let text = format!(
            "sealing_key_file = '{}'\n[bus]\nurl = '{}'\n[service]\nlisten = '127.0.0.1:{port}'\n\
             database_url = '{database}'\ndata_dir = '{}'\ndatastore_url = 'file://{}'\n[service.webhooks]\n\
             allow = ['127.0.0.0/8']\nallow_http = true\ntimeout_ms = 1000\nfirst_pause_ms = 50\nlongest_pause_ms = 200\n",
            show("sealing.key"),
            self.nats.url(),
            show("gateway"),
            show("datastore"),
        );
        let file = self.path(&format!("{port}.toml"));
        std::fs::write(&file, text).expect("settings");
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.path(&format!("{port}.log")));
        let child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log"))
            .spawn()
            .expect("the gateway starts");
        self.children.insert(port, child);
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        eventually(PATIENCE, "the gateway to answer", async || {
            let answer = http.get(format!("http://127.0.0.1:{port}/openapi.json")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    fn kill(&mut self, port: u16) {
        let mut child = self.children.remove(&port).expect("it runs");
        child.kill().expect("our own child");
        child.wait().expect("our own child");
    }

    async fn call(&self, port: u16, method: &str, path: &str, body: Value) -> (u16, Value) {
        let token = std::fs::read_to_string(self.path("gateway/admin.token")).expect("a token");
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let request =
            http.request(method, format!("http://127.0.0.1:{port}{path}")).bearer_auth(token.trim());
        harness::answer(match body {
            Value::Null => request,
            body => request.header("content-type", "application/json").body(body.to_string()),
        })
        .await
    }

    async fn make(&self, port: u16, receiver: &Receiver) {
        let body = json!({"name": "hook", "url": receiver.url(), "filter": {"types": ["scheduler"]}});
        let (status, answer) = self.call(port, "POST", "/v1/webhooks", body).await;
        assert_eq!(status, 200, "{answer}");
    }

    /// Says one more event about each object.
    async fn say(&mut self, rounds: u64) {
        for _ in 0..rounds {
            for object in 0..OBJECTS {
                let revision = self.said.entry(object).or_default();
                *revision += 1;
                let instance = scheduler::Instance {
                    id: name(object),
                    tenant: "default".into(),
                    revision: *revision,
                    ..scheduler::Instance::default()
                };
                let cause = Cause::own("scheduler").for_tenant("default");
                let mut work = self.others.begin(cause).await.expect("begins");
                work.say(&scheduler::InstanceChanged { instance: Some(instance), operations: vec![] });
                work.commit().await.expect("commits");
            }
        }
    }

    /// Waits until everything that was said arrived.
    async fn all_arrived(&self, receiver: &Receiver) {
        let said: u64 = self.said.values().sum();
        eventually(PATIENCE, "every event to arrive", async || {
            let got = receiver.got();
            let taken = got.iter().filter(|got| got.answered.is_some());
            let ids: std::collections::BTreeSet<&str> = taken.map(|got| got.id.as_str()).collect();
            (ids.len() as u64 == said).then_some(())
        })
        .await;
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for (port, child) in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
            if std::thread::panicking() {
                let log = std::fs::read_to_string(self.folder.path().join(format!("{port}.log")));
                eprintln!("== {port}\n{}", log.unwrap_or_default());
            }
        }
    }
}

fn name(object: usize) -> String {
    format!("018f0000-0000-7000-8000-{object:012}")
}

/// Every event of every object arrived, in order; a repeat has a higher number than the request before it. (The first
/// to arrive may be the second attempt: who dies before an attempt is made has counted it.)
fn judge(processes: &Processes, receiver: &Receiver) -> Vec<Got> {
    for (object, last) in &processes.said {
        let about = receiver.about(&name(*object));
        let revisions: Vec<u64> = about.iter().map(|got| got.revision()).collect();
        assert!(revisions.is_sorted(), "{object}: {revisions:?}");
        let mut distinct = revisions.clone();
        distinct.dedup();
        assert_eq!(distinct, (1..=*last).collect::<Vec<u64>>(), "{object}");
        for two in about.windows(2).filter(|two| two[0].revision() == two[1].revision()) {
            assert!(
                two[0].id == two[1].id && two[0].attempt < two[1].attempt,
                "{object}: a repeat is not marked"
            );
        }
    }
    receiver.got().into_iter().filter(|got| got.attempt > 1).collect()
}

#[tokio::test]
async fn a_gateway_that_is_killed_loses_nothing_keeps_the_order_and_marks_repeats() {
    let mut processes = Processes::start().await;
    let slow = |_: &Got| Reply { delay: Duration::from_millis(60), ..Reply::status(200) };
    let receiver = Receiver::with(slow).await;
    let port = free_port();
    processes.up(port, "").await;
    processes.make(port, &receiver).await;
    for kill in 1..=4 {
        processes.say(8).await;
        let before = receiver.got().len();
        // in the middle: something is under way
        receiver.until("some requests", |got| (got.len() > before + kill * 3).then_some(())).await;
        processes.kill(port);
        // events go on while nobody sends
        processes.say(2).await;
        processes.up(port, "").await;
    }
    processes.all_arrived(&receiver).await;
    let repeats = judge(&processes, &receiver);
    assert!(!repeats.is_empty(), "nothing was under way when the gateway was killed");
    assert!(repeats.len() <= 4 * OBJECTS, "{} repeats: more than was under way", repeats.len());
}

#[tokio::test]
async fn of_two_gateways_one_sends_and_the_other_takes_over() {
    let mut processes = Processes::start().await;
    let receiver = Receiver::start().await;
    let (database, doors) = (Database::postgres(&[]).await, [free_port(), free_port()]);
    for port in doors {
        processes.up(port, &database.url).await;
    }
    processes.make(doors[0], &receiver).await;
    processes.say(10).await;
    processes.all_arrived(&receiver).await;
    assert!(judge(&processes, &receiver).is_empty(), "both of them sent");
    assert_eq!(receiver.got().len(), 10 * OBJECTS);
    // whichever of them sends: one after the other is killed
    for port in doors {
        processes.say(3).await;
        processes.kill(port);
        processes.say(3).await;
        processes.all_arrived(&receiver).await;
        judge(&processes, &receiver);
        processes.up(port, &database.url).await;
    }
}
