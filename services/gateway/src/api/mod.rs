//! The operations of the public interface: one function each, behind both doors.

mod console;
mod diagnosis;
mod exec;
mod flavors;
mod hosts;
mod images;
mod instances;
mod listing;
pub mod lookup;
mod operations;
mod platform;
mod precheck;
mod preview;
mod quarantine;
mod uploads;

use crate::adapters::staging::Staging;
use bus::{Connection, Desk};
use chassis::{Desks, Health, Sealer};
use contracts::gateway::v1 as wire;
use gateway_access::api::Access;
use gateway_api::api::REQUEST_LIMIT;
use gateway_api::api::accept::Requests;
use gateway_api::api::lookup::Lookup;
use gateway_api::server::grpc_health::GrpcHealth;
use gateway_api::wakeups::Wakeups;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use tonic::service::RoutesBuilder;

use wire::flavor_service_server::FlavorServiceServer;
use wire::host_service_server::HostServiceServer;
use wire::image_service_server::ImageServiceServer;
use wire::instance_service_server::InstanceServiceServer;
use wire::operation_service_server::OperationServiceServer;
use wire::platform_service_server::PlatformServiceServer;

/// What the operations work with.
pub struct Api {
    /// Tables, clock and way out.
    pub desk: Desk,
    /// Quotas of tenants.
    pub access: Arc<Access>,
    /// Takes requests on.
    pub requests: Requests,
    /// Finds what requests name.
    pub lookup: Lookup,
    /// The broker, for what is not a message of ours: dead letters, consoles.
    pub bus: Connection,
    /// Seals user data and what runs in guests.
    pub sealer: Arc<Sealer>,
    /// Wakes those who wait for operations.
    pub wakeups: Wakeups,
    /// Where uploads go.
    pub staging: Arc<Staging>,
    /// How the parts of this process are.
    pub health: Health,
    /// The services of this process.
    pub desks: Desks,
    /// Cancelled when the gateway stops: open streams end.
    pub stopping: CancellationToken,
}

impl Api {
    /// Its gRPC services, with reflection and health, among those of the parts.
    pub fn mount(self: &Arc<Self>, routes: &mut RoutesBuilder) -> anyhow::Result<()> {
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(contracts::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let health = tonic_health::pb::health_server::HealthServer::from_arc(Arc::new(GrpcHealth::new(
            self.health.clone(),
        )));
        routes
            .add_service(
                InstanceServiceServer::from_arc(self.clone()).max_decoding_message_size(REQUEST_LIMIT),
            )
            .add_service(ImageServiceServer::from_arc(self.clone()).max_decoding_message_size(REQUEST_LIMIT))
            .add_service(FlavorServiceServer::from_arc(self.clone()))
            .add_service(HostServiceServer::from_arc(self.clone()))
            .add_service(OperationServiceServer::from_arc(self.clone()))
            .add_service(PlatformServiceServer::from_arc(self.clone()))
            .add_service(health)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?);
        Ok(())
    }
}
