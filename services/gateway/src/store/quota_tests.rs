//! What tenants may have and have, on SQLite and PostgreSQL.

use super::*;
use contracts::common::v1::{Artifact, OperationState, Resources};
use contracts::gateway::v1::{Operation, Quota as Snapshot, QuotaLimits};
use contracts::scheduler::v1::{Instance, InstancePhase, InstanceSpec};
use contracts::storage::v1::{Image, ImagePhase};
use gateway_access::store::quotas;
use gateway_api::store::{MIGRATIONS, operations};
use kernel::quota::{Amounts, Quota};
use testkit::databases;

fn instance(id: &str, tenant: &str, phase: InstancePhase) -> Instance {
    let resources = Some(Resources { vcpus_milli: 500, memory_bytes: 1 << 40, disk_bytes: 3 });
    Instance {
        id: id.into(),
        tenant: tenant.into(),
        name: id.into(),
        phase: phase as i32,
        revision: 1,
        spec: Some(InstanceSpec { resources, ..InstanceSpec::default() }),
        ..Instance::default()
    }
}

fn of_instances(count: u64) -> Amounts {
    Amounts::default()
        .with(Quota::Instances, count)
        .with(Quota::Vcpus, count * 500)
        .with(Quota::Memory, count << 40)
        .with(Quota::Disk, count * 3)
}

#[tokio::test]
async fn a_quota_is_the_newest_that_was_set() {
    for database in databases(MIGRATIONS).await {
        let mut tx = database.store.begin().await.expect("begins");
        let quota = |tenant: &str, revision, instances| Snapshot {
            tenant: tenant.into(),
            limits: Some(QuotaLimits { instances: Some(instances), ..QuotaLimits::default() }),
            revision,
            updated_at_us: 1,
        };
        for (tenant, revision, instances) in
            [("acme", 2, 20), ("acme", 1, 10), ("bravo", 1, 5), ("zeta", 1, 1)]
        {
            quotas::put(&mut tx, &quota(tenant, revision, instances)).await.expect("written");
        }
        assert_eq!(quotas::get(&mut *tx, "acme").await.expect("read"), Some(quota("acme", 2, 20)));
        assert_eq!(quotas::get(&mut *tx, "nobody").await.expect("read"), None);
        tx.commit().await.expect("commits");
        let some = quotas::between(database.store.reader(), "acme", "bravo").await.expect("read");
        assert_eq!(some.keys().collect::<Vec<_>>(), ["acme", "bravo"]);
        database.remove().await;
    }
}

#[tokio::test]
async fn use_is_counted_by_tenant_and_what_is_about_to_go_is_not_certain() {
    use InstancePhase::{Deleted, Deleting, Failed, Pending, Ready, Stopped};
    for database in databases(MIGRATIONS).await {
        let mut tx = database.store.begin().await.expect("begins");
        for (id, tenant, phase) in [
            ("a", "acme", Ready),
            ("b", "acme", Stopped),
            ("c", "acme", Failed),
            ("d", "acme", Pending),
            ("e", "acme", Deleting),
            ("f", "acme", Deleted),
            ("g", "bravo", Ready),
            ("h", "zeta", Ready),
        ] {
            super::tests::put(&mut tx, instance(id, tenant, phase)).await;
        }
        for (id, phase, size_bytes) in [
            ("x", ImagePhase::Ready, 7),
            ("y", ImagePhase::Importing, 0),
            ("z", ImagePhase::Deleting, 4),
            ("u", ImagePhase::Rejected, 100),
            ("v", ImagePhase::Deleted, 100),
        ] {
            let artifacts = vec![Artifact { size_bytes, ..Artifact::default() }];
            let image = Image {
                id: id.into(),
                tenant: "acme".into(),
                name: id.into(),
                revision: 1,
                phase: phase as i32,
                artifacts,
                ..Image::default()
            };
            assert!(images::put(&mut tx, &image).await.expect("written"));
        }
        for (id, method, object, state) in [
            ("o1", "DeleteInstance", "a", OperationState::Pending),
            ("o2", "DeleteInstance", "b", OperationState::Failed),
            ("o3", "StopInstance", "c", OperationState::Running),
        ] {
            let operation = Operation {
                id: id.into(),
                tenant: "acme".into(),
                method: method.into(),
                object_id: object.into(),
                state: state as i32,
                revision: 1,
                ..Operation::default()
            };
            operations::put(&mut tx, &operation).await.expect("written");
        }
        // a is being deleted and e is on its way out: b, c and d are certainly there
        assert_eq!(quotas::certainly_used(&mut *tx, "acme").await.expect("read"), of_instances(3));
        assert_eq!(quotas::certainly_used(&mut *tx, "nobody").await.expect("read"), of_instances(0));
        tx.commit().await.expect("commits");
        let used = quotas::used_between(database.store.reader(), "acme", "bravo").await.expect("read");
        let acme = of_instances(5).with(Quota::Images, 3).with(Quota::ImageBytes, 11);
        assert_eq!(used.get("acme"), Some(&acme));
        assert_eq!(used.get("bravo"), Some(&of_instances(1)));
        assert_eq!(used.len(), 2);
        database.remove().await;
    }
}
