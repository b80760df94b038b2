//! Who comes in and what they may: tenants with what they may have, users, roles, tokens, sessions, and logins by password
//! or through an identity provider.
#![forbid(unsafe_code)]

pub mod adapters;
pub mod api;
pub mod bootstrap;
pub mod domain;
pub mod handlers;
pub mod new_tenants;
pub mod oidc_settings;
pub mod reconcilers;
pub mod store;
pub mod translate;
