//! Which role may do what. This table is the whole policy: `api/auth.rs` of the part `access` asks it and nothing else. Which
//! permission a method needs says its option in `proto/`; one that has no line here fails the tests.

use super::permissions_of_kinds::OF_KINDS;
use Role::{Admin, Auditor, Developer, Operator};
use Scope::{Anyone, Either, Everyone, Platform, Tenant};
use kernel::PLATFORM;
use std::collections::BTreeSet;

/// What somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Everything, users and tokens of others included.
    Admin,
    /// Runs things, and hosts when platform-wide; not who may do what.
    Operator,
    /// Instances and images.
    Developer,
    /// Reads.
    Auditor,
}

/// Where a permission means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Without a token: logging in.
    Anyone,
    /// With whatever token, for oneself.
    Everyone,
    /// In a tenant: held by a role there, or platform-wide.
    Tenant,
    /// On the platform: held by a platform-wide role alone, never by a role in a tenant.
    Platform,
    /// In a tenant like `Tenant`, among what belongs to the platform like `Platform`.
    Either,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// "instance.create".
    pub permission: &'static str,
    /// Where it means something.
    pub scope: Scope,
    /// Who holds it there.
    pub roles: &'static [Role],
}

const NOBODY: &[Role] = &[];
const ADMINS: &[Role] = &[Admin];
pub(super) const RUNNERS: &[Role] = &[Admin, Operator];
const AUDITORS: &[Role] = &[Admin, Auditor];
pub(super) const WATCHERS: &[Role] = &[Admin, Operator, Auditor];
pub(super) const WORKERS: &[Role] = &[Admin, Operator, Developer];
pub(super) const ALL: &[Role] = &[Admin, Operator, Developer, Auditor];

/// The policy.
#[rustfmt::skip]
const TABLE: &[Rule] = &[
    rule("session.open",     Anyone,   NOBODY),
    rule("session.own",      Everyone, NOBODY),
    rule("catalogue.read",   Everyone, NOBODY),

    rule("instance.read",    Tenant,   ALL),
    rule("instance.create",  Tenant,   WORKERS),
    rule("instance.operate", Tenant,   WORKERS),
    rule("instance.delete",  Tenant,   WORKERS),
    rule("instance.exec",    Tenant,   WORKERS),
    rule("instance.console", Tenant,   WORKERS),
    rule("image.read",       Tenant,   ALL),
    rule("image.import",     Tenant,   WORKERS),
    rule("image.delete",     Tenant,   WORKERS),

    rule("flavor.read",      Either,   ALL),
    rule("operation.read",   Either,   ALL),
    rule("event.read",       Either,   ALL),
    rule("webhook.read",     Either,   ALL),
    rule("webhook.manage",   Either,   RUNNERS),
    rule("event.publish",    Tenant,   WORKERS),
    rule("role.read",        Either,   ALL),
    rule("user.read",        Either,   WATCHERS),
    rule("user.create",      Either,   ADMINS),
    rule("user.change",      Either,   ADMINS),
    rule("user.delete",      Either,   ADMINS),
    rule("user.bind",        Either,   ADMINS),
    rule("token.read",       Either,   ALL),
    rule("token.create",     Either,   WORKERS),
    rule("token.revoke",     Either,   ALL),
    rule("audit.read",       Either,   AUDITORS),
    rule("quota.read",       Either,   ALL),

    rule("flavor.create",    Platform, RUNNERS),
    rule("host.read",        Platform, WATCHERS),
    rule("host.operate",     Platform, RUNNERS),
    rule("platform.read",    Platform, WATCHERS),
    rule("platform.operate", Platform, RUNNERS),
    rule("quota.set",        Platform, RUNNERS),
    rule("tenant.read",      Platform, WATCHERS),
    rule("tenant.create",    Platform, ADMINS),
    rule("tenant.change",    Platform, ADMINS),
    rule("tenant.delete",    Platform, ADMINS),
];

pub(super) const fn rule(permission: &'static str, scope: Scope, roles: &'static [Role]) -> Rule {
    Rule { permission, scope, roles }
}

/// Whoever holds one of these can give every other permission, to themselves too: no token is narrowed to them.
pub const GRANTING: [&str; 3] = ["user.bind", "user.change", "user.create"];

/// Every line: those of the table, and those that follow from the declarations of kinds.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    TABLE.iter().chain(OF_KINDS)
}

/// The line of a permission.
pub fn find(permission: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.permission == permission)
}

impl Role {
    /// Every role, the mightiest first.
    pub const ALL: [Self; 4] = [Admin, Operator, Developer, Auditor];

    /// "admin".
    pub fn name(self) -> &'static str {
        match self {
            Admin => "admin",
            Operator => "operator",
            Developer => "developer",
            Auditor => "auditor",
        }
    }

    /// What it is for, in one sentence.
    pub fn description(self) -> &'static str {
        match self {
            Admin => "Everything, including who may do what.",
            Operator => "Runs what is there: instances and images, and hosts when platform-wide.",
            Developer => "Instances and images.",
            Auditor => "Reads everything and changes nothing.",
        }
    }

    /// The role of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// A role and where it is held: in a tenant, or platform-wide ("platform").
pub type Binding = (Role, String);

