//! What this part folds into its tables when it comes through the stream.

pub mod external_events;
pub mod webhooks;
