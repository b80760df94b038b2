//! Files on their way to the staging area.

use crate::adapters::staging::{Staging, StagingError};
use crate::api::Api;
use contracts::gateway::v1::{UploadFileRequest, UploadFileResponse};
use gateway_api::api::audit::Draft;
use gateway_api::api::caller;
use gateway_api::domain::violation::Violation;
use gateway_api::store::uploads;
use gateway_api::translate::status;
use kernel::{Refusal, UploadId};
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Request, Response, Status, Streaming};

/// How long an upload may stand still.
const PATIENCE: Duration = Duration::from_secs(60);

impl Api {
    pub(super) async fn upload(
        &self,
        request: Request<Streaming<UploadFileRequest>>,
    ) -> Result<Response<UploadFileResponse>, Status> {
        let tenant = caller(&request)?.tenant;
        let draft = request.extensions().get::<Arc<Draft>>().cloned();
        let staging = self.staging.clone();
        // a task of its own: it cleans up behind itself also when the caller goes away
        let task = tokio::spawn(receive(staging, request.into_inner()));
        let answer = task.await.map_err(status::broken)??;
        let mut tx = self.desk.store().begin().await.map_err(status::broken)?;
        uploads::staged(&mut tx, &answer.upload_id, &tenant).await.map_err(status::broken)?;
        tx.commit().await.map_err(status::broken)?;
        if let Some(draft) = draft {
            draft.found(&answer.upload_id, "", 0);
        }
        Ok(Response::new(answer))
    }
}

async fn receive(
    staging: Arc<Staging>,
    mut chunks: Streaming<UploadFileRequest>,
) -> Result<UploadFileResponse, Status> {
    let id = UploadId::new();
    let mut file = staging.begin(id).await.map_err(failed)?;
    let mut announced = 0;
    loop {
        let next = match tokio::time::timeout(PATIENCE, chunks.message()).await {
            Ok(Ok(next)) => next,
            Ok(Err(status)) => {
                file.abort().await;
                return Err(status);
            }
            Err(_) => {
                file.abort().await;
                return Err(Status::deadline_exceeded("nothing came for a minute; the upload was given up"));
            }
        };
        let Some(UploadFileRequest { size_bytes, chunk }) = next else { break };
        if size_bytes != 0 {
            announced = size_bytes;
        }
        if let Err(error) = file.write(chunk.into(), announced).await {
            file.abort().await;
            return Err(failed(error));
        }
    }
    if announced != 0 && announced != file.size_bytes() {
        let text = format!("{announced} bytes were announced, {} came", file.size_bytes());
        file.abort().await;
        return Err(status::invalid(Violation::new("size_bytes", text)));
    }
    if file.size_bytes() == 0 {
        file.abort().await;
        return Err(status::invalid(Violation::new("chunk", "an empty file is of no use")));
    }
    let (size_bytes, sha256) = file.finish().await.map_err(failed)?;
    tracing::info!(upload = %id, size_bytes, sha256, "file staged");
    Ok(UploadFileResponse { upload_id: id.to_string(), size_bytes, sha256 })
}

fn failed(error: StagingError) -> Status {
    match error {
        StagingError::TooBig { limit } => {
            let text = format!("a file has at most {limit} bytes");
            status::invalid(Violation::new("size_bytes", text))
        }
        StagingError::MoreThanAnnounced { announced } => {
            let text = format!("more bytes came than the {announced} that were announced");
            status::invalid(Violation::new("size_bytes", text))
        }
        StagingError::Full => {
            tracing::error!("the datastore is full");
            let text = "the datastore has no room for this file; remove images or make it bigger";
            status::refused(Code::ResourceExhausted, Refusal::new("DATASTORE_FULL", text), "")
        }
        StagingError::Other(error) => status::broken(error),
    }
}
