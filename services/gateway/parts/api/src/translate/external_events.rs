//! Events of other systems: from CloudEvents in JSON or in headers to what goes into the stream, and back to the
//! document that was sent.

use crate::domain::cloud_event::{self, DEPTH_LIMIT, KNOWN, is_json};
use crate::domain::json_text;
use crate::domain::violation::{Violation, excerpt};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contracts::gateway::v1::external_attribute::Value as Attribute;
use contracts::gateway::v1::external_event::Data;
use contracts::gateway::v1::{ExternalAttribute, ExternalEvent};
use kernel::limits::{EVENT, EVENTS_AT_ONCE};
use prost::Message as _;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// The object under which an event stands in the stream: what it is about, so that its events keep their order.
pub fn key(event: &ExternalEvent) -> String {
    let mut hash = Sha256::new();
    hash.update(event.source.as_bytes());
    // no attribute holds it
    hash.update([0]);
    hash.update(event.subject.as_bytes());
    hex::encode(&hash.finalize()[..16])
}

/// SHA-256 of a text in hex.
pub fn digest(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// Checks the events of a request, which may be none (an empty batch is one: JSON format 1.0.2, section 4.2). Fields are
/// named from `at`: "events" gives "events[3].source".
pub fn check_all(at: &str, events: &[ExternalEvent], limit: usize) -> Result<(), Violation> {
    if events.len() > limit {
        let text = format!("{} events are sent; write at most {limit}", events.len());
        return Err(Violation::new(at, text));
    }
    for (index, event) in events.iter().enumerate() {
        check(event).map_err(|wrong| wrong.inside(&format!("{at}[{index}]")))?;
    }
    Ok(())
}

/// Checks an event, whatever door it came by.
pub fn check(event: &ExternalEvent) -> Result<(), Violation> {
    for name in KNOWN {
        let value = named(event, name);
        let optional = matches!(name, "subject" | "time" | "datacontenttype" | "dataschema");
        if !optional || !value.is_empty() {
            cloud_event::attribute(name, value)?;
        }
    }
    for (name, attribute) in &event.extensions {
        cloud_event::extension_name(name)?;
        match &attribute.value {
            Some(Attribute::Text(text)) => cloud_event::attribute(name, text)?,
            Some(_) => {}
            None => return Err(Violation::new(name, "has no value; leave it out")),
        }
    }
    if let Some(Data::Json(text)) = &event.data {
        check_json(text)?;
    }
    let size = event.encoded_len();
    if size > EVENT.length() {
        let text = format!("an event of {size} bytes is too long: at most {EVENT}, with all its attributes");
        return Err(Violation::new("data", text));
    }
    Ok(())
}

fn check_json(text: &str) -> Result<(), Violation> {
    // what stands too deep to be read is not read
    let deep = json_text::depth(text);
    if deep > DEPTH_LIMIT {
        return Err(Violation::new("data", format!("{deep} levels are too deep: at most {DEPTH_LIMIT}")));
    }
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map(|_| ())
        .map_err(|error| Violation::new("data", format!("this is not JSON: {error}")))
}

fn named<'a>(event: &'a ExternalEvent, name: &str) -> &'a str {
    match name {
        "specversion" => &event.specversion,
        "id" => &event.id,
        "source" => &event.source,
        "type" => &event.r#type,
        "subject" => &event.subject,
        "time" => &event.time,
        "datacontenttype" => &event.datacontenttype,
        _ => &event.dataschema,
    }
}

/// Writes an attribute with a name of its own; `false`: no such name.
fn set(event: &mut ExternalEvent, name: &str, value: String) -> bool {
    let field = match name {
        "specversion" => &mut event.specversion,
        "id" => &mut event.id,
        "source" => &mut event.source,
        "type" => &mut event.r#type,
        "subject" => &mut event.subject,
        "time" => &mut event.time,
        "datacontenttype" => &mut event.datacontenttype,
        "dataschema" => &mut event.dataschema,
        _ => return false,
    };
    *field = value;
    true
}

