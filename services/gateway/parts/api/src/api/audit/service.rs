//! Reading records.

use crate::api::caller;
use crate::domain::audit::Filter;
use crate::domain::caller::Caller;
use crate::domain::page::Page;
use crate::domain::violation::Violation;
use crate::store::audit::{self, Order};
use crate::translate::{audit as translate, status};
use ::store::Store;
use bus::Desk;
use contracts::gateway::v1 as wire;
use contracts::gateway::v1::audit_service_server::{AuditService, AuditServiceServer};
use futures::Stream;
use std::pin::Pin;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::service::RoutesBuilder;
use tonic::{Request, Response, Status};

/// Records read at once for an export.
const READ: i64 = 500;
/// Records that may wait for a slow reader.
const WAITING: usize = 64;

/// The records, for those who may read them.
pub struct Records {
    /// Their table, and the clock.
    pub desk: Desk,
    /// Cancelled when the gateway stops: an export ends.
    pub stopping: CancellationToken,
}

impl Records {
    /// Puts its service among the others.
    pub fn mount(self, routes: &mut RoutesBuilder) {
        routes.add_service(AuditServiceServer::new(self));
    }
}

type Answer<T> = Result<Response<T>, Status>;

/// The tenant whose records alone the caller may see; `None` = those of all.
fn confined(caller: &Caller) -> Option<&str> {
    (!caller.may("platform.read")).then_some(caller.tenant.as_str())
}

#[tonic::async_trait]
impl AuditService for Records {
    async fn list_audit(&self, request: Request<wire::ListAuditRequest>) -> Answer<wire::ListAuditResponse> {
        let caller = caller(&request)?;
        let request = request.into_inner();
        let page = Page::read(request.page_size, &request.page_token, 2).map_err(status::invalid)?;
        let after = match page.after.as_slice() {
            [at_us, id] => Some((
                at_us.parse().map_err(|_| {
                    status::invalid(Violation::new("page_token", "this is not a token from the page before"))
                })?,
                id.as_str(),
            )),
            _ => None,
        };
        let wanted = wire::ExportAuditRequest {
            user: request.user,
            object: request.object,
            operation: request.operation,
            outcome: request.outcome,
            since_us: request.since_us,
            until_us: request.until_us,
            tenant: request.tenant,
        };
        let filter = translate::filter(wanted, confined(&caller)).map_err(status::invalid)?;
        let reader = self.desk.store().reader();
        let rows = audit::page(reader, &filter, Order::Newest, after, page.probe()).await;
        let (records, next_page_token) =
            page.cut(rows.map_err(status::broken)?, |row| vec![row.at_us.to_string(), row.id.clone()]);
        Ok(Response::new(wire::ListAuditResponse { records, next_page_token }))
    }

    type ExportAuditStream = Pin<Box<dyn Stream<Item = Result<wire::ExportAuditResponse, Status>> + Send>>;

    async fn export_audit(
        &self,
        request: Request<wire::ExportAuditRequest>,
    ) -> Answer<Self::ExportAuditStream> {
        let caller = caller(&request)?;
        let mut filter =
            translate::filter(request.into_inner(), confined(&caller)).map_err(status::invalid)?;
        if filter.until_us == 0 {
            // records that come while it runs do not keep it running
            filter.until_us = self.desk.clock().now().micros();
        }
        let (out, output) = mpsc::channel(WAITING);
        let (store, stopping) = (self.desk.store().clone(), self.stopping.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {
                    let _ = out.try_send(Err(Status::unavailable("the gateway is stopping; begin again")));
                }
                () = out.closed() => {}
                () = export(&store, &filter, &out) => {}
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(output))))
    }
}

async fn export(
    store: &Store,
    filter: &Filter,
    out: &mpsc::Sender<Result<wire::ExportAuditResponse, Status>>,
) {
    let mut last: Option<(i64, String)> = None;
    loop {
        let after = last.as_ref().map(|(at_us, id)| (*at_us, id.as_str()));
        let rows = match audit::page(store.reader(), filter, Order::Oldest, after, READ).await {
            Ok(rows) => rows,
            Err(error) => {
                let _ = out.send(Err(status::broken(error))).await;
                return;
            }
        };
        let Some(newest) = rows.last() else { return };
        last = Some((newest.at_us, newest.id.clone()));
        for record in rows {
            if out.send(Ok(wire::ExportAuditResponse { record: Some(record) })).await.is_err() {
                return;
            }
        }
    }
}
