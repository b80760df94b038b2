//! QEMU's own opinion of a qcow2 file. The program reads hostile bytes: it gets a bound on memory, CPU time, output
//! and real time, writes nothing, and is told the format instead of guessing it.

use crate::domain::code;
use kernel::Refusal;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// How to run it.
#[derive(Debug, Clone)]
pub struct QemuImg {
    /// "qemu-img", or a path to it.
    pub program: PathBuf,
    /// For one run.
    pub deadline: Duration,
}

/// Address space of one run, in bytes. Tables of the largest disk taken need a few hundred MiB.
const MEMORY: u64 = 4 << 30;
/// Output of one run, in bytes.
const OUTPUT: u64 = 1 << 20;

/// It gave no answer: missing program, deadline, or killed by a limit.
#[derive(Debug, thiserror::Error)]
#[error("qemu-img: {0}")]
pub struct QemuImgError(String);

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    format: String,
    virtual_size: u64,
    backing_filename: Option<String>,
    #[serde(default)]
    encrypted: bool,
    format_specific: Option<Specific>,
}

#[derive(Deserialize)]
struct Specific {
    data: Option<SpecificData>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct SpecificData {
    data_file: Option<serde_json::Value>,
    encrypt: Option<serde_json::Value>,
    #[serde(default)]
    corrupt: bool,
}

impl QemuImg {
    /// Has QEMU read the headers and check all tables of the qcow2 file at `path`. The inner result is its verdict.
    pub async fn verify(&self, path: &Path, virtual_size: u64) -> Result<Result<(), Refusal>, QemuImgError> {
        let (status, output) = self.run(&["info", "--output=json", "-f", "qcow2"], path).await?;
        if !status.success() {
            return Ok(Err(Refusal::new(code::CORRUPT, "QEMU cannot open the qcow2 file")
                .because(last_line(&output.stderr))));
        }
        let info: Info =
            serde_json::from_slice(&output.stdout).map_err(|e| QemuImgError(format!("its answer: {e}")))?;
        if let Err(refusal) = judge(&info, virtual_size) {
            return Ok(Err(refusal));
        }
        let (status, output) = self.run(&["check", "-q", "-f", "qcow2"], path).await?;
        match status.code() {
            // 3: clusters that nothing uses, which only waste room
            Some(0 | 3) => Ok(Ok(())),
            Some(2) => Ok(Err(Refusal::new(code::CORRUPT, "QEMU finds the qcow2 file corrupt")
                .because(last_line(&output.stdout)))),
            _ => {
                let refusal = Refusal::new(code::CORRUPT, "QEMU cannot check the qcow2 file");
                Ok(Err(refusal.because(last_line(&output.stderr))))
            }
        }
    }

    /// Whether the program is there; the error says what to install.
    pub async fn probe(&self) -> Result<(), QemuImgError> {
        match Command::new(&self.program).arg("--version").stdout(Stdio::null()).status().await {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(QemuImgError(format!("{} --version: {status}", self.program.display()))),
            Err(e) => {
                Err(QemuImgError(format!("cannot run {}: {e}; install qemu-utils", self.program.display())))
            }
        }
    }

    async fn run(&self, arguments: &[&str], path: &Path) -> Result<(ExitStatus, Output), QemuImgError> {
        let seconds = self.deadline.as_secs().max(1);
        let mut command = Command::new("prlimit");
        command
            .args([
                format!("--as={MEMORY}"),
                format!("--cpu={seconds}"),
                "--fsize=0".into(),
                "--core=0".into(),
                "--".into(),
            ])
            .arg(&self.program)
            .args(arguments)
            .arg(path)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let failed = |e: std::io::Error| QemuImgError(e.to_string());
        let mut child =
            command.spawn().map_err(|e| QemuImgError(format!("cannot run prlimit (util-linux): {e}")))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let work = async {
            let (stdout, stderr, status) = tokio::join!(drain(stdout), drain(stderr), child.wait());
            Ok((
                status.map_err(failed)?,
                Output { stdout: stdout.map_err(failed)?, stderr: stderr.map_err(failed)? },
            ))
        };
        let (status, output) = tokio::time::timeout(self.deadline, work)
            .await
            .map_err(|_| QemuImgError(format!("no answer within {seconds} s")))??;
        match status.code() {
            // killed by a limit; 126 and 127 are prlimit's words for "cannot run it"
            None => Err(QemuImgError(format!("{status}"))),
            Some(126 | 127) => Err(QemuImgError(last_line(&output.stderr).join(" "))),
            Some(_) => Ok((status, output)),
        }
    }
}

struct Output {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Keeps the first [`OUTPUT`] bytes and throws the rest away, so that the writer never blocks.
async fn drain(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(OUTPUT).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}

/// The last line with something in it. Paths of ours are of no use to the caller and are cut out.
fn last_line(output: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(output);
    let line = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default();
    let without_path = line.rsplit_once("': ").map_or(line, |(_, rest)| rest);
    if without_path.is_empty() { Vec::new() } else { vec![without_path.chars().take(200).collect()] }
}

fn judge(info: &Info, virtual_size: u64) -> Result<(), Refusal> {
    let specific = info.format_specific.as_ref().and_then(|s| s.data.as_ref());
    let refused = |code, message: &str| Err(Refusal::new(code, message));
    if info.format != "qcow2" || info.virtual_size != virtual_size {
        return refused(code::CORRUPT, "QEMU reads the qcow2 header differently");
    }
    if info.backing_filename.is_some() {
        return refused(code::BACKING_FILE, "the qcow2 file is only a difference to a backing file");
    }
    if specific.is_some_and(|s| s.data_file.as_ref().is_some_and(|file| !file.is_null())) {
        return refused(code::EXTERNAL_DATA_FILE, "the qcow2 file keeps its data in another file");
    }
    if info.encrypted || specific.is_some_and(|s| s.encrypt.is_some()) {
        return refused(code::ENCRYPTED, "the qcow2 file is encrypted");
    }
    if specific.is_some_and(|s| s.corrupt) {
        return refused(code::CORRUPT, "the qcow2 file is marked corrupt");
    }
    Ok(())
}

#[cfg(test)]
#[path = "qemu_img_tests.rs"]
mod tests;
