//! Deletions: refused while used, called off, shared files, and tables rebuilt from what was said.
#![allow(clippy::unwrap_used)]

mod bed;

use bed::web::Web;
use bed::{Bed, DEADLINE, everywhere, everywhere_with, from_web, instance, raw_disk, sha256};
use contracts::common::v1::{ArtifactRole, DiskFormat, OperationState};
use contracts::gateway::v1::{Quota, TenantQuotaSet};
use contracts::scheduler::v1::{InstanceAccepted, InstanceDeleted, InstanceRefused};
use contracts::storage::v1::ImagePhase;
use kernel::{ImageId, InstanceId};
use testkit::{Database, eventually};

fn failed(code: &str) -> (OperationState, String) {
    (OperationState::Failed, code.to_owned())
}

fn succeeded() -> (OperationState, String) {
    (OperationState::Succeeded, String::new())
}

/// The least that is a kernel.
fn kernel_bytes() -> Vec<u8> {
    let mut kernel = vec![0u8; 2048];
    kernel[0x1f1] = 1;
    kernel[0x1f4..0x1f8].copy_from_slice(&64u32.to_le_bytes());
    kernel[0x1fe..0x206].copy_from_slice(b"\x55\xAA\0\0HdrS");
    kernel
}

async fn accept(bed: &mut Bed, id: InstanceId, name: &str, image: &ImageId) {
    let event = InstanceAccepted { instance: instance(id, name, image, 1), operations: vec![] };
    bed.bench.deliver(&event).await.unwrap();
}

