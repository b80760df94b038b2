//! A service sends commands to those that it declares, and to nobody else.

use bus::{Cause, Desk};
use contracts::{scheduler, storage};
use kernel::SystemClock;
use std::sync::Arc;
use testkit::Database;

async fn desk(database: &Database) -> Desk {
    Desk::new("gateway", database.store.clone(), Arc::new(SystemClock)).telling(&["scheduler"])
}

#[tokio::test]
async fn a_command_to_a_service_that_is_declared_leaves() {
    let database = Database::sqlite(&[]).await;
    let mut work = desk(&database).await.begin(Cause::own("gateway")).await.expect("begun");
    work.tell(&scheduler::v1::StartInstance::default());
    work.commit().await.expect("committed");
}

#[tokio::test]
#[cfg_attr(debug_assertions, should_panic(expected = "not declared in `tells`"))]
async fn a_command_to_another_service_is_a_defect_and_is_never_committed() {
    let database = Database::sqlite(&[]).await;
    let mut work = desk(&database).await.begin(Cause::own("gateway")).await.expect("begun");
    work.tell(&storage::v1::DeleteImage::default());
    work.commit().await.expect_err("the whole work is refused");
}
