//! Whether there is memory for the node and its guests.

use super::Check;
use crate::doctor::{Finding, Ground, Thresholds};
use async_trait::async_trait;

/// See the module.
pub struct Memory;

#[async_trait]
impl Check for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn about(&self) -> &'static str {
        "the machine has memory available"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let text = tokio::fs::read_to_string("/proc/meminfo").await.unwrap_or_default();
        vec![judge(&text, &ground.limits)]
    }
}

fn judge(meminfo: &str, limits: &Thresholds) -> Finding {
    let line = |name: &str| {
        let rest = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        Some(rest.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    };
    let (Some(available), Some(total)) = (line("MemAvailable:"), line("MemTotal:")) else {
        return Finding::skipped("/proc/meminfo does not say");
    };
    let (warning, problem) = limits.memory_bytes;
    let text =
        format!("{} of {} are available", terminal::output::bytes(available), terminal::output::bytes(total));
    let advice = "stop or delete instances, or give the machine more memory: when none is left the kernel ends processes, guests first";
    match available {
        available if available < problem => Finding::problem(text, advice),
        available if available < warning => Finding::warning(text, advice),
        _ => Finding::ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::finds;
    use super::*;
    use crate::doctor::State;

    #[tokio::test]
    async fn too_little_memory_is_found() {
        let mut ground = Ground::empty();
        ground.limits.memory_bytes = (u64::MAX, 0);
        finds(&Memory.look(&ground).await, State::Warning, "available", "more memory");
        ground.limits.memory_bytes = (u64::MAX, u64::MAX);
        finds(&Memory.look(&ground).await, State::Problem, "available", "more memory");
        ground.limits.memory_bytes = (0, 0);
        assert_eq!(Memory.look(&ground).await[0].state, State::Ok);
        assert_eq!(judge("", &ground.limits).state, State::Skipped);
    }
}
