//! Which driver a node's VMs were made with: another one would not find them.

use super::assembly::{Folders, settings_of};
use super::settings::{NodeDriver, NodeSettings};
use anyhow::Context;
use chassis::private_file;

/// The node was made with another driver and still has VMs of it.
#[derive(Debug, thiserror::Error)]
#[error(
    "the {vms} VMs of this node were made with the driver {made_with}, and it is to be started with {asked}: none of them could be looked after"
)]
pub struct OtherDriver {
    /// Orders that are not done with.
    pub vms: usize,
    /// "libvirt".
    pub made_with: String,
    /// "simulated".
    pub asked: &'static str,
}

/// Remembers the driver in the data folder. Another one than before is an error while there are VMs, unless `change`
/// says that it is meant: the VMs are then kept, and say that nobody looks after them.
pub async fn remember_driver(
    settings: &NodeSettings,
    change: bool,
) -> anyhow::Result<Result<(), OtherDriver>> {
    let folders = Folders::of(settings);
    let file = folders.driver();
    let asked = match settings.host.driver {
        NodeDriver::Libvirt => "libvirt",
        NodeDriver::Simulated => "simulated",
    };
    let made_with = private_file::read(&file).with_context(|| format!("reading {}", file.display()))?;
    let made_with = made_with.unwrap_or_default().trim().to_owned();
    if made_with == asked {
        return Ok(Ok(()));
    }
    if !made_with.is_empty() && !change {
        let vms = {
            let host: host_driver::Settings = settings_of(&host_driver::SERVICE, settings)?;
            host_driver::living_vms(&host.database_url).await?
        };
        if vms > 0 {
            return Ok(Err(OtherDriver { vms, made_with, asked }));
        }
    }
    folders.make()?;
    std::fs::write(&file, format!("{asked}\n")).with_context(|| format!("writing {}", file.display()))?;
    Ok(Ok(()))
}
