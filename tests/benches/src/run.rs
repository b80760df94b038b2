//! Running the benchmarks that were asked for.

use crate::machine::Machine;
use crate::{ALL, Effort, report};
use anyhow::{Context, Result, ensure};
use clap::Parser;
use std::path::PathBuf;

/// Measures Berth against the bare things it is made of, both in turn in one run.
#[derive(Debug, Parser)]
pub struct Arguments {
    /// Which benchmarks: all when none is named.
    names: Vec<String>,
    /// Show what there is and end.
    #[arg(long)]
    list: bool,
    /// How often each pair runs.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Divide the work of each round by this, to try a benchmark out; such figures say little.
    #[arg(long, default_value_t = 1)]
    shrink: usize,
    /// Also write machine and figures as JSON here.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Print Markdown instead of a table.
    #[arg(long)]
    markdown: bool,
}

/// Runs them, prints the table, keeps the figures.
pub async fn run(arguments: Arguments) -> Result<()> {
    if arguments.list {
        for benchmark in ALL {
            println!("{:<12} {}", benchmark.name, benchmark.about);
        }
        return Ok(());
    }
    ensure!(arguments.rounds >= 3, "--rounds {}: a median needs at least 3", arguments.rounds);
    for name in &arguments.names {
        let known: Vec<&str> = ALL.iter().map(|benchmark| benchmark.name).collect();
        ensure!(
            known.contains(&name.as_str()),
            "no benchmark is called {name:?}: there are {}",
            known.join(", ")
        );
    }
    if cfg!(debug_assertions) {
        eprintln!("built without optimisation: these figures say nothing; use `make bench`");
    }
    let machine = Machine::here();
    let effort = Effort { rounds: arguments.rounds, shrink: arguments.shrink };
    let mut figures = Vec::new();
    let chosen = |name: &str| arguments.names.is_empty() || arguments.names.iter().any(|n| n == name);
    for benchmark in ALL.iter().filter(|benchmark| chosen(benchmark.name)) {
        eprintln!("{}: {}", benchmark.name, benchmark.about);
        figures.extend((benchmark.run)(effort).await.with_context(|| benchmark.name.to_owned())?);
    }
    println!("{}", machine.line());
    println!("{}", if arguments.markdown { report::markdown(&figures) } else { report::table(&figures) });
    if let Some(path) = arguments.json {
        let text =
            serde_json::to_string_pretty(&serde_json::json!({ "machine": machine, "figures": figures }))?;
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
