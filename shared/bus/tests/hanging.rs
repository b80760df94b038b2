//! A task hangs at every point there is a name for, and nobody ends anything: the loop is noticed, what it hangs at is
//! named, it is started again, and every effect is there once.

mod support;

use bus::fail::FailPoint;
use std::time::Duration;
use strum::IntoEnumIterator;
use support::Service;
use support::scenario::{ALONE, Trap, lead, settled};
use testkit::eventually;

const LATER: Duration = Duration::from_secs(60);
/// Longer than anything here takes, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a loop that hangs at this point says it is at.
fn names(point: FailPoint) -> &'static str {
    match point {
        FailPoint::Received
        | FailPoint::AttemptCounted
        | FailPoint::BatchClaimed
        | FailPoint::Claimed
        | FailPoint::Handled
        | FailPoint::OutboxWritten
        | FailPoint::Committed
        | FailPoint::Acknowledged => "message cmd.scheduler.v1.StartInstance.",
        FailPoint::OutboxRead
        | FailPoint::BatchSent
        | FailPoint::Sent
        | FailPoint::Published
        | FailPoint::MarkWritten
        | FailPoint::Marked => " row ",
        FailPoint::LossNoticed | FailPoint::RefillWritten | FailPoint::StreamsSeen | FailPoint::Adopted => {
            "comparing the streams"
        }
        FailPoint::HolesNoticed | FailPoint::Audited => "comparing EVENTS with the outbox",
        FailPoint::Pruned => "removing old rows",
        FailPoint::Swept => "clearing the queue",
    }
}

/// `named`: what the loop says that hangs. On a busy machine others hang as well, who wait for its transaction.
async fn through(service: &mut Service, trap: &Trap, (what, named): (&str, &str), last: bool) {
    let before = trap.fired();
    service.heard.lock().expect("lock").clear();
    trap.arm(!before);
    service.relay();
    service.runner(Duration::ZERO);
    eventually(LATER, what, async || settled(service).await.filter(|()| !last || trap.fired())).await;
    if trap.fired() && !before {
        eventually(LATER, &format!("{what}: {named:?} to be said to hang"), async || {
            let heard = service.heard.lock().expect("lock");
            let hangs = |detail: &str| detail.contains("hung for") && detail.contains(named);
            heard.iter().any(|(well, detail)| !well && hangs(detail)).then_some(())
        })
        .await;
        eventually(LATER, &format!("{what}: the loop to be well again"), async || {
            service.heard.lock().expect("lock").last().filter(|(well, _)| *well).map(|_| ())
        })
        .await;
        eventually(LATER, &format!("{what}, after it"), async || settled(service).await).await;
    }
    service.halt().await;
}

/// A third of all points each, because three processes are quicker than one.
async fn third(of: usize) {
    let _alone = ALONE.lock().await;
    for point in FailPoint::iter().skip(of).step_by(3) {
        let trap = Trap::new(true);
        lead(point, &trap, PATIENCE, async |service: &mut Service, trap: &Trap, what: &str, last: bool| {
            through(service, trap, (what, names(point)), last).await;
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_hang_at_every_third_point() {
    third(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_hang_at_every_third_point_from_the_second() {
    third(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_hang_at_every_third_point_from_the_third() {
    third(2).await;
}
