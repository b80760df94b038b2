//! `berth image`.

mod import;
mod sources;

use super::Session;
use super::arguments::WaitArgs;
use super::session::all_pages;
use crate::output::{Table, age, bytes, fields, local_time, refusal_line, word};
use clap::Subcommand;
use client::Failure;
use contracts::common::v1::Artifact;
use contracts::gateway::v1::{DeleteImageRequest, GetImageRequest, ListImagesRequest, ListImagesResponse};
use contracts::storage::v1::Image;

/// Images to boot from
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  berth image import debian-12 --file debian-12.qcow2
  berth image list")]
pub enum ImageCommand {
    Import(Box<import::ImportArgs>),
    /// List images
    #[command(after_help = "Examples:\n  berth image list\n  berth image list --filter 'phase = READY'")]
    List {
        /// Only images that are like this: up to 8 terms joined by AND, each a field, one of = != : < <= > >= and a value
        #[arg(long, value_name = "FILTER", default_value = "", hide_default_value = true)]
        filter: String,
    },
    /// Show one image
    #[command(after_help = "Examples:\n  berth image show debian-12")]
    Show {
        /// Name or id
        image: String,
    },
    /// Remove an image that nothing uses
    #[command(after_help = "Examples:\n  berth image delete debian-12 --wait")]
    Delete {
        /// Name or id
        image: String,
        #[command(flatten)]
        wait: WaitArgs,
    },
}

pub(super) async fn run(command: ImageCommand, session: &Session) -> Result<(), Failure> {
    let gateway = &session.gateway;
    match command {
        ImageCommand::Import(args) => import::run(*args, session).await,
        ImageCommand::List { filter } => {
            let mut all = ListImagesResponse::default();
            all_pages(async |page_token| {
                let request =
                    ListImagesRequest { page_size: kernel::limits::PAGE, page_token, filter: filter.clone() };
                let page = gateway.read(request, async |r| gateway.images().list_images(r).await).await?;
                all.images.extend(page.images);
                Ok(page.next_page_token)
            })
            .await?;
            session.format.print("ListImagesResponse", &all, || list(&all.images))
        }
        ImageCommand::Show { image } => {
            let answer = gateway
                .read(GetImageRequest { image }, async |r| gateway.images().get_image(r).await)
                .await?;
            session
                .format
                .print("GetImageResponse", &answer, || answer.image.as_ref().map(show).unwrap_or_default())
        }
        ImageCommand::Delete { image, wait } => {
            let done = format!("deleted {image}");
            let request = DeleteImageRequest { image };
            let answer = gateway
                .change(request, session.key(), async |r| gateway.images().delete_image(r).await)
                .await?;
            session.accepted(&answer, &wait, &done).await
        }
    }
}

fn phase(image: &Image) -> String {
    word(image.phase().as_str_name(), "IMAGE_PHASE_")
}

fn list(images: &[Image]) -> String {
    let mut table =
        Table::new(["name", "phase", "architecture", "size", "boots", "agent", "age"], "no images");
    for image in images {
        let size: u64 = image.artifacts.iter().map(|artifact| artifact.size_bytes).sum();
        let roles: Vec<String> = image.artifacts.iter().map(role).collect();
        table.row([
            image.name.clone(),
            phase(image),
            image.architecture.clone(),
            bytes(size),
            roles.join("+"),
            if image.guest_agent { "yes" } else { "no" }.to_owned(),
            age(image.created_at_us),
        ]);
    }
    table.render()
}

fn role(artifact: &Artifact) -> String {
    word(artifact.role().as_str_name(), "ARTIFACT_ROLE_")
}

fn show(image: &Image) -> String {
    let artifact = |a: &Artifact| format!("{} {} sha256:{}", role(a), bytes(a.size_bytes), a.sha256);
    fields([
        ("name", image.name.clone()),
        ("id", image.id.clone()),
        ("phase", phase(image)),
        ("refused", refusal_line(image.refusal.as_ref())),
        ("architecture", image.architecture.clone()),
        ("files", image.artifacts.iter().map(artifact).collect::<Vec<_>>().join("\n")),
        ("command line", image.kernel_cmdline.clone()),
        ("guest agent", if image.guest_agent { "yes" } else { "no" }.to_owned()),
        ("smallest disk", bytes(image.min_disk_bytes)),
        ("imported", local_time(image.created_at_us)),
        ("changed", local_time(image.updated_at_us)),
        ("operation", image.operation_id.clone()),
    ])
}
