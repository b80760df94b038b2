//! Who asks, for whom, and what they may do.

/// What a caller may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permissions {
    /// Everything, on the whole platform.
    All,
    /// What is listed: "instance.create", "host.read"…
    Only(Vec<String>),
}

/// The one who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Name for the record: "admin".
    pub actor: String,
    /// Whose objects the request is about.
    pub tenant: String,
    /// What it may do.
    pub permissions: Permissions,
}

impl Caller {
    /// Whether the caller holds a permission.
    pub fn may(&self, permission: &str) -> bool {
        match &self.permissions {
            Permissions::All => true,
            Permissions::Only(list) => list.iter().any(|held| held == permission),
        }
    }

    /// Whether events of this tenant may be shown to the caller. What belongs to the platform (hosts, flavors) is
    /// for those who may read hosts.
    pub fn sees(&self, tenant: &str) -> bool {
        match &self.permissions {
            Permissions::All => true,
            Permissions::Only(_) => {
                tenant == self.tenant || (tenant == kernel::PLATFORM && self.may("host.read"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_sees_another_tenant() {
        let mut caller = Caller {
            actor: "ann".into(),
            tenant: "acme".into(),
            permissions: Permissions::Only(vec!["instance.read".into()]),
        };
        assert!(caller.may("instance.read") && !caller.may("instance.create"));
        assert!(caller.sees("acme") && !caller.sees("other") && !caller.sees(kernel::PLATFORM));
        caller.permissions = Permissions::All;
        assert!(caller.sees("other") && caller.may("anything"));
    }
}
