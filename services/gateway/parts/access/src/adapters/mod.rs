//! Where access meets the world: the identity provider, password hashes and one-time codes.

pub mod codes;
pub mod oidc;
pub mod passwords;
