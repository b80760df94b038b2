//! `berth config`.

use super::{GlobalArgs, local};
use crate::config::{
    Context, Effective, Environment, add_context, known_contexts, load, render, use_context,
};
use crate::output::{Format, Table, print};
use clap::Subcommand;
use client::{Failure, Gateway};
use std::path::PathBuf;

/// Settings: what is in force and why, and the gateways known by name
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  berth config check
  berth config use production")]
pub enum ConfigCommand {
    /// Check all settings and print them with where each came from; secrets are hidden
    #[command(
        after_help = "Ends with 2 and the file, the line and what would be right when something is wrong.

Examples:
  berth config check
  berth config check --node --data-dir /srv/berth"
    )]
    Check {
        /// Those of the node in --data-dir instead of those of the client
        #[arg(long)]
        node: bool,
    },
    /// List the contexts that can be used
    #[command(after_help = "Examples:\n  berth config list")]
    List,
    /// Use a context from now on
    #[command(after_help = "Examples:\n  berth config use production")]
    Use {
        /// One of `berth config list`
        context: String,
    },
    /// Add a context to the settings file
    #[command(after_help = "Examples:
  berth config add production --endpoint https://berth.example.com:7480 --token-file ~/.berth-token --ca-file ca.pem")]
    Add {
        /// A name for it; --endpoint, --token-file, --tenant and --ca-file say the rest
        context: String,
    },
}

pub(super) fn run(command: ConfigCommand, global: &GlobalArgs) -> Result<(), Failure> {
    let (flags, environment) = (global.client_flags(), Environment::of_process());
    match command {
        ConfigCommand::Check { node: true } => local::exec(),
        ConfigCommand::Check { node: false } => {
            let settings = load(&flags, &environment)?;
            // endpoint, CA file and token must fit together; nothing is sent
            Gateway::new(&settings.connect)?;
            print_settings(&settings.effective, settings.output)
        }
        ConfigCommand::List => {
            let known = known_contexts(&flags, &environment)?;
            let value = serde_json::json!({"contexts": known.iter().map(|(name, k)| serde_json::json!({
                "name": name, "endpoint": k.context.endpoint, "current": k.current, "file": k.file,
            })).collect::<Vec<_>>()});
            global.output.unwrap_or_default().print_value(&value, || {
                let mut table = Table::new(
                    ["current", "name", "endpoint", "file"],
                    "no contexts: `berth up` makes one, `berth config add` another",
                );
                for (name, known) in &known {
                    let mark = if known.current { "*" } else { " " };
                    table.row([
                        mark.to_owned(),
                        name.clone(),
                        known.context.endpoint.clone(),
                        known.file.display().to_string(),
                    ]);
                }
                table.render()
            })
        }
        ConfigCommand::Use { context } => {
            let path = use_context(&context, &flags, &environment)?;
            print(&format!("using {context} from now on (written to {})\n", path.display()))
        }
        ConfigCommand::Add { context } => {
            let endpoint = flags.endpoint.clone().ok_or_else(|| Failure::usage("--endpoint is missing"))?;
            let whole = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
            let added = Context {
                endpoint,
                token: environment.get("BERTH_TOKEN").unwrap_or_default().to_owned(),
                token_file: flags.token_file.as_ref().map(whole),
                tenant: flags.tenant.clone().unwrap_or_default(),
                ca_file: flags.ca_file.as_ref().map(whole),
                allow_plain_http: false,
            };
            let path = add_context(&context, &added, &flags, &environment)?;
            print(&format!("added {context} to {}\n", path.display()))
        }
    }
}

/// Settings as they are shown.
pub fn print_settings(settings: &[Effective], format: Format) -> Result<(), Failure> {
    format.print_value(&serde_json::json!({"settings": settings}), || render(settings))
}
