//! Sizes on the wire.

use crate::domain::resources::Resources;
use contracts::common::v1 as wire;
use gateway_api::domain::violation::Violation;
use kernel::{Bytes, MilliVcpus};

/// Reads sizes; the field of a violation is seen from the request: "resources.memory_bytes".
pub fn read(resources: Option<wire::Resources>) -> Result<Resources, Violation> {
    unchecked(resources).checked().map_err(|v| v.inside("resources"))
}

/// Reads sizes that somebody else checks.
pub fn unchecked(resources: Option<wire::Resources>) -> Resources {
    let resources = resources.unwrap_or_default();
    Resources {
        vcpus: MilliVcpus(resources.vcpus_milli),
        memory: Bytes(resources.memory_bytes),
        disk: Bytes(resources.disk_bytes),
    }
}

/// Writes sizes.
pub fn write(resources: Resources) -> wire::Resources {
    wire::Resources {
        vcpus_milli: resources.vcpus.0,
        memory_bytes: resources.memory.0,
        disk_bytes: resources.disk.0,
    }
}
