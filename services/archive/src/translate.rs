//! Events of the stream and entries of the archive.

use bus::watch::Gap;
use bus::{Envelope, InvalidEnvelope};
use contracts::archive::v1::{ArchivedEvent, ArchivedGap, Entry, entry};

/// An event as an entry.
pub fn event(sequence: u64, envelope: &Envelope) -> Entry {
    Entry {
        what: Some(entry::What::Event(ArchivedEvent {
            sequence,
            subject: envelope.subject.to_string(),
            headers: envelope.headers(),
            payload: envelope.payload.to_vec(),
        })),
    }
}

/// A gap as an entry.
pub fn gap(kind: Gap, reason: &str, resync_after_sequence: u64) -> Entry {
    let kind = match kind {
        Gap::MadeAnew => "made anew",
        Gap::RolledBack => "rolled back",
        Gap::NotKept => "not kept",
        Gap::Hole => "hole",
    };
    Entry {
        what: Some(entry::What::Gap(ArchivedGap {
            kind: kind.to_owned(),
            reason: reason.to_owned(),
            resync_after_sequence,
        })),
    }
}

/// An archived event as it travelled.
pub fn envelope(event: &ArchivedEvent) -> Result<Envelope, InvalidEnvelope> {
    Envelope::from_parts(
        &event.subject,
        |name| event.headers.get(name).cloned(),
        event.payload.clone().into(),
    )
}

/// When an archived event occurred, microseconds since the epoch; 0 = it does not say.
pub fn occurred_at(event: &ArchivedEvent) -> i64 {
    envelope(event).map_or(0, |envelope| envelope.occurred_at.micros())
}

/// Whether only the archive itself is talked about: such entries are not worth a segment of their own.
pub fn own(entry: &Entry) -> bool {
    matches!(&entry.what, Some(entry::What::Event(event)) if event.subject.starts_with("evt.archive."))
}
