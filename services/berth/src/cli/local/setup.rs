//! What `berth setup` understands.

use clap::Args;
use std::path::PathBuf;

/// Make the streams at a broker on which services have users of their own, and end; done again it changes nothing
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  berth setup /etc/berth/setup.toml\n  BERTH_SETUP__BUS__URL=nats://broker:4222 BERTH_SETUP__BUS__USER=setup BERTH_SETUP__BUS__PASSWORD_FILE=/etc/berth/setup.password berth setup"
)]
pub struct SetupArgs {
    /// A file with [bus], as services have it; /etc/berth/setup.toml when it is there
    #[arg(value_name = "FILE")]
    pub settings: Option<PathBuf>,
}
