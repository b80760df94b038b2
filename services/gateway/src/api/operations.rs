//! Operations.

use crate::api::Api;
use contracts::gateway::v1 as wire;
use contracts::gateway::v1::operation_service_server::OperationService;
use gateway_api::api::caller;
use gateway_api::domain::page::Page;
use gateway_api::domain::violation::Violation;
use gateway_api::store::operations;
use gateway_api::translate::operations::is_final;
use gateway_api::translate::{redact, status};
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

const WAIT_DEFAULT_MS: u32 = 30_000;
const WAIT_LIMIT_MS: u32 = 60_000;

type Answer<T> = Result<Response<T>, Status>;

impl Api {
    async fn operation(&self, tenant: &str, id: &str) -> Result<wire::Operation, Status> {
        let found = operations::get(self.desk.store().reader(), tenant, id).await.map_err(status::broken)?;
        found.ok_or_else(|| status::not_found("operation", "operation", id))
    }
}

fn answer(operation: wire::Operation) -> Response<wire::GetOperationResponse> {
    Response::new(wire::GetOperationResponse { operation: Some(redact::operation(operation)) })
}

#[tonic::async_trait]
impl OperationService for Api {
    async fn list_operations(
        &self,
        request: Request<wire::ListOperationsRequest>,
    ) -> Answer<wire::ListOperationsResponse> {
        let caller = caller(&request)?;
        let wire::ListOperationsRequest { page_size, page_token, object_id } = request.into_inner();
        let page = Page::read(page_size, &page_token, 1).map_err(status::invalid)?;
        let rows = operations::page(self.desk.store().reader(), &caller.tenant, &object_id, &page).await;
        let (rows, next_page_token) = page.cut(rows.map_err(status::broken)?, |row| vec![row.id.clone()]);
        let operations = rows.into_iter().map(redact::operation).collect();
        Ok(Response::new(wire::ListOperationsResponse { operations, next_page_token }))
    }

    async fn get_operation(
        &self,
        request: Request<wire::GetOperationRequest>,
    ) -> Answer<wire::GetOperationResponse> {
        let caller = caller(&request)?;
        Ok(answer(self.operation(&caller.tenant, &request.get_ref().operation).await?))
    }

    async fn wait_operation(
        &self,
        request: Request<wire::WaitOperationRequest>,
    ) -> Answer<wire::GetOperationResponse> {
        let caller = caller(&request)?;
        let wire::WaitOperationRequest { operation: id, after_revision, timeout_ms } = request.into_inner();
        let timeout_ms = match timeout_ms {
            0 => WAIT_DEFAULT_MS,
            1..=WAIT_LIMIT_MS => timeout_ms,
            _ => {
                let text = format!("{timeout_ms} milliseconds are too many: at most {WAIT_LIMIT_MS}");
                return Err(status::invalid(Violation::new("timeout_ms", text)));
            }
        };
        let end = Instant::now() + Duration::from_millis(timeout_ms.into());
        // listening begins before looking: a change in between is not missed
        let mut listener = self.wakeups.listen();
        loop {
            let operation = self.operation(&caller.tenant, &id).await?;
            let over = Instant::now() >= end || self.stopping.is_cancelled();
            if operation.revision > after_revision || is_final(&operation) || over {
                return Ok(answer(operation));
            }
            tokio::select! {
                () = listener.changed(&id) => {}
                () = tokio::time::sleep_until(end) => {}
                () = self.stopping.cancelled() => {}
            }
        }
    }
}
