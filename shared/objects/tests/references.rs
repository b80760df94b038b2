//! Objects that refer to objects: what is referred to is there, and does not go as long as it is.
//!
//! No command of these is declared: requests about public keys stand for them, with the object that they refer to in a
//! label.
#![allow(missing_docs)]

use bus::Subscriptions;
use contracts::common::v1::{OperationProgress, OperationState};
use contracts::scheduler::v1::{
    CreateSshKeyRequest, DeleteSshKeyRequest, ObjectsForgotten, RequestRefused, SshKey, SshKeyChanged,
    SshKeyCreated, SshKeyDeleted,
};
use contracts::{Command, Object, ObjectKind, OwnObject, Stamp};
use kernel::{Message as _, Refusal};
use objects::{Decision, Kind, Owned, Seen, TABLES_OF_OWNERS};
use prost::Message;
use std::collections::BTreeMap;
use testkit::{Bench, databases};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@laptop";

/// A public key that may have a parent.
#[derive(Clone, PartialEq, Message)]
struct Child {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    tenant: String,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(uint64, tag = "4")]
    revision: u64,
    #[prost(int64, tag = "5")]
    created_at_us: i64,
    #[prost(int64, tag = "6")]
    updated_at_us: i64,
    #[prost(int64, tag = "7")]
    deleted_at_us: i64,
    #[prost(btree_map = "string, string", tag = "8")]
    labels: BTreeMap<String, String>,
}

impl Child {
    fn key(&self) -> Option<SshKey> {
        SshKey::decode(self.encode_to_vec().as_slice()).ok()
    }
}

impl Object for Child {
    const KIND: &'static ObjectKind = &ObjectKind { refers: &[("parent", "ssh_key")], ..*SshKey::KIND };
    fn id(&self) -> &str {
        &self.id
    }
    fn tenant(&self) -> &str {
        &self.tenant
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn state_name(&self) -> &'static str {
        ""
    }
    fn revision(&self) -> u64 {
        self.revision
    }
    fn created_at_us(&self) -> i64 {
        self.created_at_us
    }
    fn updated_at_us(&self) -> i64 {
        self.updated_at_us
    }
    fn gone_at_us(&self) -> i64 {
        self.deleted_at_us
    }
    fn terms(&self) -> Vec<(String, String)> {
        self.labels.get("parent").map(|id| ("parent".to_owned(), id.clone())).into_iter().collect()
    }
}

enum ChildCommand {
    Create(CreateSshKeyRequest),
    Delete(DeleteSshKeyRequest),
}

impl Command for ChildCommand {
    const NAMES: &'static [(&'static str, &'static str, &'static str)] =
        &[("scheduler", "v1", "CreateSshKey"), ("scheduler", "v1", "DeleteSshKey")];
    fn read(name: &str, bytes: &[u8]) -> Result<Self, String> {
        match name {
            "CreateSshKey" => CreateSshKeyRequest::from_bytes(bytes).map(Self::Create),
            _ => DeleteSshKeyRequest::from_bytes(bytes).map(Self::Delete),
        }
    }
    fn verb(&self) -> &'static str {
        match self {
            Self::Create(_) => "Create",
            Self::Delete(_) => "Delete",
        }
    }
    fn name(&self) -> &str {
        match self {
            Self::Create(wish) => &wish.name,
            Self::Delete(wish) => &wish.name,
        }
    }
    fn if_revision(&self) -> u64 {
        0
    }
    fn references(&self) -> Vec<(&'static str, &'static ObjectKind, &str)> {
        match self {
            Self::Create(wish) => {
                wish.labels.get("parent").map(|id| ("parent", Child::KIND, id.as_str())).into_iter().collect()
            }
            Self::Delete(_) => Vec::new(),
        }
    }
    fn refuse_while_referred(&self) -> &'static [&'static ObjectKind] {
        match self {
            Self::Create(_) => &[],
            Self::Delete(_) => &[Child::KIND],
        }
    }
}

impl OwnObject for Child {
    type Command = ChildCommand;
    type Created = SshKeyCreated;
    type Changed = SshKeyChanged;
    type Deleted = SshKeyDeleted;
    type Refused = RequestRefused;
    type Forgotten = ObjectsForgotten;
    fn created(self, operations: Vec<OperationProgress>) -> SshKeyCreated {
        SshKeyCreated { ssh_key: self.key(), operations }
    }
    fn changed(self, operations: Vec<OperationProgress>) -> SshKeyChanged {
        SshKeyChanged { ssh_key: self.key(), operations }
    }
    fn deleted(self, operations: Vec<OperationProgress>) -> SshKeyDeleted {
        SshKeyDeleted { ssh_key: self.key(), operations }
    }
    fn refused(object_id: String, operations: Vec<OperationProgress>) -> RequestRefused {
        RequestRefused { object_id, operations }
    }
    fn forgotten(gone_before_us: i64) -> ObjectsForgotten {
        ObjectsForgotten { kind: "ssh_key".into(), gone_before_us }
    }
    fn stamp(&mut self, stamp: Stamp) {
        let Stamp { id, tenant, revision, created_at_us, updated_at_us, deleted_at_us } = stamp;
        *self = Self {
            id,
            tenant,
            revision,
            created_at_us,
            updated_at_us,
            deleted_at_us,
            ..std::mem::take(self)
        };
    }
}

