//! Driving a workload through the platform, moment by moment.

use super::Options;
use super::Pace;
use super::clock::EPOCH;
use super::platform::{IMAGE, Platform};
use super::quiet::quiet;
use super::rows::{InstanceRow, Workload};
use anyhow::Context;
use client::{Exit, Failure, IdempotencyKey};
use contracts::common::v1::Resources;
use contracts::gateway::v1::{CreateInstanceRequest, DeleteInstanceRequest};
use futures::{StreamExt, TryStreamExt};
use kernel::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// Moments that a workload is run in at most, unless a resolution is asked for.
const MOMENTS: f64 = 1_000.0;

/// Requests under way at once. Within a moment everything happens at once: requests are sent in their order, and may
/// overtake each other as those of many users do. So the services take them in together, as they do under load; one
/// after the other each would cost every one of them a transaction of its own.
const IN_FLIGHT: usize = 64;

/// What happens at one moment: deletions first, so that room is given back before it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moment {
    /// Indexes of the instances that go.
    pub deletes: Vec<usize>,
    /// Indexes of the instances that come, in the order of their times.
    pub creates: Vec<usize>,
}

/// The workload as moments of virtual time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Resolution in seconds; times are rounded up to it.
    pub tick_s: u64,
    /// Seconds since the beginning, and what happens then.
    pub moments: BTreeMap<u64, Moment>,
}

impl Plan {
    /// Rounds all times up to the resolution. An instance lives for at least one tick.
    pub fn of(workload: &Workload, tick_s: Option<u64>) -> Self {
        let times = workload.instances.iter().flat_map(|row| [Some(row.created_at_s), row.deleted_at_s]);
        let span = times.flatten().fold(0.0, f64::max);
        let tick_s = tick_s.unwrap_or_else(|| (span / MOMENTS).ceil() as u64).max(1);
        let round = |seconds: f64| (seconds / tick_s as f64).ceil() as u64 * tick_s;
        let mut moments: BTreeMap<u64, Moment> = BTreeMap::new();
        let mut order: Vec<usize> = (0..workload.instances.len()).collect();
        let rows = &workload.instances;
        order.sort_by(|a, b| rows[*a].created_at_s.total_cmp(&rows[*b].created_at_s).then(a.cmp(b)));
        for index in order {
            let row = &rows[index];
            let created = round(row.created_at_s);
            moments.entry(created).or_default().creates.push(index);
            if let Some(deleted) = row.deleted_at_s {
                let deleted = round(deleted).max(created + tick_s);
                moments.entry(deleted).or_default().deletes.push(index);
            }
        }
        Self { tick_s, moments }
    }

    /// Seconds of virtual time until the last thing happens.
    pub fn span_s(&self) -> u64 {
        self.moments.keys().next_back().copied().unwrap_or(0)
    }
}

/// What became of the requests.
#[derive(Debug, Clone, Default)]
pub struct Driven {
    /// Index of the instance by its id.
    pub ids: HashMap<String, usize>,
    /// Instances that the gateway itself refused, and why.
    pub refused: BTreeMap<usize, String>,
    /// Time between the first request and the last rest.
    pub wall: Duration,
    /// How far virtual time was behind its pace at most.
    pub lag: Duration,
}

/// Runs the plan. `news` hears of it now and then.
pub async fn drive(
    platform: &Platform,
    workload: &Workload,
    plan: &Plan,
    options: &Options,
    news: &mut impl FnMut(&str),
) -> anyhow::Result<Driven> {
    let keys = workload.host_label_keys();
    let mut requests =
        Requests { platform, workload, options, keys, driven: Driven::default(), by_index: HashMap::new() };
    quiet(platform).await?;
    let begun = Instant::now();
    let mut told = begun;
    for (second, moment) in &plan.moments {
        requests.driven.lag = requests.driven.lag.max(pace(platform, options.pace, begun, *second).await);
        let (desk, context) = &platform.scheduler;
        scheduler::reconcilers::deadlines::pass(desk, context).await?;
        requests.delete(&moment.deletes).await?;
        if !moment.deletes.is_empty() && platform.waiting().await? > 0 {
            // those that waited longest get the room first
            quiet(platform).await?;
        }
        requests.create(&moment.creates).await?;
        quiet(platform).await.with_context(|| format!("at second {second} of virtual time"))?;
        if told.elapsed() > Duration::from_secs(2) {
            told = Instant::now();
            let done = requests.driven.ids.len();
            news(&format!("second {second} of {}: {done} instances asked for", plan.span_s()));
        }
    }
    let mut driven = requests.driven;
    driven.wall = begun.elapsed();
    Ok(driven)
}

/// Moves virtual time to `second`, at once or at its pace. Answers how late it is.
async fn pace(platform: &Platform, pace: Pace, begun: Instant, second: u64) -> Duration {
    let aim = Duration::from_secs(second);
    let mut late = Duration::ZERO;
    if let Pace::Times(factor) = pace {
        let due = begun + aim.div_f64(factor);
        late = Instant::now().saturating_duration_since(due);
        // time runs, it does not jump: whoever reads the clock meanwhile sees it move
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            platform.clock.advance_to(begun.elapsed().mul_f64(factor).min(aim));
            tokio::time::sleep(left.min(Duration::from_millis(50))).await;
        }
    }
    platform.clock.advance_to(aim);
    late
}

