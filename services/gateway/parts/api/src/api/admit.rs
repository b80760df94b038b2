//! Letting callers in: what the door asks of whoever knows tokens, and the layer that asks.

use super::audit::layer;
use crate::domain::caller::Caller;
use async_trait::async_trait;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use contracts::Method;
use http::{Extensions, HeaderMap};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use tonic::{Code, Status};

/// The header in which a caller names the tenant it wants to act in.
pub const TENANT_HEADER: &str = "berth-tenant";

/// Where a connection comes from; put into the extensions of each request by the listener.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// Whoever knows tokens and what they open.
#[async_trait]
pub trait Admit: Send + Sync {
    /// Who sends a request with these headers to this method, if they may.
    async fn admit(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
        method: &Method,
    ) -> Result<Caller, Status>;

    /// Whose token these headers hold, whatever they may do.
    async fn identify(&self, headers: &HeaderMap) -> Option<Caller>;
}

/// The method of the public interface that a gRPC path names.
pub fn method_of(path: &str) -> Option<&'static Method> {
    static BY_PATH: LazyLock<HashMap<String, &'static Method>> =
        LazyLock::new(|| contracts::methods().iter().map(|method| (method.grpc_path(), method)).collect());
    BY_PATH.get(path).copied()
}

/// Lets a request through when its caller may call the method. Health and reflection are open.
pub async fn guard(State(door): State<Arc<dyn Admit>>, mut request: Request, next: Next) -> Response {
    if let Some(method) = method_of(request.uri().path()) {
        // extensions cannot come over the wire: only REST, which checked already, puts a caller there
        if request.extensions().get::<Caller>().is_none() {
            match door.admit(request.headers(), request.extensions(), method).await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                }
                Err(status) => {
                    if status.code() == Code::PermissionDenied {
                        layer::note_denied(method, request).await;
                    }
                    return status.into_http();
                }
            }
        }
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_permission_and_a_path() {
        for method in contracts::methods() {
            assert!(method.permission.contains('.'), "{}", method.path);
        }
        assert!(method_of("/berth.gateway.v1.InstanceService/CreateInstance").is_some());
        assert!(method_of("/grpc.health.v1.Health/Check").is_none());
    }
}
