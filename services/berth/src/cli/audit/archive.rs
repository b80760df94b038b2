//! `berth audit verify` and `berth audit key`.

use crate::cli::GlobalArgs;
use crate::client::{Exit, Failure};
use crate::config::{Environment, node};
use crate::output::fields;
use archive::adapters::key::PublicKey;
use archive::adapters::vault::Vault;
use archive::{Verdict, verify as prove};
use clap::Args;
use std::path::PathBuf;

/// Prove that the archive of the event stream is as it was written, and name the first thing that is not
#[derive(Debug, Args)]
#[command(
    after_help = "On the machine of the node it needs nothing. Elsewhere, and of a copy: with --archive and --key; nothing is asked over
the network. Segments taken away from the end are missed when the node's own table is there, or with --newest, the hash
that an earlier run printed. Ends with 1 when something is wrong.

Examples:
  berth audit verify
  berth audit verify --archive /mnt/copy --key berth.pub
  berth audit verify -o json | jq -r .newest"
)]
pub struct VerifyArgs {
    /// A folder, or s3://bucket/prefix with the AWS_… variables of the environment; otherwise that of the node
    #[arg(long, value_name = "FOLDER|URL")]
    archive: Option<String>,
    /// A file with the public key, as `berth audit key` prints it; otherwise the key of the node
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A segment with this hash has to be there; repeatable
    #[arg(long, value_name = "HASH")]
    newest: Vec<String>,
}

/// Print the public key that proves the archive
#[derive(Debug, Args)]
#[command(
    after_help = "Keep it, and now and then the hash that `berth audit verify` prints, where whoever could change the archive cannot reach.

Examples:
  berth audit key > berth.pub"
)]
pub struct KeyArgs {}

fn of_node(global: &GlobalArgs) -> Result<crate::node::Archive, Failure> {
    let loaded = node::load(global.data_dir.as_ref(), &[], &Environment::of_process())?;
    Ok(crate::node::archive(&loaded.settings)?)
}

pub(super) fn key(_: &KeyArgs, global: &GlobalArgs) -> Result<(), Failure> {
    let key = of_node(global)?.public_key().map_err(no_key)?.text();
    let value = serde_json::json!({"public_key": key});
    global.output.unwrap_or_default().print_value(&value, || format!("{key}\n"))
}

fn no_key(error: anyhow::Error) -> Failure {
    Failure::new(Exit::NotFound, format!("{error:#}"))
        .hint("name the node's folder with --data-dir, or the public key with --key")
}

pub(super) async fn verify(args: VerifyArgs, global: &GlobalArgs) -> Result<(), Failure> {
    let mut expected = args.newest;
    let key = match &args.key {
        Some(file) => PublicKey::from_file(file).map_err(|error| Failure::usage(format!("{error:#}")))?,
        None => of_node(global)?.public_key().map_err(no_key)?,
    };
    let vault = match &args.archive {
        Some(url) => {
            let folder = !url.contains("://");
            let url = if folder { absolute(url) } else { url.clone() };
            Vault::open(&url, false).map_err(|error| Failure::usage(format!("{error:#}")))?
        }
        None => {
            let archive = of_node(global)?;
            expected.extend(archive.newest().await?);
            archive.open()?
        }
    };
    let verdict = prove(&vault, &key, &expected).await?;
    let value =
        serde_json::to_value(&verdict).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    global.output.unwrap_or_default().print_value(&value, || shown(&verdict))?;
    match verdict.first_problem {
        None => Ok(()),
        Some(problem) => Err(Failure::new(Exit::Failed, problem)),
    }
}

fn absolute(folder: &str) -> String {
    std::path::absolute(folder).map_or_else(|_| folder.to_owned(), |path| path.display().to_string())
}

fn shown(verdict: &Verdict) -> String {
    let right = if verdict.first_problem.is_none() { "as it was written" } else { "NOT as it was written" };
    fields([
        ("archive", right.to_owned()),
        ("segments", verdict.segments.to_string()),
        ("events", verdict.events.to_string()),
        ("gaps", verdict.gaps.to_string()),
        ("newest", verdict.newest.clone()),
    ])
}
