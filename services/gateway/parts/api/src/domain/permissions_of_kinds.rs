//! Who may do what with objects of declared kinds: written by a test from the declarations.

use super::permissions::Scope::Tenant;
use super::permissions::{ALL, Rule, WORKERS, rule};

/// By permission.
#[rustfmt::skip]
pub(super) const OF_KINDS: &[Rule] = &[
    rule("ssh_key.change", Tenant, WORKERS),
    rule("ssh_key.create", Tenant, WORKERS),
    rule("ssh_key.delete", Tenant, WORKERS),
    rule("ssh_key.read", Tenant, ALL),
];
