//! Two schedulers and two gateways, each a process of its own, on one PostgreSQL server and one broker: more creates than
//! there is room for, through both doors, while a scheduler is killed. Nothing is overbooked, doubled or forgotten.

use futures::StreamExt as _;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use sqlx::AnyPool;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use stories::cli::Cli;
use stories::programs::program;
use testkit::{Database, NatsServer, eventually, free_port};

use crate::one_instance::{IMAGE, prepare};

const CREATES: usize = 2_000;
/// Hosts, and how many of the smallest instances each holds: memory is what they run out of.
const HOSTS: usize = 25;
const ROOM: usize = 40;
const MEMORY: u64 = 128 << 20;
/// Requests on their way at a time.
const AT_ONCE: usize = 24;
const PATIENCE: Duration = Duration::from_secs(150);

struct Replicas {
    folder: tempfile::TempDir,
    children: Vec<(String, Child)>,
    doors: [u16; 2],
    scheduler: Database,
    gateway: Database,
}

impl Replicas {
    async fn start(nats: &NatsServer) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let (scheduler, gateway) = (Database::postgres(&[]).await, Database::postgres(&[]).await);
        let (doors, datastore) =
            ([free_port(), free_port()], format!("datastore_url = 'file://{}'", path("datastore")));
        let door = |port: u16| {
            format!(
                "database_url = '{}'\n{datastore}\nlisten = '127.0.0.1:{port}'\ndata_dir = '{}'",
                gateway.url,
                path("gateway")
            )
        };
        let deciding = format!("database_url = '{}'", scheduler.url);
        let settings = [
            ("storage", format!("database_url = 'sqlite://{}'\n{datastore}", path("storage.db"))),
            ("scheduler-1", deciding.clone()),
            ("scheduler-2", deciding),
            (
                "host-driver",
                format!(
                    "database_url = 'sqlite://{}'\n{datastore}\ndata_dir = '{}'\ndrivers = ['simulated']\n\
                     reserve_memory_bytes = 0\nsimulated.count = {HOSTS}\nsimulated.host.memory_bytes = {}\n\
                     simulated.host.boot_ms = 1",
                    path("host.db"),
                    path("host"),
                    MEMORY * ROOM as u64
                ),
            ),
            ("gateway-1", door(doors[0])),
            ("gateway-2", door(doors[1])),
        ];
        for (name, own) in &settings {
            let text = format!(
                "sealing_key_file = '{}'\n[bus]\nurl = '{}'\n[service]\n{own}\n",
                path("sealing.key"),
                nats.url()
            );
            std::fs::write(folder.path().join(format!("{name}.toml")), text).expect("a settings file");
        }
        let mut replicas = Self { folder, children: Vec::new(), doors, scheduler, gateway };
        for (name, _) in settings {
            replicas.spawn(name);
        }
        let token = replicas.token_file();
        eventually(PATIENCE, "the first token", async || token.exists().then_some(())).await;
        let context = format!(
            "current = 'local'\n[contexts.local]\nendpoint = 'http://127.0.0.1:{}'\ntoken_file = '{}'\n",
            doors[0],
            token.display()
        );
        std::fs::write(replicas.folder.path().join("client.toml"), context).expect("a context");
        replicas
    }

    fn token_file(&self) -> std::path::PathBuf {
        self.folder.path().join("gateway/admin.token")
    }

    fn spawn(&mut self, name: &str) {
        let folder: &Path = self.folder.path();
        let service = name.trim_end_matches("-1").trim_end_matches("-2");
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(folder.join(format!("{name}.log")));
        let child = Command::new(program(service))
            .arg(folder.join(format!("{name}.toml")))
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log file"))
            .spawn()
            .expect("the service starts");
        self.children.push((name.to_owned(), child));
    }

    fn kill(&mut self, name: &str) {
        let index = self.children.iter().position(|(known, _)| known == name).expect("it runs");
        let (_, mut child) = self.children.swap_remove(index);
        child.kill().expect("our own child");
        child.wait().expect("our own child");
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        for (name, child) in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
            if std::thread::panicking() {
                let log = std::fs::read_to_string(self.folder.path().join(format!("{name}.log")));
                let log = log.unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("== {name}\n{}", lines[lines.len().saturating_sub(15)..].join("\n"));
            }
        }
    }
}

