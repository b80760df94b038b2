//! One suite for every driver: the simulated one, libvirt's mock, and QEMU with a real guest.
//!
//! The real guest needs libvirtd (`deploy/libvirt.sh start`) and the small image (`deploy/images/build-small.sh`).
#![allow(clippy::unwrap_used)]

#[path = "suite/cases.rs"]
mod cases;
#[path = "suite/neighbours.rs"]
mod neighbours;
#[path = "suite/subject.rs"]
mod subject;

use subject::Subject;

async fn all(subject: &Subject) {
    cases::life(subject).await;
    cases::redefinition(subject).await;
    cases::changes(subject).await;
    cases::quarantine(subject).await;
    cases::refusals(subject).await;
    cases::guest(subject).await;
    cases::console(subject).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn simulated() {
    all(&Subject::simulated().await).await;
}

async fn neighbours(uri: &str) {
    let subject = Subject::libvirt(uri).await;
    neighbours::another_host(&subject, uri).await;
    neighbours::mark_taken_away(&subject, uri).await;
    neighbours::mark_without_a_host(&subject, uri).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn libvirt_mock() {
    all(&Subject::libvirt("test:///default").await).await;
    neighbours("test:///default").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn libvirt_qemu_neighbours() {
    neighbours("qemu:///system").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn libvirt_qemu() {
    all(&Subject::libvirt("qemu:///system").await).await;
}
