//! Instances as one unit of work sees them: each is read once, several ahead of the messages that are about them, and
//! what becomes of them is written together at the end.

use super::Row;
use ::store::StoreError;
use async_trait::async_trait;
use bus::{Failure, LateRows, Work};
use kernel::{HostId, InstanceId};
use scheduler_placement::instance::{Instance, Phase};
use sqlx::AnyConnection;
use std::collections::{BTreeMap, HashMap};

/// What a unit of work knows of the table.
#[derive(Default)]
struct Instances {
    /// As they are now; `None` = there is none.
    seen: HashMap<InstanceId, Option<Instance>>,
    /// Who has a tenant's name now; `None` = nobody.
    names: HashMap<(String, String), Option<InstanceId>>,
    /// Those that are not written yet, and the revisions of their rows. In order, so that two schedulers on one
    /// database take the locks of their rows in the same one.
    changed: BTreeMap<InstanceId, u64>,
}

#[async_trait]
impl LateRows for Instances {
    async fn write(&mut self, tx: &mut AnyConnection) -> Result<(), StoreError> {
        let mut rows = Vec::with_capacity(self.changed.len());
        for (id, from) in std::mem::take(&mut self.changed) {
            if let Some(Some(instance)) = self.seen.get(&id) {
                rows.push(Row { instance, from });
            }
        }
        super::write(tx, &rows).await
    }
}

/// An instance by id, whoever's it is.
pub async fn find(work: &mut Work, id: InstanceId) -> Result<Option<Instance>, Failure> {
    read_ahead(work, &[id]).await?;
    Ok(work.late::<Instances>().seen.get(&id).cloned().flatten())
}

/// An instance of this tenant.
pub async fn find_of(work: &mut Work, tenant: &str, id: &str) -> Result<Option<Instance>, Failure> {
    // what is no id is nobody's
    let Ok(id) = id.parse() else { return Ok(None) };
    Ok(find(work, id).await?.filter(|instance| instance.tenant == tenant))
}

/// Reads those of the instances that this work has not seen.
pub async fn read_ahead(work: &mut Work, ids: &[InstanceId]) -> Result<(), Failure> {
    let (known, tx) = work.late_and_tx::<Instances>();
    let mut unseen: Vec<InstanceId> = ids.iter().filter(|id| !known.seen.contains_key(id)).copied().collect();
    if unseen.is_empty() {
        return Ok(());
    }
    unseen.sort_unstable();
    unseen.dedup();
    let found = super::select(tx, &unseen).await?;
    known.seen.extend(unseen.into_iter().map(|id| (id, None)));
    known.seen.extend(found.into_iter().map(|instance| (instance.id, Some(instance))));
    Ok(())
}

/// Reads who has these names: (tenant, name).
pub async fn names_ahead(work: &mut Work, names: &[(&str, &str)]) -> Result<(), Failure> {
    let known = work.late::<Instances>();
    let mut unknown: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (tenant, name) in names {
        if !known.names.contains_key(&((*tenant).to_owned(), (*name).to_owned())) {
            unknown.entry(tenant).or_default().push(name);
        }
    }
    for (tenant, mut names) in unknown {
        names.sort_unstable();
        names.dedup();
        // the table is asked: it has to be as this work has it
        work.write_now::<Instances>().await?;
        let (known, tx) = work.late_and_tx::<Instances>();
        let found = super::holders(tx, tenant, &names).await?;
        let key = |name: &str| (tenant.to_owned(), name.to_owned());
        known.names.extend(names.iter().map(|name| (key(name), None)));
        known.names.extend(found.iter().map(|(name, id)| (key(name), Some(*id))));
    }
    Ok(())
}

/// Ids that stand in the way of a new instance: its own, if it is there already, and that of the tenant's instance of
/// this name that is not deleted.
pub async fn in_the_way(
    work: &mut Work,
    id: InstanceId,
    tenant: &str,
    name: &str,
) -> Result<Vec<InstanceId>, Failure> {
    let own = find(work, id).await?.map(|instance| instance.id);
    names_ahead(work, &[(tenant, name)]).await?;
    let names = &work.late::<Instances>().names;
    let holder = names.get(&(tenant.to_owned(), name.to_owned())).copied().flatten();
    Ok(own.into_iter().chain(holder).collect())
}

/// An instance is this now. `from` is the revision it was made from, 0 for a new one; somebody else's change in
/// between undoes the work.
pub fn save(work: &mut Work, instance: &Instance, from: u64) {
    let known = work.late::<Instances>();
    known.changed.entry(instance.id).or_insert(from);
    let name = (instance.tenant.clone(), instance.name.clone());
    if instance.phase != Phase::Deleted {
        known.names.insert(name, Some(instance.id));
    } else if known.names.get(&name) == Some(&Some(instance.id)) {
        known.names.insert(name, None);
    }
    known.seen.insert(instance.id, Some(instance.clone()));
}

/// Writes what is not written yet: the table is about to be read.
pub async fn write_now(work: &mut Work) -> Result<(), Failure> {
    Ok(work.write_now::<Instances>().await?)
}

/// All instances with a reservation on a host.
pub async fn on_host(work: &mut Work, host: HostId) -> Result<Vec<Instance>, Failure> {
    work.write_now::<Instances>().await?;
    super::select_on_host(work.tx(), host).await
}
