//! What dashboards say of how many services there are. JSON has no comments for markers: the line is known by its key.

use super::{Piece, listed, repository};
use chassis::Service;

const PATH: &str = "observability/grafana/dashboards/platform.json";

/// "Of 5: storage, …"; not "Of all services."
fn tells_how_many(line: &str) -> bool {
    let said = line.trim_start().strip_prefix("\"description\": \"Of ");
    said.and_then(|said| said.split_once(": ")).is_some_and(|(count, _)| !count.contains(' '))
}

pub(super) fn write(services: &[&Service]) -> Vec<Piece> {
    let programs: Vec<&str> = services.iter().map(|service| service.program).collect();
    let line = format!("      \"description\": \"Of {}: {}.\",", programs.len(), listed(&programs));
    let before = std::fs::read_to_string(repository().join(PATH)).unwrap();
    let lines: Vec<&str> =
        before.lines().map(|old| if tells_how_many(old) { line.as_str() } else { old }).collect();
    assert!(lines.contains(&line.as_str()), "{PATH}: no panel tells of how many services there are");
    vec![Piece::Whole { path: PATH.into(), text: format!("{}\n", lines.join("\n")) }]
}
