//! Who asks, for whom, and what they may do.

use super::permissions::{self, Binding, Scope};
use kernel::PLATFORM;
use std::collections::BTreeSet;

/// The tenant that is there from the first start, in which platform-wide callers act unless they name another.
pub const DEFAULT_TENANT: &str = "default";

/// The one who makes a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// Name for the record: "admin", "ann@acme"; "" = nobody, who is about to log in.
    pub actor: String,
    /// Id of the user.
    pub user_id: String,
    /// Id of the token it came in with.
    pub token_id: String,
    /// Name of that token.
    pub token_name: String,
    /// Whose objects the request is about; "platform" = those that belong to no tenant.
    pub tenant: String,
    /// The one tenant in which the token opens anything; "platform" = wherever its user may.
    pub confined_to: String,
    /// What its token is narrowed to; empty = nothing beyond what its user may.
    pub narrowed_to: Vec<String>,
    /// What it may do there.
    pub permissions: BTreeSet<&'static str>,
    /// Where the request came from: "203.0.113.7".
    pub address: String,
}

impl Caller {
    /// Whoever sends a request that needs no token.
    pub fn nobody() -> Self {
        Self { tenant: PLATFORM.to_owned(), confined_to: PLATFORM.to_owned(), ..Self::default() }
    }

    /// Whether the caller holds a permission.
    pub fn may(&self, permission: &str) -> bool {
        self.permissions.contains(permission)
    }

    /// Whether events of this tenant may be shown to the caller.
    pub fn sees(&self, tenant: &str) -> bool {
        tenant == self.tenant || self.may("platform.read")
    }

    /// Whether the caller may be shown on which host something is.
    pub fn sees_hosts(&self) -> bool {
        self.may("host.read")
    }
}

/// Where somebody is at home and what they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Tenant of the user; "platform" = of none.
    pub home: String,
    /// Its roles.
    pub bindings: Vec<Binding>,
}

/// How a token narrows what its user may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenScope {
    /// The one tenant in which it opens anything; "platform" = wherever its user may.
    pub tenant: String,
    /// What it may do; empty = whatever its user may.
    pub permissions: Vec<String>,
}

impl Membership {
    /// In which tenant a request acts that asks for `wanted` ("" = says nothing). `None`: none that this caller could
    /// know of, whether there is one of that name or not.
    pub fn acts_in(&self, limits: &TokenScope, wanted: &str) -> Option<String> {
        let free = limits.tenant == PLATFORM;
        let everywhere = self.bindings.iter().any(|(_, at)| at == PLATFORM);
        let reaches = |tenant: &str| {
            if !free {
                return tenant == limits.tenant;
            }
            everywhere || tenant == self.home || self.bindings.iter().any(|(_, at)| at == tenant)
        };
        if !wanted.is_empty() {
            return reaches(wanted).then(|| wanted.to_owned());
        }
        let usual = || {
            if self.home != PLATFORM {
                return self.home.clone();
            }
            let first = self.bindings.iter().map(|(_, at)| at.as_str()).min().unwrap_or(PLATFORM);
            if everywhere { DEFAULT_TENANT.to_owned() } else { first.to_owned() }
        };
        Some(if free { usual() } else { limits.tenant.clone() })
    }

    /// What the caller may do in `tenant` with a token of these limits.
    pub fn permissions(&self, limits: &TokenScope, tenant: &str) -> BTreeSet<&'static str> {
        let mut held = permissions::held(&self.bindings, tenant);
        held.retain(|permission| {
            let scope = permissions::find(permission).map(|rule| rule.scope);
            let narrowed =
                limits.permissions.is_empty() || limits.permissions.iter().any(|named| named == permission);
            match scope {
                Some(Scope::Everyone) => true,
                Some(Scope::Platform) => narrowed && limits.tenant == PLATFORM,
                _ => narrowed,
            }
        });
        held
    }
}

