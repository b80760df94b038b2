//! The local stack.

use super::{Piece, nats, variable};
use chassis::Service;
use chassis::service::Access;
use std::fmt::Write as _;

pub(super) fn write(services: &[&Service]) -> Vec<Piece> {
    let part = |name, text| Piece::Part { path: "compose.yaml".into(), name, text };
    let containers: Vec<String> = services.iter().map(|service| container(service)).collect();
    let folders = services.iter().flat_map(|service| service.needs.folders);
    let volumes: String = folders.map(|folder| format!("  {folder}:\n")).collect();
    let last = services.iter().rfind(|service| service.needs.postgres).map_or("postgres", |s| s.name);
    let ready = format!(
        "      test: [\"CMD\", \"psql\", \"-qU\", \"berth\", \"-d\", \"{last}\", \"-c\", \"SELECT 1\"]\n"
    );
    vec![
        part("services", containers.join("\n")),
        part("volumes of services", volumes),
        part("last database", ready),
    ]
}

fn container(service: &Service) -> String {
    let (program, needs) = (service.program, &service.needs);
    let mut text = format!(
        "  {program}:
    <<: *service
    image: berth/{program}
    build: {{ <<: *build, target: {program} }}
    command: [\"/etc/berth/{program}.toml\"]
    environment:
{password}",
        password = nats::environment(service)
    );
    if needs.postgres {
        let _ = writeln!(
            text,
            "      {}__SERVICE__DATABASE_URL: postgres://berth:${{BERTH_POSTGRES_PASSWORD:-local-only}}@postgres/{}",
            variable(service),
            service.name
        );
    }
    if !needs.postgres || !needs.after.is_empty() {
        text += "    depends_on:\n";
        let database = needs.postgres.then_some("postgres");
        text += "      setup: { condition: service_completed_successfully }\n";
        for before in database.into_iter().chain(needs.after.iter().copied()) {
            let _ = writeln!(text, "      {before}: {{ condition: service_healthy }}");
        }
    }
    let _ =
        writeln!(text, "    volumes:\n      - ./deploy/docker/{program}.toml:/etc/berth/{program}.toml:ro");
    for folder in needs.folders {
        let _ = writeln!(text, "      - {folder}:/var/lib/berth/{folder}");
    }
    for (volume, access) in [("datastore", needs.datastore), ("keys", needs.sealing_key)] {
        let mode = match access {
            Access::None => continue,
            Access::Read => ":ro",
            Access::Write => "",
        };
        let _ = writeln!(text, "      - {volume}:/var/lib/berth/{volume}{mode}");
    }
    if needs.port != 0 {
        let _ = writeln!(text, "    ports: [\"127.0.0.1:{port}:{port}\"]", port = needs.port);
    }
    text
}
