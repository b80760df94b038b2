//! Every service of the public interface, answered by the script of the test.

use super::fake::{Answer, Fake};
use contracts::gateway::v1::*;
use prost::Message as _;
use std::pin::Pin;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::server::Router;
use tonic::{Request, Response, Status, Streaming};

#[derive(Clone)]
pub struct Services(pub Fake);

type Answers<M> = Pin<Box<dyn Stream<Item = Result<M, Status>> + Send>>;

impl Services {
    pub fn router(self, mut server: tonic::transport::Server) -> Router {
        server
            .add_service(instance_service_server::InstanceServiceServer::new(self.clone()))
            .add_service(image_service_server::ImageServiceServer::new(self.clone()))
            .add_service(flavor_service_server::FlavorServiceServer::new(self.clone()))
            .add_service(host_service_server::HostServiceServer::new(self.clone()))
            .add_service(operation_service_server::OperationServiceServer::new(self.clone()))
            .add_service(platform_service_server::PlatformServiceServer::new(self.clone()))
            .add_service(event_service_server::EventServiceServer::new(self))
    }
}

#[tonic::async_trait]
impl instance_service_server::InstanceService for Services {
    type AttachConsoleStream = Answers<AttachConsoleResponse>;

    /// A guest that shouts back.
    async fn attach_console(
        &self,
        r: Request<Streaming<AttachConsoleRequest>>,
    ) -> Result<Response<Self::AttachConsoleStream>, Status> {
        let headers = r.metadata().clone();
        let mut typed = r.into_inner();
        let first = typed.message().await?.unwrap_or_default();
        self.0.record("AttachConsole", &headers, first.encode_to_vec());
        self.0.reply::<AttachConsoleResponse>("AttachConsole").await?;
        let shout = |m: AttachConsoleRequest| AttachConsoleResponse { output: m.input.to_ascii_uppercase() };
        Ok(Response::new(Box::pin(typed.map(move |m| m.map(shout)))))
    }

    async fn create_instance(
        &self,
        r: Request<CreateInstanceRequest>,
    ) -> Result<Response<CreateInstanceResponse>, Status> {
        self.0.unary("CreateInstance", r).await
    }

    async fn preview_instance(
        &self,
        r: Request<PreviewInstanceRequest>,
    ) -> Result<Response<PreviewInstanceResponse>, Status> {
        self.0.unary("PreviewInstance", r).await
    }

    async fn list_instances(
        &self,
        r: Request<ListInstancesRequest>,
    ) -> Result<Response<ListInstancesResponse>, Status> {
        self.0.unary("ListInstances", r).await
    }

    async fn get_instance(
        &self,
        r: Request<GetInstanceRequest>,
    ) -> Result<Response<GetInstanceResponse>, Status> {
        self.0.unary("GetInstance", r).await
    }

    async fn start_instance(
        &self,
        r: Request<StartInstanceRequest>,
    ) -> Result<Response<OperationResponse>, Status> {
        self.0.unary("StartInstance", r).await
    }

    async fn stop_instance(
        &self,
        r: Request<StopInstanceRequest>,
    ) -> Result<Response<OperationResponse>, Status> {
        self.0.unary("StopInstance", r).await
    }

    async fn reboot_instance(
        &self,
        r: Request<RebootInstanceRequest>,
    ) -> Result<Response<OperationResponse>, Status> {
        self.0.unary("RebootInstance", r).await
    }

    async fn pause_instance(
        &self,
        r: Request<PauseInstanceRequest>,
    ) -> Result<Response<OperationResponse>, Status> {
        self.0.unary("PauseInstance", r).await
    }

    async fn expect_guest_agent(
        &self,
        r: Request<ExpectGuestAgentRequest>,
    ) -> Result<Response<OperationResponse>, Status> {
        self.0.unary("ExpectGuestAgent", r).await
    }

    async fn resume_instance(
        &self,
        r: Request<ResumeInstanceRequest>,
    ) -> Result<Response<OperationResponse>, Status> {
        self.0.unary("ResumeInstance", r).await
    }

    async fn delete_instance(
        &self,
        r: Request<DeleteInstanceRequest>,
    ) -> Result<Response<OperationResponse>, Status> {
        self.0.unary("DeleteInstance", r).await
    }

