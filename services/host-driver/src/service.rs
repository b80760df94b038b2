//! The service as one value, for whoever runs services or looks after them.

use crate::{MIGRATIONS, Settings, Tables, wire};
use chassis::service::{Access, Needs, Reach};
use chassis::{Service, Started};
use serde_json::json;

/// The service.
pub static SERVICE: Service = Service {
    name: "host_driver",
    program: "host-driver",
    krate: env!("CARGO_CRATE_NAME"),
    about: "the VMs of this host",
    migrations: MIGRATIONS,
    tables: |given, _| {
        let agent_id = given.read::<Settings>()?.agent_id()?.to_string();
        Ok(Box::new(Tables::of(&agent_id)))
    },
    defaults: || json!(Settings::default()),
    check: |given| Ok(given.read::<Settings>().map(drop)?),
    settings: |place| {
        json!({
            "database_url": place.database_url,
            "data_dir": place.data_dir.join("host"),
            "datastore_url": place.datastore_url,
        })
    },
    start: |given, chassis| {
        Box::pin(async move {
            wire(&given.read()?, chassis).await?;
            Ok(Started::default())
        })
    },
    health: &["runner", "hypervisors", "visits", "execs", "orphans", "quarantine", "images", "reports"],
    listens_to_events: false,
    tells: &[],
    reach: Reach { channels: true, ..Reach::NONE },
    needs: Needs {
        datastore: Access::Read,
        sealing_key: Access::Read,
        postgres: false,
        folders: &["host-driver"],
        packages: &["libvirt0", "qemu-utils"],
        // the gateway makes the sealing key that both share
        after: &["gateway"],
        hypervisors: true,
        port: 0,
        container: "database_url = \"sqlite:///var/lib/berth/host-driver/host-driver.db\"
data_dir = \"/var/lib/berth/host-driver\"
datastore_url = \"file:///var/lib/berth/datastore\"
# real guests need libvirt of the machine: drivers = [\"libvirt\"], and its socket in this container
drivers = [\"simulated\"]

[service.simulated]
count = 3
# they outlive the container, as real hosts do
state_dir = \"/var/lib/berth/host-driver/hosts\"
",
    },
};
