//! Images.

use crate::api::Api;
use crate::api::listing::{self, Wish};
use crate::store::images;
use crate::translate::images::read;
use contracts::gateway::v1 as wire;
use contracts::gateway::v1::image_service_server::ImageService;
use contracts::storage::v1::{DeleteImage, Image, ImagePhase, ImportImage};
use gateway_api::api::accept::{Accepted, Asked};
use gateway_api::api::caller;
use gateway_api::domain::page::Page;
use gateway_api::store::uploads;
use gateway_api::translate::status;
use kernel::ImageId;
use std::collections::BTreeMap;
use tonic::{Request, Response, Status, Streaming};

type Answer<T> = Result<Response<T>, Status>;

impl Api {
    async fn import(&self, asked: &Asked, request: wire::ImportImageRequest) -> Result<Accepted, Status> {
        let request = read(request).map_err(status::invalid)?;
        self.check_import(&asked.caller, &request.name, &request.sources).await?;
        let image_id = ImageId::new().to_string();
        let (id, tenant) = (image_id.clone(), asked.caller.tenant.clone());
        let staged = uploads::named(&request.sources);
        let command = |operation_id| ImportImage {
            image_id: id,
            operation_id,
            tenant,
            name: request.name,
            sources: request.sources,
            architecture: request.architecture,
            kernel_cmdline: request.kernel_cmdline,
            guest_agent: !request.without_guest_agent,
        };
        self.requests.intake.accept(asked, &image_id, (0, staged), command).await
    }
}

#[tonic::async_trait]
impl ImageService for Api {
    async fn import_image(
        &self,
        request: Request<wire::ImportImageRequest>,
    ) -> Answer<wire::ImportImageResponse> {
        let asked = self.requests.asked(&request, "ImportImage")?;
        let accepted = self.requests.once(&asked, self.import(&asked, request.into_inner())).await?;
        let Accepted { object_id: image_id, operation_id, outcome } = accepted;
        let answer = wire::ImportImageResponse { image_id, operation_id, outcome };
        Ok(Response::new(answer))
    }

    async fn list_images(
        &self,
        request: Request<wire::ListImagesRequest>,
    ) -> Answer<wire::ListImagesResponse> {
        let caller = caller(&request)?;
        let wire::ListImagesRequest { page_size, page_token, filter } = request.into_inner();
        let wish = Wish { page_size, page_token, filter, labels: BTreeMap::new(), also: String::new() };
        let (reader, tenant) = (self.desk.store().reader(), caller.tenant.as_str());
        let read = |page: Page| async move { images::page(reader, tenant, &page).await };
        let (images, next_page_token) = listing::page(wish, &[], &caller, read, |row: &Image| row).await?;
        Ok(Response::new(wire::ListImagesResponse { images, next_page_token }))
    }

    async fn get_image(&self, request: Request<wire::GetImageRequest>) -> Answer<wire::GetImageResponse> {
        let caller = caller(&request)?;
        let found = self.image(&caller, &request.get_ref().image).await?;
        Ok(Response::new(wire::GetImageResponse { image: Some(found) }))
    }

    async fn delete_image(
        &self,
        request: Request<wire::DeleteImageRequest>,
    ) -> Answer<wire::OperationResponse> {
        let asked = self.requests.asked(&request, "DeleteImage")?;
        let take = async {
            let name = &request.get_ref().image;
            let found = self.image(&asked.caller, name).await?;
            if found.phase == ImagePhase::Deleted as i32 {
                return Err(status::not_found("image", "image", name));
            }
            asked.found(&found.id, &found.name, found.revision);
            self.check_unused(&found).await?;
            let (image_id, tenant) = (found.id.clone(), found.tenant);
            let command = |operation_id| DeleteImage { image_id, operation_id, tenant };
            self.requests.accept(&asked, &found.id, 0, command).await
        };
        Ok(Response::new(self.requests.once(&asked, take).await?.into()))
    }

    async fn upload_file(
        &self,
        request: Request<Streaming<wire::UploadFileRequest>>,
    ) -> Answer<wire::UploadFileResponse> {
        self.upload(request).await
    }
}
