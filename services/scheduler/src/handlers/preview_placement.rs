//! What would become of an instance, decided as for one that is created, in a transaction that is never committed.

use super::Context;
use super::create_instance::{OnCreateInstance, admit};
use crate::store::instances;
use crate::translate::decision::decision_out;
use async_trait::async_trait;
use bus::{Answer, Asking, Cause, Desk, Failure};
use contracts::scheduler::v1::{CreateInstance, PlacementPreview, PreviewPlacement};
use kernel::{InstanceId, Refusal};
use scheduler_placement::instance::Instance;
use scheduler_placement::solver::{self, Request};

/// Answers `PreviewPlacement`.
pub struct OnPreviewPlacement {
    /// Where transactions begin.
    pub desk: Desk,
    /// What the handlers share.
    pub context: Context,
}

#[async_trait]
impl Answer<PreviewPlacement> for OnPreviewPlacement {
    async fn answer(
        &self,
        asking: &Asking,
        question: PreviewPlacement,
    ) -> Result<PlacementPreview, Option<Refusal>> {
        if asking.tenant != question.tenant {
            let message = format!("{:?} asked for what is of {:?}", asking.tenant, question.tenant);
            return Err(Some(Refusal::new("NOT_YOURS", message)));
        }
        self.preview(question).await.map_err(|error| {
            tracing::warn!(%error, "no preview");
            None
        })
    }
}

impl OnPreviewPlacement {
    async fn preview(&self, question: PreviewPlacement) -> Result<PlacementPreview, Failure> {
        let PreviewPlacement { tenant, name, spec } = question;
        let id = InstanceId::new();
        let command = CreateInstance {
            instance_id: id.to_string(),
            tenant: tenant.clone(),
            // a host name that nobody has to think of: what is asked is where it would be
            name: if name.is_empty() { "preview".to_owned() } else { name.clone() },
            spec,
            ..CreateInstance::default()
        };
        // it goes without a trace when it is dropped
        let mut work = self.desk.begin(Cause::own(crate::SERVICE.name).for_tenant(&tenant)).await?;
        let in_the_way = if name.is_empty() {
            Vec::new()
        } else {
            instances::in_the_way(&mut work, id, &tenant, &name).await?
        };
        let create = OnCreateInstance(self.context.clone());
        let refused =
            |refusal: Refusal| PlacementPreview { refusal: Some(refusal.into()), ..Default::default() };
        let draft = match create.check(&mut work, id, &command, in_the_way.first()).await? {
            Ok(draft) => draft,
            Err(refusal) => return Ok(refused(refusal)),
        };
        self.context.fleet.hold(&mut work, &self.context.metrics).await?;
        if let Err(refusal) = admit(&mut work, &self.context, &tenant, &draft.spec).await? {
            return Ok(refused(refusal));
        }
        let (instance, now) = (Instance::draft(draft, work.now()), work.now());
        let request = Request::from(&instance);
        let decision = self.context.fleet.read(|fleet| solver::decide(fleet, &request));
        let mut told = decision_out(&instance, &decision, now);
        told.instance_id.clear();
        told.generation = 0;
        Ok(PlacementPreview { decision: Some(told), refusal: None })
    }
}
