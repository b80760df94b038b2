//! Serial consoles: bytes both ways between a caller and the host that runs the instance.

use crate::api::Api;
use bytes::Bytes;
use contracts::gateway::v1::{AttachConsoleRequest, AttachConsoleResponse};
use futures::Stream;
use gateway_api::api::audit::Draft;
use gateway_api::api::caller;
use gateway_api::domain::violation::Violation;
use gateway_api::translate::status;
use kernel::Refusal;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status, Streaming};

/// What the guest writes.
pub type Output = Pin<Box<dyn Stream<Item = Result<AttachConsoleResponse, Status>> + Send>>;

/// Chunks that may wait for a slow reader; the guest's host waits then.
const WAITING: usize = 16;

impl Api {
    pub(super) async fn console(
        &self,
        request: Request<Streaming<AttachConsoleRequest>>,
    ) -> Result<Response<Output>, Status> {
        let caller = caller(&request)?;
        let draft = request.extensions().get::<Arc<Draft>>().cloned();
        let mut typed = request.into_inner();
        let first = typed.message().await?;
        let first = first.ok_or_else(|| {
            status::invalid(Violation::new("instance", "the first message names the instance to attach to"))
        })?;
        if let Some(draft) = &draft {
            draft.named(&first.instance);
        }
        let found = self.living_instance(&caller, &first.instance).await?;
        if let Some(draft) = &draft {
            draft.found(&found.id, &found.name, found.revision);
        }
        let host = self.host_of(&found).await?;
        let subject = bus::live::console_subject(&host.agent_id);
        let channel =
            bus::live::open(&self.bus, &subject, Bytes::from(found.id.clone())).await.map_err(|e| {
                let text = format!("the console of {} cannot be reached: {e}", found.name);
                status::refused(Code::Unavailable, Refusal::new("CONSOLE_UNREACHABLE", text), "instance")
            })?;
        tracing::info!(instance = found.id, actor = caller.actor, "console attached");
        let (out, output) = mpsc::channel(WAITING);
        let stopping = self.stopping.clone();
        tokio::spawn(async move {
            let (to_guest, mut from_guest) = (channel.sender, channel.receiver);
            if !first.input.is_empty() && to_guest.send(first.input.into()).await.is_err() {
                return;
            }
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = out.closed() => return,
                    message = typed.message() => match message {
                        Ok(Some(message)) => if to_guest.send(message.input.into()).await.is_err() { return },
                        _ => return,
                    },
                    chunk = from_guest.recv() => match chunk {
                        Some(chunk) => {
                            let response = AttachConsoleResponse { output: chunk.to_vec() };
                            if out.send(Ok(response)).await.is_err() { return }
                        }
                        None => return,
                    },
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(output))))
    }
}
