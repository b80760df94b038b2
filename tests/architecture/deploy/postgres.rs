//! The databases of the local stack.

use super::Piece;
use chassis::Service;

pub(super) fn write(services: &[&Service]) -> Vec<Piece> {
    let databases = services.iter().filter(|service| service.needs.postgres);
    let text = databases.map(|service| format!("CREATE DATABASE {};\n", service.name)).collect();
    vec![Piece::Part { path: "deploy/docker/postgres/init.sql".into(), name: "services", text }]
}
