//! A filter out of its text.

use super::term::{Operand, Place, Term, Test};
use super::{LIMIT, TERMS};
use contracts::is_secret;
use kernel::excerpt;
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};

/// The tests, the longer of two that begin alike first.
const TESTS: [(&str, Test); 7] = [
    ("!=", Test::IsNot),
    ("<=", Test::AtMost),
    (">=", Test::AtLeast),
    ("=", Test::Is),
    ("<", Test::Less),
    (">", Test::More),
    (":", Test::Has),
];

/// Reads all terms.
pub fn terms(
    text: &str,
    message: &MessageDescriptor,
    shown: &dyn Fn(&FieldDescriptor) -> bool,
) -> Result<Vec<Term>, String> {
    if text.len() > LIMIT {
        return Err(format!("a filter has at most {LIMIT} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("a filter is one line, without control characters".to_owned());
    }
    let (mut rest, mut terms) = (text.trim(), Vec::new());
    while !rest.is_empty() {
        if terms.len() == TERMS {
            return Err(format!("a filter has at most {TERMS} terms"));
        }
        let (term, left) = term(rest, message, shown)?;
        terms.push(term);
        rest = left.trim_start();
        if rest.is_empty() {
            break;
        }
        let (word, left) = word(rest);
        if !word.eq_ignore_ascii_case("AND") {
            return Err(format!(
                "before {:?} comes AND: terms are joined by AND alone, and a value with blanks stands in quotes",
                excerpt(rest, 20)
            ));
        }
        rest = left.trim_start();
        if rest.is_empty() {
            return Err("after AND comes another term".to_owned());
        }
    }
    Ok(terms)
}

/// Letters, digits and what stands within names of fields and labels.
fn word(text: &str) -> (&str, &str) {
    let ends = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '/'));
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

fn term<'a>(
    text: &'a str,
    message: &MessageDescriptor,
    shown: &dyn Fn(&FieldDescriptor) -> bool,
) -> Result<(Term, &'a str), String> {
    let (path, rest) = word(text);
    if path.is_empty() {
        return Err(format!("before {:?} comes a field", excerpt(text, 20)));
    }
    let (place, last) = place(path, message, shown)?;
    let rest = rest.trim_start();
    let test = TESTS.iter().find_map(|(sign, test)| Some((*test, rest.strip_prefix(sign)?)));
    let (test, rest) = test.ok_or_else(|| format!("after `{path}` comes a test: = != : < <= > or >="))?;
    let (value, rest) = value(rest.trim_start(), path)?;
    let operand = operand(path, &place, &last, test, &value)?;
    Ok((Term { place, test, operand }, rest))
}

/// A value, in quotes or up to the next blank.
fn value<'a>(text: &'a str, path: &str) -> Result<(String, &'a str), String> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
        if value.is_empty() {
            return Err(format!("after the test of `{path}` comes a value; an empty one is \"\""));
        }
        return Ok((value.to_owned(), rest));
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            c if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Ok((value, &quoted[at + 1..])),
            c => value.push(c),
        }
    }
    Err(format!("the value of `{path}` begins with a quote and has no end"))
}

/// Where a path leads, and its last field.
fn place(
    path: &str,
    message: &MessageDescriptor,
    shown: &dyn Fn(&FieldDescriptor) -> bool,
) -> Result<(Place, FieldDescriptor), String> {
    let (mut at, mut way, mut rest) = (message.clone(), Vec::new(), path);
    loop {
        let (name, left) = rest.split_once('.').map_or((rest, None), |(name, left)| (name, Some(left)));
        let known = |field: &FieldDescriptor| !is_secret(field) && shown(field);
        let field = at.get_field_by_name(name).filter(known).ok_or_else(|| {
            let all: Vec<String> = at.fields().filter(known).map(|field| field.name().to_owned()).collect();
            format!("{} has no field `{}`: it has {}", at.name(), excerpt(name, 40), all.join(", "))
        })?;
        if field.is_map() {
            let place = match left {
                Some(key) => Place::Entry(way, name.to_owned(), key.to_owned()),
                None => Place::Map(way, name.to_owned()),
            };
            return Ok((place, field));
        }
        match (field.kind(), left) {
            (Kind::Message(inner), Some(left)) if !field.is_list() => {
                way.push(name.to_owned());
                (at, rest) = (inner, left);
            }
            (Kind::Message(_), _) if field.is_list() => {
                return Err(format!("`{path}` leads into several messages: they cannot be filtered by"));
            }
            (Kind::Message(inner), _) => {
                let within = inner
                    .fields()
                    .find(|field| !is_secret(field))
                    .map(|f| f.name().to_owned())
                    .unwrap_or_default();
                return Err(format!(
                    "`{path}` is a message, not a value: name a field within, as `{path}.{within}`"
                ));
            }
            (_, Some(_)) => return Err(format!("`{name}` in `{path}` is a value, with nothing within")),
            (_, None) if field.is_list() => return Ok((Place::List(way, name.to_owned()), field)),
            (_, None) => return Ok((Place::Field(way, name.to_owned()), field)),
        }
    }
}

