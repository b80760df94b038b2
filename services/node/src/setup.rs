//! `berth setup`: makes the streams at a broker whose services may not.

use anyhow::Context;
use bus::{BusSettings, Connection, Report};
use std::path::Path;

/// What its settings file says: `[bus]`, as in those of services.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    bus: BusSettings,
}

/// Makes missing streams, updates those that differ, and ends. Done again it changes nothing. Settings are in `file`, and
/// over them in `BERTH_SETUP__BUS__…`. Answers how many streams there are.
pub async fn setup(file: Option<&Path>) -> anyhow::Result<usize> {
    let (place, required) = (file.unwrap_or(Path::new("/etc/berth/setup.toml")), file.is_some());
    let Settings { bus } = chassis::load("setup", place, required)?;
    anyhow::ensure!(bus.makes_streams, "bus.makes_streams is false: nothing would be made");
    Connection::open(&bus, "setup", Report::none()).await.context("making the streams")?;
    Ok(bus::topology::streams(bus.replicas, &bus.limits).len())
}
