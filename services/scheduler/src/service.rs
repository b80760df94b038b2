//! The service as one value, for whoever runs services or looks after them.

use crate::{MIGRATIONS, Settings, rebuild, wire};
use chassis::service::{Access, Needs, Reach};
use chassis::{Service, Started};
use serde_json::json;

/// The service.
pub static SERVICE: Service = Service {
    name: "scheduler",
    program: "scheduler",
    krate: env!("CARGO_CRATE_NAME"),
    about: "instances and placement",
    migrations: MIGRATIONS,
    tables: |_, _| Ok(Box::new(rebuild::Tables)),
    defaults: || json!(Settings::default()),
    check: |given| given.read::<Settings>()?.check(),
    settings: |place| json!({"database_url": place.database_url}),
    start: |given, chassis| {
        Box::pin(async move {
            wire(&given.read()?, chassis).await?;
            Ok(Started::default())
        })
    },
    health: &["runner", "answers", "placement", "orders", "forgetting", "deadlines", "hosts"],
    listens_to_events: true,
    tells: &["host_driver"],
    reach: Reach { samples_of: &["host_driver"], ..Reach::NONE },
    needs: Needs {
        datastore: Access::None,
        sealing_key: Access::Write,
        postgres: true,
        folders: &[],
        packages: &[],
        after: &[],
        hypervisors: false,
        port: 0,
        container: "# database_url: from the environment\n",
    },
};
