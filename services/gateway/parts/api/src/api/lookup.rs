//! From names to objects, through the read model, within the caller's tenant.

use crate::domain::names;
use crate::store::operations;
use crate::translate::{kinds as translate, status};
use crate::wakeups::Wakeups;
use async_trait::async_trait;
use bus::Desk;
use contracts::ObjectKind;
use kernel::ObjectId;
use objects::Found;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tonic::Status;

/// How long an object that was just accepted may take to show in the read model.
const OWN_WRITES: Duration = Duration::from_secs(3);

/// Finds objects of kinds that have tables of their own.
#[async_trait]
pub trait OwnTables: Send + Sync {
    /// An object of a tenant by id, whatever became of it, or by name while it is there.
    async fn find(
        &self,
        db: &sqlx::AnyPool,
        kind: &ObjectKind,
        tenant: &str,
        name_or_id: &str,
    ) -> Result<Option<Found>, sqlx::Error>;
}

/// Finds objects of every kind. Cheap to clone.
#[derive(Clone)]
pub struct Lookup {
    /// Where the tables are.
    pub desk: Desk,
    /// Wakes those who wait for an object.
    pub wakeups: Wakeups,
    /// What is not among the objects of declared kinds.
    pub own_tables: Arc<dyn OwnTables>,
}

impl Lookup {
    /// An object by name or id, gone ones by id only. A refusal names the field `at` which it was called so.
    pub async fn find(
        &self,
        kind: &'static ObjectKind,
        tenant: &str,
        (at, name): (&str, &str),
    ) -> Result<Found, Status> {
        self.there(kind, tenant, (at, name), || self.look(kind, tenant, name)).await
    }

    /// The same for an object that `look` looks for.
    pub async fn there<T, F>(
        &self,
        kind: &ObjectKind,
        tenant: &str,
        (at, name): (&str, &str),
        look: impl Fn() -> F,
    ) -> Result<T, Status>
    where
        F: Future<Output = Result<Option<T>, sqlx::Error>>,
    {
        names::reference(at, name).map_err(status::invalid)?;
        let missing = || translate::not_found(kind, at, name);
        if let Some(found) = look().await.map_err(status::broken)? {
            return Ok(found);
        }
        if name.parse::<ObjectId>().is_err() {
            return Err(missing());
        }
        // whoever was just told this id may use it at once: the owner's word of it is on its way
        let end = Instant::now() + OWN_WRITES;
        let mut listener = self.wakeups.listen();
        while self.is_being_made(kind, tenant, name).await? && Instant::now() < end {
            let _ = tokio::time::timeout_at(end, listener.changed(name)).await;
            if let Some(found) = look().await.map_err(status::broken)? {
                return Ok(found);
            }
        }
        look().await.map_err(status::broken)?.ok_or_else(missing)
    }

    async fn look(&self, kind: &ObjectKind, tenant: &str, name: &str) -> Result<Option<Found>, sqlx::Error> {
        let db = self.desk.store().reader();
        if kind.served {
            objects::find(db, kind, tenant, name).await
        } else {
            self.own_tables.find(db, kind, tenant, name).await
        }
    }

    async fn is_being_made(&self, kind: &ObjectKind, tenant: &str, id: &str) -> Result<bool, Status> {
        let create = format!("Create{}", kind.message.rsplit('.').next().unwrap_or_default());
        let found = operations::unfinished(self.desk.store().reader(), tenant, &create, id).await;
        Ok(found.map_err(status::broken)?.is_some())
    }
}
