//! The platform as an operator has to see it, put together from the tables, the broker and every service of this process.

use super::Api;
use crate::store::diagnosis::{self, Late};
use crate::translate::diagnosis::broker;
use bus::Desk;
use contracts::gateway::v1 as wire;
use gateway_api::translate::status;
use std::time::Duration;
use tonic::Status;

/// A request that is not finished after this long is looked at.
const LATE: Duration = Duration::from_secs(15 * 60);

fn late((count, names): Late) -> Option<wire::LateObjects> {
    Some(wire::LateObjects { count, names })
}

/// The smallest UUIDv7 of a moment: 48 bits of milliseconds, then nothing (RFC 9562, section 5.7).
fn id_of(at: kernel::Timestamp) -> String {
    let millis = u128::try_from(at.micros() / 1000).unwrap_or(0);
    kernel::OperationId::from_u128(millis << 80).to_string()
}

async fn outbox(desk: Desk) -> wire::OutboxDiagnosis {
    let service = desk.service().to_owned();
    match bus::outbox_size(desk.store()).await {
        Ok(size) => wire::OutboxDiagnosis {
            service,
            waiting: u64::try_from(size.waiting).unwrap_or(0),
            oldest_at_us: size.oldest.map_or(0, |oldest| oldest.since.micros()),
            problem: String::new(),
        },
        Err(error) => {
            wire::OutboxDiagnosis { service, problem: error.to_string(), ..wire::OutboxDiagnosis::default() }
        }
    }
}

impl Api {
    pub(super) async fn diagnosis(&self) -> Result<wire::GetDiagnosisResponse, Status> {
        let (store, now) = (self.desk.store(), self.desk.clock().now());
        let before = id_of(kernel::Timestamp(now.micros() - LATE.as_micros() as i64));
        let overdue = diagnosis::overdue(store, &before, now.micros()).await.map_err(status::broken)?;
        let (hosts, silent) = diagnosis::unreachable(store).await.map_err(status::broken)?;
        let failed = diagnosis::failed(store).await.map_err(status::broken)?;
        let database_now_us = diagnosis::clock(store).await.map_err(status::broken)?;
        Ok(wire::GetDiagnosisResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            database_now_us,
            sealing_key_id: self.sealer.key_id().to_owned(),
            broker: Some(broker(self.bus.survey().await)),
            outboxes: futures::future::join_all(self.desks.all().into_iter().map(outbox)).await,
            operations_overdue: late(overdue),
            hosts_unreachable: late(silent),
            instances_failed: late(failed),
            hosts,
            // last: whoever asked compares it with the moment of the answer
            now_us: self.desk.clock().now().micros(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::{OperationId, Timestamp};

    #[test]
    fn ids_are_compared_by_their_time() {
        let now = kernel::Clock::now(&kernel::SystemClock);
        let made = OperationId::new().to_string();
        assert!(id_of(now.after(Duration::from_secs(5))) > made);
        assert!(id_of(Timestamp(now.micros() - 5_000_000)) < made);
    }
}
