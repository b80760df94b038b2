//! `berth instance create`.

use super::super::Session;
use super::super::arguments::{WaitArgs, instance_vcpus, pair, size};
use super::{explain, get, show};
use crate::output::refusal_line;
use clap::{Args, ValueEnum};
use client::{Exit, Failure};
use contracts::common::v1::{Driver, Resources, RestartPolicy};
use contracts::gateway::v1::{CreateInstanceRequest, GetInstanceResponse, PreviewInstanceRequest};
use contracts::scheduler::v1::{Instance, InstancePhase, PlacementPolicy};
use kernel::limits::{GPU_MILLI, GPUS, USER_DATA, VCPUS};
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;
use terminal::public_keys::keys_of;
use tokio::time::Instant;

/// How long to wait for the address of a guest that is up, and how often to look.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait for the platform to know an instance that was accepted just now.
const SEEN_PATIENCE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// Create an instance and start it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  berth instance create web-1 --image debian-12 --flavor small --ssh-key ~/.ssh/id_ed25519.pub --wait
  berth instance create db-1 --image debian-12 --vcpus 4 --memory 8GiB --disk 100GiB --anti-affinity db --wait --timeout 5m
  berth instance create edge-1 --image tiny --flavor small --require-host zone=fra1 --label team=edge
  berth instance create train-1 --image cuda --flavor large --gpus 2 --require-host gpu.model=a100
  berth instance create db-2 --image debian-12 --flavor large --require-host zone=fra1 --dry-run
  berth instance create infer-1 --image cuda --flavor small --gpus 1 --gpu-milli 250 --anti-affinity infer --max-per-host 2")]
