//! Who is asked for numbers.

use super::Piece;
use chassis::Service;

pub(super) fn write(services: &[&Service]) -> Vec<Piece> {
    let programs: Vec<&str> = services.iter().map(|service| service.program).collect();
    let path = "observability/prometheus/prometheus.yaml".into();
    vec![Piece::Part { path, name: "services", text: format!("      - names: [{}]\n", programs.join(", ")) }]
}