#[cfg(test)]
mod tests {
    use super::super::permissions::Role;
    use super::*;

    fn membership(home: &str, bindings: &[(Role, &str)]) -> Membership {
        let bindings = bindings.iter().map(|(role, at)| (*role, (*at).to_owned())).collect();
        Membership { home: home.into(), bindings }
    }

    fn token_scope(tenant: &str, permissions: &[&str]) -> TokenScope {
        let permissions = permissions.iter().map(|p| (*p).to_owned()).collect();
        TokenScope { tenant: tenant.into(), permissions }
    }

    #[test]
    fn a_member_acts_at_home_and_knows_of_nothing_else() {
        let member = membership("acme", &[(Role::Admin, "acme")]);
        for token in [token_scope("acme", &[]), token_scope(PLATFORM, &[])] {
            assert_eq!(member.acts_in(&token, "").as_deref(), Some("acme"));
            assert_eq!(member.acts_in(&token, "acme").as_deref(), Some("acme"));
            for other in ["other", "no-such-tenant", PLATFORM, DEFAULT_TENANT] {
                assert_eq!(member.acts_in(&token, other), None, "{other}");
            }
        }
    }

    #[test]
    fn whoever_is_platform_wide_chooses() {
        let admin = membership(PLATFORM, &[(Role::Admin, PLATFORM)]);
        let whole = token_scope(PLATFORM, &[]);
        assert_eq!(admin.acts_in(&whole, "").as_deref(), Some(DEFAULT_TENANT));
        assert_eq!(admin.acts_in(&whole, "acme").as_deref(), Some("acme"));
        assert_eq!(admin.acts_in(&whole, PLATFORM).as_deref(), Some(PLATFORM));
        let confined = token_scope("acme", &[]);
        assert_eq!(admin.acts_in(&confined, "").as_deref(), Some("acme"));
        assert_eq!(admin.acts_in(&confined, "other"), None);
        assert_eq!(admin.acts_in(&confined, PLATFORM), None);
        let permissions = admin.permissions(&confined, "acme");
        assert!(permissions.contains("instance.create") && !permissions.contains("host.read"));
    }

    #[test]
    fn a_user_of_the_platform_may_have_a_role_in_some_tenants() {
        let guest = membership(PLATFORM, &[(Role::Developer, "zeta"), (Role::Auditor, "acme")]);
        let whole = token_scope(PLATFORM, &[]);
        assert_eq!(guest.acts_in(&whole, "").as_deref(), Some("acme"));
        assert_eq!(guest.acts_in(&whole, "other"), None);
        assert!(!guest.permissions(&whole, "acme").contains("instance.create"));
        assert!(guest.permissions(&whole, "zeta").contains("instance.create"));
        assert!(!guest.permissions(&whole, "zeta").contains("host.read"));
        let idle = membership(PLATFORM, &[]);
        assert_eq!(idle.acts_in(&whole, "").as_deref(), Some(PLATFORM));
    }

    #[test]
    fn a_token_narrows_and_never_widens() {
        let developer = membership("acme", &[(Role::Developer, "acme")]);
        let narrow = token_scope("acme", &["instance.read", "host.read", "user.create"]);
        let expected = BTreeSet::from(["catalogue.read", "instance.read", "session.own"]);
        assert_eq!(developer.permissions(&narrow, "acme"), expected);
    }

    #[test]
    fn nobody_sees_another_tenant() {
        let mut caller = Caller {
            actor: "ann@acme".into(),
            tenant: "acme".into(),
            permissions: BTreeSet::from(["instance.read", "event.read"]),
            ..Caller::default()
        };
        assert!(caller.may("instance.read") && !caller.may("instance.create"));
        assert!(caller.sees("acme") && !caller.sees("other") && !caller.sees(PLATFORM));
        caller.permissions.insert("platform.read");
        assert!(caller.sees("other") && caller.sees(PLATFORM));
    }
}