/// A batch: an array of events.
pub fn batch(text: &str) -> Result<Vec<ExternalEvent>, Violation> {
    match document(text)? {
        Value::Array(_) => {}
        _ => return Err(Violation::new("", "a batch is a JSON array of events")),
    }
    let elements = json_text::elements(text);
    if elements.len() > EVENTS_AT_ONCE {
        let text = format!("{} events are too many: at most {EVENTS_AT_ONCE} in one batch", elements.len());
        return Err(Violation::new("", text));
    }
    let event = |(index, text): (usize, &&str)| {
        structured(text).map_err(|wrong| match wrong.field.as_str() {
            "" => Violation::new(format!("[{index}]"), wrong.message),
            _ => wrong.inside(&format!("[{index}]")),
        })
    };
    elements.iter().enumerate().map(event).collect()
}

fn document(text: &str) -> Result<Value, Violation> {
    serde_json::from_str(text).map_err(|error| Violation::new("", format!("the body is not JSON: {error}")))
}

/// One event as a JSON object. Types are right afterwards; [`check`] says what else may be wrong.
pub fn structured(text: &str) -> Result<ExternalEvent, Violation> {
    let Value::Object(values) = document(text)? else {
        return Err(Violation::new("", "an event is a JSON object"));
    };
    let (mut event, mut seen) = (ExternalEvent::default(), BTreeSet::new());
    let (mut json, mut base64) = (None, None);
    for (name, raw) in json_text::members(text) {
        let name: String =
            serde_json::from_str(name).map_err(|_| Violation::new("", "a name is not text"))?;
        let shown = excerpt(&name, 40);
        let value = values.get(&name).unwrap_or(&Value::Null);
        if !seen.insert(name.clone()) {
            return Err(Violation::new(shown, "this attribute is given twice"));
        }
        match (name.as_str(), value) {
            ("data", value) => json = Some((raw.to_owned(), value.clone())),
            // null is how a document may say that an attribute is not there
            (_, Value::Null) => {}
            ("data_base64", Value::String(text)) => base64 = Some(text.clone()),
            (known, Value::String(text)) if KNOWN.contains(&known) => {
                if text.is_empty() {
                    return Err(Violation::new(known, "must not be empty"));
                }
                set(&mut event, known, text.clone());
            }
            (known, other) if KNOWN.contains(&known) || known == "data_base64" => {
                let text = format!("expected a string, got {}", excerpt(&other.to_string(), 60));
                return Err(Violation::new(known, text));
            }
            (_, value) => {
                let attribute = attribute(&name, value)?;
                event.extensions.insert(name, ExternalAttribute { value: Some(attribute) });
            }
        }
    }
    for name in ["specversion", "id", "source", "type"] {
        if named(&event, name).is_empty() {
            return Err(Violation::new(name, "this attribute is missing"));
        }
    }
    // null beside the other form of data, or where the data are no JSON, says that there is none in this form
    let json =
        json.filter(|(_, value)| !value.is_null() || (base64.is_none() && is_json(&event.datacontenttype)));
    event.data = match (json, base64) {
        (Some(_), Some(_)) => return Err(Violation::new("data_base64", "give this or data, not both")),
        (None, Some(text)) => Some(Data::Binary(
            STANDARD
                .decode(text)
                .map_err(|_| Violation::new("data_base64", "expected a string of base64"))?,
        )),
        (Some((_, Value::String(text))), None) if !is_json(&event.datacontenttype) => {
            Some(if text.contains('\0') { Data::Binary(text.into_bytes()) } else { Data::Text(text) })
        }
        (Some((raw, _)), None) => Some(Data::Json(raw)),
        (None, None) => None,
    };
    Ok(event)
}

fn attribute(name: &str, value: &Value) -> Result<Attribute, Violation> {
    let whole = || value.as_i64().and_then(|number| i32::try_from(number).ok());
    match value {
        Value::String(text) => Ok(Attribute::Text(text.clone())),
        Value::Bool(boolean) => Ok(Attribute::Boolean(*boolean)),
        Value::Number(_) if whole().is_some() => Ok(Attribute::Integer(whole().unwrap_or_default())),
        other => {
            let text = "expected a string, true or false, or a whole number of 32 bits, got";
            Err(Violation::new(excerpt(name, 40), format!("{text} {}", excerpt(&other.to_string(), 60))))
        }
    }
}

