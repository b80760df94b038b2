use super::*;
use crate::domain::qcow2;
use std::io::{Seek, SeekFrom, Write};

const HELP: &str = "this test needs qemu-img: apt-get install qemu-utils";

fn tool() -> QemuImg {
    QemuImg { program: "qemu-img".into(), deadline: Duration::from_secs(30) }
}

fn make(folder: &Path, arguments: &[&str]) {
    let status = std::process::Command::new("qemu-img")
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::null())
        .status();
    assert!(status.expect(HELP).success(), "{arguments:?}");
}

fn code_of(verdict: Result<(), Refusal>) -> String {
    verdict.err().map(|r| r.code).unwrap_or_default()
}

/// What the header reader says of a file that QEMU made.
fn header(path: &Path) -> Result<qcow2::Header, Refusal> {
    let bytes = std::fs::read(path).expect("file");
    qcow2::read(&bytes[..bytes.len().min(qcow2::HEAD_BYTES)], bytes.len() as u64, 1 << 40)
}

#[tokio::test]
async fn what_qemu_makes_is_sound_to_both() {
    let folder = tempfile::tempdir().expect("folder");
    for (n, options) in [
        "compat=0.10",
        "compat=1.1",
        "cluster_size=512",
        "cluster_size=2M",
        "extended_l2=on",
        "compression_type=zstd",
        "preallocation=metadata",
    ]
    .iter()
    .enumerate()
    {
        let name = format!("{n}.qcow2");
        make(folder.path(), &["create", "-q", "-f", "qcow2", "-o", options, &name, "64M"]);
        let path = folder.path().join(name);
        let header = header(&path).unwrap_or_else(|e| panic!("{options}: {e}"));
        assert_eq!(header.virtual_size, 64 << 20, "{options}");
        assert_eq!(tool().verify(&path, header.virtual_size).await.expect("answer"), Ok(()), "{options}");
    }
}

#[tokio::test]
async fn files_below_or_beside_are_refused_by_both() {
    let folder = tempfile::tempdir().expect("folder");
    make(folder.path(), &["create", "-q", "-f", "qcow2", "base.qcow2", "1M"]);
    make(folder.path(), &["create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", "top.qcow2"]);
    make(folder.path(), &["create", "-q", "-f", "qcow2", "-o", "data_file=data.raw", "split.qcow2", "1M"]);
    for (name, expected) in [("top.qcow2", code::BACKING_FILE), ("split.qcow2", code::EXTERNAL_DATA_FILE)] {
        let path = folder.path().join(name);
        assert_eq!(header(&path).err().map(|r| r.code).as_deref(), Some(expected), "{name}: header");
        assert_eq!(
            code_of(tool().verify(&path, 1 << 20).await.expect("answer")),
            expected,
            "{name}: qemu-img"
        );
    }
}

#[tokio::test]
async fn a_damaged_table_is_found() {
    let folder = tempfile::tempdir().expect("folder");
    make(
        folder.path(),
        &["create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", "disk.qcow2", "64M"],
    );
    let path = folder.path().join("disk.qcow2");
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).expect("open");
    // the first refcount block: every cluster now seems free
    file.seek(SeekFrom::Start(0x20000)).and_then(|_| file.write_all(&[0; 512])).expect("damage");
    assert!(header(&path).is_ok(), "the header alone looks sound");
    assert_eq!(code_of(tool().verify(&path, 64 << 20).await.expect("answer")), code::CORRUPT);
}

#[tokio::test]
async fn no_program_and_no_answer_are_no_verdict() {
    let missing = QemuImg { program: "/nonexistent/qemu-img".into(), ..tool() };
    assert!(missing.verify(Path::new("/x"), 1).await.is_err());
    assert!(missing.probe().await.expect_err("missing").to_string().contains("qemu-utils"));
    // a program that never answers
    let folder = tempfile::tempdir().expect("folder");
    let slow = folder.path().join("slow");
    std::fs::write(&slow, "#!/bin/sh\nexec sleep 600\n").expect("written");
    std::fs::set_permissions(&slow, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
    let slow = QemuImg { program: slow, deadline: Duration::from_millis(300) };
    let error = slow.verify(Path::new("/x"), 1).await.expect_err("deadline");
    assert!(error.to_string().contains("within"), "{error}");
}
