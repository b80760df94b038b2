//! Tenants with their quotas, users and tokens.

pub mod oidc;
pub mod quotas;
pub mod tenants;
pub mod tokens;
pub mod users;
