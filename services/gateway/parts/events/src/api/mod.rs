//! The operations on the stream of events, on events of other systems, and on webhooks.

pub mod events;
pub mod external_events;
pub mod webhooks;

use contracts::gateway::v1::event_service_server::EventServiceServer;
use contracts::gateway::v1::external_event_service_server::ExternalEventServiceServer;
use contracts::gateway::v1::webhook_service_server::WebhookServiceServer;
use events::Events;
use external_events::Publisher;
use gateway_api::api::REQUEST_LIMIT;
use tonic::service::RoutesBuilder;
use webhooks::Webhooks;

/// Puts the services of this part among the others.
pub fn mount(routes: &mut RoutesBuilder, events: Events, publisher: Publisher, webhooks: Webhooks) {
    routes
        .add_service(EventServiceServer::new(events))
        .add_service(ExternalEventServiceServer::new(publisher).max_decoding_message_size(REQUEST_LIMIT))
        .add_service(WebhookServiceServer::new(webhooks));
}
