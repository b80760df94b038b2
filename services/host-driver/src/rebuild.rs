//! Tables out of events: what proves that the stream says everything.

use crate::store::{VmKey, hosts, vms};
use crate::translate::incoming;
use ::store::StoreError;
use contracts::host_driver::v1 as wire;
use kernel::{Message, Subject};
use prost::Message as _;
use sqlx::AnyConnection;

/// Tables that are a function of the events alone. The others hold work in hand and may start empty.
pub const STATE_TABLES: &[&str] = &["vms", "hosts"];

/// An event could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Its bytes are not what its subject says.
    #[error("{subject}: {reason}")]
    Event {
        /// Where it travelled.
        subject: String,
        /// What is wrong.
        reason: String,
    },
    /// The table did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Applies one event of the stream to the tables; events that do not concern them are passed over. Events come in the
/// order of the stream; coming twice does no harm.
pub async fn apply(tx: &mut AnyConnection, subject: &Subject, payload: &[u8]) -> Result<(), RebuildError> {
    let wrong = |reason: String| RebuildError::Event { subject: subject.to_string(), reason };
    match (subject.service.as_str(), subject.name.as_str()) {
        ("host_driver", "VmIntended") => {
            let event = wire::VmIntended::from_bytes(payload).map_err(wrong)?;
            let order = wire::EnsureVm {
                agent_id: String::new(),
                host_id: event.host_id,
                generation: event.generation,
                intent_revision: event.intent_revision,
                power: event.power,
                reboot_counter: event.reboot_counter,
                stop_grace_s: event.stop_grace_s,
                spec: event.spec,
            };
            let row = incoming::order(&order).map_err(wrong)?;
            let known = vms::find(tx, row.key).await?.map(|known| known.intent);
            if row.intent.supersedes(known) {
                vms::put_intent(tx, &row).await?;
            }
        }
        ("host_driver", "VmObserved") => {
            let event = wire::VmObserved::from_bytes(payload).map_err(wrong)?;
            let seen = event.observation.ok_or_else(|| wrong("an event without an observation".into()))?;
            let key = VmKey {
                host: seen.host_id.parse().map_err(|e| wrong(format!("host_id: {e}")))?,
                instance: seen.instance_id.parse().map_err(|e| wrong(format!("instance_id: {e}")))?,
            };
            if let Some(row) = vms::find(tx, key).await?
                && seen.revision > row.observation_revision
            {
                let (bytes, power) = (seen.encode_to_vec(), seen.power().as_str_name());
                vms::put_observation(tx, key, row.intent, seen.revision, &bytes, power).await?;
            }
        }
        ("host_driver", "HostReported") => {
            let event = wire::HostReported::from_bytes(payload).map_err(wrong)?;
            let report = event.report.ok_or_else(|| wrong("an event without a report".into()))?;
            let host = report.host_id.parse().map_err(|e| wrong(format!("host_id: {e}")))?;
            hosts::put(tx, host, report.revision, &report.encode_to_vec()).await?;
        }
        _ => {}
    }
    Ok(())
}