/// Asks one door for one instance until it answers; a door that is busy is asked again with the same key.
async fn create(client: Client, port: u16, token: String, name: String) -> (String, String, String) {
    let body = json!({"name": name, "image": IMAGE, "flavor": "micro"});
    let answer = eventually(PATIENCE, "a door to take a create", async || {
        let request = client
            .post(format!("http://127.0.0.1:{port}/v1/instances"))
            .bearer_auth(&token)
            .header("idempotency-key", &name)
            .json(&body);
        let answer = request.send().await.ok()?;
        match answer.status() {
            status if status.is_success() => answer.json::<Value>().await.ok(),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => None,
            status => panic!("{name}: {status} {}", answer.text().await.unwrap_or_default()),
        }
    })
    .await;
    let text = |field: &str| answer[field].as_str().expect("an id").to_owned();
    (name, text("instance_id"), text("operation_id"))
}

async fn number(pool: &AnyPool, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.expect(sql)
}

/// Most instances of a host over time, by the events alone. Each instance is placed once.
fn fullest_by_events(cli: &Cli) -> (usize, BTreeSet<String>) {
    let (mut now, mut most, mut placed) = (BTreeMap::<String, usize>::new(), 0, BTreeSet::new());
    let types = ["--type", "scheduler.InstancePlaced", "--type", "scheduler.InstanceDeleted"];
    for record in cli.events(&types) {
        let (kind, payload) = (record["event"]["type"].as_str(), &record["event"]["data"]);
        let instance = &payload["instance"];
        let host = instance["host_id"].as_str().unwrap_or_default().to_owned();
        let count = now.entry(host).or_default();
        if kind.is_some_and(|kind| kind.ends_with("InstancePlaced")) {
            *count += 1;
            most = most.max(*count);
            let id = instance["id"].as_str().unwrap_or_else(|| panic!("no id: {record}")).to_owned();
            assert!(placed.insert(id), "placed twice: {instance}");
        } else {
            *count -= 1;
        }
    }
    (most, placed)
}