    async fn restore_instance(
        &self,
        r: Request<RestoreInstanceRequest>,
    ) -> Result<Response<OperationResponse>, Status> {
        self.0.unary("RestoreInstance", r).await
    }

    async fn drop_instance_disks(
        &self,
        r: Request<DropInstanceDisksRequest>,
    ) -> Result<Response<OperationResponse>, Status> {
        self.0.unary("DropInstanceDisks", r).await
    }

    async fn exec_instance(
        &self,
        r: Request<ExecInstanceRequest>,
    ) -> Result<Response<OperationResponse>, Status> {
        self.0.unary("ExecInstance", r).await
    }

    async fn get_exec_output(
        &self,
        r: Request<GetExecOutputRequest>,
    ) -> Result<Response<GetExecOutputResponse>, Status> {
        self.0.unary("GetExecOutput", r).await
    }

    async fn explain_instance(
        &self,
        r: Request<ExplainInstanceRequest>,
    ) -> Result<Response<ExplainInstanceResponse>, Status> {
        self.0.unary("ExplainInstance", r).await
    }
}

#[tonic::async_trait]
impl image_service_server::ImageService for Services {
    async fn upload_file(
        &self,
        r: Request<Streaming<UploadFileRequest>>,
    ) -> Result<Response<UploadFileResponse>, Status> {
        let headers = r.metadata().clone();
        let (mut parts, mut body, mut said) = (r.into_inner(), Vec::new(), 0);
        if let Answer::Cut = self.0.next("UploadFile/begin") {
            parts.message().await?;
            self.0.record("UploadFile/cut", &headers, Vec::new());
            self.0.cut_connections();
            return std::future::pending().await;
        }
        while let Some(part) = parts.message().await? {
            if part.chunk.len() > 1 << 20 {
                return Err(Status::invalid_argument("a chunk is larger than 1 MiB"));
            }
            said = said.max(part.size_bytes);
            body.extend(part.chunk);
        }
        if said != body.len() as u64 {
            return Err(Status::invalid_argument(format!(
                "{said} bytes were announced, {} came",
                body.len()
            )));
        }
        self.0.record("UploadFile", &headers, body);
        self.0.reply("UploadFile").await.map(Response::new)
    }

    async fn import_image(
        &self,
        r: Request<ImportImageRequest>,
    ) -> Result<Response<ImportImageResponse>, Status> {
        self.0.unary("ImportImage", r).await
    }

    async fn list_images(
        &self,
        r: Request<ListImagesRequest>,
    ) -> Result<Response<ListImagesResponse>, Status> {
        self.0.unary("ListImages", r).await
    }

    async fn get_image(&self, r: Request<GetImageRequest>) -> Result<Response<GetImageResponse>, Status> {
        self.0.unary("GetImage", r).await
    }

    async fn delete_image(
        &self,
        r: Request<DeleteImageRequest>,
    ) -> Result<Response<OperationResponse>, Status> {
        self.0.unary("DeleteImage", r).await
    }
}

#[tonic::async_trait]
impl flavor_service_server::FlavorService for Services {
    async fn list_flavors(
        &self,
        r: Request<ListFlavorsRequest>,
    ) -> Result<Response<ListFlavorsResponse>, Status> {
        self.0.unary("ListFlavors", r).await
    }

    async fn create_flavor(
        &self,
        r: Request<CreateFlavorRequest>,
    ) -> Result<Response<CreateFlavorResponse>, Status> {
        self.0.unary("CreateFlavor", r).await
    }
}

#[tonic::async_trait]
impl host_service_server::HostService for Services {
    async fn list_hosts(&self, r: Request<ListHostsRequest>) -> Result<Response<ListHostsResponse>, Status> {
        self.0.unary("ListHosts", r).await
    }

    async fn get_host(&self, r: Request<GetHostRequest>) -> Result<Response<GetHostResponse>, Status> {
        self.0.unary("GetHost", r).await
    }

    async fn cordon_host(
        &self,
        r: Request<CordonHostRequest>,
    ) -> Result<Response<OperationResponse>, Status> {
        self.0.unary("CordonHost", r).await
    }

    async fn drop_quarantined(
        &self,
        r: Request<DropQuarantinedRequest>,
    ) -> Result<Response<OperationResponse>, Status> {
        self.0.unary("DropQuarantined", r).await
    }

