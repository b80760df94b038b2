//! Settings: flags over environment over files over defaults, and where each came from.
//!
//! The client reads `~/.config/berth/config.toml` (or `$BERTH_CONFIG`) and the `client.toml` that a node writes into
//! its data folder; a node reads `<data_dir>/node.toml`.

mod client;
mod contexts;
mod effective;
pub mod layer;
mod paths;
mod sessions;

pub use client::{ClientFlags, ClientSettings, load};
pub use contexts::{Context, Ready, add_context, known_contexts, use_context, write_local_context};
pub use effective::{Effective, leaves, render};
pub use paths::Environment;
pub use sessions::{forget_session, keep_session};
