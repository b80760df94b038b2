//! `grpc.health.v1.Health`: how the parts of this process are, for load balancers that speak gRPC.

use chassis::Health as Parts;
use std::time::Duration;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// How often watchers learn of changes.
const PERIOD: Duration = Duration::from_secs(1);

/// Answers from the health of the parts: "" is the whole process.
pub struct GrpcHealth {
    parts: Parts,
}

impl GrpcHealth {
    /// Over the health of these parts.
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }
}

fn known(service: &str) -> bool {
    service.is_empty() || contracts::pool().get_service_by_name(service).is_some()
}

fn now(parts: &Parts) -> HealthCheckResponse {
    let status = if parts.is_healthy() { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status as i32 }
}

#[tonic::async_trait]
impl Health for GrpcHealth {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !known(&request.get_ref().service) {
            return Err(Status::not_found("no service of that name"));
        }
        Ok(Response::new(now(&self.parts)))
    }

    type WatchStream = ReceiverStream<Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (out, output) = tokio::sync::mpsc::channel(1);
        let (parts, known) = (self.parts.clone(), known(&request.get_ref().service));
        tokio::spawn(async move {
            let mut last = None;
            while !out.is_closed() {
                let response = if known {
                    now(&parts)
                } else {
                    HealthCheckResponse { status: ServingStatus::ServiceUnknown as i32 }
                };
                if last != Some(response.status) {
                    last = Some(response.status);
                    if out.send(Ok(response)).await.is_err() {
                        return;
                    }
                }
                tokio::time::sleep(PERIOD).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(output)))
    }
}
