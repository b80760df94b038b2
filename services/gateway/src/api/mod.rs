//! The operations of the public interface: one function each, behind both doors.

pub mod auth;
mod console;
mod diagnosis;
pub mod events;
mod exec;
pub mod external_events;
mod flavors;
mod hosts;
mod images;
mod instances;
pub mod logins;
mod lookup;
pub mod oidc;
mod operations;
mod platform;
mod precheck;
mod preview;
mod quarantine;
mod quotas;
mod sessions;
mod tenants;
mod tokens;
mod uploads;
mod users;
mod webhooks;

use crate::adapters::passwords::Passwords;
use crate::adapters::staging::Staging;
use crate::adapters::webhooks::Sender;
use crate::wakeups::Wakeups;
use auth::Doorkeeper;
use bus::{Connection, Desk};
use chassis::{Desks, Health, Sealer};
use contracts::gateway::v1 as wire;
use external_events::{ExternalEvents, Publisher};
use gateway_api::adapters::keys::TokenKey;
use gateway_api::api::REQUEST_LIMIT;
use gateway_api::api::accept::Requests;
use gateway_api::api::audit::Records;
use gateway_api::server::grpc_health::GrpcHealth;
use kernel::quota::Limits;
use logins::Logins;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use wire::audit_service_server::AuditServiceServer;
use wire::event_service_server::EventServiceServer;
use wire::external_event_service_server::ExternalEventServiceServer;
use wire::flavor_service_server::FlavorServiceServer;
use wire::host_service_server::HostServiceServer;
use wire::image_service_server::ImageServiceServer;
use wire::instance_service_server::InstanceServiceServer;
use wire::operation_service_server::OperationServiceServer;
use wire::platform_service_server::PlatformServiceServer;
use wire::quota_service_server::QuotaServiceServer;
use wire::session_service_server::SessionServiceServer;
use wire::tenant_service_server::TenantServiceServer;
use wire::token_service_server::TokenServiceServer;
use wire::user_service_server::UserServiceServer;
use wire::webhook_service_server::WebhookServiceServer;

/// What the operations work with.
pub struct Api {
    /// Tables, clock and way out.
    pub desk: Desk,
    /// Takes requests on.
    pub requests: Requests,
    /// The broker, for what is not a message of ours: event reading, dead letters, consoles.
    pub bus: Connection,
    /// Seals user data and what runs in guests.
    pub sealer: Arc<Sealer>,
    /// Tells requests apart, and recognises tokens.
    pub key: Arc<TokenKey>,
    /// Who came in, to be forgotten when something about them changes.
    pub doorkeeper: Arc<Doorkeeper>,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// Wrong logins.
    pub logins: Logins,
    /// Takes events of other systems.
    pub external: ExternalEvents,
    /// The identity provider, when there is one.
    pub oidc: Option<oidc::Oidc>,
    /// Wakes those who wait for operations.
    pub wakeups: Wakeups,
    /// Who reads the stream of events.
    pub event_streams: Arc<events::OpenStreams>,
    /// Where uploads go.
    pub staging: Arc<Staging>,
    /// What tenants may have when they are made; `None` = no quota.
    pub new_tenants: Option<Limits>,
    /// Requests to receivers of webhooks.
    pub sender: Sender,
    /// Woken when a webhook changed.
    pub couriers: Arc<Notify>,
    /// How the parts of this process are.
    pub health: Health,
    /// The services of this process.
    pub desks: Desks,
    /// Cancelled when the gateway stops: open streams end.
    pub stopping: CancellationToken,
}

impl Api {
    /// All gRPC services of the public interface, with reflection and health.
    pub fn routes(self: &Arc<Self>) -> anyhow::Result<Routes> {
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(contracts::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let health = tonic_health::pb::health_server::HealthServer::from_arc(Arc::new(GrpcHealth::new(
            self.health.clone(),
        )));
        let records = Records { desk: self.desk.clone(), stopping: self.stopping.clone() };
        let mut routes = Routes::builder();
        routes
            .add_service(
                InstanceServiceServer::from_arc(self.clone()).max_decoding_message_size(REQUEST_LIMIT),
            )
            .add_service(ImageServiceServer::from_arc(self.clone()).max_decoding_message_size(REQUEST_LIMIT))
            .add_service(FlavorServiceServer::from_arc(self.clone()))
            .add_service(HostServiceServer::from_arc(self.clone()))
            .add_service(OperationServiceServer::from_arc(self.clone()))
            .add_service(EventServiceServer::from_arc(self.clone()))
            .add_service(
                ExternalEventServiceServer::new(Publisher(self.clone()))
                    .max_decoding_message_size(REQUEST_LIMIT),
            )
            .add_service(PlatformServiceServer::from_arc(self.clone()))
            .add_service(AuditServiceServer::new(records))
            .add_service(TenantServiceServer::from_arc(self.clone()))
            .add_service(QuotaServiceServer::from_arc(self.clone()))
            .add_service(UserServiceServer::from_arc(self.clone()))
            .add_service(TokenServiceServer::from_arc(self.clone()))
            .add_service(SessionServiceServer::from_arc(self.clone()))
            .add_service(WebhookServiceServer::from_arc(self.clone()))
            .add_service(health)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?);
        Ok(routes.routes())
    }
}
