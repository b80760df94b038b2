//! Tenants, users and tokens between the wire and the rules.

use crate::domain::accounts;
use contracts::gateway::v1::{self as wire, TenantState, TokenKind};
use gateway_api::domain::caller::{Caller, Membership, TokenScope};
use gateway_api::domain::permissions::{Role, Scope, rules};
use gateway_api::domain::violation::{Violation, excerpt};
use gateway_api::translate::status;
use kernel::{PLATFORM, Refusal, Timestamp};
use tonic::{Code, Status};

/// Where a user is at home and what it is. Roles that this gateway does not know count for nothing.
pub fn membership(user: &wire::User) -> Membership {
    let bindings = user.roles.iter().filter_map(|b| Some((Role::of(&b.role)?, b.tenant.clone()))).collect();
    Membership { home: user.tenant.clone(), bindings }
}

/// How a token narrows what its user may.
pub fn token_scope(token: &wire::Token) -> TokenScope {
    TokenScope { tenant: token.tenant.clone(), permissions: token.permissions.clone() }
}

/// How a user is called in records: "ann@acme".
pub fn called(user: &wire::User) -> String {
    accounts::qualified(&user.name, &user.tenant)
}

/// Who comes in with this token of this user and asks for `wanted` ("" = for no tenant in particular). `None`: for a
/// tenant that they cannot know of.
pub fn caller(user: &wire::User, token: &wire::Token, wanted: &str) -> Option<Caller> {
    let (membership, scope) = (membership(user), token_scope(token));
    let tenant = membership.acts_in(&scope, wanted)?;
    Some(Caller {
        actor: called(user),
        user_id: user.id.clone(),
        token_id: token.id.clone(),
        token_name: token.name.clone(),
        permissions: membership.permissions(&scope, &tenant),
        tenant,
        confined_to: scope.tenant,
        narrowed_to: scope.permissions,
        address: String::new(),
    })
}

/// Whether the token opens anything for its user at `now`.
pub fn opens(token: &wire::Token, user: &wire::User, now: Timestamp) -> bool {
    let ended = token.expires_at_us != 0 && token.expires_at_us <= now.micros();
    let older = token.kind == TokenKind::Session as i32 && token.created_at_us < user.password_changed_at_us;
    token.revoked_at_us == 0 && !ended && !older && !user.disabled && !user.deleted
}

/// Whether there is such a tenant.
pub fn is_there(tenant: &wire::Tenant) -> bool {
    tenant.state != TenantState::Deleted as i32
}

/// Whether a tenant takes changes.
pub fn is_active(tenant: &wire::Tenant) -> bool {
    tenant.state == TenantState::Active as i32
}

/// The role of this name.
pub fn role(field: &str, name: &str) -> Result<Role, Status> {
    Role::of(name).ok_or_else(|| {
        let known = Role::ALL.map(Role::name).join(", ");
        let text = format!("{:?} is no role: write one of {known}", excerpt(name, 80));
        status::invalid(Violation::new(field, text))
    })
}

/// A role for those who read about it.
pub fn described(role: Role) -> wire::Role {
    let of = |platform: bool| {
        let lines = rules().filter(|rule| rule.roles.contains(&role));
        let lines = lines.filter(|rule| (rule.scope == Scope::Platform) == platform);
        lines.map(|rule| rule.permission.to_owned()).collect()
    };
    wire::Role {
        name: role.name().to_owned(),
        description: role.description().to_owned(),
        tenant_permissions: of(false),
        platform_permissions: of(true),
    }
}

/// A change that would leave whoever asked for it outside.
pub fn not_to_oneself() -> Status {
    let text = "this would change what you may do yourself: ask another administrator";
    status::refused(Code::FailedPrecondition, Refusal::new("USER_IS_YOURSELF", text), "user")
}

/// A binding as it is written.
pub fn binding(role: Role, tenant: &str) -> wire::RoleBinding {
    wire::RoleBinding { role: role.name().to_owned(), tenant: tenant.to_owned() }
}

/// Whether users of `home` may have roles in `tenant`: those of the platform in every tenant, all others at home only.
pub fn may_have_roles_in(home: &str, tenant: &str) -> bool {
    home == PLATFORM || home == tenant
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> wire::User {
        let roles = vec![
            binding(Role::Developer, "acme"),
            wire::RoleBinding { role: "wizard".into(), tenant: "acme".into() },
        ];
        wire::User {
            id: "u".into(),
            name: "ann".into(),
            tenant: "acme".into(),
            roles,
            ..wire::User::default()
        }
    }

    #[test]
    fn a_caller_is_its_user_within_its_token() {
        let token = wire::Token {
            tenant: "acme".into(),
            permissions: vec!["instance.read".into()],
            ..Default::default()
        };
        let caller = caller(&user(), &token, "").expect("at home");
        assert_eq!((caller.actor.as_str(), caller.tenant.as_str()), ("ann@acme", "acme"));
        assert!(caller.may("instance.read") && !caller.may("instance.create"));
        assert_eq!(super::caller(&user(), &token, "other"), None);
    }

    #[test]
    fn what_ends_a_token() {
        let (now, fine) = (Timestamp(100), wire::Token::default());
        assert!(opens(&fine, &user(), now));
        for (ended, of) in [
            (wire::Token { revoked_at_us: 1, ..fine.clone() }, user()),
            (wire::Token { expires_at_us: 100, ..fine.clone() }, user()),
            (fine.clone(), wire::User { disabled: true, ..user() }),
            (fine.clone(), wire::User { deleted: true, ..user() }),
            (
                wire::Token { kind: TokenKind::Session as i32, created_at_us: 5, ..fine.clone() },
                wire::User { password_changed_at_us: 6, ..user() },
            ),
        ] {
            assert!(!opens(&ended, &of, now), "{ended:?} {of:?}");
        }
        let api = wire::Token { kind: TokenKind::Api as i32, created_at_us: 5, expires_at_us: 101, ..fine };
        assert!(opens(&api, &wire::User { password_changed_at_us: 6, ..user() }, now), "not a session");
    }

    #[test]
    fn roles_are_described_from_the_table() {
        let developer = described(Role::Developer);
        assert!(developer.tenant_permissions.contains(&"instance.create".to_owned()));
        assert!(developer.platform_permissions.is_empty());
        assert!(described(Role::Operator).platform_permissions.contains(&"host.operate".to_owned()));
        assert!(role("role", "wizard").expect_err("none").message().contains("developer"));
        assert!(may_have_roles_in(PLATFORM, "acme") && !may_have_roles_in("acme", "other"));
    }
}
