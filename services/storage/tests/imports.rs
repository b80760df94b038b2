//! Imports: from uploads and from the web, good ones and bad ones, through failures and crashes.
#![allow(clippy::unwrap_used)]

mod bed;

use bed::web::Web;
use bed::{DEADLINE, everywhere, everywhere_with, from_web, qcow2_disk, qemu_img, raw_disk, sha256};
use contracts::common::v1::{ArtifactRole, DiskFormat, OperationState};
use contracts::storage::v1::artifact_source::Source;
use contracts::storage::v1::{ArtifactSource, ImagePhase};
use testkit::eventually;

fn made() -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let disk = qcow2_disk(folder.path());
    (folder, disk)
}

#[tokio::test]
async fn a_disk_from_the_web_becomes_an_image() {
    let (_folder, disk) = made();
    let digest = sha256(&disk);
    let web = Web::serve([("disk", disk.clone())]).await;
    everywhere(async |bed| {
        let source = from_web(&web.url("to/3/disk"), &digest, DiskFormat::Unspecified);
        let (image, operation) = bed.deliver_import("debian-12", vec![source]).await;
        assert_eq!(bed.ends(&operation).await, (OperationState::Succeeded, String::new()));
        let image = bed.image(&image);
        assert_eq!((image.phase(), image.revision), (ImagePhase::Ready, 2));
        let artifact = &image.artifacts[0];
        assert_eq!((artifact.sha256.as_str(), artifact.size_bytes), (digest.as_str(), disk.len() as u64));
        assert_eq!((artifact.format(), artifact.virtual_size_bytes), (DiskFormat::Qcow2, (16 << 20) + 4096));
        assert_eq!(image.min_disk_bytes, artifact.virtual_size_bytes);
        assert_eq!(std::fs::read(bed.datastore().join("images").join(&digest)).unwrap(), disk);
        // the file's name in the scratch folder goes a moment after the image is there
        let empty = async || bed.files("scratch").is_empty().then_some(());
        testkit::eventually(std::time::Duration::from_secs(10), "an empty scratch folder", empty).await;
        let names: Vec<_> = bed.log.iter().map(|said| said.subject.name.as_str()).collect();
        assert_eq!(
            names,
            ["ImageImportStarted", "ImageImported"],
            "each message once, however often it came"
        );
        assert_eq!((bed.rows("file_claims").await, bed.rows("image_work").await), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn kernel_and_initramfs_are_enough_to_boot() {
    everywhere(async |bed| {
        let mut kernel = vec![0u8; 2048];
        kernel[0x1f1] = 1;
        kernel[0x1f4..0x1f8].copy_from_slice(&64u32.to_le_bytes());
        kernel[0x1fe..0x206].copy_from_slice(b"\x55\xAA\0\0HdrS");
        let sources =
            vec![bed.stage(ArtifactRole::Kernel, &kernel), bed.stage(ArtifactRole::Initramfs, b"070701...")];
        let (image, operation) = bed.deliver_import("micro", sources).await;
        assert_eq!(bed.ends(&operation).await, (OperationState::Succeeded, String::new()));
        assert_eq!(bed.image(&image).artifacts.len(), 2);
        assert_eq!((bed.image(&image).min_disk_bytes, bed.files("images").len()), (0, 2));
    })
    .await;
}

#[tokio::test]
async fn what_lies_or_is_cut_is_rejected_and_nothing_of_it_stays() {
    let (folder, disk) = made();
    qemu_img(folder.path(), &["create", "-q", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", "top.qcow2"]);
    let top = std::fs::read(folder.path().join("top.qcow2")).unwrap();
    let cut = disk[..disk.len() / 2].to_vec();
    let page = b"<html>not the file you asked for</html>".to_vec();
    let big = vec![0u8; 9 << 20];
    let files =
        [("disk", disk), ("top", top), ("cut", cut), ("page", page), ("raw", raw_disk("x")), ("big", big)];
    let digests: std::collections::BTreeMap<_, _> =
        files.iter().map(|(name, bytes)| (*name, sha256(bytes))).collect();
    let web = Web::serve(files).await;
    everywhere(async |bed| {
        let good = |name: &str, format| from_web(&web.url(&format!("file/{name}")), &digests[name], format);
        let any = DiskFormat::Unspecified;
        let wrong = from_web(&web.url("file/disk"), &"0".repeat(64), any);
        let at = |path: &str| from_web(&web.url(path), &"0".repeat(64), any);
        let unknown = ArtifactSource {
            role: ArtifactRole::Disk.into(),
            source: Some(Source::UploadId(kernel::UploadId::new().to_string())),
            ..ArtifactSource::default()
        };
        let cases = [
            (wrong, "DIGEST_MISMATCH"),
            (good("cut", any), "TRUNCATED"),
            (good("disk", DiskFormat::Raw), "FORMAT_MISMATCH"),
            (good("raw", DiskFormat::Qcow2), "FORMAT_MISMATCH"),
            (good("top", any), "BACKING_FILE"),
            (good("page", any), "UNKNOWN_FORMAT"),
            (good("big", any), "TOO_LARGE"),
            (ArtifactSource { size_bytes: 9999, ..good("raw", any) }, "TRUNCATED"),
            (ArtifactSource { size_bytes: 100, ..good("raw", any) }, "SIZE_MISMATCH"),
            (ArtifactSource { role: ArtifactRole::Kernel.into(), ..good("raw", any) }, "INVALID_REQUEST"),
            (at("status/404"), "UNREACHABLE"),
            (at("to/6/disk"), "UNREACHABLE"),
            (unknown, "UPLOAD_UNKNOWN"),
        ];
        for (n, (source, code)) in cases.into_iter().enumerate() {
            let (image, operation) = bed.deliver_import(&format!("image-{n}"), vec![source.clone()]).await;
            assert_eq!(bed.ends(&operation).await, (OperationState::Failed, code.to_owned()), "{source:?}");
            let image = bed.image(&image);
            assert_eq!(image.phase(), ImagePhase::Rejected);
            assert!(
                !image.refusal.unwrap().message.contains(bed.folder.path().to_str().unwrap()),
                "no paths of ours"
            );
        }
        bed.pass().await;
        assert!(bed.files("images").is_empty() && bed.files("scratch").is_empty());
        assert_eq!((bed.rows("file_claims").await, bed.rows("image_work").await), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn what_one_file_of_several_kept_goes_with_the_rejection() {
    everywhere(async |bed| {
        let sources = vec![
            bed.stage(ArtifactRole::Disk, &raw_disk("x")),
            bed.stage(ArtifactRole::Kernel, b"no kernel"),
        ];
        let (_, operation) = bed.deliver_import("half", sources).await;
        assert_eq!(bed.ends(&operation).await, (OperationState::Failed, "FORMAT_MISMATCH".into()));
        bed.pass().await;
        assert!(bed.files("images").is_empty());
        assert_eq!((bed.rows("file_claims").await, bed.rows("file_removals").await), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn the_inside_of_the_house_is_not_fetched_from() {
    let web = Web::serve([("disk", raw_disk("x"))]).await;
    let port = web.address.port();
    everywhere_with(
        |settings| settings.allow_private_urls = false,
        async |bed| {
            let hosts = [
                "127.0.0.1",
                "localhost",
                "[::1]",
                "[::ffff:127.0.0.1]",
                "2130706433",
                "0x7f.1",
                "169.254.169.254",
            ];
            for (n, host) in hosts.into_iter().enumerate() {
                let source =
                    from_web(&format!("http://{host}:{port}/file/disk"), &"0".repeat(64), DiskFormat::Raw);
                let (_, operation) = bed.deliver_import(&format!("inside-{n}"), vec![source]).await;
                assert_eq!(
                    bed.ends(&operation).await,
                    (OperationState::Failed, "ADDRESS_FORBIDDEN".into()),
                    "{host}"
                );
            }
        },
    )
    .await;
    assert_eq!(web.hits(), 0);
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_again_and_given_up_in_the_end() {
    let disk = raw_disk("x");
    let digest = sha256(&disk);
    let web = Web::serve([("disk", disk)]).await;
    everywhere(async |bed| {
        web.break_again();
        let source = from_web(&web.url("flaky/disk"), &digest, DiskFormat::Raw);
        let (_, operation) = bed.deliver_import("flaky", vec![source]).await;
        assert_eq!(bed.ends(&operation).await, (OperationState::Succeeded, String::new()));

        let source = from_web(&web.url("status/503"), &digest, DiskFormat::Raw);
        let (image, operation) = bed.deliver_import("dead", vec![source]).await;
        assert_eq!(bed.ends(&operation).await, (OperationState::Failed, "UNREACHABLE".into()));
        let refusal = bed.image(&image).refusal.unwrap();
        assert!(refusal.message.contains("4 attempts") && refusal.reasons[0].contains("503"), "{refusal:?}");
    })
    .await;
}

#[tokio::test]
async fn a_process_that_dies_half_way_is_followed_by_one_that_finishes() {
    let disk = raw_disk("x");
    let digest = sha256(&disk);
    everywhere(async |bed| {
        let web = Web::serve([("disk", disk.clone())]).await;
        let source = from_web(&web.url("slow/disk"), &digest, DiskFormat::Raw);
        let (_, operation) = bed.deliver_import("slow", vec![source]).await;
        for _ in 0..3 {
            bed.pass().await;
            tokio::time::timeout(DEADLINE, web.fetched()).await.expect("the file is asked for");
            bed.crash();
        }
        // what a kill -9 leaves, which no destructor removes
        std::fs::write(bed.datastore().join("scratch/import-left"), b"half").unwrap();
        web.open();
        assert_eq!(bed.ends(&operation).await, (OperationState::Succeeded, String::new()));
        assert_eq!(bed.files("images"), [digest.as_str()]);
        eventually(DEADLINE, "only the left-over in the scratch folder", async || {
            (bed.files("scratch") == ["import-left"]).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_slow_server_does_not_hold_up_others() {
    let (disk, other) = (raw_disk("x"), raw_disk("y"));
    let digests = (sha256(&disk), sha256(&other));
    everywhere(async |bed| {
        let web = Web::serve([("disk", disk.clone()), ("other", other.clone())]).await;
        let (_, slow) = bed
            .deliver_import("slow", vec![from_web(&web.url("slow/disk"), &digests.0, DiskFormat::Raw)])
            .await;
        bed.pass().await;
        tokio::time::timeout(DEADLINE, web.fetched()).await.expect("the file is asked for");
        let (_, fast) = bed
            .deliver_import("fast", vec![from_web(&web.url("file/other"), &digests.1, DiskFormat::Raw)])
            .await;
        assert_eq!(bed.ends(&fast).await.0, OperationState::Succeeded);
        assert_eq!(bed.progress(&slow.to_string()).len(), 1, "the slow one is still running");
        web.open();
        assert_eq!(bed.ends(&slow).await.0, OperationState::Succeeded);
    })
    .await;
}
