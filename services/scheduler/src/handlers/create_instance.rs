//! A new instance: checked, accepted, and placed if there is room, in one transaction.

use super::{Context, advance::Passage, place};
use crate::domain::lifecycle::Input;
use crate::quota;
use crate::store::{images, instances};
use crate::translate::{instance as snapshot, lifecycle as translate, request};
use async_trait::async_trait;
use bus::{Failure, Handle, Work};
use contracts::scheduler::v1::{CreateInstance, InstanceRefused};
use kernel::{InstanceId, Refusal, Timestamp};
use scheduler_placement::instance::{Draft, Instance, Spec};
use std::time::Duration;

/// An image that was just imported may be known to the gateway before it is known here. A request this young waits
/// for it; the id of an instance holds the moment at which it was asked for.
const NEWS_TRAVELS: Duration = Duration::from_secs(5);

/// Handles `CreateInstance`.
pub struct OnCreateInstance(pub Context);

#[async_trait]
impl Handle<CreateInstance> for OnCreateInstance {
    async fn gather(
        &self,
        work: &mut Work,
        commands: &mut (dyn Iterator<Item = CreateInstance> + Send),
    ) -> Result<(), Failure> {
        let commands: Vec<CreateInstance> = commands.collect();
        let ids: Vec<InstanceId> =
            commands.iter().filter_map(|command| command.instance_id.parse().ok()).collect();
        instances::read_ahead(work, &ids).await?;
        let names: Vec<_> = commands.iter().map(|c| (c.tenant.as_str(), c.name.as_str())).collect();
        instances::names_ahead(work, &names).await
    }

    async fn handle(&self, work: &mut Work, command: CreateInstance) -> Result<(), Failure> {
        let (id, operation) = request::ids(&command)?;
        let in_the_way = instances::in_the_way(work, id, &command.tenant, &command.name).await?;
        if in_the_way.contains(&id) {
            // accepted before, under another message id
            return Ok(());
        }
        match self.check(work, id, &command, in_the_way.first()).await? {
            Err(refusal) => refuse(work, &command, &refusal),
            Ok(draft) => {
                // before anything is written: who waits for this lock must hold nothing others need
                self.0.fleet.hold(work, &self.0.metrics).await?;
                if let Err(refusal) = admit(work, &self.0, &command.tenant, &draft.spec).await? {
                    refuse(work, &command, &refusal);
                    return Ok(());
                }
                let mut passage = Passage::of(Instance::draft(draft, work.now()));
                passage.step(work, &self.0, Input::Accept { operation });
                place::place(work, &self.0, &mut passage).await?;
                passage.arrive(work, &self.0).await?;
            }
        }
        Ok(())
    }
}

impl OnCreateInstance {
    /// What is accepted if there is room for it in the quota, or why it is not.
    pub(super) async fn check(
        &self,
        work: &mut Work,
        id: InstanceId,
        command: &CreateInstance,
        holder_of_name: Option<&InstanceId>,
    ) -> Result<Result<Draft, Refusal>, Failure> {
        let spec = match request::checked_spec(command) {
            Ok(spec) => spec,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some(holder) = holder_of_name {
            let message = format!("there is an instance {:?} already: {holder}", command.name);
            return Ok(Err(Refusal::new("NAME_TAKEN", message)));
        }
        let image = images::find(work.tx(), &spec.image_id).await?;
        if image.is_none() && work.now() < asked_at(id).after(NEWS_TRAVELS) {
            return Err(Failure::Transient(format!("image {} has not been heard of yet", spec.image_id)));
        }
        let boot = request::checked_image(image, &command.tenant, &spec);
        Ok(boot.map(|boot| request::draft(id, command.clone(), spec, boot)))
    }
}

/// Whether the tenant may have it. To be asked by who holds the fleet.
pub(super) async fn admit(
    work: &mut Work,
    context: &Context,
    tenant: &str,
    spec: &Spec,
) -> Result<Result<(), Refusal>, Failure> {
    quota::admit(work, (context.dialect, &context.metrics), tenant, quota::taken_by(spec)).await
}

/// When an id was made: a UUIDv7 begins with 48 bits of milliseconds (RFC 9562, section 5.7).
fn asked_at(id: InstanceId) -> Timestamp {
    let millis = i64::try_from(id.as_u128() >> 80).unwrap_or(i64::MAX);
    Timestamp(millis.saturating_mul(1000))
}

fn refuse(work: &mut Work, command: &CreateInstance, refusal: &Refusal) {
    let instance = Some(snapshot::refused(command, refusal, work.now()));
    let operations = vec![translate::failed(&command.operation_id, refusal)];
    let tenant = if command.tenant.is_empty() { work.cause().tenant.clone() } else { command.tenant.clone() };
    work.say_for(&tenant, &InstanceRefused { instance, operations });
}