#[tokio::test]
async fn two_schedulers_and_two_gateways_share_the_work_and_never_the_room() {
    let nats = NatsServer::start().await;
    let mut replicas = Replicas::start(&nats).await;
    let cli = Cli::new(replicas.folder.path());
    prepare(&cli).await;
    let (scheduler, gateway) =
        (replicas.scheduler.store.reader().clone(), replicas.gateway.store.reader().clone());
    eventually(PATIENCE, "all hosts", async || {
        (number(&scheduler, "SELECT COUNT(*) FROM hosts").await == HOSTS as i64).then_some(())
    })
    .await;

    let token = std::fs::read_to_string(replicas.token_file()).expect("a token").trim().to_owned();
    // the client wants to know by whom it would encrypt, also where nothing is encrypted
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().timeout(PATIENCE).build().expect("a client");
    // the last tenth asks again for what was asked for at the other door
    let doors = replicas.doors;
    let requests = (0..CREATES + CREATES / 10).map(|turn| {
        let (number, port) = (turn % CREATES, doors[(turn + turn / CREATES) % 2]);
        create(client.clone(), port, token.clone(), format!("web-{number:04}"))
    });
    let mut asked = std::pin::pin!(futures::stream::iter(requests).buffer_unordered(AT_ONCE));
    let mut answers = BTreeMap::<String, (String, String)>::new();
    let mut count = 0;
    while let Some((name, instance, operation)) = asked.next().await {
        let first = answers.entry(name.clone()).or_insert_with(|| (instance.clone(), operation.clone()));
        assert_eq!((&first.0, &first.1), (&instance, &operation), "{name}: one request, one answer");
        count += 1;
        if count == CREATES / 2 {
            replicas.kill("scheduler-1");
        }
        if count == CREATES * 3 / 4 {
            replicas.spawn("scheduler-1");
        }
    }
    assert_eq!(answers.len(), CREATES);

    let room = (HOSTS * ROOM) as i64;
    let settled = "SELECT COUNT(*) FROM instances WHERE phase = 'INSTANCE_PHASE_READY'";
    eventually(PATIENCE, "all that fit to be ready", async || {
        (number(&scheduler, settled).await == room).then_some(())
    })
    .await;
    let all = "SELECT COUNT(*) FROM instances";
    eventually(PATIENCE, "all to be decided", async || {
        (number(&scheduler, all).await == CREATES as i64).then_some(())
    })
    .await;
    assert_eq!(
        number(&scheduler, "SELECT COUNT(*) FROM instances WHERE waiting = 1").await,
        CREATES as i64 - room
    );
    let overbooked = "SELECT COUNT(*) FROM (SELECT host_id FROM instances WHERE reserved = 1 GROUP BY host_id \
         HAVING SUM(memory_bytes) > 5368709120) AS full_hosts";
    assert_eq!(number(&scheduler, overbooked).await, 0);
    let (most, placed) = fullest_by_events(&cli);
    assert_eq!((most, placed.len() as i64), (ROOM, room), "by the events, at no time too many");
    let asked_for: BTreeSet<&String> = answers.values().map(|(instance, _)| instance).collect();
    assert!(placed.iter().all(|id| asked_for.contains(id)));

    // the hosts' own tables: every VM once, on the host that the scheduler says
    let hosts = store_of(&replicas, "host.db").await;
    let there: Vec<(String, String)> = sqlx::query_as(
        "SELECT instance_id, host_id FROM vms WHERE observed_power = 'VM_POWER_RUNNING' ORDER BY 1",
    )
    .fetch_all(&hosts)
    .await
    .expect("the VMs");
    let said: Vec<(String, String)> =
        sqlx::query_as("SELECT id, host_id FROM instances WHERE reserved = 1 ORDER BY 1")
            .fetch_all(&scheduler)
            .await
            .expect("the reservations");
    assert_eq!(there, said, "what runs is what is reserved, once and there");

    // who waits says why, at both doors
    for port in replicas.doors {
        let waiting = eventually(PATIENCE, "the door to have heard of all", async || {
            let waiting = waiting_at(&client, port, &token).await;
            (waiting.len() as i64 == CREATES as i64 - room).then_some(waiting)
        })
        .await;
        for (name, refusal) in &waiting {
            assert_eq!(refusal["code"], "NO_HOST_HAS_ROOM", "{name}");
            assert_eq!(refusal["reasons"][0], format!("{HOSTS} hosts lack memory"), "{name}");
        }
    }
    let operations = "SELECT COUNT(*) FROM operations WHERE method = 'CreateInstance'";
    assert_eq!(number(&gateway, operations).await, CREATES as i64);
    let accepted = cli.events(&["--type", "scheduler.InstanceAccepted"]).len();
    assert_eq!(accepted, CREATES, "each was accepted once");
    assert!(cli.ok(&["dead", "list"]).contains("no dead letters"));

    // room that is given back is given on, by whichever scheduler notices
    let gone: Vec<&(String, String)> = there.iter().take(20).collect();
    for (id, _) in &gone {
        cli.ok(&["instance", "delete", id]);
    }
    eventually(PATIENCE, "as many that waited to be ready", async || {
        let waiting = number(&scheduler, "SELECT COUNT(*) FROM instances WHERE waiting = 1").await;
        let ready = number(&scheduler, settled).await;
        (waiting == CREATES as i64 - room - gone.len() as i64 && ready == room).then_some(())
    })
    .await;
    assert_eq!(fullest_by_events(&cli).0, ROOM);
}

async fn store_of(replicas: &Replicas, file: &str) -> AnyPool {
    let url = format!("sqlite://{}?mode=ro", replicas.folder.path().join(file).display());
    AnyPool::connect(&url).await.expect("the host-driver's database")
}

/// Name and reason of every instance that waits, as one door tells it.
async fn waiting_at(client: &Client, port: u16, token: &str) -> Vec<(String, Value)> {
    let (mut waiting, mut page) = (Vec::new(), String::new());
    loop {
        let url = format!("http://127.0.0.1:{port}/v1/instances?page_size=1000&page_token={page}");
        let answer = client.get(url).bearer_auth(token).send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        for instance in answer["instances"].as_array().into_iter().flatten() {
            if instance["phase"] == "INSTANCE_PHASE_PENDING" {
                let name = instance["name"].as_str().unwrap_or_default().to_owned();
                waiting.push((name, instance["refusal"].clone()));
            }
        }
        page = answer["next_page_token"].as_str().unwrap_or_default().to_owned();
        if page.is_empty() {
            return waiting;
        }
    }
}
