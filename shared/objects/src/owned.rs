//! What the owner of a kind does with each command, whatever the kind: everything but the decision.

use crate::store::{self, Found, Row};
use ::store::Store;
use async_trait::async_trait;
use bus::{Failure, HandleCommand, Subscriptions, Work};
use contracts::check::Wrong;
use contracts::common::v1::{OperationProgress, OperationState};
use contracts::options::v1::Scope;
use contracts::{Command, Object, ObjectKind, OwnObject, Stamp};
use kernel::{PLATFORM, Refusal, Timestamp};
use std::collections::BTreeSet;
use std::marker::PhantomData;

/// A kind of object of a service. A type of the service's own stands for it.
pub trait Kind: Send + Sync + 'static {
    /// Its objects.
    type Object: OwnObject;

    /// So many may a tenant have.
    const MOST: u64;

    /// What becomes of the object (`None`: it is to be made) by a command. Pure: the same every time. Id, tenant, revision
    /// and times are set by [`Owned`].
    fn decide(
        before: Option<&Self::Object>,
        command: <Self::Object as OwnObject>::Command,
        seen: &Seen<'_>,
    ) -> Result<Decision<Self::Object>, Refusal>;
}

/// What a decision may look at beside the object.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// When it is decided.
    pub now: Timestamp,
    /// Whose object it is.
    pub tenant: &'a str,
    /// Who asked.
    pub actor: &'a str,
    /// What the command refers to, as far as it stands in the tables of whoever decides.
    pub referenced: &'a [Referenced],
}

impl Seen<'_> {
    /// The objects that a field of the command refers to; those of another service are there if their owner is listened to.
    pub fn referenced<O: Object>(&self, field: &str) -> Vec<O> {
        let of = self.referenced.iter().filter(|one| one.field == field && one.kind == O::KIND);
        of.filter_map(|one| O::decode(one.snapshot.as_slice()).ok()).collect()
    }
}

/// An object that a command refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referenced {
    /// In which field.
    pub field: &'static str,
    /// What it is.
    pub kind: &'static ObjectKind,
    /// As its owner encoded it.
    pub snapshot: Vec<u8>,
}

/// What becomes of an object.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision<O> {
    /// It is this.
    Is(O),
    /// It is gone.
    Gone,
    /// It is what it was.
    Same,
}