struct Children;

impl Kind for Children {
    type Object = Child;
    const MOST: u64 = 1_000;

    /// Its own labels and the name of its parent.
    fn decide(
        _before: Option<&Child>,
        command: ChildCommand,
        seen: &Seen<'_>,
    ) -> Result<Decision<Child>, Refusal> {
        Ok(match command {
            ChildCommand::Create(wish) => {
                let mut labels = wish.labels;
                let parents = seen.referenced::<Child>("parent");
                labels.extend(parents.into_iter().map(|parent| ("parent-name".to_owned(), parent.name)));
                Decision::Is(Child { name: wish.name, labels, ..Child::default() })
            }
            ChildCommand::Delete(_) => Decision::Gone,
        })
    }
}

fn id(n: u32) -> String {
    format!("018f0000-0000-7000-8000-{n:012}")
}

async fn create(bench: &mut Bench, n: u32, name: &str, parent: Option<u32>) -> Result<SshKey, Refusal> {
    let labels = parent.map(|parent| ("parent".to_owned(), id(parent))).into_iter().collect();
    let wish = CreateSshKeyRequest { name: name.into(), public_key: KEY.into(), labels };
    bench.deliver_about(&id(n), &wish).await.expect("answered");
    let said = bench.said().await;
    let made = said.iter().find_map(testkit::Said::get::<SshKeyCreated>).and_then(|event| event.ssh_key);
    made.ok_or_else(|| refusal(&said))
}

async fn delete(bench: &mut Bench, n: u32) -> Result<(), Refusal> {
    let wish = DeleteSshKeyRequest { name: "x".into(), if_revision: 0 };
    bench.deliver_about(&id(n), &wish).await.expect("answered");
    let said = bench.said().await;
    let gone = said.iter().any(|said| said.get::<SshKeyDeleted>().is_some());
    if gone { Ok(()) } else { Err(refusal(&said)) }
}

fn refusal(said: &[testkit::Said]) -> Refusal {
    let refused: RequestRefused = said.iter().find_map(testkit::Said::get).expect("refused");
    assert_eq!(refused.operations[0].state(), OperationState::Failed);
    refused.operations[0].refusal.clone().map(Refusal::from).expect("why")
}

#[tokio::test]
async fn what_is_referred_to_is_there_and_stays() {
    for deliveries in [1, 2] {
        for database in databases(&TABLES_OF_OWNERS).await {
            let subscriptions =
                Owned::<Children>::new(&database.store).subscribe(Subscriptions::new("scheduler"));
            let mut bench = Bench::new("scheduler", database.store.clone(), subscriptions, deliveries);
            bench.tenant = "acme".into();
            create(&mut bench, 1, "parent", None).await.expect("made");
            let child = create(&mut bench, 2, "child", Some(1)).await.expect("made");
            assert_eq!(child.labels["parent-name"], "parent", "the decision sees what is referred to");
            let missing = create(&mut bench, 3, "orphan", Some(9)).await.expect_err("nothing there");
            assert_eq!(missing.code, "SSH_KEY_NOT_FOUND");
            assert!(missing.message.starts_with("parent: "), "it names the field: {missing}");

            // another tenant refers to nothing of this one's
            bench.tenant = "other".into();
            let foreign = create(&mut bench, 4, "thief", Some(1)).await.expect_err("not theirs");
            assert_eq!(foreign.code, "SSH_KEY_NOT_FOUND");
            bench.tenant = "acme".into();

            let used = delete(&mut bench, 1).await.expect_err("a child refers to it");
            assert_eq!(
                (used.code.as_str(), used.message.as_str()),
                ("SSH_KEY_IN_USE", "parent is used by ssh key child")
            );
            for n in 10..20 {
                create(&mut bench, n, &format!("child-{n}"), Some(1)).await.expect("made");
            }
            let used = delete(&mut bench, 1).await.expect_err("many refer to it");
            assert_eq!(
                used.message,
                "parent is used by ssh keys child, child-10, child-11, child-12, child-13 and more"
            );
            for n in (10..20).chain([2]) {
                delete(&mut bench, n).await.expect("nothing refers to it");
            }
            delete(&mut bench, 1).await.expect("nothing refers to it any more");
            let gone = create(&mut bench, 5, "late", Some(1)).await.expect_err("it is gone");
            assert_eq!(gone.code, "SSH_KEY_NOT_FOUND");
            drop(bench);
            database.remove().await;
        }
    }
}
