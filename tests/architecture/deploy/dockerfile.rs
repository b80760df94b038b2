//! One image for each service.

use super::Piece;
use chassis::Service;
use std::fmt::Write as _;

pub(super) fn write(services: &[&Service]) -> Vec<Piece> {
    let part = |name, text| Piece::Part { path: "deploy/Dockerfile".into(), name, text };
    let own = services.iter().flat_map(|service| service.needs.folders.iter().copied());
    let folders: Vec<String> =
        ["datastore", "keys"].into_iter().chain(own).map(|f| format!("/var/lib/berth/{f}")).collect();
    let made = format!("RUN install -d -o berth -g berth {}\n", folders.join(" "));
    let targets: Vec<String> = services.iter().map(|service| target(service)).collect();
    vec![part("folders of services", made), part("services", targets.join("\n"))]
}

fn target(service: &Service) -> String {
    let program = service.program;
    let mut text = format!("FROM base AS {program}\n");
    if !service.needs.packages.is_empty() {
        let _ = write!(
            text,
            "USER root
RUN apt-get update \\
 && apt-get install -y --no-install-recommends {} \\
 && rm -rf /var/lib/apt/lists/*
USER berth
",
            service.needs.packages.join(" ")
        );
    }
    let _ = writeln!(text, "COPY --from=build /out/{program} /usr/local/bin/{program}");
    if service.needs.port != 0 {
        let _ = writeln!(text, "EXPOSE {}", service.needs.port);
    }
    let _ = writeln!(text, "ENTRYPOINT [\"{program}\"]");
    text
}
