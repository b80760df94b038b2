//! What the attributes of a CloudEvent may be (CloudEvents 1.0.2, section "Context Attributes").

use super::violation::{Violation, excerpt};

/// The one version that is taken.
pub const VERSION: &str = "1.0";
/// Attributes that have names of their own, in the order in which they are written.
pub const KNOWN: [&str; 8] =
    ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"];
/// Levels of its data, when that is JSON.
pub const DEPTH_LIMIT: usize = 32;

/// What is wrong with the name of a further attribute. That names "SHOULD NOT exceed 20 characters" binds who makes them:
/// longer ones are taken, as many and as long as an event may be as a whole.
pub fn extension_name(name: &str) -> Result<(), Violation> {
    let wrong = |why: &str| Err(Violation::new(excerpt(name, 40), why));
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.is_empty() || !name.chars().all(letters) {
        return wrong("an attribute has a name of lower-case letters and digits");
    }
    if KNOWN.contains(&name) || name == "data" {
        return wrong("this name is not free for a further attribute");
    }
    Ok(())
}

/// What is wrong with the value of an attribute that was given.
pub fn attribute(name: &str, value: &str) -> Result<(), Violation> {
    let wrong = |why: String| Err(Violation::new(name, why));
    let control =
        |c: &char| c.is_control() || matches!(*c as u32, 0xFDD0..=0xFDEF) || (*c as u32) & 0xFFFE == 0xFFFE;
    if let Some(c) = value.chars().find(control) {
        return wrong(format!("the character U+{:04X} does not belong into an attribute", c as u32));
    }
    let shown = excerpt(value, 80);
    match name {
        "specversion" if value != VERSION => {
            wrong(format!("{shown:?} is not a version that is taken; write \"{VERSION}\""))
        }
        "id" | "type" if value.is_empty() => wrong("must not be empty".to_owned()),
        "source" if value.is_empty() || !is_uri_reference(value) => wrong(format!(
            "{shown:?} is no URI-reference; write where the event happened, such as \"/sensors/7\" or \
             \"https://example.com/orders\""
        )),
        "dataschema" if !is_uri(value) => wrong(format!(
            "{shown:?} is no absolute URI; write one such as \"https://example.com/order.json\""
        )),
        "time" if !is_timestamp(value) => {
            wrong(format!("{shown:?} is no time; write RFC 3339 such as \"2026-01-31T12:00:00Z\""))
        }
        "datacontenttype" if !is_media_type(value) => {
            wrong(format!("{shown:?} is no media type; write one such as \"application/json\""))
        }
        "subject" if value.is_empty() => wrong("must not be empty; leave it out".to_owned()),
        _ => Ok(()),
    }
}

/// Letters that RFC 3986 knows, and `%` before two hex digits only.
fn is_uri_reference(text: &str) -> bool {
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'%' => hex(at + 1) && hex(at + 2),
        byte => byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(byte),
    })
}

/// An absolute URI: a scheme before the rest.
pub fn is_uri(text: &str) -> bool {
    let scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    text.split_once(':').is_some_and(|(before, after)| scheme(before) && !after.is_empty())
        && is_uri_reference(text)
}

/// `type/subtype` and parameters (RFC 2045).
fn is_media_type(text: &str) -> bool {
    let token = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$&-^_.+*'`|~%".contains(c))
    };
    let essence = text.split(';').next().unwrap_or_default().trim();
    text.is_ascii() && essence.split_once('/').is_some_and(|(kind, sub)| token(kind) && token(sub))
}

/// Whether data of this media type is JSON; no type means that it is.
pub fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.is_empty() || essence.ends_with("/json") || essence.ends_with("+json")
}