#[group(skip)]
pub struct CreateArgs {
    /// 1 to 63 lower case letters, digits and '-'; unique per tenant
    name: String,
    /// Image to boot from: name or id
    #[arg(long)]
    image: String,
    /// Size by name: see `berth flavor list`
    #[arg(long, required_unless_present = "vcpus", conflicts_with_all = ["vcpus", "memory", "disk"])]
    flavor: Option<String>,
    #[arg(
        long,
        value_parser = instance_vcpus,
        requires = "memory",
        requires = "disk",
        help = format!("CPUs, such as 2 or 0.5, at most {VCPUS}")
    )]
    vcpus: Option<u64>,
    /// Memory, such as 512MiB
    #[arg(long, value_parser = size, requires = "vcpus")]
    memory: Option<u64>,
    /// Disk, such as 10GiB
    #[arg(long, value_parser = size, requires = "vcpus")]
    disk: Option<u64>,
    /// Public key that may log in: a file in authorized_keys format, the key itself, or the name of one of
    /// `berth ssh-key`; repeatable
    #[arg(long = "ssh-key", value_name = "FILE|KEY|NAME")]
    ssh_keys: Vec<String>,
    /// Host name inside the guest [default: the name]
    #[arg(long, default_value = "", hide_default_value = true)]
    hostname: String,
    #[arg(
        long,
        value_name = "FILE",
        help = format!("cloud-config, script, MIME or gzip for the guest, at most {USER_DATA}; '-' = standard input")
    )]
    user_data: Option<String>,
    /// Label; repeatable
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// Driver that must run it [default: any that can boot the image]
    #[arg(long, value_enum)]
    driver: Option<DriverWord>,
    /// Label its host must have; repeatable
    #[arg(long = "require-host", value_name = "KEY=VALUE", value_parser = pair)]
    require_host: Vec<(String, String)>,
    /// Label its host must not have; repeatable
    #[arg(long = "avoid-host", value_name = "KEY=VALUE", value_parser = pair)]
    avoid_host: Vec<(String, String)>,
    /// Members of this group share a host
    #[arg(long, value_name = "GROUP", default_value = "", hide_default_value = true)]
    affinity: String,
    /// Members of this group never share a host, unless --max-per-host says otherwise
    #[arg(long, value_name = "GROUP", default_value = "", hide_default_value = true)]
    anti_affinity: String,
    /// How many members of the anti-affinity group may share a host [default: 1]
    #[arg(long, value_name = "COUNT", requires = "anti_affinity", value_parser = clap::value_parser!(u32).range(1..))]
    max_per_host: Option<u32>,
    #[arg(
        long,
        value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(GPUS)),
        help = format!("GPUs, at most {GPUS}; a model is asked for by --require-host gpu.model=NAME")
    )]
    gpus: Option<u32>,
    /// Thousandths of one GPU, to share it with others [default: 1000]
    #[arg(long, value_name = "THOUSANDTHS", requires = "gpus", value_parser = clap::value_parser!(u32).range(1..=i64::from(GPU_MILLI)))]
    gpu_milli: Option<u32>,
    /// When a guest that ended by itself is started again
    #[arg(long, value_enum, default_value_t = RestartWord::Always)]
    restart_policy: RestartWord,
    /// Which of the hosts with room is best
    #[arg(long, value_enum, default_value_t = PolicyWord::Spread)]
    policy: PolicyWord,
    /// Create nothing: say whether it would fit just now, where, and if nowhere, why. Ends with 4 when it would not
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    #[command(flatten)]
    wait: WaitArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum DriverWord {
    Libvirt,
    CloudHypervisor,
    Firecracker,
    Simulated,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RestartWord {
    Always,
    OnFailure,
    Never,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PolicyWord {
    Pack,
    Spread,
}

pub(super) async fn run(args: CreateArgs, session: &Session) -> Result<(), Failure> {
    let (wait, dry_run) = (args.wait.clone(), args.dry_run);
    let request = request_of(args)?;
    if let Some(problem) = yaml_problem(&request.user_data) {
        session.note(&format!("hint: user data: cloud-init will not read it: {problem}"));
    }
    let gateway = &session.gateway;
    if dry_run {
        return preview(request, session).await;
    }
    let answer = gateway
        .change(request, session.key(), async |r| gateway.instances().create_instance(r).await)
        .await?;
    show_hints(&answer.hints, session);
    if !wait.wait {
        session.format.print("CreateInstanceResponse", &answer, || {
            format!("accepted: instance {}, operation {}\n", answer.instance_id, answer.operation_id)
        })?;
        session.how_to_wait(&answer.operation_id);
        until_seen(&answer.instance_id, session).await;
        return Ok(());
    }
    let begun = Instant::now();
    session.follow(&answer.operation_id, wait.timeout, Some(&answer.instance_id)).await?;
    let left = wait.timeout.map_or(ADDRESS_PATIENCE, |limit| limit.saturating_sub(begun.elapsed()));
    let answer = with_address(&answer.instance_id, left.min(ADDRESS_PATIENCE), session).await?;
    session.format.print("GetInstanceResponse", &answer, || {
        answer.instance.as_ref().map(show::came_up).unwrap_or_default()
    })
}

/// Says what would become of it.
async fn preview(request: CreateInstanceRequest, session: &Session) -> Result<(), Failure> {
    let (gateway, name) = (&session.gateway, request.name.clone());
    let request = PreviewInstanceRequest { instance: Some(request) };
    let answer = gateway.read(request, async |r| gateway.instances().preview_instance(r).await).await?;
    show_hints(&answer.hints, session);
    session.format.print("PreviewInstanceResponse", &answer, || explain::preview(&name, &answer))?;
    if answer.fits {
        return Ok(());
    }
    let text = format!("{name} would not run just now: {}", refusal_line(answer.refusal.as_ref()));
    Err(Failure::new(Exit::Refused, text))
}

fn show_hints(hints: &[String], session: &Session) {
    for hint in hints {
        session.note(&format!("hint: {hint}"));
    }
}

/// Where cloud-config is no YAML, with line and column. What is made into YAML in the guest only is not looked at.
fn yaml_problem(user_data: &str) -> Option<String> {
    let first = user_data.trim_start().lines().next().unwrap_or_default().trim_end().to_lowercase();
    if first == "#cloud-config" { terminal::yaml::problem(user_data) } else { None }
}

/// Returns when the instance can be found by its name, so that the next command finds it; at the latest after a moment:
/// the request was accepted either way.
async fn until_seen(instance: &str, session: &Session) {
    let end = Instant::now() + SEEN_PATIENCE;
    while get(instance, session).await.is_err() && Instant::now() < end {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The instance as soon as its address is known: the guest asks for one while it answers already. Without an address when
/// it takes longer than `patience`.
async fn with_address(
    instance: &str,
    patience: Duration,
    session: &Session,
) -> Result<GetInstanceResponse, Failure> {
    let end = Instant::now() + patience;
    loop {
        let answer = get(instance, session).await?;
        let known = answer.instance.as_ref().is_none_or(|i| !i.addresses.is_empty() || !runs(i));
        if known || Instant::now() >= end {
            return Ok(answer);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// What does not run gets no address.
fn runs(instance: &Instance) -> bool {
    matches!(instance.phase(), InstancePhase::Running | InstancePhase::Ready)
}

/// The public keys in a file, the one key that was written out, or the name of one that the platform keeps.
fn keys_or_name(text: &str) -> Result<Vec<String>, Failure> {
    if kernel::names::name(text).is_ok() && !std::path::Path::new(text).exists() {
        return Ok(vec![text.to_owned()]);
    }
    keys_of(text)
}

fn request_of(args: CreateArgs) -> Result<CreateInstanceRequest, Failure> {
    let resources = match (args.vcpus, args.memory, args.disk) {
        (Some(vcpus_milli), Some(memory_bytes), Some(disk_bytes)) => {
            Some(Resources { vcpus_milli, memory_bytes, disk_bytes })
        }
        _ => None,
    };
    let mut ssh_authorized_keys = Vec::new();
    for key in &args.ssh_keys {
        ssh_authorized_keys.extend(keys_or_name(key)?);
    }
    let user_data = args.user_data.as_deref().map(user_data_of).transpose()?.unwrap_or_default();
    let (user_data, user_data_bytes) = match String::from_utf8(user_data) {
        Ok(text) => (text, Vec::new()),
        Err(no_text) => (String::new(), no_text.into_bytes()),
    };
    let driver = match args.driver {
        None => Driver::Unspecified,
        Some(DriverWord::Libvirt) => Driver::Libvirt,
        Some(DriverWord::CloudHypervisor) => Driver::CloudHypervisor,
        Some(DriverWord::Firecracker) => Driver::Firecracker,
        Some(DriverWord::Simulated) => Driver::Simulated,
    };
    let restart_policy = match args.restart_policy {
        RestartWord::Always => RestartPolicy::Always,
        RestartWord::OnFailure => RestartPolicy::OnFailure,
        RestartWord::Never => RestartPolicy::Never,
    };
    let placement_policy = match args.policy {
        PolicyWord::Pack => PlacementPolicy::Pack,
        PolicyWord::Spread => PlacementPolicy::Spread,
    };
    Ok(CreateInstanceRequest {
        name: args.name,
        image: args.image,
        flavor: args.flavor.unwrap_or_default(),
        resources,
        hostname: args.hostname,
        ssh_authorized_keys,
        user_data,
        user_data_bytes,
        labels: args.labels.into_iter().collect(),
        driver: driver.into(),
        require_host_labels: args.require_host.into_iter().collect(),
        avoid_host_labels: args.avoid_host.into_iter().collect(),
        affinity_group: args.affinity,
        anti_affinity_group: args.anti_affinity,
        restart_policy: restart_policy.into(),
        placement_policy: placement_policy.into(),
        gpus: args.gpus.unwrap_or_default(),
        gpu_milli: args.gpu_milli.unwrap_or_default(),
        max_per_host: args.max_per_host.unwrap_or_default(),
    })
}

fn user_data_of(file: &str) -> Result<Vec<u8>, Failure> {
    let explain = |why: String| Failure::usage(format!("user data {file:?}: {why}"));
    let mut bytes = Vec::new();
    // one byte more than allowed is enough to know; an endless input must not fill the memory
    let read = match file {
        "-" => std::io::stdin().take(USER_DATA.0 + 1).read_to_end(&mut bytes),
        path => {
            std::fs::File::open(Path::new(path)).and_then(|f| f.take(USER_DATA.0 + 1).read_to_end(&mut bytes))
        }
    };
    read.map_err(|error| explain(error.to_string()))?;
    if bytes.len() > USER_DATA.length() {
        return Err(explain(format!("it is larger than {USER_DATA}")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_may_be_called_by_its_name() {
        assert_eq!(keys_or_name("laptop").expect("a name"), ["laptop"]);
        assert!(keys_or_name("/nowhere/key.pub").is_err() && keys_or_name("no name").is_err());
    }

    #[test]
    fn user_data_has_a_limit() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("u");
        std::fs::write(&path, vec![b'x'; USER_DATA.length()]).expect("writes");
        assert_eq!(user_data_of(&path.display().to_string()).expect("fits").len(), USER_DATA.length());
        std::fs::write(&path, vec![b'x'; USER_DATA.length() + 1]).expect("writes");
        assert!(user_data_of(&path.display().to_string()).is_err());
        std::fs::write(&path, [0x1f, 0x8b, 0xff]).expect("writes");
        assert_eq!(user_data_of(&path.display().to_string()).expect("bytes"), [0x1f, 0x8b, 0xff]);
    }

    #[test]
    fn cloud_config_that_is_no_yaml_is_named_with_its_line() {
        let problem = yaml_problem("#cloud-config\npackages:\n  - a\n - b\n").expect("a problem");
        assert!(problem.contains("line 4"), "{problem}");
        for fine in ["#cloud-config\r\npackages: [a]\r\n", "#cloud-config\n", "#!/bin/sh\n: [\n", ""] {
            assert_eq!(yaml_problem(fine), None, "{fine:?}");
        }
        assert_eq!(yaml_problem("## template: jinja\n#cloud-config\n{% if x %}\n"), None);
    }
}
