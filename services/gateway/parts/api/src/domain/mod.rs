//! What is right and what is wrong, decided without clock, database or network.

pub mod audit;
pub mod caller;
pub mod cloud_event;
pub mod event_cursor;
pub mod idempotency;
pub mod json_text;
pub mod labels;
pub mod names;
pub mod operation;
pub mod page;
pub mod permissions;
mod permissions_of_kinds;
pub mod preference;
pub mod public_keys;
pub mod traces;
pub mod user_data;
pub mod violation;
