//! What `berth audit verify` and `berth audit key` understand.

use clap::Args;
use std::path::PathBuf;

/// Prove that the archive of the event stream is as it was written, and name the first thing that is not
#[derive(Debug, Args)]
#[command(
    after_help = "On the machine of the node it needs nothing. Elsewhere, and of a copy: with --archive and --key; nothing is asked over
the network. Segments taken away from the end are missed when the node's own table is there, or with --newest, the hash
that an earlier run printed. Ends with 1 when something is wrong.

Examples:
  berth audit verify
  berth audit verify --archive /mnt/copy --key berth.pub
  berth audit verify -o json | jq -r .newest"
)]
pub struct VerifyArgs {
    /// A folder, or s3://bucket/prefix with the AWS_… variables of the environment; otherwise that of the node
    #[arg(long, value_name = "FOLDER|URL")]
    pub archive: Option<String>,
    /// A file with the public key, as `berth audit key` prints it; otherwise the key of the node
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// A segment with this hash has to be there; repeatable
    #[arg(long, value_name = "HASH")]
    pub newest: Vec<String>,
}

/// Print the public key that proves the archive
#[derive(Debug, Args)]
#[command(
    after_help = "Keep it, and now and then the hash that `berth audit verify` prints, where whoever could change the archive cannot reach.

Examples:
  berth audit key > berth.pub"
)]
pub struct KeyArgs {}
