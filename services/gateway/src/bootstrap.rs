//! The sizes that a new installation begins with.

use crate::store::flavors;
use bus::{Cause, Desk};
use contracts::common::v1::Resources;
use contracts::gateway::v1::{Flavor, FlavorCreated};
use kernel::PLATFORM;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Name, thousandths of a CPU, memory and disk in bytes, description.
const FLAVORS: [(&str, u64, u64, u64, &str); 6] = [
    ("micro", 250, 128 * MIB, GIB, "A quarter of a CPU: agents, tests, microVMs."),
    ("small", 1000, 512 * MIB, 10 * GIB, "One CPU: small services."),
    ("medium", 2000, 2 * GIB, 20 * GIB, "Two CPUs: web and application servers."),
    ("large", 4000, 8 * GIB, 40 * GIB, "Four CPUs: databases, build machines."),
    ("xlarge", 8000, 16 * GIB, 80 * GIB, "Eight CPUs."),
    ("2xlarge", 16_000, 32 * GIB, 160 * GIB, "Sixteen CPUs."),
];

/// Makes the default flavors when there is none at all.
pub async fn default_flavors(desk: &Desk) -> anyhow::Result<()> {
    let mut work = desk.begin(Cause::own(crate::SERVICE.name)).await?;
    desk.store().lock(work.tx(), "default flavors").await?;
    if !flavors::all(&mut *work.tx()).await?.is_empty() {
        return Ok(());
    }
    for (name, vcpus_milli, memory_bytes, disk_bytes, description) in FLAVORS {
        let flavor = Flavor {
            name: name.into(),
            resources: Some(Resources { vcpus_milli, memory_bytes, disk_bytes }),
            description: description.into(),
            revision: 1,
            created_at_us: work.now().micros(),
        };
        flavors::put(work.tx(), &flavor).await?;
        work.say_for(PLATFORM, &FlavorCreated { flavor: Some(flavor) });
    }
    Ok(work.commit().await?)
}
