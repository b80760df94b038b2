//! Whether the node may open as many files as it needs: connections, databases, disks.

use super::Check;
use crate::doctor::{Finding, Ground, Thresholds};
use async_trait::async_trait;

/// See the module.
pub struct OpenFiles;

#[async_trait]
impl Check for OpenFiles {
    fn name(&self) -> &'static str {
        "open-files"
    }

    fn about(&self) -> &'static str {
        "the limit of open files leaves room for connections"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        // of the node when it runs, else of what a shell here would start
        let process = if ground.process.is_empty() { "self" } else { &ground.process };
        let read = tokio::fs::read_to_string(format!("/proc/{process}/limits")).await;
        vec![judge(&read.unwrap_or_default(), process, &ground.limits)]
    }
}

fn judge(text: &str, process: &str, limits: &Thresholds) -> Finding {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next());
    let Some(soft) = soft else {
        return Finding::skipped(format!("/proc/{process}/limits cannot be read"));
    };
    let Ok(limit) = soft.parse::<u64>() else { return Finding::ok("there is no limit") };
    let (warning, problem) = limits.open_files;
    let whose =
        if process == "self" { "a process started here".to_owned() } else { format!("process {process}") };
    let text = format!("{whose} may open {limit} files");
    let advice = format!(
        "raise it: LimitNOFILE={warning} in the unit of the service, or `ulimit -n {warning}` before `berth up`"
    );
    match limit {
        limit if limit < problem => Finding::problem(text, advice),
        limit if limit < warning => Finding::warning(text, advice),
        _ => Finding::ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::finds;
    use super::*;
    use crate::doctor::State;

    #[tokio::test]
    async fn a_process_with_a_low_limit_is_found() {
        // a process whose limit was really lowered
        let mut child = std::process::Command::new("sh")
            .args(["-c", "ulimit -n 64; echo lowered; exec sleep 60"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("sh runs");
        let mut said = [0; 8];
        std::io::Read::read_exact(child.stdout.as_mut().expect("piped"), &mut said).expect("it says so");
        let ground = Ground { process: child.id().to_string(), ..Ground::empty() };
        let found = OpenFiles.look(&ground).await;
        child.kill().and_then(|()| child.wait()).expect("our own child");
        finds(&found, State::Problem, "may open 64 files", "LimitNOFILE=8192");
    }

    #[test]
    fn limits_are_read() {
        let limits = Thresholds::default();
        let line =
            |soft: &str| format!("Limit  Soft  Hard\nMax open files            {soft}  1048576  files\n");
        assert_eq!(judge(&line("1024"), "7", &limits).state, State::Warning);
        assert_eq!(judge(&line("65536"), "7", &limits).state, State::Ok);
        assert_eq!(judge(&line("unlimited"), "7", &limits).state, State::Ok);
        assert_eq!(judge("", "7", &limits).state, State::Skipped);
    }
}
