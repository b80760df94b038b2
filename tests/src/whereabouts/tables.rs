//! What the tables of the services say of one instance and its operation.

use super::books::{Books, seconds};
use super::place::Place;
use super::{Sought, json, refusal};
use serde_json::Value;
use sqlx::Row;
use sqlx::any::AnyRow;

/// What everybody has written down; `null` where there is nothing.
#[derive(Debug, Default)]
pub(super) struct State {
    /// berth.gateway.v1.Operation
    operation: Value,
    /// berth.scheduler.v1.Instance as the gateway's read model has it.
    shown: Value,
    /// berth.scheduler.v1.Instance as its owner has it.
    owned: Value,
    waiting_for_host: bool,
    vm: Option<Vm>,
}

/// The host's side.
#[derive(Debug, Default)]
struct Vm {
    power: String,
    intent_revision: u64,
    generation: u64,
    observed_power: String,
    observation_revision: u64,
    attempts: i64,
    next_attempt_at: i64,
    gave_up: bool,
    failure: Value,
    steps: String,
}

pub(super) async fn read(books: &Books, sought: &Sought) -> State {
    let (operation, instance) = (&sought.operation, &sought.instance);
    let snapshot = async |service: &str, sql: &str, id: &str, name: &str| {
        let rows = books.rows(service, sql, id).await;
        rows.first().map_or(Value::Null, |row| json(name, &bytes(row, "snapshot")))
    };
    let instances = "SELECT snapshot FROM instances WHERE id = $1";
    let waiting = books.rows("scheduler", "SELECT waiting FROM instances WHERE id = $1", instance).await;
    let operations = "SELECT snapshot FROM operations WHERE id = $1";
    let owned = snapshot("scheduler", instances, instance, "berth.scheduler.v1.Instance").await;
    State {
        operation: snapshot("gateway", operations, operation, "berth.gateway.v1.Operation").await,
        shown: snapshot("gateway", instances, instance, "berth.scheduler.v1.Instance").await,
        waiting_for_host: waiting.first().is_some_and(|row| number(row, "waiting") == 1),
        vm: vm(books, instance, owned["host_id"].as_str().unwrap_or_default()).await,
        owned,
    }
}

/// What the instance's own host has; a host that it left before does not count.
async fn vm(books: &Books, instance: &str, host: &str) -> Option<Vm> {
    let sql = "SELECT vms.*, COALESCE(vm_work.attempts, 0) AS attempts, COALESCE(next_attempt_at, 0) AS next_attempt_at, \
               COALESCE(gave_up, 0) AS gave_up, COALESCE(failure, x'') AS failure, COALESCE(steps, '') AS steps \
               FROM vms LEFT JOIN vm_work ON vms.host_id = vm_work.host_id AND vms.instance_id = vm_work.instance_id \
               WHERE vms.instance_id = $1";
    let rows = books.rows("host_driver", sql, instance).await;
    let row = rows.iter().find(|row| row.try_get::<String, _>("host_id").is_ok_and(|id| id == host))?;
    let text = |name: &str| row.try_get::<String, _>(name).unwrap_or_default();
    let count = |name: &str| u64::try_from(number(row, name)).unwrap_or(0);
    Some(Vm {
        power: text("power"),
        intent_revision: count("intent_revision"),
        generation: count("generation"),
        observed_power: text("observed_power"),
        observation_revision: count("observation_revision"),
        attempts: number(row, "attempts"),
        next_attempt_at: number(row, "next_attempt_at"),
        gave_up: number(row, "gave_up") != 0,
        failure: json("berth.common.v1.Refusal", &bytes(row, "failure")),
        steps: text("steps"),
    })
}

fn number(row: &AnyRow, name: &str) -> i64 {
    row.try_get(name).unwrap_or(0)
}

fn bytes(row: &AnyRow, name: &str) -> Vec<u8> {
    row.try_get(name).unwrap_or_default()
}

/// A whole number of a document: those beyond 2^53 are texts.
fn whole(document: &Value, field: &str) -> u64 {
    let value = &document[field];
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

fn text<'v>(document: &'v Value, field: &str) -> &'v str {
    document[field].as_str().unwrap_or_default()
}

