//! What a new installation begins with: a token for its administrator and flavors.

use crate::adapters::keys::{TokenKey, random_hex};
use crate::domain::caller::{Caller, Permissions};
use crate::store::tokens::TokenRow;
use crate::store::{flavors, tokens};
use anyhow::Context;
use bus::{Cause, Desk};
use chassis::private_file;
use contracts::common::v1::Resources;
use contracts::gateway::v1::{Flavor, FlavorCreated};
use kernel::PLATFORM;
use std::path::Path;

const BOOTSTRAP: &str = "bootstrap";
/// The tenant that everything belongs to until there are others.
const TENANT: &str = "default";

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

/// Makes the administrator's token at the first start: 256 random bits in `file`, readable by its owner only, and
/// their hash in the table. A token that is there stays.
pub async fn admin_token(desk: &Desk, key: &TokenKey, file: &Path) -> anyhow::Result<()> {
    let mut work = desk.begin(Cause::own("gateway")).await?;
    // several gateways on one database that start together make one token
    desk.store().lock(work.tx(), "bootstrap token").await?;
    if tokens::exists(&mut *work.tx(), BOOTSTRAP).await? {
        return Ok(());
    }
    // the file comes first: a token in the table that nobody knows would lock everybody out
    if !file.exists() {
        private_file::make_once(file, &random_hex())
            .with_context(|| format!("writing {}", file.display()))?;
    }
    let token = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let row = TokenRow {
        hash: key.hash(token.trim()),
        name: BOOTSTRAP.to_owned(),
        caller: Caller { actor: "admin".into(), tenant: TENANT.into(), permissions: Permissions::All },
        created_at_us: desk.clock().now().micros(),
        expires_at_us: 0,
    };
    tokens::put(work.tx(), &row).await?;
    work.commit().await?;
    tracing::info!(file = %file.display(), "made the administrator's token");
    Ok(())
}

/// Makes the default flavors when there is none at all.
pub async fn default_flavors(desk: &Desk) -> anyhow::Result<()> {
    let mut work = desk.begin(Cause::own("gateway")).await?;
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
