//! The event stream, as a caller may see it, and the catalogue of what is in it.

mod labels;
mod open;
mod reading;
mod wanted;

pub use open::{OpenStreams, ReaderLimits};

use crate::translate::{catalogue, cloudevents};
use bus::watch::Item;
use bus::{Connection, Desk};
use contracts::gateway::v1::event_service_server::EventService;
use contracts::gateway::v1::{
    EventRecord, Gap, GetAsyncApiRequest, GetAsyncApiResponse, GetEventSchemaRequest, GetEventSchemaResponse,
    ListEventTypesRequest, ListEventTypesResponse, WatchEventsRequest, WatchEventsResponse,
    watch_events_response,
};
use futures::{Stream, StreamExt, stream};
use gateway_api::api::caller;
use gateway_api::domain::caller::Caller;
use gateway_api::translate::{redact, status};
use reading::{Answer, Reading};
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use wanted::{Format, Wanted};

/// Events that may wait for a slow reader; beyond it reading from the broker waits, for this reader alone.
const WAITING: usize = 64;

/// The stream of events, for readers.
pub struct Events {
    /// The clock.
    pub desk: Desk,
    /// The broker, which has the stream.
    pub bus: Connection,
    /// Who reads it.
    pub event_streams: Arc<OpenStreams>,
    /// Cancelled when the gateway stops: open streams end.
    pub stopping: CancellationToken,
}

#[tonic::async_trait]
impl EventService for Events {
    type WatchEventsStream = Pin<Box<dyn Stream<Item = Answer> + Send>>;

    async fn watch_events(
        &self,
        request: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let caller = caller(&request)?;
        let wanted = Wanted::read(request.into_inner()).map_err(status::invalid)?;
        let place = self.event_streams.enter(&caller.tenant)?;
        let (out, output) = mpsc::channel(WAITING);
        let (farewell, last) = oneshot::channel();
        let reading = Reading {
            bus: self.bus.clone(),
            caller,
            wanted,
            out,
            stopping: self.stopping.clone(),
            clock: self.desk.clock().clone(),
            patience: self.event_streams.patience(),
        };
        tokio::spawn(async move {
            if let Some(status) = reading.run(place).await {
                let _ = farewell.send(status);
            }
        });
        // a reader whose buffer is full is told why it ends once it has read what is in there
        let last = stream::once(last).filter_map(async |status| status.ok().map(Err));
        Ok(Response::new(Box::pin(ReceiverStream::new(output).chain(last))))
    }

    async fn get_async_api(
        &self,
        _: Request<GetAsyncApiRequest>,
    ) -> Result<Response<GetAsyncApiResponse>, Status> {
        let document = contracts::to_struct(catalogue::asyncapi().clone());
        Ok(Response::new(GetAsyncApiResponse { document: Some(document) }))
    }

    async fn list_event_types(
        &self,
        _: Request<ListEventTypesRequest>,
    ) -> Result<Response<ListEventTypesResponse>, Status> {
        Ok(Response::new(ListEventTypesResponse { types: catalogue::types() }))
    }

    async fn get_event_schema(
        &self,
        request: Request<GetEventSchemaRequest>,
    ) -> Result<Response<GetEventSchemaResponse>, Status> {
        let name = request.into_inner().r#type;
        let schema =
            catalogue::schema(&name).ok_or_else(|| status::not_found("event type", "type", &name))?;
        Ok(Response::new(GetEventSchemaResponse { schema: Some(contracts::to_struct(schema)) }))
    }
}

/// What the caller gets of an item that is for them.
fn shown(item: Item, caller: &Caller, format: Format) -> WatchEventsResponse {
    let item = match item {
        Item::Gap { reason, resync, .. } => watch_events_response::Item::Gap(Gap {
            reason,
            resync_after_sequence: resync.after,
            incarnation: resync.incarnation,
        }),
        Item::Event { sequence, incarnation, envelope } => {
            let subject = &envelope.subject;
            let data =
                contracts::entry(&subject.service, &subject.version, &subject.name).and_then(|entry| {
                    redact::json(entry.full_name, &envelope.payload, &|permission| caller.may(permission))
                });
            let record = EventRecord {
                sequence,
                incarnation,
                id: envelope.id.to_string(),
                r#type: format!("{}.{}", subject.service, subject.name),
                tenant: subject.tenant.clone(),
                object_id: subject.key.clone(),
                actor: envelope.cause.actor.clone(),
                correlation_id: envelope.cause.correlation.to_string(),
                causation_id: envelope.cause.causation.map(|id| id.to_string()).unwrap_or_default(),
                occurred_at_us: envelope.occurred_at.micros(),
                data: data.map(contracts::to_struct),
            };
            match format {
                Format::Berth => watch_events_response::Item::Event(record),
                Format::CloudEvents => {
                    let text = cloudevents::outgoing(&record, &envelope.payload);
                    let event = serde_json::from_str(&text).unwrap_or_default();
                    watch_events_response::Item::CloudEvent(contracts::to_struct(event))
                }
            }
        }
    };
    WatchEventsResponse { item: Some(item) }
}
