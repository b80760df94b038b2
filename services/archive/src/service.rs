//! The service as one value, for whoever runs services or looks after them.

use crate::{MIGRATIONS, Settings, Tables, wire};
use chassis::service::{Access, Needs, Reach};
use chassis::{Service, Started};
use serde_json::json;

/// The service.
pub static SERVICE: Service = Service {
    name: "archive",
    program: "archive",
    krate: env!("CARGO_CRATE_NAME"),
    about: "the event stream, signed",
    migrations: MIGRATIONS,
    tables: |_, _| Ok(Box::new(Tables)),
    defaults: || json!(Settings::default()),
    check: |given| given.read::<Settings>()?.limits().map(drop),
    settings: |place| {
        json!({
            "database_url": place.database_url,
            "url": format!("file://{}", place.data_dir.join("archive/store").display()),
            "key_file": place.data_dir.join("keys/archive.key"),
        })
    },
    start: |given, chassis| {
        Box::pin(async move {
            wire(&given.read()?, chassis).await?;
            Ok(Started::default())
        })
    },
    health: &["archiving"],
    listens_to_events: false,
    tells: &[],
    reach: Reach::NONE,
    needs: Needs {
        datastore: Access::None,
        sealing_key: Access::Write,
        postgres: true,
        folders: &["archive"],
        packages: &[],
        after: &[],
        hypervisors: false,
        port: 0,
        container: "# database_url: from the environment
url = \"file:///var/lib/berth/archive\"
key_file = \"/var/lib/berth/keys/archive.key\"
",
    },
};
