//! Broker, network and services of a chaos story, and what is told of them when it fails.

use super::door::Door;
use super::ledger::Ledger;
use super::load::Load;
use crate::cli::Cli;
use crate::kept;
use crate::platform::Platform;
use crate::programs::small_image;
use crate::proxy::Proxy;
use crate::whereabouts::{Search, Sought};
use reqwest::Method;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use testkit::{NatsServer, eventually};

/// The image that is imported.
pub const IMAGE: &str = "berth-small";
/// So many late ones are looked for; more would say the same again.
const TOLD: usize = 40;
/// How long looking may take.
const LOOKING: Duration = Duration::from_secs(60);

/// Everything that a story plays on. Ends with the value.
pub struct Stage {
    /// The broker.
    pub nats: NatsServer,
    /// The network between it and the services.
    pub proxy: Proxy,
    /// The services.
    pub platform: Platform,
    /// The public door.
    pub door: Door,
    /// What was asked for.
    pub ledger: Ledger,
    load: Option<Load>,
}

impl Stage {
    /// Starts everything; `hosts` is further lines of the host-driver's settings. Beside it runs the load that the
    /// environment asks for.
    pub async fn start(seed: u64, hosts: &str) -> Self {
        let nats = NatsServer::start().await;
        let proxy = Proxy::start(nats.url().trim_start_matches("nats://"), seed).await;
        let platform = Platform::start(&proxy.url(), hosts).await;
        let door = Door::new(platform.endpoint(), platform.token());
        let load = Load::of_environment(platform.folder());
        Self { nats, proxy, platform, door, ledger: Ledger::default(), load }
    }

    /// Imports the small image and waits until so many hosts are up.
    pub async fn import(&self, hosts: usize) {
        let door = self.platform.endpoint().trim_start_matches("http://").to_owned();
        eventually(Duration::from_secs(60), "the gateway to listen", async || {
            tokio::net::TcpStream::connect(&door).await.ok()
        })
        .await;
        let context = format!(
            "current = 'local'\n[contexts.local]\nendpoint = '{}'\ntoken_file = '{}'\n",
            self.platform.endpoint(),
            self.platform.data_dir().join("gateway/admin.token").display()
        );
        std::fs::write(self.platform.data_dir().join("client.toml"), context).expect("a context");
        let (data, manifest) = (self.platform.data_dir(), small_image().display().to_string());
        let imported = tokio::task::spawn_blocking(move || {
            Cli::new(&data).ok(&["image", "import", IMAGE, "--manifest", &manifest, "--if-absent"])
        });
        imported.await.expect("the image is there");
        eventually(Duration::from_secs(60), "all hosts to be up", async || {
            let (_, shown) = self.door.ask(Method::GET, "/v1/hosts", "", None).await;
            let up = |host: &&Value| host["host"]["state"] == "HOST_STATE_UP";
            (shown["hosts"].as_array()?.iter().filter(up).count() == hosts).then_some(())
        })
        .await;
    }

    /// What ran beside the story, for messages.
    pub fn load(&self) -> String {
        self.load.as_ref().map_or_else(
            || "no load".to_owned(),
            |load| format!("load: {} synchronous writes", load.writes()),
        )
    }

    /// Where everything is that is late: requests that are not settled, and `more`. Asked while all of it runs.
    pub async fn whereabouts(&self, more: &[Sought]) -> String {
        let mut late: Vec<Sought> = more.to_vec();
        late.extend(self.ledger.outstanding().into_iter().map(|asked| asked.sought));
        let mut text = format!("{} late\n", late.len());
        for (service, process) in self.platform.processes() {
            let _ = writeln!(text, "{service}: {process}");
        }
        let mut found = Vec::new();
        let looking = async {
            let search = Search::begin(&self.platform.data_dir(), &self.nats.url(), &self.door).await;
            search.survey().iter().for_each(|line| text += &format!("{line}\n"));
            for one in late.iter().take(TOLD) {
                found.push(search.find(one).await);
            }
        };
        let in_time = tokio::time::timeout(LOOKING, looking).await.is_ok();
        let mut places = BTreeMap::<String, usize>::new();
        found.iter().for_each(|one| *places.entry(one.place.in_short()).or_default() += 1);
        places.iter().for_each(|(place, count)| text += &format!("{count} of them: {place}\n"));
        found.iter().for_each(|one| text += &format!("- {one}\n"));
        if !in_time {
            text += "looking for the others took too long\n";
        }
        text
    }

    /// Ends everything. Stores, streams, logs and `told` are kept; answers where.
    pub fn keep(mut self, story: &str, told: &str) -> PathBuf {
        let place = self.keep_folders(story);
        if let Err(error) = std::fs::write(place.join("whereabouts.txt"), told) {
            eprintln!("{}: {error}", place.display());
        }
        place
    }

    fn keep_folders(&mut self, story: &str) -> PathBuf {
        // one that is held could not end
        self.nats.pause(false);
        self.nats.end();
        self.platform.keep(story, &[("nats", self.nats.folder())])
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.platform.logs());
            self.keep_folders(&kept::running_story());
        }
    }
}
