//! Settings of the identity provider.

use crate::adapters::oidc::{Provider, ProviderSettings};
use crate::api::oidc::Oidc;
use crate::domain::oidc::Mapping;
use anyhow::Context;
use gateway_api::domain::permissions::Role;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The identity provider whose word is taken, and what it means here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OidcSettings {
    /// "https://id.example.com/realms/a"; "" = nobody logs in through a provider.
    pub issuer: String,
    /// What the provider calls this platform.
    pub client_id: String,
    /// A file with the client's secret; "" = a public client: the proof key is all there is.
    pub client_secret_file: PathBuf,
    /// Certificate authority of the provider (PEM); "" = the system's.
    pub ca_file: PathBuf,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// The claim that holds the name of the user.
    pub user_claim: String,
    /// Where users are at home, when no claim says it; "platform" = nowhere but on the platform.
    pub tenant: String,
    /// The claim that holds the tenant; "" = `tenant` is that of everybody.
    pub tenant_claim: String,
    /// The claim that lists the groups of a user.
    pub groups_claim: String,
    /// The role that a group gives where the user is at home: `ops = "operator"`.
    pub roles: BTreeMap<String, String>,
    /// Users are made when they first come, and have the roles of their groups each time. Otherwise an administrator makes
    /// them (`berth user create ann --oidc`) and gives them roles.
    pub provision: bool,
}

impl Default for OidcSettings {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            client_id: String::new(),
            client_secret_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            scopes: ["openid", "profile"].map(str::to_owned).to_vec(),
            user_claim: "preferred_username".to_owned(),
            tenant: String::new(),
            tenant_claim: String::new(),
            groups_claim: "groups".to_owned(),
            roles: BTreeMap::new(),
            provision: false,
        }
    }
}

impl OidcSettings {
    /// The provider as the settings have it; `None`: there is none.
    pub fn open(&self) -> anyhow::Result<Option<Oidc>> {
        if self.issuer.is_empty() {
            return Ok(None);
        }
        if self.client_id.is_empty() {
            anyhow::bail!("oidc.client_id is empty: write what the provider calls this platform");
        }
        if !self.scopes.iter().any(|scope| scope == "openid") {
            anyhow::bail!("oidc.scopes lacks \"openid\", without which a provider says nothing");
        }
        let read = |path: &PathBuf| match path.as_os_str().is_empty() {
            true => Ok(None),
            false => {
                std::fs::read(path).map(Some).with_context(|| format!("oidc: reading {}", path.display()))
            }
        };
        let role = |(group, role): (&String, &String)| {
            let known = Role::of(role).with_context(|| {
                format!("oidc.roles.{group}: {role:?} is no role: admin, operator, developer or auditor")
            })?;
            anyhow::Ok((group.clone(), known))
        };
        let mapping = Mapping {
            user_claim: self.user_claim.clone(),
            tenant: self.tenant.clone(),
            tenant_claim: self.tenant_claim.clone(),
            groups_claim: self.groups_claim.clone(),
            roles: self.roles.iter().map(role).collect::<anyhow::Result<_>>()?,
        };
        mapping.check().map_err(anyhow::Error::msg)?;
        let secret = read(&self.client_secret_file)?.unwrap_or_default();
        let provider = Provider::new(ProviderSettings {
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            client_secret: String::from_utf8(secret)
                .context("oidc.client_secret_file is not text")?
                .trim()
                .to_owned(),
            scopes: self.scopes.clone(),
            ca: read(&self.ca_file)?,
        })?;
        Ok(Some(Oidc { provider, mapping, provision: self.provision }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_settings_is_said_at_the_start() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let right = OidcSettings {
            issuer: "https://id.example.com".into(),
            client_id: "berth".into(),
            tenant: "acme".into(),
            roles: [("ops".to_owned(), "operator".to_owned())].into(),
            ..OidcSettings::default()
        };
        assert!(OidcSettings::default().open().expect("off").is_none());
        assert!(right.open().expect("right").is_some());
        type Change = fn(&mut OidcSettings);
        let cases: [(Change, &str); 7] = [
            (|s| s.issuer = "http://id.example.com".into(), "https://"),
            (|s| s.issuer = "id".into(), "URL"),
            (|s| s.client_id.clear(), "client_id"),
            (|s| s.scopes = vec!["profile".into()], "openid"),
            (|s| s.tenant.clear(), "oidc.tenant"),
            (|s| s.roles = [("ops".to_owned(), "root".to_owned())].into(), "no role"),
            (|s| s.client_secret_file = "/nonexistent".into(), "/nonexistent"),
        ];
        for (change, about) in cases {
            let mut wrong = right.clone();
            change(&mut wrong);
            let error = wrong.open().err().expect(about);
            assert!(format!("{error:#}").contains(about), "{about}: {error:#}");
        }
    }
}
