use super::{files, images, uses};
use crate::MIGRATIONS;
use crate::domain::artifact::{Artifact, Role};
use crate::domain::image::{Image, Phase};
use crate::domain::kernel_file::Architecture;
use kernel::{ImageId, Timestamp};
use store::{Store, StoreError};
use testkit::databases;

fn image(name: &str) -> Image {
    Image {
        id: ImageId::new(),
        tenant: "acme".into(),
        name: name.into(),
        revision: 1,
        phase: Phase::Ready,
        sources: vec![],
        artifacts: vec![Artifact { role: Role::Kernel, sha256: "ab".repeat(32), size: 5, disk: None }],
        architecture: Architecture::X86_64,
        kernel_cmdline: String::new(),
        guest_agent: false,
        refusal: None,
        operation_id: String::new(),
        created_at: Timestamp(1),
        updated_at: Timestamp(2),
    }
}

async fn everywhere(case: impl AsyncFn(Store)) {
    for database in databases(MIGRATIONS).await {
        case(database.store.clone()).await;
        database.remove().await;
    }
}

#[tokio::test]
async fn an_image_is_read_as_it_was_written_and_by_its_owner_only() {
    everywhere(async |store| {
        let mut tx = store.begin().await.expect("tx");
        let it = image("debian");
        images::insert(&mut tx, &it).await.expect("insert");
        assert_eq!(images::load(&mut tx, it.id).await.expect("load"), Some(it.clone()));
        assert_eq!(
            images::load_of(&mut tx, "acme", &it.id.to_string()).await.expect("load"),
            Some(it.clone())
        );
        assert_eq!(images::load_of(&mut tx, "evil", &it.id.to_string()).await.expect("load"), None);
    })
    .await;
}

#[tokio::test]
async fn the_schema_itself_refuses_a_second_living_name() {
    everywhere(async |store| {
        let mut tx = store.begin().await.expect("tx");
        images::insert(&mut tx, &image("debian")).await.expect("insert");
        let rejected = Image { phase: Phase::Rejected, ..image("debian") };
        images::insert(&mut tx, &rejected).await.expect("a rejected image has no claim to the name");
        let error = images::insert(&mut tx, &image("debian")).await.expect_err("taken");
        assert!(error.is_unique_violation(), "{error}");
    })
    .await;
}

#[tokio::test]
async fn who_decided_on_an_old_revision_decides_again() {
    everywhere(async |store| {
        let mut tx = store.begin().await.expect("tx");
        let it = image("debian");
        images::insert(&mut tx, &it).await.expect("insert");
        let next = Image { revision: 2, ..it.clone() };
        images::update(&mut tx, 1, &next).await.expect("first");
        let error = images::update(&mut tx, 1, &next).await.expect_err("second");
        assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
        images::put(&mut tx, &it).await.expect("an old snapshot is passed over");
        assert_eq!(images::load(&mut tx, it.id).await.expect("load"), Some(next));
    })
    .await;
}

#[tokio::test]
async fn nobody_claims_a_file_on_its_way_out_or_loses_one_that_is_shared() {
    everywhere(async |store| {
        let mut tx = store.begin().await.expect("tx");
        let (one, other, file) = (ImageId::new(), ImageId::new(), "ab".repeat(32));
        assert!(files::claim(&mut tx, one, &file).await.expect("claim"));
        assert!(files::claim(&mut tx, other, &file).await.expect("claim"));
        files::release(&mut tx, one).await.expect("release");
        assert!(files::claim(&mut tx, one, &file).await.expect("still claimed by the other: it stays"));
        files::release(&mut tx, one).await.expect("release");
        files::release(&mut tx, other).await.expect("release");
        assert!(!files::claim(&mut tx, one, &file).await.expect("on its way out"));
        files::removed(&mut tx, &file).await.expect("removed");
        assert!(files::claim(&mut tx, one, &file).await.expect("a new one may come"));
    })
    .await;
}

#[tokio::test]
async fn the_newest_word_on_an_instance_counts() {
    everywhere(async |store| {
        let mut tx = store.begin().await.expect("tx");
        let image = ImageId::new();
        let at = |revision, in_use| uses::Use {
            instance_id: "i".into(),
            instance_name: "web-1".into(),
            image_id: image.to_string(),
            in_use,
            revision,
        };
        for (it, users) in [(at(1, true), 1), (at(5, false), 0), (at(2, true), 0)] {
            uses::put(&mut tx, &it).await.expect("put");
            assert_eq!(uses::users(&mut tx, image).await.expect("users").len(), users, "{it:?}");
        }
    })
    .await;
}
