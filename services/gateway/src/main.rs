//! The gateway as a process of its own: `gateway [settings file]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    chassis::run("gateway", async |settings: &gateway::Settings, chassis| {
        gateway::wire(settings, chassis).await
    })
}
