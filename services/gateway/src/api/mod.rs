//! The operations of the public interface: one function each, behind both doors.

mod console;
mod diagnosis;
pub mod events;
mod exec;
pub mod external_events;
mod flavors;
mod hosts;
mod images;
mod instances;
mod lookup;
mod operations;
mod platform;
mod precheck;
mod preview;
mod quarantine;
mod uploads;
mod webhooks;

use crate::adapters::staging::Staging;
use crate::adapters::webhooks::Sender;
use crate::wakeups::Wakeups;
use bus::{Connection, Desk};
use chassis::{Desks, Health, Sealer};
use contracts::gateway::v1 as wire;
use external_events::{ExternalEvents, Publisher};
use gateway_access::api::Access;
use gateway_api::api::REQUEST_LIMIT;
use gateway_api::api::accept::Requests;
use gateway_api::api::audit::Records;
use gateway_api::server::grpc_health::GrpcHealth;
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
use wire::webhook_service_server::WebhookServiceServer;

/// What the operations work with.
pub struct Api {
    /// Tables, clock and way out.
    pub desk: Desk,
    /// Quotas of tenants.
    pub access: Arc<Access>,
    /// Takes requests on.
    pub requests: Requests,
    /// The broker, for what is not a message of ours: event reading, dead letters, consoles.
    pub bus: Connection,
    /// Seals user data and what runs in guests.
    pub sealer: Arc<Sealer>,
    /// Takes events of other systems.
    pub external: ExternalEvents,
    /// Wakes those who wait for operations.
    pub wakeups: Wakeups,
    /// Who reads the stream of events.
    pub event_streams: Arc<events::OpenStreams>,
    /// Where uploads go.
    pub staging: Arc<Staging>,
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
            .add_service(WebhookServiceServer::from_arc(self.clone()))
            .add_service(health)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?);
        self.access.mount(&mut routes);
        Ok(routes.routes())
    }
}
