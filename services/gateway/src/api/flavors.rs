//! Flavors.

use super::Api;
use crate::store::flavors;
use crate::translate::resources;
use contracts::gateway::v1 as wire;
use contracts::gateway::v1::flavor_service_server::FlavorService;
use gateway_api::api::accept::{Accepted, Asked, Entered};
use gateway_api::domain::names;
use gateway_api::domain::violation::Violation;
use gateway_api::translate::status;
use kernel::{PLATFORM, Refusal};
use tonic::{Code, Request, Response, Status};

/// Longest description, in bytes.
const DESCRIPTION_LIMIT: usize = 1024;

type Answer<T> = Result<Response<T>, Status>;

impl Api {
    async fn create_named_size(
        &self,
        asked: &Asked,
        request: wire::CreateFlavorRequest,
    ) -> Result<Accepted, Status> {
        let wire::CreateFlavorRequest { name, resources: sizes, description } = request;
        names::dotted("name", &name).map_err(status::invalid)?;
        let sizes = resources::read(sizes).map_err(status::invalid)?;
        if description.len() > DESCRIPTION_LIMIT {
            let text = format!("a description has at most {DESCRIPTION_LIMIT} bytes");
            return Err(status::invalid(Violation::new("description", text)));
        }
        let mut entry = match self.requests.enter(asked, &name).await? {
            Entered::Repeat(accepted) => return Ok(accepted),
            Entered::Fresh(entry) => entry,
        };
        self.desk.store().lock(entry.work.tx(), &format!("flavor {name}")).await.map_err(status::broken)?;
        if flavors::get(&mut *entry.work.tx(), &name).await.map_err(status::broken)?.is_some() {
            let refusal = Refusal::new("FLAVOR_EXISTS", format!("there is a flavor called {name:?} already"));
            return Err(status::refused(Code::AlreadyExists, refusal, "name"));
        }
        let flavor = wire::Flavor {
            name,
            resources: Some(resources::write(sizes)),
            description,
            revision: 1,
            created_at_us: entry.work.now().micros(),
        };
        flavors::put(entry.work.tx(), &flavor).await.map_err(status::broken)?;
        asked.changed(flavor.revision);
        entry.work.say_for(PLATFORM, &wire::FlavorCreated { flavor: Some(flavor) });
        entry.done().await
    }
}

#[tonic::async_trait]
impl FlavorService for Api {
    async fn list_flavors(&self, _: Request<wire::ListFlavorsRequest>) -> Answer<wire::ListFlavorsResponse> {
        let flavors = flavors::all(self.desk.store().reader()).await.map_err(status::broken)?;
        Ok(Response::new(wire::ListFlavorsResponse { flavors }))
    }

    async fn create_flavor(
        &self,
        request: Request<wire::CreateFlavorRequest>,
    ) -> Answer<wire::CreateFlavorResponse> {
        let asked = self.requests.asked(&request, "CreateFlavor")?;
        let accepted =
            self.requests.once(&asked, self.create_named_size(&asked, request.into_inner())).await?;
        let flavor = flavors::get(self.desk.store().reader(), &accepted.object_id).await;
        Ok(Response::new(wire::CreateFlavorResponse { flavor: flavor.map_err(status::broken)? }))
    }
}
