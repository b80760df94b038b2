//! What would become of an instance: asked of the scheduler, who alone decides.

use crate::api::Api;
use crate::translate::instances::{Resolved, hints, read, spec};
use bus::{ASK_PATIENCE, Asking};
use contracts::gateway::v1 as wire;
use contracts::scheduler::v1::{PlacementPreview, PreviewPlacement};
use gateway_api::api::caller;
use gateway_api::translate::{redact, status};
use tonic::{Request, Response, Status};

impl Api {
    pub(super) async fn preview(
        &self,
        request: Request<wire::PreviewInstanceRequest>,
    ) -> Result<Response<wire::PreviewInstanceResponse>, Status> {
        let caller = caller(&request)?;
        let mut request = request.into_inner().instance.ok_or_else(|| status::missing("instance"))?;
        let hints = hints(&request);
        let keys = std::mem::take(&mut request.ssh_authorized_keys);
        request.ssh_authorized_keys = self.public_keys(&caller, keys).await?;
        let (wish, choices) =
            read(request).map_err(|violation| status::invalid(violation.inside("instance")))?;
        let image = self.image(&caller, &wish.image).await?;
        let resolved = Resolved {
            image_id: image.id,
            image_name: image.name,
            resources: self.size(&wish.size).await?,
            // no host is chosen by it
            user_data: None,
        };
        let (tenant, name) = (caller.tenant.clone(), wish.name.clone());
        let question = PreviewPlacement { tenant, name, spec: Some(spec(wish, choices, resolved)) };
        let asking = Asking { tenant: caller.tenant.clone(), actor: caller.actor.clone() };
        let answer = self.bus.ask(&question, &asking, ASK_PATIENCE).await.map_err(status::unanswered)?;
        let PlacementPreview { decision, refusal } = answer;
        let decision = decision.map(|decision| redact::decision(decision, &caller));
        let refusal = refusal.or_else(|| decision.as_ref().and_then(|decision| decision.refusal.clone()));
        let fits = refusal.is_none() && decision.is_some();
        Ok(Response::new(wire::PreviewInstanceResponse { fits, decision, refusal, hints }))
    }
}