/// RFC 3339, as far as it can be told without a calendar: every part in its range, with its zone.
fn is_timestamp(text: &str) -> bool {
    let shape = |text: &str, shape: &str| {
        text.len() == shape.len()
            && text
                .bytes()
                .zip(shape.bytes())
                .all(|(c, s)| if s == b'0' { c.is_ascii_digit() } else { c == s })
    };
    let number = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
    let (Some(date), Some(t), Some(rest)) = (text.get(..10), text.get(10..11), text.get(11..)) else {
        return false;
    };
    let Some(zone_at) = rest.find(['Z', 'z', '+', '-']) else { return false };
    let (clock, zone) = rest.split_at(zone_at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let month_days = |month: u32, year: u32| match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    };
    if !shape(date, "0000-00-00") || !t.eq_ignore_ascii_case("T") || !shape(clock, "00:00:00") {
        return false;
    }
    let (year, month, day) = (number(&date[..4]), number(&date[5..7]), number(&date[8..]));
    let in_zone = zone.eq_ignore_ascii_case("Z")
        || (shape(&zone[1..], "00:00") && number(&zone[1..3]) < 24 && number(&zone[4..]) < 60);
    (1..=12).contains(&month)
        && (1..=month_days(month, year)).contains(&day)
        && number(&clock[..2]) < 24
        && number(&clock[3..5]) < 60
        && number(&clock[6..]) <= 60
        && !fraction.is_empty()
        && fraction.bytes().all(|c| c.is_ascii_digit())
        && in_zone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn right(name: &str, value: &str) -> bool {
        attribute(name, value).is_ok()
    }

    #[test]
    fn attributes_are_what_the_specification_says() {
        for (name, value) in [
            ("specversion", "1.0"),
            ("id", "A234-1234-1234"),
            ("id", "ü 1"),
            ("source", "/mycontext"),
            ("source", "https://github.com/cloudevents/spec/pull#1"),
            ("source", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66"),
            ("source", "1-555-123-4567"),
            ("source", "/a%20b"),
            ("subject", "mynewfile.jpg"),
            ("time", "2018-04-05T17:31:00Z"),
            ("time", "2024-02-29t23:59:60.123456789+14:00"),
            ("datacontenttype", "text/xml; charset=\"utf-8\""),
            ("datacontenttype", "application/vnd.x+json"),
            ("dataschema", "https://example.com/s.json"),
            ("myextension", ""),
        ] {
            assert_eq!(attribute(name, value), Ok(()), "{name}={value}");
        }
        for (name, value) in [
            ("specversion", "0.3"),
            ("specversion", ""),
            ("id", ""),
            ("id", "a\nb"),
            ("id", "\u{0}"),
            ("id", "\u{7f}"),
            ("type", ""),
            ("source", ""),
            ("source", "a b"),
            ("source", "/%zz"),
            ("source", "/ä"),
            ("subject", ""),
            ("time", "yesterday"),
            ("time", "2018-04-05 17:31:00Z"),
            ("time", "2018-04-05T17:31:00"),
            ("time", "2023-02-29T17:31:00Z"),
            ("time", "2018-13-05T17:31:00Z"),
            ("time", "2018-04-05T25:31:00Z"),
            ("time", "2018-04-05T17:31:00.Z"),
            ("time", "2018-04-05T17:31:00+1:00"),
            ("time", "ä018-04-05T17:31:00Z"),
            ("datacontenttype", "json"),
            ("datacontenttype", ""),
            ("dataschema", "/relative"),
            ("myextension", "a\u{ffff}"),
        ] {
            let wrong = attribute(name, value).expect_err(value);
            assert_eq!(wrong.field, name, "{value:?}");
        }
    }

    #[test]
    fn names_are_plain_and_not_taken_and_as_long_as_they_are() {
        for name in ["traceparent", "a1", "1", "partitionkey", "abcdefghijklmnopqrstuvwxyz0123456789"] {
            assert_eq!(extension_name(name), Ok(()));
        }
        for name in ["", "Upper", "with-dash", "with_dash", "data", "id", "dataschema", "ä"] {
            assert!(extension_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn json_is_told_by_its_type() {
        for yes in [
            "",
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/cloudevents+json",
            "text/json",
        ] {
            assert!(is_json(yes), "{yes}");
        }
        for no in ["text/plain", "application/xml", "application/jsonl"] {
            assert!(!is_json(no), "{no}");
        }
        assert!(right("time", "2000-02-29T00:00:00-23:59") && !right("time", "1900-02-29T00:00:00Z"));
    }
}