    async fn uncordon_host(
        &self,
        r: Request<UncordonHostRequest>,
    ) -> Result<Response<OperationResponse>, Status> {
        self.0.unary("UncordonHost", r).await
    }

    async fn set_host_overcommit(
        &self,
        r: Request<SetHostOvercommitRequest>,
    ) -> Result<Response<OperationResponse>, Status> {
        self.0.unary("SetHostOvercommit", r).await
    }
}

#[tonic::async_trait]
impl operation_service_server::OperationService for Services {
    async fn list_operations(
        &self,
        r: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        self.0.unary("ListOperations", r).await
    }

    async fn get_operation(
        &self,
        r: Request<GetOperationRequest>,
    ) -> Result<Response<GetOperationResponse>, Status> {
        self.0.unary("GetOperation", r).await
    }

    async fn wait_operation(
        &self,
        r: Request<WaitOperationRequest>,
    ) -> Result<Response<GetOperationResponse>, Status> {
        self.0.unary("WaitOperation", r).await
    }
}

#[tonic::async_trait]
impl platform_service_server::PlatformService for Services {
    async fn get_status(&self, r: Request<GetStatusRequest>) -> Result<Response<GetStatusResponse>, Status> {
        self.0.unary("GetStatus", r).await
    }

    async fn get_diagnosis(
        &self,
        r: Request<GetDiagnosisRequest>,
    ) -> Result<Response<GetDiagnosisResponse>, Status> {
        self.0.unary("GetDiagnosis", r).await
    }

    async fn list_dead_letters(
        &self,
        r: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        self.0.unary("ListDeadLetters", r).await
    }

    async fn get_dead_letter(
        &self,
        r: Request<GetDeadLetterRequest>,
    ) -> Result<Response<GetDeadLetterResponse>, Status> {
        self.0.unary("GetDeadLetter", r).await
    }

    async fn replay_dead_letter(
        &self,
        r: Request<ReplayDeadLetterRequest>,
    ) -> Result<Response<ReplayDeadLetterResponse>, Status> {
        self.0.unary("ReplayDeadLetter", r).await
    }

    async fn drop_dead_letter(
        &self,
        r: Request<DropDeadLetterRequest>,
    ) -> Result<Response<DropDeadLetterResponse>, Status> {
        self.0.unary("DropDeadLetter", r).await
    }
}

#[tonic::async_trait]
impl event_service_server::EventService for Services {
    type WatchEventsStream = Answers<WatchEventsResponse>;

    async fn get_async_api(
        &self,
        r: Request<GetAsyncApiRequest>,
    ) -> Result<Response<GetAsyncApiResponse>, Status> {
        self.0.unary("GetAsyncApi", r).await
    }

    async fn list_event_types(
        &self,
        r: Request<ListEventTypesRequest>,
    ) -> Result<Response<ListEventTypesResponse>, Status> {
        self.0.unary("ListEventTypes", r).await
    }

    async fn get_event_schema(
        &self,
        r: Request<GetEventSchemaRequest>,
    ) -> Result<Response<GetEventSchemaResponse>, Status> {
        self.0.unary("GetEventSchema", r).await
    }

    /// Each scripted answer is the answers of one stream, as frames; a status ends the stream, a cut the connection.
    async fn watch_events(
        &self,
        r: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        self.0.record("WatchEvents", r.metadata(), r.get_ref().encode_to_vec());
        let (send, receive) = tokio::sync::mpsc::channel(64);
        let fake = self.0.clone();
        tokio::spawn(async move {
            loop {
                match fake.next("WatchEvents") {
                    Answer::Message(bytes) if bytes.is_empty() => return,
                    Answer::Message(bytes) => {
                        let answer = WatchEventsResponse::decode(bytes.as_slice()).unwrap();
                        if send.send(Ok(answer)).await.is_err() {
                            return;
                        }
                    }
                    Answer::Status(status) => {
                        let _ = send.send(Err(status)).await;
                        return;
                    }
                    Answer::Cut => {
                        // what was said before must be on its way first
                        while send.capacity() < 64 {
                            tokio::task::yield_now().await;
                        }
                        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                        return fake.cut_connections();
                    }
                }
            }
        });
        let stream = tokio_stream::wrappers::ReceiverStream::new(receive);
        Ok(Response::new(Box::pin(stream)))
    }
}
