//! `berth image import`.

use super::super::Session;
use super::super::arguments::{duration, sha256};
use super::sources::{From, Plan, PlannedFile, plan};
use clap::Args;
use client::{Exit, Failure, LocalFile, upload};
use contracts::gateway::v1::{GetImageRequest, GetImageResponse, ImportImageRequest};
use contracts::storage::v1::{ArtifactSource, Image, ImagePhase, artifact_source::Source as Place};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// Take in an image from files of this machine or a URL
#[derive(Debug, Args)]
#[command(after_help = "Files of this machine are uploaded and proven by their SHA-256 on both sides.

Examples:
  berth image import debian-12 --file debian-12.qcow2
  berth image import debian-12 --url https://example.com/debian-12.qcow2 --sha256 3b1e…
  berth image import tiny --kernel vmlinuz --initramfs tiny.initramfs --cmdline 'console=ttyS0 quiet'
  berth image import --manifest berth-small.json --if-absent

A manifest names files beside it:
  {\"name\": \"berth-small\", \"kernel\": {\"file\": \"vmlinuz\", \"sha256\": \"…\"}, \"initramfs\": {\"file\": \"…\", \"sha256\": \"…\"},
   \"disk\": {\"file\": \"…\", \"sha256\": \"…\", \"format\": \"qcow2\"}, \"cmdline\": \"console=ttyS0\", \"architecture\": \"x86_64\"}")]
#[group(skip)]
#[command(group(clap::ArgGroup::new("what").required(true).multiple(true).args(["file", "url", "kernel", "manifest"])))]
pub struct ImportArgs {
    /// Name of the image, unique per tenant; a manifest brings its own
    #[arg(required_unless_present = "manifest")]
    pub name: Option<String>,
    /// Disk image on this machine
    #[arg(long, value_name = "PATH", conflicts_with = "url")]
    pub file: Option<PathBuf>,
    /// Disk image for the platform to fetch, http or https
    #[arg(long, value_name = "URL", requires = "sha256")]
    pub url: Option<String>,
    /// SHA-256 of the disk image
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    pub sha256: Option<String>,
    /// raw or qcow2 [default: find out]
    #[arg(long, value_parser = ["raw", "qcow2"])]
    pub format: Option<String>,
    /// Kernel for direct boot
    #[arg(long, value_name = "PATH")]
    pub kernel: Option<PathBuf>,
    /// Initramfs for direct boot
    #[arg(long, value_name = "PATH", requires = "kernel")]
    pub initramfs: Option<PathBuf>,
    /// Kernel command line
    #[arg(long)]
    pub cmdline: Option<String>,
    /// Description of an image made of several files
    #[arg(long, value_name = "PATH", conflicts_with_all = ["file", "url", "sha256", "format", "kernel", "initramfs"])]
    pub manifest: Option<PathBuf>,
    /// Architecture of the guest [default: x86_64]
    #[arg(long)]
    pub architecture: Option<String>,
    /// The guest has no qemu-guest-agent: running counts as ready
    #[arg(long)]
    pub without_guest_agent: bool,
    /// Succeed when an image of this name with the same files is there already
    #[arg(long)]
    pub if_absent: bool,
    /// Wait until the image is ready (the default)
    #[arg(long, overrides_with = "no_wait")]
    pub wait: bool,
    /// Do not wait
    #[arg(long)]
    pub no_wait: bool,
    /// Longest wait, such as 10m [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
}

pub(super) async fn run(args: ImportArgs, session: &Session) -> Result<(), Failure> {
    let plan = plan(&args)?;
    let locals = read_locals(&plan, session).await?;
    if args.if_absent && present(&plan, &locals, &args, session).await? {
        return Ok(());
    }
    let mut sources = Vec::new();
    for (file, local) in plan.files.iter().zip(&locals) {
        sources.push(take_in(file, local.as_ref(), session).await?);
    }
    let request = ImportImageRequest {
        name: plan.name.clone(),
        sources,
        architecture: plan.architecture,
        kernel_cmdline: plan.cmdline,
        without_guest_agent: args.without_guest_agent,
    };
    let gateway = &session.gateway;
    let answer =
        gateway.change(request, session.key(), async |r| gateway.images().import_image(r).await).await?;
    if args.no_wait {
        session.format.print("ImportImageResponse", &answer, || {
            format!("accepted: image {}, operation {}\n", answer.image_id, answer.operation_id)
        })?;
        session.how_to_wait(&answer.operation_id);
        return Ok(());
    }
    session.follow(&answer.operation_id, args.timeout, None).await?;
    show_ready(&answer.image_id, "imported", session).await
}

