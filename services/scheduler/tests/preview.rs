//! What would become of an instance is what becomes of it, and asking changes nothing.

mod support;

use bus::{Answer, Asking};
use contracts::gateway::v1::{Quota, QuotaLimits, TenantQuotaSet};
use contracts::scheduler::v1::*;
use kernel::InstanceId;
use scheduler::MIGRATIONS;
use scheduler::handlers::OnPreviewPlacement;
use store::dump_table;
use support::*;

/// Asks, and makes sure that not a row of any table is another one afterwards.
async fn preview(world: &World, name: &str, change: impl FnOnce(&mut CreateInstance)) -> PlacementPreview {
    let mut command = create(InstanceId::from_u128(1), name);
    change(&mut command);
    let question = PreviewPlacement { tenant: TENANT.into(), name: name.into(), spec: command.spec };
    let tables = ["instances", "hosts", "quotas", "decisions", "outbox", "inbox"];
    let mut before = Vec::new();
    for table in tables {
        before.push(dump_table(world.store(), table).await.expect("a table"));
    }
    let answers = OnPreviewPlacement { desk: world.bench.desk.clone(), context: world.context.clone() };
    let asking = Asking { tenant: TENANT.into(), actor: "ann".into() };
    let answer = answers.answer(&asking, question).await.expect("an answer");
    for (table, before) in tables.into_iter().zip(before) {
        assert_eq!(dump_table(world.store(), table).await.expect("a table"), before, "{table}");
    }
    answer
}

fn code(answer: &PlacementPreview) -> &str {
    answer.refusal.as_ref().map_or("", |refusal| refusal.code.as_str())
}

#[tokio::test]
async fn it_fits_where_it_is_placed_and_until_there_is_no_room() {
    everywhere(async |world| {
        world.image().await;
        world.host(1, 8, 16).await;
        world.host(2, 4, 8).await;
        world.names();
        for number in 0..12 {
            let name = format!("web-{number}");
            let would = preview(world, &name, |_| {}).await;
            assert_eq!(code(&would), "");
            let mut would = would.decision.expect("a decision");
            let id = world.create(&name).await;
            let mut is = world.one::<PlacementDecided>().decision.expect("a decision");
            assert_eq!((is.instance_id.as_str(), would.instance_id.as_str()), (id.as_str(), ""));
            for decision in [&mut would, &mut is] {
                decision.instance_id.clear();
                decision.generation = 0;
                decision.decided_at_us = 0;
            }
            assert_eq!(would, is, "{name}");
        }
        let full = preview(world, "late", |_| {}).await.decision.expect("a decision");
        assert_eq!(full.host_id, "");
        assert_eq!(full.refusal.expect("why").code, "NO_HOST_HAS_ROOM");
    })
    .await;
}

#[tokio::test]
async fn what_would_not_be_accepted_is_refused_for_the_same_reason() {
    everywhere(async |world| {
        world.ground().await;
        world.create("taken").await;
        assert_eq!(code(&preview(world, "taken", |_| {}).await), "NAME_TAKEN");
        let unknown = |command: &mut CreateInstance| {
            command.spec.as_mut().expect("a spec").image_id = "00000000-0000-0000-0000-0000000000bb".into();
        };
        assert_eq!(code(&preview(world, "a", unknown).await), "IMAGE_NOT_FOUND");
        let none = |command: &mut CreateInstance| command.spec = None;
        assert_ne!(code(&preview(world, "a", none).await), "");
        let limits = QuotaLimits { instances: Some(1), ..QuotaLimits::default() };
        let quota = Quota { tenant: TENANT.into(), limits: Some(limits), revision: 1, updated_at_us: 1 };
        world.deliver(&TenantQuotaSet { quota: Some(quota) }).await;
        assert_eq!(code(&preview(world, "a", |_| {}).await), "QUOTA_EXCEEDED");
    })
    .await;
}

#[tokio::test]
async fn nobody_asks_for_another_tenant() {
    let database = testkit::Database::sqlite(MIGRATIONS).await;
    let mut world = World::new(database.store.clone(), 1);
    world.ground().await;
    let answers = OnPreviewPlacement { desk: world.bench.desk.clone(), context: world.context.clone() };
    let question = PreviewPlacement { tenant: TENANT.into(), name: "a".into(), spec: None };
    let asking = Asking { tenant: "bravo".into(), actor: "bob".into() };
    let refusal = answers.answer(&asking, question).await.expect_err("refused").expect("a refusal");
    assert_eq!(refusal.code, "NOT_YOURS");
}
