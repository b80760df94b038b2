//! The service as one value, for whoever runs services or looks after them.

use crate::{MIGRATIONS, Settings, start, tables};
use chassis::service::{Access, Needs, Reach};
use chassis::{Service, Started};
use serde_json::json;

/// The service.
pub static SERVICE: Service = Service {
    name: gateway_api::SERVICE_NAME,
    program: "gateway",
    krate: env!("CARGO_CRATE_NAME"),
    about: "the API",
    migrations: MIGRATIONS,
    tables: |_, store| Ok(tables(store)),
    defaults: || json!(Settings::default()),
    check: |given| given.read::<Settings>()?.check(),
    settings: |place| {
        let (certificate, key) = place.certificate.clone().unwrap_or_default();
        json!({
            "listen": place.listen,
            "data_dir": place.data_dir.join("gateway"),
            "database_url": place.database_url,
            "datastore_url": place.datastore_url,
            "tls_cert_file": certificate,
            "tls_key_file": key,
            "insecure_dev": place.insecure_dev,
        })
    },
    start: |given, chassis| {
        Box::pin(async move { Ok(Started { address: Some(start(&given.read()?, chassis).await?) }) })
    },
    health: &[
        "runner",
        "staging",
        "exec_timeouts",
        "unanswered",
        "ended_tokens",
        "webhooks",
        "external_events",
        "outside",
        "intake",
        "nats-door",
        "listener",
    ],
    listens_to_events: true,
    tells: &["scheduler", "storage", "host_driver"],
    reach: Reach { asks: true, door: true, ..Reach::NONE },
    needs: Needs {
        datastore: Access::Write,
        sealing_key: Access::Write,
        postgres: true,
        folders: &["gateway"],
        packages: &[],
        after: &[],
        hypervisors: false,
        port: 7480,
        container:
            "# inside the container; compose.yaml publishes it on the loopback address of the machine only
listen = \"0.0.0.0:7480\"
insecure_dev = true
data_dir = \"/var/lib/berth/gateway\"
datastore_url = \"file:///var/lib/berth/datastore\"
",
    },
};
