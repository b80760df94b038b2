//! Tables out of events: what proves that the stream says everything.

use crate::hosts::Hosts;
use crate::store::{VmKey, hosts, quarantine, vms};
use crate::translate::incoming;
use async_trait::async_trait;
use bus::rebuild::{Rebuild, RebuildError};
use bus::{Envelope, Work};
use contracts::host_driver::v1 as wire;
use kernel::{Message, Subject};
use prost::Message as _;
use sqlx::AnyConnection;
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tables that are a function of the events alone. The others hold work in hand and may start empty.
pub const STATE_TABLES: &[&str] = &["vms", "hosts", "quarantine"];

/// How the tables of one process come out of the events: of those of all hosts, the ones that it ever answered for.
pub struct Tables {
    agent_id: String,
    hosts: Mutex<BTreeSet<String>>,
}

impl Tables {
    /// Of the process with this id.
    pub fn of(agent_id: &str) -> Self {
        Self { agent_id: agent_id.to_owned(), hosts: Mutex::default() }
    }

    /// The same, for a process that answers for these hosts now.
    #[must_use]
    pub fn with_hosts(self, hosts: &Hosts) -> Self {
        self.known().extend(hosts.all().map(|host| host.id.to_string()));
        self
    }

    fn known(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Rebuild for Tables {
    fn service(&self) -> &'static str {
        crate::SERVICE.name
    }

    fn tables(&self) -> &'static [&'static str] {
        STATE_TABLES
    }

    fn consumer(&self) -> String {
        format!("{}-{}", crate::SERVICE.name, self.agent_id)
    }

    fn said(&self, event: &Envelope) -> bool {
        if event.subject.service != crate::SERVICE.name {
            return false;
        }
        // a host says who answers for it before anything else is said of it
        if event.subject.name == wire::HostReported::NAME
            && let Ok(wire::HostReported { report: Some(report) }) =
                wire::HostReported::from_bytes(&event.payload)
            && report.agent_id == self.agent_id
        {
            self.known().insert(report.host_id);
        }
        host_of(event).is_some_and(|host| self.known().contains(&host))
    }

    async fn apply(&self, work: &mut Work, event: &Envelope) -> Result<(), RebuildError> {
        if self.said(event) { apply(work.tx(), &event.subject, &event.payload).await } else { Ok(()) }
    }
}

/// Of which host an event of this service is.
fn host_of(event: &Envelope) -> Option<String> {
    let bytes = &event.payload;
    match event.subject.name.as_str() {
        "VmIntended" => Some(wire::VmIntended::from_bytes(bytes).ok()?.host_id),
        "VmObserved" => Some(wire::VmObserved::from_bytes(bytes).ok()?.observation?.host_id),
        "VmDrifted" => Some(wire::VmDrifted::from_bytes(bytes).ok()?.host_id),
        "HostReported" => Some(wire::HostReported::from_bytes(bytes).ok()?.report?.host_id),
        "QuarantineChanged" => Some(wire::QuarantineChanged::from_bytes(bytes).ok()?.item?.host_id),
        "ExecFinished" => Some(wire::ExecFinished::from_bytes(bytes).ok()?.host_id),
        _ => None,
    }
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
                disposal: event.disposal,
                take_back: event.take_back,
                answer_again: false,
            };
            let row = incoming::order(&order).map_err(wrong)?;
            let known = vms::find(tx, row.key).await?.map(|known| known.intent);
            if row.intent.supersedes(known) {
                vms::put_intents(tx, &[&row]).await?;
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
                vms::put_observations(tx, &[vms::Said::of(key, row.intent, &seen)]).await?;
            }
        }
        ("host_driver", "QuarantineChanged") => {
            let event = wire::QuarantineChanged::from_bytes(payload).map_err(wrong)?;
            let item = event.item.ok_or_else(|| wrong("an event without files".into()))?;
            // an answer about files that nobody holds changes nothing
            if item.state() != wire::QuarantineState::Unknown {
                quarantine::put(tx, &item).await?;
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