/// What these roles permit to whoever acts in `tenant` ("platform" = among what belongs to the platform).
pub fn held(bindings: &[Binding], tenant: &str) -> BTreeSet<&'static str> {
    let holds =
        |rule: &Rule, place: &str| bindings.iter().any(|(role, at)| at == place && rule.roles.contains(role));
    let granted = |rule: &&Rule| match rule.scope {
        Anyone => false,
        Everyone => true,
        Platform => holds(rule, PLATFORM),
        Tenant => tenant != PLATFORM && (holds(rule, tenant) || holds(rule, PLATFORM)),
        Either => holds(rule, tenant) || holds(rule, PLATFORM),
    };
    rules().filter(granted).map(|rule| rule.permission).collect()
}

/// Whether a call that changes something is taken although its tenant is disabled: what concerns the platform and not
/// the tenant, one's own session, and taking tokens away.
pub fn works_while_disabled(permission: &str) -> bool {
    permission == "token.revoke"
        || find(permission).is_some_and(|rule| matches!(rule.scope, Anyone | Everyone | Platform))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(role: Role, at: &str, tenant: &str) -> BTreeSet<&'static str> {
        held(&[(role, at.to_owned())], tenant)
    }

    #[test]
    fn every_permission_of_a_method_has_a_line_and_every_line_a_method() {
        let used: BTreeSet<&str> = contracts::methods().iter().map(|m| m.permission.as_str()).collect();
        let known: BTreeSet<&str> = rules().map(|rule| rule.permission).collect();
        assert_eq!(known.len(), rules().count(), "a permission stands in the table twice");
        assert_eq!(used, known);
    }

    /// What may be done with objects of declared kinds follows from whose they are. It is written down all the same, so
    /// that each new permission is a line that somebody reads.
    #[test]
    fn permissions_of_kinds_follow_from_their_declarations() {
        use contracts::options::v1::Scope as Whose;
        let mut lines = BTreeSet::new();
        for (method, op) in contracts::methods().iter().filter_map(|method| Some((method, method.op?))) {
            let (scope, roles) = match (op.kind.scope, op.is_mutating()) {
                (Whose::Platform, false) => ("Platform", "WATCHERS"),
                (Whose::Platform, true) => ("Platform", "RUNNERS"),
                (_, false) => ("Tenant", "ALL"),
                (_, true) => ("Tenant", "WORKERS"),
            };
            lines.insert(format!("    rule({:?}, {scope}, {roles}),\n", method.permission));
        }
        let (file, present) = (
            concat!(env!("CARGO_MANIFEST_DIR"), "/src/domain/permissions_of_kinds.rs"),
            include_str!("permissions_of_kinds.rs"),
        );
        let (before, rest) = present.split_once("= &[\n").expect("a list");
        let (_, after) = rest.split_once("];\n").expect("its end");
        let right = format!("{before}= &[\n{}];\n{after}", lines.into_iter().collect::<String>());
        if std::env::var_os("BERTH_WRITE_GOLDEN").is_some() {
            std::fs::write(file, &right).expect("written");
        } else {
            assert_eq!(present, right, "write it with BERTH_WRITE_GOLDEN=1, and read the difference");
        }
    }

    #[test]
    fn a_role_in_a_tenant_never_holds_a_permission_of_the_platform() {
        for role in Role::ALL {
            for permission in of(role, "acme", "acme") {
                let rule = find(permission).expect("in the table");
                assert!(!matches!(rule.scope, Platform | Anyone), "{} holds {permission}", role.name());
            }
            let everybodys = BTreeSet::from(["catalogue.read", "session.own"]);
            assert_eq!(of(role, "acme", "other"), everybodys, "{}", role.name());
            assert_eq!(of(role, "acme", PLATFORM), everybodys, "{}", role.name());
        }
    }

    #[test]
    fn a_role_on_the_platform_is_held_in_every_tenant() {
        for role in Role::ALL {
            assert!(of(role, PLATFORM, "acme").is_superset(&of(role, "acme", "acme")), "{}", role.name());
        }
        let admin = of(Admin, PLATFORM, "acme");
        assert!(rules().all(|rule| rule.scope == Anyone || admin.contains(rule.permission)));
        assert!(!of(Admin, PLATFORM, PLATFORM).contains("instance.create"), "the platform owns no instances");
    }

    #[test]
    fn auditors_change_nothing_but_their_own_tokens() {
        let methods = contracts::methods().iter().filter(|m| m.mutating);
        let changing: BTreeSet<&str> = methods.map(|m| m.permission.as_str()).collect();
        let auditor = of(Auditor, PLATFORM, "acme");
        let may: Vec<&str> = auditor.into_iter().filter(|p| changing.contains(p)).collect();
        assert_eq!(may, ["session.own", "token.revoke"]);
    }

    #[test]
    fn whoever_gives_roles_holds_all_that_they_permit() {
        for permission in GRANTING {
            assert_eq!(find(permission).map(|rule| rule.roles), Some(ADMINS), "{permission}");
        }
        for tenant in ["acme", PLATFORM] {
            let admin = of(Admin, tenant, tenant);
            assert!(Role::ALL.iter().all(|role| admin.is_superset(&of(*role, tenant, tenant))));
        }
    }

    #[test]
    fn roles_are_found_by_their_names() {
        for role in Role::ALL {
            assert_eq!(Role::of(role.name()), Some(role));
            assert!(role.description().ends_with('.'));
        }
        assert_eq!(Role::of("root"), None);
    }

    #[test]
    fn a_disabled_tenant_can_still_be_enabled() {
        for fine in ["tenant.change", "session.own", "token.revoke", "session.open", "host.operate"] {
            assert!(works_while_disabled(fine), "{fine}");
        }
        for not in ["instance.create", "user.create", "token.create", "nothing"] {
            assert!(!works_while_disabled(not), "{not}");
        }
    }
}
