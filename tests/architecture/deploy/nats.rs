//! The users of a broker whose services run apart, and the settings of who makes its streams.

use super::{Piece, variable};
use chassis::Service;
use node::broker_users::{self, SETUP, User};

pub(super) fn write(services: &[&Service]) -> Vec<Piece> {
    let part = |path: &str, name, text| Piece::Part { path: path.into(), name, text };
    let password = |user: &User| format!("${}", password_variable(user.name));
    let environment = |user: &User| {
        let variable = password_variable(user.name);
        format!("      {variable}: {}\n", password_of(user.name))
    };
    let users = broker_users::users(services);
    vec![
        part("deploy/nats/nats.conf", "users", broker_users::in_configuration(services, password)),
        part(
            "deploy/nats/nats.conf",
            "names of users",
            format!("#     auth_users: [ {} ]\n", broker_users::names(services)),
        ),
        part("compose.yaml", "passwords of users", users.iter().map(environment).collect()),
        part(
            "compose.yaml",
            "password of setup",
            format!("      BERTH_SETUP__BUS__PASSWORD: {}\n", password_of(SETUP)),
        ),
    ]
}

/// Where the password of a user stands in the environment of the broker.
fn password_variable(user: &str) -> String {
    format!("NATS_PASSWORD_{}", user.to_uppercase())
}

/// The password of a user in the local stack: from the environment of whoever starts it.
fn password_of(user: &str) -> String {
    format!("${{BERTH_{}:-local-only-{user}}}", password_variable(user))
}

/// The line with the password in the environment of a service's container.
pub(super) fn environment(service: &Service) -> String {
    format!("      {}__BUS__PASSWORD: {}\n", variable(service), password_of(service.name))
}
