//! Who somebody at an identity provider is here: which name, tenant and roles the provider's claims lead to.

use super::accounts;
use super::called::Called;
use gateway_api::domain::permissions::Role;
use gateway_api::domain::violation::excerpt;
use kernel::PLATFORM;
use std::collections::{BTreeMap, BTreeSet};

/// What a provider says of somebody: texts and lists of texts by the name of the claim.
pub type Claims = BTreeMap<String, Vec<String>>;

/// Which claims mean what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The claim that holds the name.
    pub user_claim: String,
    /// The tenant of everybody, when no claim says it; "platform" = users of the platform.
    pub tenant: String,
    /// The claim that holds the tenant; "" = none does.
    pub tenant_claim: String,
    /// The claim that lists groups.
    pub groups_claim: String,
    /// Role by group.
    pub roles: BTreeMap<String, Role>,
}

/// Who somebody is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// What they are called there, and here as long as nobody else is.
    pub called: Called,
    /// "acme".
    pub tenant: String,
    /// What their groups give them there.
    pub roles: BTreeSet<Role>,
}

impl Mapping {
    /// Whether it can lead anywhere; the error names the setting.
    pub fn check(&self) -> Result<(), String> {
        if self.user_claim.is_empty() {
            return Err("oidc.user_claim is empty: name the claim that holds the user's name".to_owned());
        }
        if self.tenant.is_empty() && self.tenant_claim.is_empty() {
            return Err(
                "neither oidc.tenant nor oidc.tenant_claim is set: one of them says where users are at home"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// The claims that mean something; those of groups where they give roles.
    pub fn wanted(&self, groups_too: bool) -> Vec<&str> {
        let groups = if groups_too && !self.roles.is_empty() { self.groups_claim.as_str() } else { "" };
        let all = [self.user_claim.as_str(), self.tenant_claim.as_str(), groups];
        all.into_iter().filter(|claim| !claim.is_empty()).collect()
    }

    /// Who this is; the error says which claim is wrong.
    pub fn identity(&self, claims: &Claims) -> Result<Identity, String> {
        let one = |claim: &str| match claims.get(claim).map(Vec::as_slice) {
            Some([value]) => Ok(value.clone()),
            Some(values) if values.len() > 1 => Err(format!("the claim {claim:?} holds several values")),
            _ => Err(format!("the provider says nothing in the claim {claim:?}; ask for the right scopes")),
        };
        let name = one(&self.user_claim)?;
        let called = Called::read(&name)
            .map_err(|wrong| format!("the claim {:?} is no name of a user: {wrong}", self.user_claim))?;
        let tenant =
            if self.tenant_claim.is_empty() { self.tenant.clone() } else { one(&self.tenant_claim)? };
        // a claim never makes somebody a user of the platform: only the setting does
        if !self.tenant_claim.is_empty() || tenant != PLATFORM {
            accounts::tenant_name("tenant", &tenant)
                .map_err(|wrong| format!("{:?} is no tenant: {}", excerpt(&tenant, 80), wrong.message))?;
        }
        let groups = claims.get(&self.groups_claim).into_iter().flatten();
        let roles = groups.filter_map(|group| self.roles.get(group).copied()).collect();
        Ok(Identity { called, tenant, roles })
    }
}

/// Whether a browser may be sent there: a program that listens on the browser's own machine (RFC 8252, section 7.3).
pub fn is_loopback(redirect_uri: &str) -> bool {
    let Some(rest) = redirect_uri.strip_prefix("http://") else { return false };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let port = authority.strip_prefix("127.0.0.1:").or_else(|| authority.strip_prefix("[::1]:"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
    port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0)) && path.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping() -> Mapping {
        Mapping {
            user_claim: "preferred_username".into(),
            tenant: "acme".into(),
            tenant_claim: String::new(),
            groups_claim: "groups".into(),
            roles: [("ops".to_owned(), Role::Operator), ("devs".to_owned(), Role::Developer)].into(),
        }
    }

    fn claims(pairs: &[(&str, &[&str])]) -> Claims {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), v.iter().map(|v| (*v).to_owned()).collect())).collect()
    }

    #[test]
    fn claims_lead_to_a_name_a_tenant_and_roles() {
        let said = claims(&[("preferred_username", &["ann"]), ("groups", &["devs", "ops", "others"])]);
        let who = mapping().identity(&said).expect("right");
        assert_eq!((who.called.name.as_str(), who.tenant.as_str()), ("ann", "acme"));
        assert_eq!(who.roles, BTreeSet::from([Role::Operator, Role::Developer]));
        let by_claim = Mapping { tenant_claim: "org".into(), ..mapping() };
        let said = claims(&[("preferred_username", &["ann"]), ("org", &["bravo"])]);
        let who = by_claim.identity(&said).expect("right");
        assert_eq!((who.tenant.as_str(), who.roles.len()), ("bravo", 0));
        assert_eq!(by_claim.check(), Ok(()));
    }

    #[test]
    fn what_leads_nowhere_is_named_and_no_claim_leads_to_the_platform() {
        let by_claim = Mapping { tenant_claim: "org".into(), ..mapping() };
        let ann: (&str, &[&str]) = ("preferred_username", &["ann"]);
        for (mapping, said, about) in [
            (mapping(), claims(&[]), "preferred_username"),
            (mapping(), claims(&[("preferred_username", &["ann", "bob"])]), "several"),
            (mapping(), claims(&[("preferred_username", &["ann\0"])]), "no name of a user"),
            (by_claim.clone(), claims(&[ann]), "org"),
            (by_claim.clone(), claims(&[ann, ("org", &["platform"])]), "platform"),
            (by_claim, claims(&[ann, ("org", &["a b"])]), "no tenant"),
        ] {
            let wrong = mapping.identity(&said).expect_err(about);
            assert!(wrong.contains(about), "{wrong}");
        }
        let platform = Mapping { tenant: PLATFORM.into(), ..mapping() };
        assert_eq!(platform.identity(&claims(&[ann])).expect("the setting may").tenant, PLATFORM);
        assert!(Mapping { tenant: String::new(), ..mapping() }.check().is_err());
    }

    #[test]
    fn only_programs_on_the_same_machine_are_sent_codes() {
        for right in ["http://127.0.0.1:8000/callback", "http://[::1]:8000/", "http://127.0.0.1:1"] {
            assert!(is_loopback(right), "{right}");
        }
        for wrong in [
            "https://127.0.0.1:8000/",
            "http://localhost:8000/",
            "http://127.0.0.1/",
            "http://127.0.0.1:0/",
            "http://127.0.0.1:80@evil.example/",
            "http://127.0.0.1.evil.example:80/",
            "http://127.0.0.1:80/?x",
            "http://127.0.0.1:80/#x",
            "",
        ] {
            assert!(!is_loopback(wrong), "{wrong}");
        }
    }
}