/// One event in binary mode: attributes in headers whose names begin with "ce-", the body is the data. `headers` are
/// in lower case.
pub fn binary<'a>(
    headers: impl Iterator<Item = (&'a str, &'a str)>,
    body: &[u8],
) -> Result<ExternalEvent, Violation> {
    let (mut event, mut seen) = (ExternalEvent::default(), BTreeSet::new());
    for (header, value) in headers {
        let Some(name) = header.strip_prefix("ce-") else {
            if header == "content-type" {
                value.trim().clone_into(&mut event.datacontenttype);
            }
            continue;
        };
        let shown = excerpt(header, 40);
        if !seen.insert(name.to_owned()) {
            return Err(Violation::new(shown, "this header is sent twice"));
        }
        let Some(text) = unescaped(value) else {
            return Err(Violation::new(shown, "the value is not percent-encoded UTF-8"));
        };
        match name {
            "datacontenttype" => {
                return Err(Violation::new(shown, "the type of the data stands in the header content-type"));
            }
            known if KNOWN.contains(&known) && text.is_empty() => {
                return Err(Violation::new(shown, "must not be empty"));
            }
            name if set(&mut event, name, text.clone()) => {}
            name => {
                let value = Some(Attribute::Text(text));
                event.extensions.insert(name.to_owned(), ExternalAttribute { value });
            }
        }
    }
    for name in ["specversion", "id", "source", "type"] {
        if named(&event, name).is_empty() {
            let text = "this header is missing; send one event as application/cloudevents+json, many as \
                        application/cloudevents-batch+json, or its attributes as ce-* headers";
            return Err(Violation::new(format!("ce-{name}"), text));
        }
    }
    event.data = data(&event.datacontenttype, body);
    Ok(event)
}

fn data(media_type: &str, body: &[u8]) -> Option<Data> {
    if body.is_empty() {
        return None;
    }
    let text = std::str::from_utf8(body).ok();
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_text = essence.starts_with("text/") || essence.ends_with("/xml") || essence.ends_with("+xml");
    Some(match text {
        // no type: these are bytes that say nothing of themselves
        Some(text) if !essence.is_empty() && is_json(&essence) => Data::Json(text.to_owned()),
        // in a field of text it would be a text that no table takes; the bytes are the same
        Some(text) if is_text && !text.contains('\0') => Data::Text(text.to_owned()),
        _ => Data::Binary(body.to_vec()),
    })
}

/// A header's value without its quotes (RFC 7230, section 3.2.6) and with its percent-encoding undone, once.
fn unescaped(value: &str) -> Option<String> {
    let value = value.trim();
    let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let mut plain = String::with_capacity(value.len());
    let mut escaped = false;
    for c in quoted.unwrap_or(value).chars() {
        escaped = quoted.is_some() && c == '\\' && !escaped;
        if !escaped {
            plain.push(c);
        }
    }
    let (bytes, mut decoded, mut at) = (plain.as_bytes(), Vec::with_capacity(plain.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let hex = bytes.get(at + 1..at + 3).and_then(|digits| hex::decode(digits).ok());
        match (byte, hex) {
            (b'%', Some(hex)) => {
                decoded.extend(hex);
                at += 3;
            }
            // who does not encode it means the sign itself
            (byte, _) => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).ok()
}

/// The event as it was sent: a CloudEvent in JSON. Its JSON data stands in it letter by letter.
pub fn original(event: &ExternalEvent) -> String {
    let mut members = Vec::new();
    let mut member = |name: &str, value: String| members.push(format!("{}:{value}", Value::from(name)));
    for name in KNOWN {
        let value = named(event, name);
        if !value.is_empty() {
            member(name, Value::from(value).to_string());
        }
    }
    for (name, attribute) in &event.extensions {
        match &attribute.value {
            Some(Attribute::Text(text)) => member(name, Value::from(text.as_str()).to_string()),
            Some(Attribute::Boolean(boolean)) => member(name, boolean.to_string()),
            Some(Attribute::Integer(integer)) => member(name, integer.to_string()),
            None => {}
        }
    }
    match &event.data {
        Some(Data::Json(text)) => member("data", text.clone()),
        Some(Data::Text(text)) => member("data", Value::from(text.as_str()).to_string()),
        Some(Data::Binary(bytes)) => member("data_base64", format!("\"{}\"", STANDARD.encode(bytes))),
        None => {}
    }
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
#[path = "external_events_tests.rs"]
mod tests;
