//! Which door a request comes in by: gRPC by its content type, everything else is REST.

use super::observe::{self, Observer};
use crate::api::admission::{self, Admission};
use crate::api::admit::{self, Admit};
use crate::api::audit::{Drafts, layer};
use crate::api::kinds::Kinds;
use crate::rest::call::Door;
use crate::rest::router;
use axum::Router;
use axum::body::Body;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use http::{Request, header};
use opentelemetry::metrics::Meter;
use std::sync::Arc;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tower::ServiceExt;

/// Both doors.
#[derive(Clone)]
pub struct Doors {
    grpc: Router,
    rest: Router,
}

impl Doors {
    /// The gRPC services with their layers, and REST in front of the same.
    pub fn new(
        services: Routes,
        kinds: Kinds,
        admit: &Arc<dyn Admit>,
        admission: &Arc<Admission>,
        drafts: &Arc<Drafts>,
        sockets: &TaskTracker,
        meter: &Meter,
    ) -> Self {
        let observer = Arc::new(Observer::new(meter));
        // the last layer is the outermost: first measured, then limited in time, recorded, known, noted, admitted. Who
        // waits too long is told so; the call itself goes on, and is recorded as it ends
        let grpc = services
            .into_axum_router()
            .merge(kinds.routes())
            .layer(from_fn_with_state(admission.clone(), admission::admit))
            .layer(from_fn(layer::note))
            .layer(from_fn_with_state(admit.clone(), admit::guard))
            .layer(from_fn_with_state(drafts.clone(), layer::record))
            .layer(from_fn(observe::limit_time))
            .layer(from_fn_with_state(observer, observe::observe));
        let rest = router::router(&Door {
            grpc: grpc.clone(),
            admit: admit.clone(),
            drafts: drafts.clone(),
            sockets: sockets.clone(),
        });
        Self { grpc, rest }
    }

    /// Answers one request.
    pub async fn answer(self, request: Request<Body>) -> Response {
        let grpc = request
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        let door = if grpc { self.grpc } else { self.rest };
        let Ok(response) = door.oneshot(request).await;
        response
    }
}