impl State {
    /// Where it is held up though all its messages were taken.
    pub fn judge(&self, sought: &Sought, now_us: i64) -> Place {
        let Sought { operation, .. } = sought;
        if self.operation.is_null() && (!operation.is_empty() || self.owned.is_null()) {
            return Place::Nowhere;
        }
        let state = text(&self.operation, "state");
        let ended = ["SUCCEEDED", "FAILED", "SUPERSEDED"].iter().any(|end| state.ends_with(end));
        let behind = |who: &str, whose: &str, knows: u64, there_is: u64| Place::Behind {
            who: who.to_owned(),
            whose: whose.to_owned(),
            knows,
            there_is,
        };
        let (owned, shown) = (whole(&self.owned, "revision"), whole(&self.shown, "revision"));
        // a deleted instance leaves the read model
        if shown < owned && text(&self.owned, "phase") != "INSTANCE_PHASE_DELETED" {
            return behind("gateway", "scheduler", shown, owned);
        }
        if ended || self.owned.is_null() {
            return if ended { Place::Settled } else { Place::Nowhere };
        }
        if self.waiting_for_host {
            return Place::Unplaced { reason: refusal(&self.owned["refusal"]) };
        }
        let host = text(&self.owned, "host_id").to_owned();
        let ordered = whole(&self.owned, "intent_revision");
        let Some(vm) = &self.vm else { return behind(&format!("host {host}"), "scheduler", 0, ordered) };
        if vm.intent_revision < ordered {
            return behind(&format!("host {host}"), "scheduler", vm.intent_revision, ordered);
        }
        let observed = whole(&self.owned, "observation_revision");
        if observed < vm.observation_revision {
            return behind("scheduler", "host-driver", observed, vm.observation_revision);
        }
        if text(&self.owned["operation"], "operation_id") != operation.as_str() {
            return behind("gateway", "scheduler", shown, owned);
        }
        Place::Host { host, attempts: vm.attempts, failure: vm.failing(now_us) }
    }

    /// What each side says, a line each.
    pub fn facts(&self, now_us: i64) -> Vec<String> {
        let mut facts = Vec::new();
        if !self.operation.is_null() {
            let state = text(&self.operation, "state").trim_start_matches("OPERATION_STATE_");
            let asked = seconds(now_us - whole(&self.operation, "created_at_us") as i64);
            let steps: Vec<&str> =
                self.operation["steps"].as_array().into_iter().flatten().map(|s| text(s, "name")).collect();
            let (last, why) = (steps.last().unwrap_or(&""), refusal(&self.operation["refusal"]));
            facts.push(format!(
                "gateway: operation {state}, accepted {asked:.1} s ago, last step {last:?} {why}"
            ));
        }
        for (who, instance) in [("gateway", &self.shown), ("scheduler", &self.owned)] {
            let phase = text(instance, "phase").trim_start_matches("INSTANCE_PHASE_");
            facts.push(match instance {
                Value::Null => format!("{who}: knows no such instance"),
                _ => format!(
                    "{who}: {} is {phase} in revision {} of {:.1} s ago, order {}, operation {:?} {}",
                    text(instance, "name"),
                    whole(instance, "revision"),
                    seconds(now_us - whole(instance, "updated_at_us") as i64),
                    whole(instance, "intent_revision"),
                    text(&instance["operation"], "operation_id"),
                    refusal(&instance["refusal"]),
                ),
            });
        }
        facts.extend(self.vm.as_ref().map(|vm| {
            format!(
                "host-driver: generation {}, order {} is {:?}, observed {:?} in revision {}, steps {:?} {}",
                vm.generation,
                vm.intent_revision,
                vm.power,
                vm.observed_power,
                vm.observation_revision,
                vm.steps,
                vm.failing(now_us)
            )
        }));
        facts
    }
}

impl Vm {
    fn failing(&self, now_us: i64) -> String {
        match refusal(&self.failure) {
            failure if failure.is_empty() => failure,
            failure if self.gave_up => format!("{failure}; gave up"),
            failure => format!("{failure}; next attempt in {:.1} s", seconds(self.next_attempt_at - now_us)),
        }
    }
}
