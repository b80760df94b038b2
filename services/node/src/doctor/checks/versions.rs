//! Which versions meet here, and whether they go together.

use super::Check;
use crate::doctor::{Finding, Ground};
use async_trait::async_trait;
use tokio::process::Command;

/// See the module.
pub struct Versions;

#[async_trait]
impl Check for Versions {
    fn name(&self) -> &'static str {
        "versions"
    }

    fn about(&self) -> &'static str {
        "command line, gateway, broker, QEMU and kernel go together"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let mut facts = vec![format!("berth {}", env!("CARGO_PKG_VERSION"))];
        if let Ok(broker) = &ground.broker {
            facts.push(format!("nats-server {}", broker.server_version));
        }
        let qemu = format!("qemu-system-{}", std::env::consts::ARCH);
        if let Ok(output) = Command::new(&qemu).arg("--version").output().await {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            facts.push(text.lines().next().unwrap_or_default().replace("emulator version ", ""));
        }
        let kernel = tokio::fs::read_to_string("/proc/sys/kernel/osrelease").await.unwrap_or_default();
        facts.push(format!("Linux {}", kernel.trim()));
        let mut found = vec![Finding::ok(facts.join(", "))];
        if let Ok(diagnosis) = &ground.diagnosis {
            found.extend(judge(env!("CARGO_PKG_VERSION"), &diagnosis.version));
        }
        found
    }
}

fn judge(ours: &str, theirs: &str) -> Option<Finding> {
    (ours != theirs).then(|| {
        Finding::warning(
            format!("this command line is {ours}, the gateway is {theirs}"),
            "install the same version on both sides: a newer command line may ask for what the gateway does not know",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::finds;
    use super::*;
    use crate::doctor::State;
    use contracts::gateway::v1::GetDiagnosisResponse;

    #[tokio::test]
    async fn a_gateway_of_another_version_is_found() {
        let of = |version: &str| Ground {
            diagnosis: Ok(GetDiagnosisResponse { version: version.into(), ..Default::default() }),
            ..Ground::empty()
        };
        finds(&Versions.look(&of("0.0.1")).await, State::Warning, "the gateway is 0.0.1", "the same version");
        let same = Versions.look(&of(env!("CARGO_PKG_VERSION"))).await;
        assert!(same.iter().all(|f| f.state == State::Ok) && same[0].finding.contains("Linux "), "{same:?}");
    }
}
