//! What an event says, whichever event it is. An event that this build does not know is an error, never a guess.

use crate::catalogue::{self, CATALOGUE, Entry, READERS, Snapshot, Statement};
use crate::common::v1::OperationProgress;
use crate::object::Object;
use kernel::Subject;
use prost::bytes::{Buf as _, Bytes, BytesMut};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use std::fmt;

/// What an event says.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// What it is about.
    pub content: Content,
    /// The encoded object, as its owner wrote it: cut out of the event, so that fields are kept that this build does not
    /// know. Of an event without an object: all of it.
    pub bytes: Bytes,
    /// Operations that it moves on.
    pub operations: Vec<OperationProgress>,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// An object, as it is now. With revision 0 there is none, and the event only says so.
    Snapshot(Snapshot),
    /// An object that is only spoken of: what was refused never was.
    Mention(Snapshot),
    /// What was asked for was refused: nothing but its operations hears of it.
    Refused,
    /// Objects that are gone for long are not kept any more.
    Forgotten(Forgotten),
    /// Something else.
    Other(Statement),
}

/// Which objects are not kept any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    /// Of which kind.
    pub kind: String,
    /// Those that were gone before this time, in microseconds since the epoch.
    pub gone_before_us: i64,
}

impl Told {
    /// Reads an event.
    pub fn of(subject: &Subject, payload: &Bytes) -> Result<Self, NotKnown> {
        let place = place(subject)?;
        let read = READERS[place].ok_or_else(|| NotKnown::unknown(subject))?;
        read(&CATALOGUE[place], payload).map_err(|error| NotKnown::unreadable(subject, &error))
    }

    /// The object as it is now, if the event says so of one.
    pub fn into_snapshot(self) -> Option<Snapshot> {
        match self.content {
            Content::Snapshot(snapshot) if snapshot.revision() > 0 => Some(snapshot),
            _ => None,
        }
    }
}

/// How an event is read.
pub(crate) type Reader = fn(&Entry, &Bytes) -> Result<Told, Unreadable>;

/// An object out of an event, whichever event of its kind it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Carried<T> {
    /// The object; with revision 0 there is none, and the event only says so.
    pub object: T,
    /// The same as its owner wrote it: see [`Told::bytes`].
    pub bytes: Bytes,
    /// Operations that the event moves on.
    pub operations: Vec<OperationProgress>,
}

impl<T: Object> Carried<T> {
    /// Reads an event that carries a `T`.
    pub fn of(subject: &Subject, payload: &Bytes) -> Result<Self, NotKnown> {
        let entry = known(subject)?;
        if entry.carries.is_none_or(|carries| carries.kind != T::KIND) {
            return Err(NotKnown::unknown(subject));
        }
        Self::read(entry, payload).map_err(|error| NotKnown::unreadable(subject, &error))
    }

    /// Cuts the object out. Fields may stand in any order and, as the encoding allows, a message in several parts: they
    /// are put together.
    pub(crate) fn read(entry: &Entry, payload: &Bytes) -> Result<Self, Unreadable> {
        let field = entry.carries.map_or(0, |carries| carries.number);
        let (mut rest, mut parts, mut operations) = (payload.clone(), Vec::new(), Vec::new());
        while rest.has_remaining() {
            let (number, wire) = decode_key(&mut rest)?;
            if number == field {
                parts.push(delimited(wire, &mut rest)?);
            } else if Some(number) == entry.operations {
                operations.push(prost::Message::decode(delimited(wire, &mut rest)?)?);
            } else {
                skip_field(wire, number, &mut rest, DecodeContext::default())?;
            }
        }
        let bytes = match parts.as_slice() {
            [] => return Err(Unreadable::Empty(entry.carries.map_or("", |carries| carries.kind.name))),
            [whole] => whole.clone(),
            parts => parts
                .iter()
                .fold(BytesMut::new(), |mut all, part| {
                    all.extend_from_slice(part);
                    all
                })
                .freeze(),
        };
        Ok(Self { object: T::decode(bytes.clone())?, bytes, operations })
    }
}

fn delimited(wire: WireType, rest: &mut Bytes) -> Result<Bytes, Unreadable> {
    if wire != WireType::LengthDelimited {
        return Err(Unreadable::Broken(format!("a message encoded as {wire:?}")));
    }
    let length = decode_varint(rest)?;
    match usize::try_from(length) {
        Ok(length) if length <= rest.remaining() => Ok(rest.split_to(length)),
        _ => Err(Unreadable::Broken("it ends too early".to_owned())),
    }
}

/// The event that travels under a subject.
pub fn known(subject: &Subject) -> Result<&'static Entry, NotKnown> {
    Ok(&CATALOGUE[place(subject)?])
}

fn place(subject: &Subject) -> Result<usize, NotKnown> {
    let known = subject.kind == kernel::Kind::Event;
    let place = known.then(|| catalogue::place(&subject.service, &subject.version, &subject.name)).flatten();
    place.ok_or_else(|| NotKnown::unknown(subject))
}

/// Why an event of a known name cannot be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    Broken(String),
    /// Without an object of this kind.
    Empty(&'static str),
}

impl From<prost::DecodeError> for Unreadable {
    fn from(error: prost::DecodeError) -> Self {
        Self::Broken(error.to_string())
    }
}

/// An event that this build cannot say anything about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotKnown {
    /// No event is called so.
    Name(String),
    /// It is not what its name says.
    Content {
        /// The event.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl NotKnown {
    fn unknown(subject: &Subject) -> Self {
        Self::Name(name(subject))
    }

    fn unreadable(subject: &Subject, error: &Unreadable) -> Self {
        let reason = match error {
            Unreadable::Broken(reason) => reason.clone(),
            Unreadable::Empty(kind) => format!("it carries no {kind}"),
        };
        Self::Content { name: name(subject), reason }
    }
}

fn name(subject: &Subject) -> String {
    format!("{}.{}.{}", subject.service, subject.version, subject.name)
}

impl fmt::Display for NotKnown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => {
                write!(f, "this build knows no event {name}: use one that is as new as who said it")
            }
            Self::Content { name, reason } => write!(f, "not a {name}: {reason}"),
        }
    }
}

impl std::error::Error for NotKnown {}
