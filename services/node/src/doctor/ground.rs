//! What there is to look at: settings, folders, what gateway and broker say. Gathered once, without changing anything.

use super::{SystemTime, Thresholds, Time};
use crate::{
    broker_settings,
    settings::{NodeDriver, NodeSettings},
};
use client::Gateway;
use contracts::gateway::v1::{
    BrokerDiagnosis, GetDiagnosisRequest, GetDiagnosisResponse, GetStatusRequest, GetStatusResponse,
};
use std::path::PathBuf;

/// What to look at.
#[derive(Default)]
pub struct Wanted {
    /// The node on this machine; the error says why there is none.
    pub node: Option<NodeSettings>,
    /// The process that runs it, "" = none.
    pub process: String,
    /// The gateway; the error says why it cannot be asked.
    pub gateway: Option<Gateway>,
    /// `http://host:8222` of a broker that somebody else runs; "" = none.
    pub nats_monitor: String,
}

/// What the checks look at.
pub struct Ground {
    /// Settings of the node on this machine.
    pub node: Option<NodeSettings>,
    /// The process that runs it, "" = none.
    pub process: String,
    /// Where the gateway was asked, "" = nowhere.
    pub endpoint: String,
    /// What the gateway says of the platform; the error says why it does not.
    pub diagnosis: Result<GetDiagnosisResponse, String>,
    /// How far its clock may be from the moment it was asked: half of the way there and back, in microseconds.
    pub asked_at_us: i64,
    /// What the gateway says of its parts.
    pub status: Result<GetStatusResponse, String>,
    /// What the broker says, asked directly or by the gateway.
    pub broker: Result<BrokerDiagnosis, String>,
    /// Where a broker that somebody else runs shows its settings, "" = nowhere.
    pub nats_monitor: String,
    /// Thresholds.
    pub limits: Thresholds,
    /// The time.
    pub time: Box<dyn Time>,
}

impl Ground {
    /// No node, no gateway, no broker.
    pub fn empty() -> Self {
        let nobody = || "there is no node in this data folder, and no gateway was asked".to_owned();
        Self {
            node: None,
            process: String::new(),
            endpoint: String::new(),
            diagnosis: Err(nobody()),
            asked_at_us: 0,
            status: Err(nobody()),
            broker: Err(nobody()),
            nats_monitor: String::new(),
            limits: Thresholds::default(),
            time: Box::new(SystemTime),
        }
    }

    /// Asks everybody once.
    pub async fn gather(wanted: Wanted) -> Self {
        let mut ground = Self {
            node: wanted.node,
            process: wanted.process,
            nats_monitor: wanted.nats_monitor,
            ..Self::empty()
        };
        if let Some(gateway) = &wanted.gateway {
            ground.ask(gateway).await;
        }
        ground.broker = ground.survey().await;
        ground
    }

    async fn ask(&mut self, gateway: &Gateway) {
        self.endpoint = gateway.endpoint().to_owned();
        let platform = || gateway.platform();
        let status = gateway.read(GetStatusRequest {}, async |r| platform().get_status(r).await).await;
        self.status = status.map_err(|failure| failure.message);
        // the connection is open by now: what passes is the question and its answer
        let before = self.time.now();
        let diagnosis =
            gateway.read(GetDiagnosisRequest {}, async |r| platform().get_diagnosis(r).await).await;
        self.asked_at_us = self.time.now().micros();
        self.diagnosis = diagnosis.map_err(|failure| failure.message);
        tracing::debug!(took = ?self.time.now().since(before), "diagnosis");
    }

    /// The node's own broker, asked here; any other one as the gateway sees it.
    async fn survey(&self) -> Result<BrokerDiagnosis, String> {
        let mut why = String::new();
        if let Some(settings) = &self.node {
            match broker_settings(settings) {
                Ok(bus) => {
                    let asked = gateway::broker_diagnosis(bus::survey::connect_and_ask(&bus).await);
                    if asked.problem.is_empty() {
                        return Ok(asked);
                    }
                    why = asked.problem;
                }
                Err(error) => why = format!("{error:#}"),
            }
        }
        match &self.diagnosis {
            Ok(diagnosis) => {
                let broker = diagnosis.broker.clone().unwrap_or_default();
                if broker.problem.is_empty() { Ok(broker) } else { Err(broker.problem) }
            }
            Err(error) => Err(if why.is_empty() { error.clone() } else { why }),
        }
    }

    /// A file of the node.
    pub fn file(&self, name: &str) -> Option<PathBuf> {
        self.node.as_ref().map(|node| node.data_dir.join(name))
    }

    /// Whether the node runs real guests.
    pub fn has_real_guests(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.host.driver == NodeDriver::Libvirt)
    }
}
