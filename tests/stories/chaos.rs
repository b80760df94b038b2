//! Two hundred instances live and die while everything around them breaks. Afterwards each is exactly what was asked
//! for, and the log says that it was right at every moment. A run that fails says of everything that is late where it
//! is, and keeps stores, streams and logs (`tests/README.md`).
//!
//! `BERTH_SEED=17 cargo nextest run --workspace --test stories -E 'test(chaos_with_a_new_seed)'` repeats the choices of a
//! seed. (The moments at which they hit are the machine's; a seed that failed once is kept in [`REGRESSION_SEEDS`].)
//! `BERTH_SEEDS=50` runs so many new seeds, `BERTH_SEEDS=3,4,5` these, and tells how long things took over all of them:
//! with `--profile campaign`, which lets them run on. `BERTH_LOAD=1` keeps the machine busy beside the story: four busy
//! loops, and one of synchronous writes.

use checker::{Database, PowerSeen, Truth, VmSeen, judge};
use futures::FutureExt;
use node::{NodeSettings, SERVICES, replay_verify};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use stories::chaos::disks;
use stories::chaos::door::Door;
use stories::chaos::ledger::Times;
use stories::chaos::monkey::{Monkey, Victims};
use stories::chaos::stage::{IMAGE, Stage};
use stories::chaos::users::{Life, MEMORY, Wanted, Wishes, live};
use stories::platform::Platform;
use stories::whereabouts::Sought;
use testkit::{NatsServer, eventually};
use tokio::time::timeout;

/// Runs every time.
const USUAL_SEED: u64 = 1;
/// Seeds that failed once, and what they showed.
const REGRESSION_SEEDS: [(u64, &str); 1] = [(
    470_109_477,
    "under load: a relay waited 5 s for each acknowledgement that a broken connection had taken along, one after the other",
)];

const INSTANCES: usize = 200;
const USERS: usize = 40;
const HOSTS: usize = 6;
/// Longest time of mishaps; after it everything is left alone.
const MISHAPS: Duration = Duration::from_secs(35);
/// Whatever is asked for must be so this long after the last mishap, or after it was asked for.
const SETTLING: Duration = Duration::from_secs(120);
/// What was outstanding at the last mishap should be settled so soon after it, 99 of 100 times. Said, not asserted.
const AIM: Duration = Duration::from_secs(5);

/// The seeds that the environment asks for, if any: one by BERTH_SEED, many by BERTH_SEEDS.
fn seeds_of_environment() -> Option<Vec<u64>> {
    let number = |name: &str, text: &str| -> u64 {
        text.trim().parse().unwrap_or_else(|_| panic!("{name}: {text:?} is no number"))
    };
    if let Ok(text) = std::env::var("BERTH_SEED") {
        return Some(vec![number("BERTH_SEED", &text)]);
    }
    let text = std::env::var("BERTH_SEEDS").ok()?;
    if text.contains(',') {
        return Some(text.split(',').filter(|t| !t.is_empty()).map(|t| number("BERTH_SEEDS", t)).collect());
    }
    Some((0..number("BERTH_SEEDS", &text)).map(|_| new_seed()).collect())
}

