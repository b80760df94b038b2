//! Taking in images.

use super::fake::{Answer, Fake};
use super::running::Berth;
use contracts::common::v1::{Artifact, ArtifactRole, OperationState};
use contracts::gateway::v1::*;
use contracts::storage::v1::{Image, ImagePhase, artifact_source::Source};
use sha2::{Digest as _, Sha256};

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// More than one chunk, and not a whole number of them.
fn disk() -> Vec<u8> {
    (0..700_001_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect()
}

fn staged(bytes: &[u8]) -> UploadFileResponse {
    UploadFileResponse { upload_id: "up-1".into(), size_bytes: bytes.len() as u64, sha256: sha256(bytes) }
}

fn image(phase: ImagePhase, artifacts: &[(ArtifactRole, &[u8])]) -> GetImageResponse {
    let artifact = |(role, bytes): &(ArtifactRole, &[u8])| Artifact {
        role: (*role).into(),
        sha256: sha256(bytes),
        ..Artifact::default()
    };
    let artifacts = artifacts.iter().map(artifact).collect();
    GetImageResponse {
        image: Some(Image {
            id: "img-1".into(),
            name: "tiny".into(),
            phase: phase.into(),
            artifacts,
            ..Image::default()
        }),
    }
}

async fn taking(bytes: &[u8]) -> Fake {
    let fake = Fake::start().await;
    fake.answer("UploadFile", &staged(bytes));
    fake.answer(
        "ImportImage",
        &ImportImageResponse { image_id: "img-1".into(), operation_id: "op-1".into(), outcome: None },
    );
    let done = Operation { state: OperationState::Succeeded.into(), revision: 1, ..Operation::default() };
    fake.answer("WaitOperation", &GetOperationResponse { operation: Some(done) });
    fake
}

#[tokio::test]
async fn a_file_arrives_whole_and_is_proven() {
    let bytes = disk();
    let fake = taking(&bytes).await;
    fake.answer("GetImage", &image(ImagePhase::Ready, &[(ArtifactRole::Disk, &bytes)]));
    let berth = Berth::at(&fake);
    let path = berth.file("d.qcow2", &bytes);
    let outcome = berth.run(&format!("image import tiny --file {path} --format qcow2")).await;
    assert_eq!((outcome.code, outcome.out.as_str()), (0, "imported tiny: ready (img-1)\n"), "{outcome:?}");
    assert!(fake.calls("UploadFile")[0].body == bytes, "the bytes changed on the way");
    let request: ImportImageRequest = fake.calls("ImportImage")[0].read();
    let source = &request.sources[0];
    assert_eq!(
        (source.sha256.as_str(), source.size_bytes, source.format),
        (sha256(&bytes).as_str(), bytes.len() as u64, 2)
    );
    assert_eq!(source.source, Some(Source::UploadId("up-1".into())));
}

#[tokio::test]
async fn a_cut_upload_begins_anew() {
    let bytes = disk();
    let fake = taking(&bytes).await;
    fake.say("UploadFile/begin", Answer::Cut);
    fake.answer("UploadFile/begin", &UploadFileResponse::default());
    fake.answer("GetImage", &image(ImagePhase::Ready, &[]));
    let berth = Berth::at(&fake);
    let path = berth.file("d.raw", &bytes);
    let outcome = berth.run(&format!("image import tiny --file {path}")).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_eq!((fake.calls("UploadFile/cut").len(), fake.calls("UploadFile").len()), (1, 1));
    assert_eq!(fake.calls("UploadFile/cut")[0].key, fake.calls("UploadFile")[0].key);
}

#[tokio::test]
async fn bytes_that_arrived_changed_are_never_imported() {
    let bytes = disk();
    let fake = taking(b"something else").await;
    let berth = Berth::at(&fake);
    let path = berth.file("d.raw", &bytes);
    let outcome = berth.run(&format!("image import tiny --file {path}")).await;
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert!(outcome.err.contains("arrived changed") && outcome.err.contains(&sha256(&bytes)), "{outcome:?}");
    assert!(fake.calls("ImportImage").is_empty());
}

#[tokio::test]
async fn a_manifest_brings_several_files_that_must_be_the_right_ones() {
    let fake = taking(b"same").await;
    fake.answer("GetImage", &image(ImagePhase::Ready, &[]));
    let berth = Berth::at(&fake);
    berth.file("vmlinuz", b"same");
    berth.file("initrd", b"same");
    let manifest = |initrd: &str| {
        format!(
            r#"{{"name":"berth-small","architecture":"x86_64","cmdline":"console=ttyS0","kernel":{{"file":"vmlinuz","sha256":"{}"}},"initramfs":{{"file":"initrd","sha256":"{initrd}"}}}}"#,
            sha256(b"same")
        )
    };
    let path = berth.file("wrong.json", manifest(&sha256(b"other")).as_bytes());
    let outcome = berth.run(&format!("image import --manifest {path}")).await;
    assert_eq!((outcome.code, fake.all_calls().len()), (2, 0), "nothing is sent: {outcome:?}");
    assert!(outcome.err.contains("initrd") && outcome.err.contains(&sha256(b"other")), "{outcome:?}");
    let path = berth.file("right.json", manifest(&sha256(b"same")).as_bytes());
    let outcome = berth.run(&format!("image import --manifest {path}")).await;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let request: ImportImageRequest = fake.calls("ImportImage")[0].read();
    assert_eq!((request.name.as_str(), request.kernel_cmdline.as_str()), ("berth-small", "console=ttyS0"));
    let roles: Vec<ArtifactRole> = request.sources.iter().map(|source| source.role()).collect();
    assert_eq!(roles, [ArtifactRole::Kernel, ArtifactRole::Initramfs]);
    let keys: Vec<String> = fake.calls("UploadFile").into_iter().map(|call| call.key).collect();
    assert_ne!(keys[0], keys[1], "two files are two uploads");
}

#[tokio::test]
async fn an_image_that_is_there_with_the_same_files_is_left_alone() {
    let bytes = disk();
    let fake = taking(&bytes).await;
    fake.answer("GetImage", &image(ImagePhase::Ready, &[(ArtifactRole::Disk, &bytes)]));
    let berth = Berth::at(&fake);
    let path = berth.file("d.raw", &bytes);
    let outcome = berth.run(&format!("image import tiny --file {path} --if-absent")).await;
    assert_eq!(
        (outcome.code, outcome.out.as_str()),
        (0, "already imported tiny: ready (img-1)\n"),
        "{outcome:?}"
    );
    assert!(fake.calls("UploadFile").is_empty() && fake.calls("ImportImage").is_empty());
    let other = berth.file("e.raw", b"other");
    let outcome = berth.run(&format!("image import tiny --file {other} --if-absent")).await;
    assert_eq!(outcome.code, 4, "{outcome:?}");
}

#[tokio::test]
async fn absent_means_imported() {
    let bytes = disk();
    let fake = taking(&bytes).await;
    fake.refuse("GetImage", tonic::Status::not_found("no image is called tiny"));
    fake.answer("GetImage", &image(ImagePhase::Ready, &[]));
    let berth = Berth::at(&fake);
    let path = berth.file("d.raw", &bytes);
    assert_eq!(berth.run(&format!("image import tiny --file {path} --if-absent")).await.code, 0);
    assert_eq!(fake.calls("ImportImage").len(), 1);
}

#[tokio::test]
async fn files_that_cannot_be_sent_are_told() {
    let fake = Fake::start().await;
    let berth = Berth::at(&fake);
    let empty = berth.file("empty", b"");
    for path in ["/nowhere/d.raw", "/tmp", empty.as_str()] {
        let outcome = berth.run(&format!("image import tiny --file {path}")).await;
        assert_eq!(outcome.code, 2, "{path}: {outcome:?}");
        assert!(outcome.err.contains(path), "{outcome:?}");
    }
}
