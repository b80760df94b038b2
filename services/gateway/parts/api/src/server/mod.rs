//! One port for both doors: HTTP/1.1 and HTTP/2, with TLS or without.

pub mod doors;
pub mod grpc_health;
pub mod listen;
pub mod observe;
pub mod tls;
