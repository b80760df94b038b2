//! What `berth replay` understands.

use clap::Subcommand;

/// The tables against the event stream they came from
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  berth replay verify")]
pub enum ReplayCommand {
    /// Rebuild every table from the event stream, beside the present ones, and compare row by row
    #[command(
        after_help = "Runs on the machine of the node and changes nothing. What the stream does not hold any more is read from the archive, which
is proven on the way. Ends with 1 when a row differs.

Examples:
  berth replay verify --data-dir /var/lib/berth"
    )]
    Verify,
    /// Judge the platform after every event of its log, and log, tables and hypervisor against each other at its end
    #[command(
        after_help = "Reads only, with code that the services do not share: reservations within capacity, one owner for each \
instance, revisions without gaps, operations that end once, commands accepted = completed + failed + pending + dead, \
and no VM lost, doubled or orphaned. Runs on the machine of the node, which should be idle. Ends with 1 when something is wrong.

Examples:
  berth replay check --data-dir /var/lib/berth
  berth replay check -o json | jq '.violations[].sentence'"
    )]
    Check,
    /// Show the objects as they were at a time, from the archive and the stream after it
    #[command(
        after_help = "Runs on the machine of the node and changes nothing. Works from the archive alone when the node is down, or when its
stream does not begin at its beginning any more. The archive is proven on the way.

Examples:
  berth replay at 2026-11-21T07:30:00Z
  berth replay at 2h web-1 -o yaml"
    )]
    At {
        /// 2026-11-21T07:30:00Z, or how long ago: 90s, 30m, 2h, 7d
        #[arg(value_name = "TIME", value_parser = crate::cli::audit::moment)]
        time: i64,
        /// Only this one: id or name of an instance, image, host or flavor
        #[arg(value_name = "OBJECT")]
        object: Option<String>,
    },
    /// Make a service's database again from the event stream; the old one is kept beside it
    #[command(
        after_help = "Runs on the machine of the node, while the node is down. The old database keeps its name with the time added.
A node whose database is missing does the same by itself when it starts.

Examples:
  berth down && berth replay rebuild scheduler && berth up --detach"
    )]
    Rebuild {
        /// Whose: the name of its program, such as scheduler or host-driver
        #[arg(value_name = "SERVICE")]
        service: String,
    },
}
