//! What is right and what is wrong, decided without clock, database or network.

pub mod accounts;
pub mod admission;
pub mod audit;
pub mod caller;
pub mod cloud_event;
pub mod event_cursor;
pub mod event_filter;
pub mod exec;
pub mod idempotency;
pub mod image;
pub mod instance;
pub mod json_text;
pub mod labels;
pub mod names;
pub mod oidc;
pub mod operation;
pub mod overcommit;
pub mod page;
pub mod patience;
pub mod permissions;
pub mod resources;
pub mod ssh_key;
pub mod violation;
pub mod webhook_patience;
pub mod webhook_queue;
