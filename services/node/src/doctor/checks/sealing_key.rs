//! Whether this machine and the gateway hold the same sealing key.

use super::{Check, no_node, not_asked};
use crate::doctor::{Finding, Ground};
use async_trait::async_trait;
use chassis::Sealer;

/// See the module.
pub struct SealingKey;

#[async_trait]
impl Check for SealingKey {
    fn name(&self) -> &'static str {
        "sealing-key"
    }

    fn about(&self) -> &'static str {
        "this machine and the gateway hold the same sealing key"
    }

    async fn look(&self, ground: &Ground) -> Vec<Finding> {
        let Some(file) = ground.file("keys/sealing.key") else { return vec![no_node()] };
        if !file.exists() {
            return vec![Finding::skipped(format!("{} is not there yet", file.display()))];
        }
        let ours = match Sealer::from_file(&file) {
            Ok(sealer) => sealer.key_id().to_owned(),
            Err(error) => {
                return vec![Finding::problem(
                    error.to_string(),
                    "put the key file of another process of this platform there; without the key sealed user data is lost",
                )];
            }
        };
        match &ground.diagnosis {
            Err(why) => vec![not_asked(why)],
            Ok(diagnosis) if diagnosis.sealing_key_id == ours => {
                vec![Finding::ok(format!("key {ours} on both sides"))]
            }
            Ok(diagnosis) => vec![Finding::problem(
                format!(
                    "the gateway holds key {}, this machine {ours}: instances with user data cannot start here",
                    diagnosis.sealing_key_id
                ),
                format!("copy the gateway's key file to {} and restart", file.display()),
            )],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{finds, node_in};
    use super::*;
    use crate::doctor::State;
    use contracts::gateway::v1::GetDiagnosisResponse;

    #[tokio::test]
    async fn another_key_is_found() {
        let folder = tempfile::tempdir().expect("folder");
        let mut ground = node_in(folder.path());
        let file = folder.path().join("keys/sealing.key");
        let ours = Sealer::from_file(&file).expect("made").key_id().to_owned();
        assert_eq!(SealingKey.look(&ground).await[0].state, State::Skipped, "nobody to compare with");
        let holds = |id: &str| Ok(GetDiagnosisResponse { sealing_key_id: id.into(), ..Default::default() });
        ground.diagnosis = holds(&ours);
        assert_eq!(SealingKey.look(&ground).await[0].state, State::Ok);
        ground.diagnosis = holds(Sealer::new(&[7; 32]).key_id());
        finds(&SealingKey.look(&ground).await, State::Problem, "cannot start here", "copy the gateway's key");
        std::fs::write(&file, "short").expect("written");
        finds(&SealingKey.look(&ground).await, State::Problem, "64 hex digits", "put the key file");
    }
}