/// Obeys the commands of a kind.
pub struct Owned<K> {
    store: Store,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Owned<K> {
    /// In this database, which has [`crate::TABLES_OF_OWNERS`].
    pub fn new(store: &Store) -> Self {
        Self { store: store.clone(), kind: PhantomData }
    }

    /// Subscribes to all commands of the kind.
    pub fn subscribe(self, subscriptions: Subscriptions) -> Subscriptions {
        subscriptions.on_commands(self)
    }

    async fn obey(
        &self,
        work: &mut Work,
        command: <K::Object as OwnObject>::Command,
    ) -> Result<Result<(), Refusal>, Failure> {
        let kind = K::Object::KIND;
        let (tenant, id) = (owner_of::<K::Object>(work), work.key().to_owned());
        let creates = command.verb() == "Create";
        for lock in locks::<K::Object>(&command, &tenant, &id) {
            self.store.lock(work.tx(), &lock).await?;
        }
        let found = store::find_by_id(&mut *work.tx(), kind, &tenant, &id).await?;
        let before = found.as_ref().map(read::<K::Object>).transpose()?;
        let done = progress(work, None);
        let before = match (creates, before) {
            // it was obeyed before: only the operation has to hear of it
            (true, Some(gone)) if gone.gone_at_us() > 0 => {
                work.say_for(&tenant, &gone.deleted(vec![done]));
                return Ok(Ok(()));
            }
            (true, Some(made)) => {
                work.say_for(&tenant, &made.created(vec![done]));
                return Ok(Ok(()));
            }
            (false, Some(gone)) if gone.gone_at_us() > 0 && command.verb() == "Delete" => {
                work.say_for(&tenant, &gone.deleted(vec![done]));
                return Ok(Ok(()));
            }
            (false, None) => return Ok(Err(missing::<K::Object>(&id))),
            (false, Some(gone)) if gone.gone_at_us() > 0 => return Ok(Err(missing::<K::Object>(&id))),
            (_, before) => before,
        };
        if let Err(refusal) = self.may(work, creates, &tenant, &command, before.as_ref()).await? {
            return Ok(Err(refusal));
        }
        let referenced = match self.referenced(work, &tenant, &command).await? {
            Ok(referenced) => referenced,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if let Some(before) = &before
            && let Err(refusal) = self.unreferred(work, &command, before).await?
        {
            return Ok(Err(refusal));
        }
        let now = work.now();
        let (actor, name) = (work.cause().actor.clone(), command.name().to_owned());
        let seen = Seen { now, tenant: &tenant, actor: &actor, referenced: &referenced };
        let decision = match K::decide(before.as_ref(), command, &seen) {
            Ok(decision) => decision,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut stamp = Stamp {
            id,
            tenant: tenant.clone(),
            revision: before.as_ref().map_or(0, Object::revision) + 1,
            created_at_us: before.as_ref().map_or(now.micros(), Object::created_at_us),
            updated_at_us: now.micros(),
            deleted_at_us: 0,
        };
        let (mut after, gone) = match (decision, before) {
            (Decision::Is(after), _) => (after, false),
            (Decision::Gone, Some(before)) => (before, true),
            (Decision::Same, Some(before)) => {
                work.say_for(&tenant, &before.changed(vec![done]));
                return Ok(Ok(()));
            }
            (Decision::Gone | Decision::Same, None) => {
                return Err(Failure::Poison(format!("{}: nothing was decided of {name}", kind.name)));
            }
        };
        if gone {
            stamp.deleted_at_us = now.micros();
        }
        after.stamp(stamp);
        if !store::put(work.tx(), &Row::of(&after)).await? {
            return Err(Failure::Transient(format!("{} {name} changed meanwhile", kind.name)));
        }
        match (creates, gone) {
            (true, _) => work.say_for(&tenant, &after.created(vec![done])),
            (false, false) => work.say_for(&tenant, &after.changed(vec![done])),
            (false, true) => work.say_for(&tenant, &after.deleted(vec![done])),
        }
        Ok(Ok(()))
    }

    /// What a command refers to.
    async fn referenced(
        &self,
        work: &mut Work,
        tenant: &str,
        command: &<K::Object as OwnObject>::Command,
    ) -> Result<Result<Vec<Referenced>, Refusal>, Failure> {
        let wanted = command.references();
        let mut found = Vec::with_capacity(wanted.len());
        for (field, kind, id) in wanted {
            let owner = if kind.scope == Scope::Platform { PLATFORM } else { tenant };
            match store::find_by_id(&mut *work.tx(), kind, owner, id).await? {
                Some(Found { gone: false, snapshot, .. }) => found.push(Referenced { field, kind, snapshot }),
                // of another service's objects only those are here that it was listened to about
                None if package(kind) != package(K::Object::KIND) => {}
                _ => {
                    let text = format!("{field}: there is no {} {id} any more", words(kind.name));
                    let code = format!("{}_NOT_FOUND", kind.name.to_uppercase());
                    return Ok(Err(Refusal::new(&code, text)));
                }
            }
        }
        Ok(Ok(found))
    }

    /// Whether nothing refers to an object that would stand in the way of a command.
    async fn unreferred(
        &self,
        work: &mut Work,
        command: &<K::Object as OwnObject>::Command,
        object: &K::Object,
    ) -> Result<Result<(), Refusal>, Failure> {
        /// So many are named.
        const NAMED: usize = 5;
        let kind = K::Object::KIND;
        for from in command.refuse_while_referred() {
            let mut names = store::referring(work.tx(), from, kind, object.id(), NAMED + 1).await?;
            if names.is_empty() {
                continue;
            }
            let more = if names.len() > NAMED { " and more" } else { "" };
            names.truncate(NAMED);
            let text = format!(
                "{} is used by {} {}{more}",
                object.name(),
                words(if names.len() == 1 { from.name } else { from.plural }),
                names.join(", ")
            );
            return Ok(Err(Refusal::new(&format!("{}_IN_USE", kind.name.to_uppercase()), text)));
        }
        Ok(Ok(()))
    }

    async fn may(
        &self,
        work: &mut Work,
        creates: bool,
        tenant: &str,
        command: &<K::Object as OwnObject>::Command,
        before: Option<&K::Object>,
    ) -> Result<Result<(), Refusal>, Failure> {
        let kind = K::Object::KIND;
        if let Some(before) = before
            && command.if_revision() != 0
            && command.if_revision() != before.revision()
        {
            let text = format!(
                "{} has revision {}, not {}: look at it again",
                before.name(),
                before.revision(),
                command.if_revision()
            );
            return Ok(Err(Refusal::new("REVISION_CHANGED", text)));
        }
        if !creates {
            return Ok(Ok(()));
        }
        if store::find_by_name(&mut *work.tx(), kind, tenant, command.name()).await?.is_some() {
            let text = format!("there is {} {} already", article(&words(kind.name)), command.name());
            return Ok(Err(Refusal::new(&format!("{}_EXISTS", kind.name.to_uppercase()), text)));
        }
        let present = store::count(work.tx(), kind, tenant).await?;
        if present >= K::MOST {
            let text = format!("{tenant} has {present} {}, and may have {}", words(kind.plural), K::MOST);
            return Ok(Err(Refusal::new("TOO_MANY", text)));
        }
        Ok(Ok(()))
    }
}

#[async_trait]
impl<K: Kind> HandleCommand<<K::Object as OwnObject>::Command> for Owned<K> {
    async fn handle(
        &self,
        work: &mut Work,
        command: <K::Object as OwnObject>::Command,
        wrong: Option<Wrong>,
    ) -> Result<(), Failure> {
        let outcome = match wrong {
            Some(Wrong { field, why }) if field.is_empty() => Err(Refusal::new("INVALID", why)),
            Some(Wrong { field, why }) => Err(Refusal::new("INVALID", format!("{field}: {why}"))),
            None => self.obey(work, command).await?,
        };
        if let Err(refusal) = outcome {
            let (tenant, id) = (owner_of::<K::Object>(work), work.key().to_owned());
            let failed = progress(work, Some(refusal));
            work.say_for(&tenant, &K::Object::refused(id, vec![failed]));
        }
        Ok(())
    }
}

/// Whose an object is: of kinds of the platform, the platform's, whoever asks.
fn owner_of<O: Object>(work: &Work) -> String {
    if O::KIND.scope == Scope::Platform { PLATFORM.to_owned() } else { work.cause().tenant.clone() }
}

fn read<O: Object>(found: &Found) -> Result<O, Failure> {
    let broken = |error| Failure::Poison(format!("the row of {} {}: {error}", O::KIND.name, found.id));
    O::decode(found.snapshot.as_slice()).map_err(broken)
}

/// What the operation comes to, which has the correlation of its command for an id.
fn progress(work: &Work, refusal: Option<Refusal>) -> OperationProgress {
    let (state, step) = match refusal {
        None => (OperationState::Succeeded, "done"),
        Some(_) => (OperationState::Failed, "refused"),
    };
    OperationProgress {
        operation_id: work.cause().correlation.to_string(),
        state: state.into(),
        step: step.to_owned(),
        refusal: refusal.map(Into::into),
    }
}

fn missing<O: Object>(id: &str) -> Refusal {
    let name = O::KIND.name;
    let text = format!("there is no {} {id} any more", words(name));
    Refusal::new(&format!("{}_NOT_FOUND", name.to_uppercase()), text)
}

/// What a command locks before it looks, in one order, so that two commands never wait for each other in a circle. (Two
/// batches of commands may: PostgreSQL ends one of them, which is tried again.)
fn locks<O: OwnObject>(command: &O::Command, tenant: &str, id: &str) -> BTreeSet<String> {
    let reference = |kind: &ObjectKind, id: &str| format!("reference {} {id}", kind.name);
    // who refers to an object and who removes it wait for each other
    let mut locks: BTreeSet<String> =
        command.references().into_iter().map(|(_, kind, id)| reference(kind, id)).collect();
    if !command.refuse_while_referred().is_empty() {
        locks.insert(reference(O::KIND, id));
    }
    if command.verb() == "Create" {
        // two of the same name at once: the second sees the first
        locks.insert(format!("objects {} {tenant}", O::KIND.name));
    }
    locks
}

/// "berth.network.v1".
fn package(kind: &ObjectKind) -> &str {
    kind.message.rsplit_once('.').map_or("", |(package, _)| package)
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

fn article(words: &str) -> String {
    let vowel = words.starts_with(['a', 'e', 'i', 'o']) || words.starts_with("ssh");
    format!("{} {words}", if vowel { "an" } else { "a" })
}
