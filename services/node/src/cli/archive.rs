//! `berth audit verify` and `berth audit key`.

use crate::archived::{self, Archive};
use crate::config;
use archive::adapters::key::PublicKey;
use archive::adapters::vault::Vault;
use archive::{Verdict, verify as prove};
use berth::cli::GlobalArgs;
use berth::cli::local::{KeyArgs, VerifyArgs};
use client::{Exit, Failure};
use terminal::config::Environment;
use terminal::output::fields;

fn of_node(global: &GlobalArgs) -> Result<Archive, Failure> {
    let loaded = config::load(global.data_dir.as_ref(), &[], &Environment::of_process())?;
    Ok(archived::archive(&loaded.settings)?)
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
