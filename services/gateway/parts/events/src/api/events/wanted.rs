//! What a reader of the event stream asks for, checked.

use super::labels;
use crate::domain::event_filter::{ANY, EventFilter};
use bus::Envelope;
use bus::watch::Cursor;
use contracts::gateway::v1::WatchEventsRequest;
use gateway_api::domain::caller::Caller;
use gateway_api::domain::event_cursor;
use gateway_api::domain::violation::{Violation, excerpt};
use kernel::Kind;

/// Most events a reader may go back by `last` where each has to be looked at.
pub const LAST_LIMIT: u64 = 100_000;

/// The last moment that has four digits for its year: what is later was written in another unit.
const LATEST_US: i64 = 253_402_300_799_999_999;

/// Where reading begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// After this place; the first place of all is after 0.
    After(Cursor),
    /// With the newest so many events that fit.
    Last(u64),
    /// With what happened at this time, in microseconds since the epoch.
    At(i64),
    /// With what happens from now on.
    Now,
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// With our own fields.
    Berth,
    /// As CloudEvents.
    CloudEvents,
}

/// A checked request.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Where reading begins.
    pub begin: Begin,
    /// Whether it goes on with what is still to come.
    pub follow: bool,
    /// How events are written.
    pub format: Format,
    /// Before it; 0 = no end.
    pub until_us: i64,
    since_us: i64,
    filter: EventFilter,
    correlation: String,
}

impl Wanted {
    /// Reads a request; the error names the field that is wrong.
    pub fn read(request: WatchEventsRequest) -> Result<Self, Violation> {
        let filter =
            EventFilter::read(&request.types, &request.object_id, &request.labels, |service, event| {
                contracts::CATALOGUE.iter().any(|entry| {
                    entry.kind == Kind::Event
                        && entry.service == service
                        && (event == ANY || entry.name == event)
                })
            })?;
        let format = match request.format.as_str() {
            "" | "berth" => Format::Berth,
            "cloudevents" => Format::CloudEvents,
            other => {
                let text = format!("{:?} is no format: write berth or cloudevents", excerpt(other, 40));
                return Err(Violation::new("format", text));
            }
        };
        for (field, time) in [("since_us", request.since_us), ("until_us", request.until_us)] {
            if !(0..=LATEST_US).contains(&time) {
                let text = "write microseconds since 1970-01-01T00:00:00Z, before the year 10000";
                return Err(Violation::new(field, text));
            }
        }
        if request.until_us != 0 && request.until_us <= request.since_us {
            return Err(Violation::new("until_us", "this is not after since_us: nothing lies between"));
        }
        Ok(Self {
            begin: begin(&request)?,
            follow: request.follow,
            format,
            until_us: request.until_us,
            since_us: request.since_us,
            filter,
            correlation: request.correlation_id,
        })
    }

    /// Subjects for the broker, which leaves out what is another tenant's: nobody can count it either.
    pub fn subjects(&self, caller: &Caller) -> Vec<String> {
        self.filter.subjects(if caller.may("platform.read") { ANY } else { &caller.tenant })
    }

    /// Whether fewer events fit than the broker sends: then the newest of them cannot be counted there.
    pub fn looks_inside(&self, caller: &Caller) -> bool {
        self.filter.asks_for_labels()
            || !self.correlation.is_empty()
            || self.since_us != 0
            || self.until_us != 0
            || !caller.may("audit.read")
    }

    /// Whether an event is for this reader and fits what it asks for.
    pub fn takes(&self, envelope: &Envelope, caller: &Caller) -> bool {
        let subject = &envelope.subject;
        let record = subject.service == "gateway" && subject.name == "AuditRecorded";
        let at = envelope.occurred_at.micros();
        caller.sees(&subject.tenant)
            && (!record || caller.may("audit.read"))
            && self.filter.takes(&subject.service, &subject.name, &subject.key)
            && (self.correlation.is_empty() || self.correlation == envelope.cause.correlation.to_string())
            && at >= self.since_us
            && (self.until_us == 0 || at < self.until_us)
            && (!self.filter.asks_for_labels() || self.filter.takes_labels(&labels::carried(envelope)))
    }
}