/// Digests of the local files, in the order of the plan; `None` for URLs.
async fn read_locals(plan: &Plan, session: &Session) -> Result<Vec<Option<LocalFile>>, Failure> {
    let mut locals = Vec::new();
    for file in &plan.files {
        let From::Path(path) = &file.from else {
            locals.push(None);
            continue;
        };
        let progress = session.progress();
        let size = std::fs::metadata(path).map(|metadata| metadata.len()).unwrap_or_default();
        progress.bytes(&format!("reading {}", path.display()), size);
        let (path, moving) = (path.clone(), progress.clone());
        let read =
            tokio::task::spawn_blocking(move || LocalFile::read(&path, |position| moving.moved(position)))
                .await;
        progress.done();
        let local = read.map_err(|error| Failure::new(Exit::Failed, error.to_string()))??;
        file.agrees(&local)?;
        locals.push(Some(local));
    }
    Ok(locals)
}

async fn take_in(
    file: &PlannedFile,
    local: Option<&LocalFile>,
    session: &Session,
) -> Result<ArtifactSource, Failure> {
    match (&file.from, local) {
        (From::Path(path), Some(local)) => {
            let progress = session.progress();
            progress.bytes(&format!("sending {}", path.display()), local.size_bytes);
            let moving = progress.clone();
            let key = session.key().part(&file.word());
            let staged = upload(&session.gateway, local, &key, move |position| moving.moved(position)).await;
            progress.done();
            Ok(file.source(Place::UploadId(staged?.upload_id), Some(local)))
        }
        (From::Url(url), _) => Ok(file.source(Place::Url(url.clone()), None)),
        (From::Path(path), None) => {
            Err(Failure::new(Exit::Failed, format!("{} was not read", path.display())))
        }
    }
}

/// Whether the image is there with the same files; then it is followed to ready and shown. Other files under the same
/// name are a conflict.
async fn present(
    plan: &Plan,
    locals: &[Option<LocalFile>],
    args: &ImportArgs,
    session: &Session,
) -> Result<bool, Failure> {
    let request = GetImageRequest { image: plan.name.clone() };
    let gateway = &session.gateway;
    let image = match gateway.read(request, async |r| gateway.images().get_image(r).await).await {
        Ok(answer) => answer.image,
        Err(failure) if failure.exit == Exit::NotFound => return Ok(false),
        Err(failure) => return Err(failure),
    };
    let Some(image) = image.filter(|image| {
        !matches!(image.phase(), ImagePhase::Deleting | ImagePhase::Deleted | ImagePhase::Rejected)
    }) else {
        return Ok(false);
    };
    let wanted: BTreeSet<(i32, String)> = plan
        .files
        .iter()
        .zip(locals)
        .map(|(file, local)| (file.role as i32, local.as_ref().map_or(&file.sha256, |l| &l.sha256).clone()))
        .collect();
    if !holds(&image, &wanted) {
        let text = format!("an image called {} is there with other files", plan.name);
        return Err(Failure::new(Exit::Refused, text).hint("delete it first, or choose another name"));
    }
    if image.phase() == ImagePhase::Importing && !args.no_wait {
        session.follow(&image.operation_id, args.timeout, None).await?;
    }
    show_ready(&image.id, "already imported", session).await.map(|()| true)
}

fn holds(image: &Image, wanted: &BTreeSet<(i32, String)>) -> bool {
    let sources: BTreeSet<(i32, String)> =
        image.sources.iter().map(|s| (s.role, s.sha256.to_ascii_lowercase())).collect();
    let artifacts: BTreeSet<(i32, String)> =
        image.artifacts.iter().map(|a| (a.role, a.sha256.clone())).collect();
    *wanted == sources || *wanted == artifacts
}

async fn show_ready(image_id: &str, done: &str, session: &Session) -> Result<(), Failure> {
    let request = GetImageRequest { image: image_id.to_owned() };
    let gateway = &session.gateway;
    let answer: GetImageResponse =
        gateway.read(request, async |r| gateway.images().get_image(r).await).await?;
    session.format.print("GetImageResponse", &answer, || {
        let image = answer.image.clone().unwrap_or_default();
        format!("{done} {}: {} ({})\n", image.name, super::phase(&image), image.id)
    })
}