fn operand(
    path: &str,
    place: &Place,
    last: &FieldDescriptor,
    test: Test,
    value: &str,
) -> Result<Operand, String> {
    let kind = match (place, last.kind()) {
        (Place::Map(..), _) if test == Test::Has => return Ok(Operand::Text(value.to_owned())),
        (Place::Map(..), _) => {
            return Err(format!(
                "`{path}` are many values: name one, as `{path}.KEY`, or ask for a key with `:`"
            ));
        }
        (Place::List(..), _) if test != Test::Has => {
            return Err(format!("`{path}` is a list: ask with `:` whether a value is in it"));
        }
        (Place::Entry(..), Kind::Message(entry)) => entry.map_entry_value_field().kind(),
        (_, kind) => kind,
    };
    let listed = matches!(place, Place::List(..));
    let only = |allowed: &[Test], what: &str, signs: &str| {
        (listed || allowed.contains(&test))
            .then_some(())
            .ok_or_else(|| format!("`{path}` is {what}: test it with {signs}"))
    };
    match kind {
        Kind::String => {
            only(&[Test::Is, Test::IsNot, Test::Has], "a text", "=, != or :")?;
            Ok(Operand::Text(value.to_owned()))
        }
        Kind::Bool => {
            only(&[Test::Is, Test::IsNot], "true or false", "= or !=")?;
            let wrong = |_| format!("`{path}` is true or false, not {:?}", excerpt(value, 40));
            value.to_ascii_lowercase().parse().map(Operand::Flag).map_err(wrong)
        }
        Kind::Enum(of) => {
            only(&[Test::Is, Test::IsNot], "one of several words", "= or !=")?;
            word_of(&of, value)
                .map(Operand::Number)
                .map_err(|words| format!("`{path}` is one of {words}, not {:?}", excerpt(value, 40)))
        }
        Kind::Bytes | Kind::Double | Kind::Float | Kind::Message(_) => {
            Err(format!("`{path}` is nothing that can be compared"))
        }
        _ => {
            let signs = "=, !=, <, <=, > or >=";
            (listed || test != Test::Has)
                .then_some(())
                .ok_or_else(|| format!("`{path}` is a number: test it with {signs}"))?;
            number(last.name(), value).map(Operand::Number).map_err(|what| {
                format!("`{path}` is compared with {what}, not with {:?}", excerpt(value, 40))
            })
        }
    }
}

/// The number of a value of an enum, which is written as in JSON or without what all of them begin with.
fn word_of(of: &EnumDescriptor, value: &str) -> Result<i128, String> {
    let prefix = of.values().next().map(|first| first.name().trim_end_matches("UNSPECIFIED").to_owned());
    let prefix = prefix.unwrap_or_default();
    let wanted = value.to_ascii_uppercase().replace('-', "_");
    let short = |name: &str| name.strip_prefix(prefix.as_str()).unwrap_or(name).to_owned();
    let found = of.values().find(|one| one.name() == wanted || short(one.name()) == wanted);
    found.map(|one| i128::from(one.number())).ok_or_else(|| {
        let words: Vec<String> =
            of.values().filter(|one| one.number() != 0).map(|one| short(one.name())).collect();
        words.join(", ")
    })
}

fn number(field: &str, value: &str) -> Result<i128, &'static str> {
    if let Ok(number) = value.parse() {
        return Ok(number);
    }
    if !field.ends_with("_us") {
        return Err("a number");
    }
    let time: jiff::Timestamp =
        value.parse().map_err(|_| "a time (RFC 3339, as \"2026-01-31T12:00:00Z\", or microseconds)")?;
    Ok(time.as_microsecond().into())
}
