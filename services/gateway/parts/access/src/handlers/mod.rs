//! What this part folds into its tables when it comes through the stream.

pub mod quotas;
pub mod tenants;
pub mod tokens;
pub mod users;
