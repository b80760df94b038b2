//! What is right and what is wrong, decided without clock, database or network.

pub mod admission;
pub mod event_filter;
pub mod exec;
pub mod image;
pub mod instance;
pub mod labels;
pub mod overcommit;
pub mod resources;
pub mod ssh_key;
pub mod webhook_patience;
pub mod webhook_queue;
