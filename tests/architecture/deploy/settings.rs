//! The settings of services in the local stack.

use super::{Piece, variable};
use chassis::Service;

pub(super) fn write(services: &[&Service]) -> Vec<Piece> {
    let file = |service: &&Service| {
        Piece::Whole {
        path: format!("deploy/docker/{}.toml", service.program),
        text: format!(
            "# Settings of {program} in the local stack. Over this file goes the environment: {variable}__BUS__PASSWORD sets bus.password.
ops_listen = \"0.0.0.0:7481\"
sealing_key_file = \"/var/lib/berth/keys/sealing.key\"

[bus]
url = \"nats://nats:4222\"
user = \"{user}\"
# `berth setup` does
makes_streams = false

[telemetry]
log = \"info\"
log_format = \"json\"
otlp_endpoint = \"http://otel-collector:4317\"

[service]
{own}",
            program = service.program,
            user = service.name,
            variable = variable(service),
            own = service.needs.container,
        ),
    }
    };
    services.iter().map(file).collect()
}
