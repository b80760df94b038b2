//! Images of a tenant, and the bytes of their files, stay within its quota.
#![allow(clippy::unwrap_used)]

mod bed;

use bed::{Bed, everywhere, raw_disk};
use contracts::common::v1::{ArtifactRole, OperationState};
use contracts::gateway::v1::{Quota, QuotaLimits, TenantQuotaSet};
use contracts::storage::v1::ImagePhase;

async fn set(bed: &mut Bed, revision: u64, limits: QuotaLimits) {
    let quota = Quota { tenant: "acme".into(), limits: Some(limits), revision, updated_at_us: 1 };
    bed.bench.deliver(&TenantQuotaSet { quota: Some(quota) }).await.unwrap();
}

fn refused() -> (OperationState, String) {
    (OperationState::Failed, "QUOTA_EXCEEDED".to_owned())
}

#[tokio::test]
async fn images_are_taken_in_up_to_the_limit() {
    everywhere(async |bed| {
        let limits = QuotaLimits { images: Some(2), ..QuotaLimits::default() };
        set(bed, 1, limits).await;
        let first = bed.ready("one", &raw_disk("one")).await;
        bed.ready("two", &raw_disk("two")).await;
        let source = bed.stage(ArtifactRole::Disk, &raw_disk("three"));
        let (image, operation) = bed.deliver_import("three", vec![source]).await;
        assert_eq!(bed.ends(&operation).await, refused());
        let image = bed.image(&image);
        assert_eq!(image.phase(), ImagePhase::Rejected);
        assert_eq!(image.refusal.unwrap().reasons, ["images: 2 of 2 used, 1 asked for"]);

        let operation = bed.deliver_delete(&first).await;
        assert_eq!(bed.ends(&operation).await, (OperationState::Succeeded, String::new()));
        bed.ready("three", &raw_disk("three")).await;
        // another tenant is not concerned
        bed.bench.tenant = "bravo".into();
        bed.ready("one", &raw_disk("one")).await;
    })
    .await;
}

#[tokio::test]
async fn files_are_kept_up_to_the_limit_and_nothing_of_the_rest_stays() {
    everywhere(async |bed| {
        // a disk has 4096 bytes
        set(bed, 1, QuotaLimits { image_bytes: Some(10_000), ..QuotaLimits::default() }).await;
        bed.ready("one", &raw_disk("one")).await;
        let second = bed.ready("two", &raw_disk("two")).await;
        let source = bed.stage(ArtifactRole::Disk, &raw_disk("three"));
        let (image, operation) = bed.deliver_import("three", vec![source]).await;
        assert_eq!(bed.ends(&operation).await, refused());
        let reasons = bed.image(&image).refusal.unwrap().reasons;
        assert_eq!(reasons, ["image_bytes: 8 KiB of 9.7 KiB used, 4 KiB asked for"]);
        testkit::eventually(bed::DEADLINE, "its file to be gone", async || {
            bed.pass().await;
            (bed.files("images").len() == 2).then_some(())
        })
        .await;
        let operation = bed.deliver_delete(&second).await;
        assert_eq!(bed.ends(&operation).await, (OperationState::Succeeded, String::new()));
        bed.ready("three", &raw_disk("three")).await;
    })
    .await;
}
