//! Images.

use super::accept::Asked;
use super::{Api, caller};
use crate::domain::page::Page;
use crate::store::images;
use crate::translate::images::read;
use crate::translate::status;
use contracts::gateway::v1 as wire;
use contracts::gateway::v1::image_service_server::ImageService;
use contracts::storage::v1::{DeleteImage, ImagePhase, ImportImage};
use kernel::ImageId;
use tonic::{Request, Response, Status, Streaming};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ImageService for Api {
    async fn import_image(
        &self,
        request: Request<wire::ImportImageRequest>,
    ) -> Answer<wire::ImportImageResponse> {
        let asked = Asked::read(&request, "ImportImage")?;
        let accepted = match self.earlier(&asked).await? {
            Some(accepted) => accepted,
            None => {
                let request = read(request.into_inner()).map_err(status::invalid)?;
                let image_id = ImageId::new().to_string();
                let tenant = asked.caller.tenant.clone();
                self.accept(&asked, &image_id, 0, |work, operation_id| {
                    work.tell(&ImportImage {
                        image_id: image_id.clone(),
                        operation_id,
                        tenant,
                        name: request.name,
                        sources: request.sources,
                        architecture: request.architecture,
                        kernel_cmdline: request.kernel_cmdline,
                        guest_agent: !request.without_guest_agent,
                    });
                })
                .await?
            }
        };
        let answer =
            wire::ImportImageResponse { image_id: accepted.object_id, operation_id: accepted.operation_id };
        Ok(Response::new(answer))
    }

    async fn list_images(
        &self,
        request: Request<wire::ListImagesRequest>,
    ) -> Answer<wire::ListImagesResponse> {
        let caller = caller(&request)?;
        let wire::ListImagesRequest { page_size, page_token } = request.into_inner();
        let page = Page::read(page_size, &page_token, 2).map_err(status::invalid)?;
        let rows =
            images::page(self.desk.store().reader(), &caller.tenant, &page).await.map_err(status::broken)?;
        let (images, next_page_token) = page.cut(rows, |row| vec![row.name.clone(), row.id.clone()]);
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
        let asked = Asked::read(&request, "DeleteImage")?;
        if let Some(accepted) = self.earlier(&asked).await? {
            return Ok(Response::new(accepted.into()));
        }
        let name = &request.get_ref().image;
        let found = self.image(&asked.caller, name).await?;
        if found.phase == ImagePhase::Deleted as i32 {
            return Err(status::not_found("image", "image", name));
        }
        let accepted = self.accept(&asked, &found.id, 0, |work, operation_id| {
            work.tell(&DeleteImage {
                image_id: found.id.clone(),
                operation_id,
                tenant: found.tenant.clone(),
            });
        });
        Ok(Response::new(accepted.await?.into()))
    }

    async fn upload_file(
        &self,
        request: Request<Streaming<wire::UploadFileRequest>>,
    ) -> Answer<wire::UploadFileResponse> {
        self.upload(request).await
    }
}