#[tokio::test]
async fn an_image_in_use_is_kept_until_its_users_are_gone() {
    everywhere(async |bed| {
        let image = bed.ready("debian", &raw_disk("a")).await;
        let (web, refused) = (InstanceId::new(), InstanceId::new());
        accept(bed, web, "web-1", &image).await;
        let never = InstanceRefused { instance: instance(refused, "never", &image, 1), operations: vec![] };
        bed.bench.deliver(&never).await.unwrap();

        let operation = bed.deliver_delete(&image).await;
        assert_eq!(bed.ends(&operation).await, failed("IMAGE_IN_USE"));
        let refusal = bed.progress(&operation.to_string())[0].refusal.clone().unwrap();
        assert_eq!(refusal.reasons, ["instance web-1"], "an instance that was refused uses nothing");
        assert_eq!((bed.image(&image).phase(), bed.files("images").len()), (ImagePhase::Ready, 1));

        let gone = InstanceDeleted { instance: instance(web, "web-1", &image, 9), operations: vec![] };
        bed.bench.deliver(&gone).await.unwrap();
        // an old event that comes late changes nothing
        accept(bed, web, "web-1", &image).await;
        let operation = bed.deliver_delete(&image).await;
        assert_eq!(bed.ends(&operation).await, succeeded());
        assert_eq!(bed.image(&image).phase(), ImagePhase::Deleted);
        assert!(bed.files("images").is_empty());
        assert_eq!((bed.rows("image_files").await, bed.rows("file_claims").await), (0, 0));
        assert_eq!((bed.rows("file_removals").await, bed.rows("image_work").await), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn another_tenants_image_is_not_found() {
    everywhere(async |bed| {
        let image = bed.ready("debian", &raw_disk("a")).await;
        bed.bench.tenant = "evil".into();
        for id in [image, ImageId::new()] {
            let operation = bed.deliver_delete(&id).await;
            assert_eq!(bed.ends(&operation).await, failed("IMAGE_NOT_FOUND"));
        }
        let last = bed.log.last().unwrap();
        assert_eq!(last.subject.tenant, "evil");
        assert_eq!((bed.image(&image).phase(), bed.files("images").len()), (ImagePhase::Ready, 1));
    })
    .await;
}

#[tokio::test]
async fn a_name_belongs_to_one_living_image_of_a_tenant() {
    everywhere(async |bed| {
        let first = bed.ready("debian", &raw_disk("a")).await;
        let source = bed.stage(ArtifactRole::Disk, &raw_disk("b"));
        let (_, operation) = bed.deliver_import("debian", vec![source.clone()]).await;
        assert_eq!(bed.ends(&operation).await, failed("NAME_TAKEN"));
        bed.bench.tenant = "other".into();
        bed.ready("debian", &raw_disk("c")).await;
        bed.bench.tenant = "acme".into();
        let operation = bed.deliver_delete(&first).await;
        assert_eq!(bed.ends(&operation).await, succeeded());
        let (_, operation) = bed.deliver_import("debian", vec![source]).await;
        assert_eq!(bed.ends(&operation).await, succeeded());
    })
    .await;
}

#[tokio::test]
async fn a_file_lives_as_long_as_one_image_has_it() {
    everywhere(async |bed| {
        let disk = raw_disk("shared");
        let (first, second) = (bed.ready("first", &disk).await, bed.ready("second", &disk).await);
        assert_eq!(bed.files("images"), [sha256(&disk)], "kept once");
        let operation = bed.deliver_delete(&first).await;
        assert_eq!(bed.ends(&operation).await, succeeded());
        assert_eq!(bed.files("images"), [sha256(&disk)]);
        let operation = bed.deliver_delete(&second).await;
        assert_eq!(bed.ends(&operation).await, succeeded());
        assert!(bed.files("images").is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_instance_accepted_during_the_grace_saves_the_image() {
    everywhere_with(
        |settings| settings.deletion_grace_ms = 300,
        async |bed| {
            let image = bed.ready("debian", &raw_disk("a")).await;
            let operation = bed.deliver_delete(&image).await;
            bed.pass().await;
            assert_eq!(bed.image(&image).phase(), ImagePhase::Deleting);
            accept(bed, InstanceId::new(), "web-1", &image).await;
            assert_eq!(bed.ends(&operation).await, failed("IMAGE_IN_USE"));
            assert_eq!((bed.image(&image).phase(), bed.files("images").len()), (ImagePhase::Ready, 1));
            assert_eq!((bed.rows("image_files").await, bed.rows("file_claims").await), (1, 0));
        },
    )
    .await;
}

#[tokio::test]
async fn deleting_an_import_calls_it_off() {
    let disk = raw_disk("x");
    let digest = sha256(&disk);
    everywhere(async |bed| {
        let web = Web::serve([("disk", disk.clone())]).await;
        let source = from_web(&web.url("slow/disk"), &digest, DiskFormat::Raw);
        let (image, import) = bed.deliver_import("slow", vec![source]).await;
        bed.pass().await;
        tokio::time::timeout(DEADLINE, web.fetched()).await.expect("the file is asked for");
        let delete = bed.deliver_delete(&image).await;
        assert_eq!(bed.ends(&delete).await, succeeded());
        assert_eq!(bed.ends(&import).await, (OperationState::Superseded, "SUPERSEDED".into()));
        web.open();
        eventually(DEADLINE, "the scratch folder to be empty", async || {
            bed.files("scratch").is_empty().then_some(())
        })
        .await;
        bed.pass().await;
        assert!(bed.files("images").is_empty());
        assert_eq!(bed.image(&image).phase(), ImagePhase::Deleted);
    })
    .await;
}

#[tokio::test]
async fn a_crash_between_the_steps_of_a_removal_leaves_nothing_behind() {
    everywhere(async |bed| {
        let image = bed.ready("debian", &raw_disk("a")).await;
        let operation = bed.deliver_delete(&image).await;
        // files given up and removed by a process that died before it could say so
        let store = bed.bench.desk.store();
        let mut tx = store.begin().await.unwrap();
        let moved = "INSERT INTO file_removals (sha256) SELECT sha256 FROM file_claims";
        for statement in [moved, "DELETE FROM file_claims"] {
            sqlx::query(statement).execute(&mut *tx).await.unwrap();
        }
        tx.commit().await.unwrap();
        let name = bed.files("images").remove(0);
        std::fs::remove_file(bed.datastore().join("images").join(name)).unwrap();
        bed.crash();
        assert_eq!(bed.ends(&operation).await, succeeded());
        assert_eq!((bed.rows("file_removals").await, bed.rows("file_claims").await), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_file_on_its_way_out_is_fetched_again() {
    everywhere(async |bed| {
        let disk = raw_disk("a");
        bed.ready("keeper", &raw_disk("k")).await;
        // another image's file that is about to be removed, and is still there
        let name = sha256(&disk);
        std::fs::write(bed.datastore().join("images").join(&name), &disk).unwrap();
        let insert = sqlx::query("INSERT INTO file_removals (sha256) VALUES ($1)").bind(&name);
        let mut tx = bed.bench.desk.store().begin().await.unwrap();
        insert.execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        let image = bed.ready("again", &disk).await;
        assert_eq!(bed.image(&image).artifacts[0].sha256, name);
        bed.pass().await;
        assert!(bed.files("images").contains(&name), "the new image's file must not go with the old one");
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_looked_long_ago_does_not_take_what_came_back() {
    everywhere(async |bed| {
        let (disk, name) = (raw_disk("a"), sha256(&raw_disk("a")));
        let first = bed.ready("first", &disk).await;
        // another replica sees that the file is to go, and hangs
        let hung = bed.parts.removals.clone();
        let seen = vec![name.clone()];
        let operation = bed.deliver_delete(&first).await;
        assert_eq!(bed.ends(&operation).await, succeeded());
        assert!(bed.files("images").is_empty());
        // meanwhile the file is brought in again: its image is claimed, kept, and ready
        let second = bed.ready("second", &disk).await;
        hung.remove(seen.clone()).await.unwrap();
        assert_eq!(bed.files("images"), std::slice::from_ref(&name), "the file of a ready image stays");
        assert!(bed.files("removed").is_empty());
        assert_eq!(bed.rows("file_removals").await, 0);

        // it hung after it had set the file aside, and died: whoever comes next puts it back
        let aside = bed.datastore().join("removed").join(format!("{name}.1"));
        std::fs::rename(bed.datastore().join("images").join(&name), &aside).unwrap();
        bed.crash();
        bed.pass().await;
        assert_eq!(bed.files("images"), std::slice::from_ref(&name));

        // while it was aside the same bytes were brought in by somebody else: each has a file, and in the end it is one
        std::fs::rename(bed.datastore().join("images").join(&name), &aside).unwrap();
        let third = bed.ready("third", &disk).await;
        bed.pass().await;
        assert_eq!((bed.files("images"), bed.files("removed").len()), (vec![name.clone()], 0));

        for image in [second, third] {
            let operation = bed.deliver_delete(&image).await;
            assert_eq!(bed.ends(&operation).await, succeeded());
        }
        assert!(bed.files("images").is_empty() && bed.files("removed").is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_import_that_claims_a_file_while_a_replica_hangs_keeps_it() {
    let disk = raw_disk("x");
    let digest = sha256(&disk);
    everywhere(async |bed| {
        // claimed and kept, not ready yet: the second file of the image is on its way
        let web = Web::serve([("disk", raw_disk("slow"))]).await;
        let here = bed.stage(ArtifactRole::Kernel, &kernel_bytes());
        let kernel = sha256(&kernel_bytes());
        let slow = from_web(&web.url("slow/disk"), &sha256(&raw_disk("slow")), DiskFormat::Raw);
        let (image, import) = bed.deliver_import("two", vec![here, slow]).await;
        bed.pass().await;
        tokio::time::timeout(DEADLINE, web.fetched()).await.expect("the file is asked for");
        assert_eq!(bed.files("images"), std::slice::from_ref(&kernel));
        bed.parts.removals.remove(vec![kernel.clone(), digest.clone()]).await.unwrap();
        assert_eq!(bed.files("images"), std::slice::from_ref(&kernel), "it is claimed");
        web.open();
        assert_eq!(bed.ends(&import).await, succeeded());
        assert_eq!(bed.image(&image).phase(), ImagePhase::Ready);
        assert_eq!(bed.files("images").len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_file_that_was_set_aside_by_nobodys_order_is_put_back() {
    everywhere(async |bed| {
        bed.ready("keeper", &raw_disk("k")).await;
        let name = sha256(b"of a database that is lost");
        let aside = bed.datastore().join("removed").join(format!("{name}.1"));
        std::fs::create_dir_all(aside.parent().unwrap()).unwrap();
        std::fs::write(&aside, "of a database that is lost").unwrap();
        bed.pass().await;
        assert!(bed.files("images").contains(&name), "it is reported as a stray and kept");
        assert!(bed.files("removed").is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_tables_can_be_rebuilt_from_what_was_said() {
    everywhere_with(
        |settings| settings.deletion_grace_ms = 60_000,
        async |bed| {
            let kept = bed.ready("kept", &raw_disk("a")).await;
            let going = bed.ready("going", &raw_disk("b")).await;
            let (web, gone) = (InstanceId::new(), InstanceId::new());
            let events = [
                (instance(web, "web-1", &kept, 1), true),
                (instance(gone, "old", &going, 1), true),
                (instance(gone, "old", &going, 5), false),
            ];
            let mut heard = Vec::new();
            for (instance, there) in events {
                let (name, payload) = if there {
                    let event = InstanceAccepted { instance, operations: vec![] };
                    bed.bench.deliver(&event).await.unwrap();
                    ("InstanceAccepted", kernel::Message::to_bytes(&event))
                } else {
                    let event = InstanceDeleted { instance, operations: vec![] };
                    bed.bench.deliver(&event).await.unwrap();
                    ("InstanceDeleted", kernel::Message::to_bytes(&event))
                };
                heard.push((
                    format!("evt.scheduler.v1.{name}.acme.x").parse::<kernel::Subject>().unwrap(),
                    payload,
                ));
            }
            let quota = Quota { tenant: "acme".into(), revision: 1, ..Quota::default() };
            let event = TenantQuotaSet { quota: Some(quota) };
            bed.bench.deliver(&event).await.unwrap();
            let subject = "evt.gateway.v1.TenantQuotaSet.acme.acme".parse::<kernel::Subject>().unwrap();
            heard.push((subject, kernel::Message::to_bytes(&event)));
            for image in [kept, going, ImageId::new()] {
                bed.deliver_delete(&image).await;
            }
            bed.deliver_import("kept", vec![]).await;
            let source = bed.stage(ArtifactRole::Disk, &raw_disk("c"));
            bed.deliver_import("waiting", vec![source]).await;
            let said = bed.bench.said().await;
            bed.log.extend(said);

            let fresh = match bed.database.name {
                "sqlite" => Database::sqlite(storage::MIGRATIONS).await,
                _ => Database::postgres(storage::MIGRATIONS).await,
            };
            heard.extend(bed.log.iter().map(|said| (said.subject.clone(), said.payload.clone())));
            let mut tx = fresh.store.begin().await.unwrap();
            // twice: a replay that starts over does no harm
            for (subject, payload) in heard.iter().chain(&heard) {
                storage::apply(&mut tx, subject, payload).await.unwrap();
            }
            tx.commit().await.unwrap();
            for table in storage::STATE_TABLES {
                let (live, rebuilt) = (
                    store::dump_table(bed.bench.desk.store(), table).await,
                    store::dump_table(&fresh.store, table).await,
                );
                assert!(!live.as_ref().unwrap().is_empty(), "{table} holds something to compare");
                assert_eq!(live.unwrap(), rebuilt.unwrap(), "{table}");
            }
            fresh.remove().await;
        },
    )
    .await;
}
