//! The operations on tenants, users, tokens, sessions and quotas, and the check of every caller.

pub mod auth;
pub mod logins;
pub mod oidc;
pub mod quotas;
pub mod sessions;
pub mod tenants;
pub mod tokens;
pub mod users;

use crate::adapters::passwords::Passwords;
use auth::Doorkeeper;
use bus::Desk;
use chassis::Sealer;
use contracts::gateway::v1::quota_service_server::QuotaServiceServer;
use contracts::gateway::v1::session_service_server::SessionServiceServer;
use contracts::gateway::v1::tenant_service_server::TenantServiceServer;
use contracts::gateway::v1::token_service_server::TokenServiceServer;
use contracts::gateway::v1::user_service_server::UserServiceServer;
use gateway_api::adapters::keys::TokenKey;
use gateway_api::api::accept::Requests;
use kernel::quota::Limits;
use logins::Logins;
use std::sync::Arc;
use tonic::service::RoutesBuilder;

/// What the operations work with.
pub struct Access {
    /// Tables, clock and way out.
    pub desk: Desk,
    /// Takes requests on.
    pub requests: Requests,
    /// Seals password hashes and what a login carries with it.
    pub sealer: Arc<Sealer>,
    /// Hashes tokens.
    pub key: Arc<TokenKey>,
    /// Who came in, to be forgotten when something about them changes.
    pub doorkeeper: Arc<Doorkeeper>,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// Wrong logins.
    pub logins: Logins,
    /// The identity provider, when there is one.
    pub oidc: Option<oidc::Oidc>,
    /// What tenants may have when they are made; `None` = no quota.
    pub new_tenants: Option<Limits>,
}

impl Access {
    /// Puts its services among the others.
    pub fn mount(self: &Arc<Self>, routes: &mut RoutesBuilder) {
        routes
            .add_service(TenantServiceServer::from_arc(self.clone()))
            .add_service(QuotaServiceServer::from_arc(self.clone()))
            .add_service(UserServiceServer::from_arc(self.clone()))
            .add_service(TokenServiceServer::from_arc(self.clone()))
            .add_service(SessionServiceServer::from_arc(self.clone()));
    }
}
