use super::*;
use contracts::common::v1::{ArtifactRole, DiskFormat};
use kernel::ImageId;

fn disk() -> ArtifactSource {
    ArtifactSource {
        role: ArtifactRole::Disk.into(),
        source: Some(WireOrigin::Url("https://images.example/debian.qcow2".into())),
        sha256: "AB".repeat(32),
        format: DiskFormat::Qcow2.into(),
        size_bytes: 10,
    }
}

fn staged(role: ArtifactRole) -> ArtifactSource {
    ArtifactSource {
        role: role.into(),
        source: Some(WireOrigin::UploadId(UploadId::new().to_string())),
        ..ArtifactSource::default()
    }
}

fn message() -> ImportImage {
    ImportImage {
        image_id: ImageId::new().to_string(),
        operation_id: "op".into(),
        tenant: "acme".into(),
        name: "debian-12".into(),
        sources: vec![disk()],
        ..ImportImage::default()
    }
}

fn problem(message: ImportImage) -> String {
    let (_, verdict) = request(message, ImportLimits { max_file_bytes: 1000 }).expect("answerable");
    verdict.err().map(|r| r.reasons.join("; ")).unwrap_or_default()
}

#[test]
fn a_good_request_is_read() {
    let (read, verdict) = request(message(), ImportLimits { max_file_bytes: 1000 }).expect("read");
    assert_eq!(verdict, Ok(()));
    assert_eq!(read.sources[0].sha256, "ab".repeat(32));
    assert_eq!(read.architecture, Architecture::X86_64);
    let boot = vec![staged(ArtifactRole::Kernel), staged(ArtifactRole::Initramfs)];
    assert_eq!(
        problem(ImportImage { sources: boot, kernel_cmdline: "console=ttyS0 quiet".into(), ..message() }),
        ""
    );
}

#[test]
fn every_mistake_is_named() {
    let with = |change: &dyn Fn(&mut ArtifactSource)| {
        let mut source = disk();
        change(&mut source);
        ImportImage { sources: vec![source], ..message() }
    };
    let from_url = |url: &str| with(&|s| s.source = Some(WireOrigin::Url(url.into())));
    let cases = [
        (ImportImage { name: "Debian 12".into(), ..message() }, "name: "),
        (ImportImage { name: String::new(), ..message() }, "name: "),
        (ImportImage { name: "x".repeat(64), ..message() }, "name: "),
        (ImportImage { name: "../etc".into(), ..message() }, "name: "),
        (ImportImage { sources: vec![], ..message() }, "needs a disk"),
        (ImportImage { sources: vec![disk(), disk()], ..message() }, "one disk at most"),
        (
            ImportImage { sources: vec![staged(ArtifactRole::Kernel)], ..message() },
            "needs a disk, or a kernel",
        ),
        (
            ImportImage { sources: vec![disk(), staged(ArtifactRole::Initramfs)], ..message() },
            "needs a kernel",
        ),
        (ImportImage { architecture: "riscv".into(), ..message() }, "architecture: "),
        (ImportImage { kernel_cmdline: "quiet".into(), ..message() }, "kernel_cmdline: only"),
        (ImportImage { kernel_cmdline: "a\nb".into(), ..message() }, "kernel_cmdline: at most"),
        (with(&|s| s.role = 0), "sources[0]: role"),
        (with(&|s| s.role = 99), "sources[0]: role"),
        (with(&|s| s.source = None), "upload_id or url"),
        (with(&|s| s.sha256.clear()), "sha256: required"),
        (with(&|s| s.sha256 = "xyz".into()), "not 64 hex digits"),
        (with(&|s| s.size_bytes = 1001), "size_bytes: "),
        (with(&|s| s.source = Some(WireOrigin::UploadId("../../etc/passwd".into()))), "upload_id: "),
        (with(&|s| s.role = ArtifactRole::Kernel.into()), "format: only disks"),
        (from_url("file:///etc/passwd"), "only http"),
        (from_url("not a url"), "url: "),
        (from_url("https://user:secret@x/y"), "password"),
    ];
    for (message, expected) in cases {
        let found = problem(message.clone());
        assert!(found.contains(expected), "{expected:?} not in {found:?} for {message:?}");
    }
}

#[test]
fn what_cannot_be_answered_is_poison() {
    let limits = ImportLimits { max_file_bytes: 1 };
    assert!(request(ImportImage { image_id: "web".into(), ..message() }, limits).is_err());
    assert!(request(ImportImage { operation_id: String::new(), ..message() }, limits).is_err());
    assert!(request(ImportImage { tenant: String::new(), ..message() }, limits).is_err());
}
