//! `make bench`: see `tests/benches/README.md`.

use clap::Parser;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // for what speaks TLS in this process
    let _ = rustls::crypto::ring::default_provider().install_default();
    benches::run::run(benches::run::Arguments::parse()).await
}
