//! What the README shows of the services: a table, and a picture of who tells whom.

use super::Piece;
use chassis::Service;
use std::fmt::Write as _;

pub(super) fn write(services: &[&Service]) -> Vec<Piece> {
    let part = |name, text| Piece::Part { path: "README.md".into(), name, text };
    vec![part("services", table(services)), part("picture of services", picture(services))]
}

fn table(services: &[&Service]) -> String {
    let mut text = "| service | does | store |\n|---|---|---|\n".to_owned();
    for service in services {
        let store = if service.needs.postgres { "SQLite or PostgreSQL" } else { "SQLite" };
        let (program, about) = (service.program, service.about);
        let _ = writeln!(text, "| [{program}](services/{program}/README.md) | {about} | {store} |");
    }
    text
}

/// Commands go to the queue of who obeys; events of everybody go into one stream.
fn picture(services: &[&Service]) -> String {
    let mut text = "```mermaid\nflowchart LR\n  EVENTS[(EVENTS)]\n".to_owned();
    for service in services {
        let Service { name, program, .. } = service;
        let _ =
            writeln!(text, "  {name}[{program}] --- {name}_db[({name}.db)]\n  {name} -- events --> EVENTS");
        if service.listens_to_events {
            let _ = writeln!(text, "  EVENTS -.-> {name}");
        }
    }
    for service in services {
        for told in service.tells {
            let queue = format!("CMD_{}", told.to_uppercase());
            let _ = writeln!(text, "  {} -- commands --> {queue}[/{queue}/] --> {told}", service.name);
        }
    }
    text + "```\n"
}