fn begin(request: &WatchEventsRequest) -> Result<Begin, Violation> {
    let numbered = request.after_sequence != 0 || !request.incarnation.is_empty();
    let cursor = match request.after.as_str() {
        "" => Cursor { incarnation: request.incarnation.clone(), after: request.after_sequence },
        _ if numbered => {
            return Err(Violation::new("after", "give this, or after_sequence and incarnation, not both"));
        }
        word => {
            let (incarnation, after) = event_cursor::read(word).ok_or_else(|| {
                let text = format!("{:?} is no cursor: write incarnation:sequence", excerpt(word, 80));
                Violation::new("after", text)
            })?;
            Cursor { incarnation, after }
        }
    };
    let given = numbered || !request.after.is_empty();
    if request.new_only && (given || request.last != 0 || request.since_us != 0) {
        let text =
            "with this nothing earlier is read: leave out last, since_us and the cursor, or set it to false";
        return Err(Violation::new("new_only", text));
    }
    if request.new_only && !request.follow {
        return Err(Violation::new("new_only", "what is still to come is only read with follow"));
    }
    if request.last > LAST_LIMIT {
        return Err(Violation::new(
            "last",
            format!("at most {LAST_LIMIT}: begin at a cursor or a time instead"),
        ));
    }
    Ok(match () {
        () if request.new_only => Begin::Now,
        () if request.last != 0 => Begin::Last(request.last),
        () if !given && request.since_us != 0 => Begin::At(request.since_us),
        () => Begin::After(cursor),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(change: impl FnOnce(&mut WatchEventsRequest)) -> Result<Begin, String> {
        let mut request = WatchEventsRequest::default();
        change(&mut request);
        Wanted::read(request).map(|wanted| wanted.begin).map_err(|wrong| wrong.field)
    }

    fn after(incarnation: &str, after: u64) -> Result<Begin, String> {
        Ok(Begin::After(Cursor { incarnation: incarnation.into(), after }))
    }

    #[test]
    fn reading_begins_where_it_is_asked_to() {
        assert_eq!(read(|_| ()), after("", 0));
        assert_eq!(read(|r| r.after = "7:12".into()), after("7", 12));
        assert_eq!(read(|r| r.after_sequence = 12), after("", 12));
        assert_eq!(read(|r| r.last = 5), Ok(Begin::Last(5)));
        assert_eq!(read(|r| r.since_us = 5), Ok(Begin::At(5)));
        assert_eq!(read(|r| (r.new_only, r.follow) = (true, true)), Ok(Begin::Now));
        // who comes back with a cursor goes on there, whatever time the first request named
        assert_eq!(read(|r| (r.since_us, r.after) = (5, "7:12".into())), after("7", 12));
    }

    #[test]
    fn what_cannot_be_is_named() {
        for (change, field) in [
            ((|r| r.after = "yesterday".into()) as fn(&mut WatchEventsRequest), "after"),
            (|r| (r.after, r.after_sequence) = ("7:12".into(), 12), "after"),
            (|r| r.new_only = true, "new_only"),
            (|r| (r.new_only, r.follow, r.last) = (true, true, 1), "new_only"),
            (|r| r.last = LAST_LIMIT + 1, "last"),
            (|r| r.since_us = -1, "since_us"),
            (|r| r.since_us = 1_780_000_000_000_000_000, "since_us"),
            (|r| r.until_us = -1, "until_us"),
            (|r| (r.since_us, r.until_us) = (5, 5), "until_us"),
            (|r| r.format = "xml".into(), "format"),
            (|r| r.labels = vec!["team".into()], "labels[0]"),
            (|r| r.types = vec!["scheduler.CreateInstance".into()], "types[0]"),
        ] {
            assert_eq!(read(change), Err(field.to_owned()));
        }
    }
}
