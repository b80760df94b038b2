//! The service as one value, for whoever runs services or looks after them.

use crate::{MIGRATIONS, Settings, Tables, wire};
use chassis::service::{Access, Needs, Reach};
use chassis::{Service, Started};
use serde_json::json;

/// The service.
pub static SERVICE: Service = Service {
    name: "storage",
    program: "storage",
    krate: env!("CARGO_CRATE_NAME"),
    about: "images",
    migrations: MIGRATIONS,
    tables: |_, _| Ok(Box::new(Tables)),
    defaults: || json!(Settings::default()),
    check: |given| Ok(given.read::<Settings>().map(drop)?),
    settings: |place| {
        json!({
            "database_url": place.database_url,
            "datastore_url": place.datastore_url,
            "allow_private_urls": place.insecure_dev,
        })
    },
    start: |given, chassis| {
        Box::pin(async move {
            wire(&given.read()?, chassis).await?;
            Ok(Started::default())
        })
    },
    health: &["runner", "imports", "removals", "sweep", "datastore"],
    listens_to_events: true,
    tells: &[],
    reach: Reach::NONE,
    needs: Needs {
        datastore: Access::Write,
        sealing_key: Access::Write,
        postgres: true,
        folders: &[],
        // qemu-img gives its opinion of every qcow2 file; prlimit, which bounds it, is everywhere
        packages: &["qemu-utils"],
        after: &[],
        hypervisors: false,
        port: 0,
        container: "# database_url: from the environment
datastore_url = \"file:///var/lib/berth/datastore\"
# set true to import from a web server of your own machine or network
allow_private_urls = false
",
    },
};
