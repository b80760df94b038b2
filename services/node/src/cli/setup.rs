//! `berth setup`: the streams of a broker whose services may not make them.

use berth::cli::local::SetupArgs;
use client::{Exit, Failure};
use terminal::output::note;

pub(super) async fn setup(args: &SetupArgs) -> Result<(), Failure> {
    let made = crate::setup(args.settings.as_deref()).await;
    let streams = made.map_err(|error| Failure::new(Exit::Failed, format!("{error:#}")))?;
    note(&format!("{streams} streams are as they should be"));
    Ok(())
}