fn new_seed() -> u64 {
    u64::from(rand::random::<u32>())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_with_the_usual_seed_and_those_that_failed_once() {
    let usual = std::iter::once(USUAL_SEED).chain(REGRESSION_SEEDS.map(|(seed, _)| seed));
    run("chaos-usual", seeds_of_environment().unwrap_or_else(|| usual.collect())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_with_a_new_seed() {
    run("chaos-new", seeds_of_environment().unwrap_or_else(|| vec![new_seed()])).await;
}

/// One seed after the other; those that fail do not keep the others from running.
async fn run(story: &str, seeds: Vec<u64>) {
    let (mut times, mut failed) = (Times::default(), Vec::new());
    for seed in &seeds {
        match chaos(story, *seed).await {
            Ok(of_this) => times.add(&of_this),
            Err(why) => failed.push(format!(
                "seed {seed}: {why}\nagain: BERTH_SEED={seed} cargo nextest run --workspace --test stories -E \
                 'test(chaos_with_a_new_seed)'"
            )),
        }
        if seeds.len() > 1 {
            eprintln!("== all seeds so far\n{}", times.report(AIM));
        }
    }
    assert!(failed.is_empty(), "{} of {} seeds failed\n{}", failed.len(), seeds.len(), failed.join("\n"));
}

/// What went wrong, and for whom.
struct Failure {
    why: String,
    late: Vec<Sought>,
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self { why, late: Vec::new() }
    }
}

/// One run. It may panic anywhere: while the platform is up, what is late is looked for, and all is kept.
async fn chaos(story: &str, seed: u64) -> Result<Times, String> {
    eprintln!("BERTH_SEED={seed}");
    let faults = "simulated.host.boot_ms = 20\nsimulated.host.faults.failures = { start = 0.03, define = 0.03 }\n\
         simulated.host.faults.lost_replies = { start = 0.05, destroy = 0.05, undefine = 0.05, prepare_disks = 0.03 }";
    // room for fewer than all: some have to wait until others are deleted
    let room = format!("reserve_memory_bytes = 0\nsimulated.host.memory_bytes = {}", 20 * MEMORY);
    let hosts = format!(
        "simulated.count = {HOSTS}\nsimulated.disk_files = true\nsimulated.host.faults.seed = {seed}\n{room}\n{faults}"
    );
    let mut stage = Stage::start(seed, &hosts).await;
    let failure = match AssertUnwindSafe(act(&mut stage, seed)).catch_unwind().await {
        Ok(Ok(times)) => return Ok(times),
        Ok(Err(failure)) => failure,
        Err(panic) => panic
            .downcast::<String>()
            .map_or_else(|other| other.downcast::<&str>().map(|s| (*s).to_owned()), |text| Ok(*text))
            .unwrap_or_default()
            .into(),
    };
    let told =
        format!("seed {seed}, {}: {}\n{}", stage.load(), failure.why, stage.whereabouts(&failure.late).await);
    eprintln!("{told}{}", stage.platform.logs());
    stage.keep(&format!("{story}-{seed}"), &told);
    Err(failure.why)
}

async fn act(stage: &mut Stage, seed: u64) -> Result<Times, Failure> {
    stage.import(HOSTS).await;
    let begun = Instant::now();
    let (door, ledger, wishes) = (stage.door.clone(), stage.ledger.clone(), Wishes::default());
    let mut living = Box::pin(live(Life {
        door,
        ledger: ledger.clone(),
        wishes: wishes.clone(),
        seed,
        users: USERS,
        instances: INSTANCES,
        within: MISHAPS,
        image: IMAGE.to_owned(),
    }));
    let mut monkey = Monkey::new(seed);
    let on = Victims { platform: &mut stage.platform, nats: &mut stage.nats, proxy: &stage.proxy };
    let (broke, mut lived) = {
        let (mut breaking, mut lived) = (pin!(monkey.run(on, MISHAPS)), None);
        loop {
            // also after a user's failure: nothing can be looked for while the broker is down
            tokio::select! {
                broke = &mut breaking => break (broke, lived),
                ended = &mut living, if lived.is_none() => lived = Some(ended),
            }
        }
    };
    broke.map_err(|none| none.to_string())?;
    let calm = Instant::now();
    eprintln!("after {:?}: {:?}, {:?}", begun.elapsed(), monkey.done, stage.proxy.counts());
    eprintln!("the last of them: {:?}", monkey.last);
    if lived.is_none() {
        lived = tokio::select! {
            ended = living => Some(ended),
            () = ledger.overdue(calm, SETTLING) => None,
            () = stage.platform.look_after() => unreachable!("it is looked after for ever"),
        };
    }
    lived.ok_or_else(|| format!("an operation took longer than {SETTLING:?}, without any mishap"))??;
    let wishes = wishes.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert_eq!(wishes.len(), INSTANCES);
    let mut times = Times::of(&ledger, calm);
    times.outstanding.extend(as_wished(stage, &wishes, calm).await?);
    monkey.aftermath(SETTLING, &stage.proxy, &stage.nats).await.map_err(|none| none.to_string())?;
    prove(&stage.platform, &stage.nats).await;
    eprintln!(
        "seed {seed}: {:?} in all, {} operations, {}, services ended by themselves {} times\n{}",
        begun.elapsed(),
        times.all.len(),
        stage.load(),
        stage.platform.ended,
        times.report(AIM)
    );
    Ok(times)
}

/// Waits until every instance is what was asked for. Answers when those became so, after the last mishap, that were
/// not when their operations had ended.
async fn as_wished(
    stage: &mut Stage,
    wishes: &BTreeMap<String, Wanted>,
    calm: Instant,
) -> Result<Vec<Duration>, Failure> {
    let wanted: BTreeMap<&str, Wanted> =
        wishes.iter().filter(|(_, w)| **w != Wanted::Gone).map(|(n, w)| (n.as_str(), *w)).collect();
    let (mut late, mut became) = (None::<BTreeSet<String>>, Vec::new());
    let waiting = async {
        eventually(2 * SETTLING, "every instance to be what was asked for", async || {
            let found = instances(&stage.door).await;
            let differs = |name: &&String| found.get(*name).copied() != wanted.get(name.as_str()).copied();
            let now: BTreeSet<String> = wishes.keys().chain(found.keys()).filter(differs).cloned().collect();
            if let Some(before) = &late {
                became.extend(before.difference(&now).map(|_| calm.elapsed()));
            }
            let done = now.is_empty();
            late = Some(now);
            done.then_some(())
        })
        .await;
    };
    let outcome = tokio::select! {
        outcome = timeout(SETTLING, waiting) => outcome,
        () = stage.platform.look_after() => unreachable!("it is looked after for ever"),
    };
    if outcome.is_ok() {
        return Ok(became);
    }
    let sought = |name: String| Sought {
        instance: stage.ledger.instance_of(&name),
        what: format!("the state of {name}, which should be {:?}", wishes.get(&name)),
        ..Sought::default()
    };
    let late = late.unwrap_or_default().into_iter().map(sought).collect();
    Err(Failure {
        why: format!("not every instance was what was asked for {SETTLING:?} after its operations had ended"),
        late,
    })
}

/// Names of the instances that are there, and what they are; anything between two states is none of them.
async fn instances(door: &Door) -> BTreeMap<String, Wanted> {
    let (_, shown) = door.ask(Method::GET, "/v1/instances?page_size=1000", "", None).await;
    let mut found = BTreeMap::new();
    for instance in shown["instances"].as_array().into_iter().flatten() {
        let wanted = match instance["phase"].as_str() {
            Some("INSTANCE_PHASE_READY") => Wanted::Ready,
            Some("INSTANCE_PHASE_STOPPED") => Wanted::Stopped,
            _ => Wanted::Gone,
        };
        found.insert(instance["name"].as_str().unwrap_or_default().to_owned(), wanted);
    }
    found
}

/// Log, tables and hosts, judged by code that the services do not share; and every table made again from the log.
async fn prove(platform: &Platform, nats: &NatsServer) {
    let connection = nats.connect().await;
    let data = platform.data_dir();
    let databases = SERVICES.map(|service| Database {
        service: service.name.to_owned(),
        url: format!("sqlite://{}", service.database_file(&data).display()),
    });
    let mut last = Vec::new();
    // what is still on its way looks wrong: what is wrong for good stays so
    let quiet = Instant::now() + Duration::from_secs(40);
    loop {
        let judged = judge(&connection, &databases, Some(truth(platform))).await.expect("judged");
        if judged.violations.is_empty() {
            assert!(judged.events > INSTANCES as u64 * 4, "the log was judged: {} events", judged.events);
            break;
        }
        let same = judged.violations == last && Instant::now() > quiet;
        let shown: Vec<String> = judged.violations.iter().take(20).map(ToString::to_string).collect();
        assert!(!same && Instant::now() < quiet + SETTLING, "violated:\n{}", shown.join("\n"));
        last = judged.violations;
        tokio::task::yield_now().await;
    }
    // no host removes within a day what was deleted: whatever a guest ever wrote is still somewhere
    let (guests, lost) = disks::lost(&platform.host_dir(), &platform.worlds());
    assert!(lost.is_empty(), "the data of {} guests are lost:\n{}", lost.len(), lost.join("\n"));
    assert!(guests >= INSTANCES / 2, "{guests} guests wrote to their disks");
    let mut node = NodeSettings { data_dir: data, ..NodeSettings::default() };
    node.nats.url = nats.url();
    let verdicts = replay_verify(node).await.expect("verified");
    let wrong: Vec<_> = verdicts.iter().filter(|v| !v.differences.is_empty()).collect();
    assert!(wrong.is_empty(), "tables differ from the log: {wrong:#?}");
    assert!(verdicts.len() >= 8, "all tables were compared: {verdicts:?}");
}

/// What the simulated hosts have, read from the files that they are kept in.
fn truth(platform: &Platform) -> Truth {
    let mut truth = Truth { disks: Some(disks::in_place(&platform.host_dir())), ..Truth::default() };
    for file in std::fs::read_dir(platform.worlds()).expect("kept hosts").flatten() {
        let path = file.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let host = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let text = std::fs::read(&path).expect("a kept host");
        let document: Value = serde_json::from_slice(&text).unwrap_or_else(|_| json!({}));
        for (instance, vm) in document["vms"].as_object().into_iter().flatten() {
            let power = match vm["power"].as_str() {
                Some("running") => PowerSeen::Running,
                Some("paused") => PowerSeen::Paused,
                _ => PowerSeen::Off,
            };
            truth.vms.push(VmSeen { host: host.clone(), instance: instance.clone(), power });
        }
        truth.hosts.push(host);
    }
    truth
}