struct Requests<'r> {
    platform: &'r Platform,
    workload: &'r Workload,
    options: &'r Options,
    keys: BTreeSet<String>,
    driven: Driven,
    by_index: HashMap<usize, String>,
}

impl Requests<'_> {
    async fn create(&mut self, indexes: &[usize]) -> anyhow::Result<()> {
        let ask = async |index: usize| -> anyhow::Result<_> {
            let gateway = &self.platform.gateway;
            let request = self.request(&self.workload.instances[index]);
            let key = IdempotencyKey::random();
            match gateway.change(request, &key, async |r| gateway.instances().create_instance(r).await).await
            {
                Ok(answer) => Ok((index, Ok(answer.instance_id))),
                Err(failure) if matches!(failure.exit, Exit::Usage | Exit::Refused) => {
                    Ok((index, Err(failure.to_string())))
                }
                Err(failure) => Err(self.failed("create", index, failure)),
            }
        };
        let asked = futures::stream::iter(indexes.iter().copied()).map(ask).buffered(IN_FLIGHT);
        for (index, answer) in asked.try_collect::<Vec<_>>().await? {
            match answer {
                Ok(id) => {
                    self.by_index.insert(index, id.clone());
                    self.driven.ids.insert(id, index);
                }
                Err(reason) => drop(self.driven.refused.insert(index, reason)),
            }
        }
        Ok(())
    }

    async fn delete(&self, indexes: &[usize]) -> anyhow::Result<()> {
        let ask = async |(index, instance): (usize, String)| {
            let gateway = &self.platform.gateway;
            let (request, key) = (DeleteInstanceRequest { instance }, IdempotencyKey::random());
            match gateway.change(request, &key, async |r| gateway.instances().delete_instance(r).await).await
            {
                Ok(_) => Ok(()),
                // the scheduler refused it: there is nothing to delete
                Err(failure) if failure.exit == Exit::NotFound => Ok(()),
                Err(failure) => Err(self.failed("delete", index, failure)),
            }
        };
        let known = indexes.iter().filter_map(|index| Some((*index, self.by_index.get(index)?.clone())));
        futures::stream::iter(known).map(ask).buffered(IN_FLIGHT).try_collect().await
    }

    fn failed(&self, what: &str, index: usize, failure: Failure) -> anyhow::Error {
        let name = &self.workload.instances[index].name;
        anyhow::Error::from(failure).context(format!("{what} {name}"))
    }

    fn request(&self, row: &InstanceRow) -> CreateInstanceRequest {
        let [require_host_labels, labels] = self.workload.labels_of(&self.keys, row);
        CreateInstanceRequest {
            name: row.name.clone(),
            image: IMAGE.to_owned(),
            resources: Some(Resources {
                vcpus_milli: row.vcpus_milli,
                memory_bytes: row.memory_mib << 20,
                disk_bytes: row.disk_gib << 30,
            }),
            labels: labels.into_iter().collect(),
            require_host_labels: require_host_labels.into_iter().collect(),
            anti_affinity_group: row.group.clone(),
            max_per_host: row.max_per_host,
            gpus: row.gpus,
            gpu_milli: row.gpu_milli,
            placement_policy: self.options.policy.into(),
            ..CreateInstanceRequest::default()
        }
    }
}

/// Seconds since the beginning of virtual time.
pub fn second_of(at_us: i64) -> f64 {
    Timestamp(at_us).since(EPOCH).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(times: &[(f64, Option<f64>)]) -> Workload {
        let row = |(created_at_s, deleted_at_s): &(f64, Option<f64>)| InstanceRow {
            created_at_s: *created_at_s,
            deleted_at_s: *deleted_at_s,
            ..InstanceRow::default()
        };
        Workload { hosts: Vec::new(), instances: times.iter().map(row).collect() }
    }

    #[test]
    fn times_are_rounded_up_and_nobody_lives_for_no_time() {
        let plan = Plan::of(&workload(&[(11.0, None), (0.5, Some(0.6)), (10.0, Some(20.0))]), Some(10));
        let moment = |deletes: &[usize], creates: &[usize]| Moment {
            deletes: deletes.into(),
            creates: creates.into(),
        };
        let expected = [(10, moment(&[], &[1, 2])), (20, moment(&[1, 2], &[0]))];
        assert_eq!(plan.moments, expected.into());
        assert_eq!(plan.span_s(), 20);
    }

    #[test]
    fn a_long_workload_has_a_coarser_resolution() {
        assert_eq!(Plan::of(&workload(&[(100.0, None)]), None).tick_s, 1);
        assert_eq!(Plan::of(&workload(&[(86_400.0, None)]), None).tick_s, 87);
        assert_eq!(Plan::of(&workload(&[]), None).span_s(), 0);
    }
}
