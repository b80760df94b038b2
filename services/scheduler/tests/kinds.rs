//! What holds of every kind holds of those of the scheduler.
#![allow(missing_docs)]

use contracts::scheduler::v1::{CreateSshKeyRequest, DeleteSshKeyRequest, SshKey, UpdateSshKeyRequest};
use objects::Owned;
use scheduler::kinds::SshKeys;
use testkit::{Samples, laws};

#[tokio::test]
async fn ssh_keys() {
    let create = |name: &str| CreateSshKeyRequest {
        name: name.into(),
        public_key:
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@laptop"
                .into(),
        labels: [("team".to_owned(), "web".to_owned())].into(),
    };
    let samples = Samples {
        create,
        change: |name| UpdateSshKeyRequest {
            name: name.into(),
            labels: [("team".to_owned(), "db".to_owned())].into(),
            remove_labels: vec!["owner".into()],
            if_revision: 0,
        },
        delete: |name| DeleteSshKeyRequest { name: name.into(), if_revision: 0 },
        broken: (CreateSshKeyRequest { public_key: "ssh-rsa AAAA".into(), ..create("two") }, "public_key"),
    };
    let subscriptions = |store: &store::Store| {
        Owned::<SshKeys>::new(store).subscribe(bus::Subscriptions::new(scheduler::SERVICE.name))
    };
    laws::<SshKey, _, _, _>("scheduler", scheduler::MIGRATIONS, subscriptions, &samples).await;
}
